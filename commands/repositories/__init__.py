"""What may be asked of repositories."""
