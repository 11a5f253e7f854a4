"""What licensing needs of the outside."""
