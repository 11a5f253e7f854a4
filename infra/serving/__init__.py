"""The HTTP server: what a connection may cost, whom it listens to, and what it writes down."""
