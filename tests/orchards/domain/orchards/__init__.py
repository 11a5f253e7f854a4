"""Orchards."""
