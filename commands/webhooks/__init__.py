"""Queueing messages and getting them there."""
