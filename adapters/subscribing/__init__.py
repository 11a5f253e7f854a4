"""Letting subscribers read what is published of their workspace from NATS itself."""
