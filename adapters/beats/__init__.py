"""What beats need of the outside: spreadsheets, and a provider of music."""
