"""What has happened, in words for people."""
