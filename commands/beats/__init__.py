"""Asking for beats, and making them."""
