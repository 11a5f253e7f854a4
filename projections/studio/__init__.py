"""What is shown of projects."""
