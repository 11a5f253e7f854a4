-- When each key and session was last used, to the minute. Losing it loses a convenience, so it is not in the log.
CREATE TABLE credential_uses (
    credential_id text PRIMARY KEY,
    used_at timestamptz NOT NULL
) WITH (fillfactor = 70);
