"""Analyses as they are shown."""
