-- What each key has used of its present window. Rows of past windows are swept by `tick`. Losing them forgives, nothing else.
CREATE UNLOGGED TABLE rate_windows (
    key text NOT NULL,
    ends_at bigint NOT NULL,
    used integer NOT NULL,
    drawn integer NOT NULL,
    PRIMARY KEY (key, ends_at)
);
CREATE INDEX rate_windows_by_end ON rate_windows (ends_at);
