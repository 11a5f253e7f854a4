-- Processes that run a role, as they show themselves every few seconds. Losing it loses a view and nothing else.
CREATE UNLOGGED TABLE roles (
    instance uuid PRIMARY KEY,
    role text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'stopped', 'failed')),
    is_ready boolean NOT NULL,
    problem text,
    memory_bytes bigint,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
