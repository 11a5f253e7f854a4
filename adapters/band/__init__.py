"""A band of our own: it composes beats as scores, plays them, and masters what it played."""
