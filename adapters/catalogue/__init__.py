"""The catalogue's books: files of sellers and stores, read row by row, and the tables that their rows are kept in."""
