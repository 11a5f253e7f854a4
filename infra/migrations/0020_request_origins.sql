-- Where requests that changed something came from, for the audit. Beside the log, because an address is personal data
-- that must be forgettable; `tick` sweeps what is older than `audit_origin_days`.
CREATE TABLE request_origins (
    workspace_id text NOT NULL,
    correlation_id uuid NOT NULL,
    ip text,
    user_agent text,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, correlation_id)
);
CREATE INDEX request_origins_by_time ON request_origins (seen_at);
