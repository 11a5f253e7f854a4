"""Routes of whoever looks after the service."""
