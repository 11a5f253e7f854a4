"""Licensing: activation keys, the machines they are activated on, and proofs of both."""
