"""What may be asked of builds and runners."""
