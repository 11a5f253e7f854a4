"""What people who look after a running system ask of it."""
