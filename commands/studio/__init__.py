"""What may be asked of projects."""
