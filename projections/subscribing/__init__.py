"""What is shown of the consumers of a workspace."""
