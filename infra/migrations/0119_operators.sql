-- Who may ask as an operator: digests of tokens. A token that was rotated may be good for a while still.
CREATE TABLE operator_credentials (
    digest text PRIMARY KEY,
    made_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);
-- Which version of the code has given something up.
ALTER TABLE parked ADD COLUMN code_version text NOT NULL DEFAULT '', ADD COLUMN skip boolean NOT NULL DEFAULT false;
ALTER TABLE jobs ADD COLUMN code_version text NOT NULL DEFAULT '';
-- Keys that data keys are wrapped with, wrapped themselves with one that follows from the server's secret; the first is
-- that one itself. One that data keys still need cannot go, and none can be wrapped with one that has gone.
CREATE TABLE wrapping_keys (
    number integer PRIMARY KEY,
    wrapped bytea,
    made_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO wrapping_keys (number) VALUES (0);
ALTER TABLE data_keys ADD COLUMN wrapping integer NOT NULL DEFAULT 0 REFERENCES wrapping_keys;
CREATE INDEX data_keys_by_wrapping ON data_keys (wrapping) WHERE wrapped IS NOT NULL;
-- Events that an operator has told a read model to leave out, also when it is folded again.
CREATE TABLE skipped (
    subscription text NOT NULL,
    position bigint NOT NULL,
    stream text NOT NULL,
    problem text NOT NULL,
    skipped_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subscription, position)
);
