"""Deliveries as they are shown."""
