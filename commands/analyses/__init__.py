"""Handing in recordings and hearing what is in them."""
