"""What others build with other parts, to measure ours against."""
