"""Places in the stream of published events that NATS keeps for the readers of a workspace."""
