"""Beats: what they were made from, their versions, and the files of these."""
