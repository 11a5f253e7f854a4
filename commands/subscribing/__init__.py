"""Making and removing places from which published events are read over NATS."""
