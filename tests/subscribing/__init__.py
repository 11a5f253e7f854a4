"""Subscribers who read from NATS itself."""
