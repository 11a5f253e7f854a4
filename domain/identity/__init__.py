"""Who people are, what they belong to, and how they prove it."""
