"""Builds as they are seen."""
