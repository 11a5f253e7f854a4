"""Routes of this context."""
