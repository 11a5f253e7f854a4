"""The edge: who is asking, what they may, and how every surface speaks."""
