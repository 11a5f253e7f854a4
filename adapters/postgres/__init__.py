"""What every part that talks to Postgres shares: prepared statements, batches, arrays, asking again."""
