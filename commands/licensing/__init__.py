"""What may be asked of licences."""
