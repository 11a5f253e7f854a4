"""The contract of the beat generator, under `/api`."""
