"""What operators ask of a running system."""
