"""Facts, and what they add up to. Pure: no clock, no ids made up, no I/O."""
