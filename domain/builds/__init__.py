"""Builds of plug-ins, and the runners that make them."""
