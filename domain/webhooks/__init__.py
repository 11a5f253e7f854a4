"""Telling other systems, signed and as often as it takes."""
