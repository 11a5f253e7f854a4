"""Repositories as they are seen."""
