-- A projector says now and then that it is at work, also while nothing happens: one that has stopped is seen at once.
ALTER TABLE checkpoints ADD COLUMN seen_at timestamptz NOT NULL DEFAULT now();
