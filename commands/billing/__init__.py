"""Paying, and what it allows."""
