"""The ears: what a recording sounds like, as numbers, one file for each thing that can be heard."""
