"""What has been used."""
