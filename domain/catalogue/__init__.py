"""The catalogue: recordings, what is known of them, and what they have earned."""
