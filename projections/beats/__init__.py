"""Beats and templates as they are shown."""
