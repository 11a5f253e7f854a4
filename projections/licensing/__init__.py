"""What is shown of licences."""
