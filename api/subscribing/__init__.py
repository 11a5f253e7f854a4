"""Reading published events from NATS: the consumers of a workspace."""
