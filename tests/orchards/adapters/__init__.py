"""A layer of the made-up context."""
