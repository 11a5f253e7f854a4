"""NATS JetStream: the relay that carries the log into it, and the feed that reads it without trusting it."""
