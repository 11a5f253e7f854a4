"""What a workspace may use and what it has used."""
