"""What is still true after processes and servers have died."""
