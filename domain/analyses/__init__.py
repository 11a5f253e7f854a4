"""Analyses: what was asked to be heard, and what was heard in it."""
