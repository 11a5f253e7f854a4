"""The payment provider."""
