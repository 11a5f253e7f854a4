"""Becoming known, belonging, and proving it."""
