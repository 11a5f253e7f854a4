"""The event log: the append-only truth in Postgres, its stored form, and the keys of what is sealed in it."""
