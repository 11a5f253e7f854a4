-- Draws of many keys are one statement: what each may have and how much of it is wanted stands in its row meanwhile.
ALTER TABLE rate_windows ADD COLUMN most integer NOT NULL DEFAULT 0, ADD COLUMN want integer NOT NULL DEFAULT 1;
