"""Jobs: what follows from events, leased, retried and parked."""
