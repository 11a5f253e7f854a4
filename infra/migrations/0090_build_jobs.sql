-- Jobs of builds as runners compete for them, one for each platform: leases, progress and lengths of logs change too
-- often to be events. What decides is the log: a claim counts once it stands there under a fence higher than all before.
CREATE TABLE build_jobs (
    build_id text NOT NULL,
    platform text NOT NULL,
    project_id text NOT NULL,
    workspace_id text NOT NULL,
    formats text[] NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'ready', 'claimed', 'over')),
    queued_at timestamptz NOT NULL DEFAULT now(),
    runner_id text NOT NULL DEFAULT '',
    fence integer NOT NULL DEFAULT 0,
    lease_until timestamptz,
    step text NOT NULL DEFAULT '',
    progress integer NOT NULL DEFAULT 0,
    log_bytes bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (build_id, platform)
) WITH (fillfactor = 70);
CREATE INDEX build_jobs_open ON build_jobs (queued_at) WHERE state IN ('ready', 'claimed');
CREATE INDEX build_jobs_by_project ON build_jobs (project_id) WHERE state <> 'over';
CREATE INDEX build_jobs_by_workspace ON build_jobs (workspace_id);
CREATE TABLE build_log_chunks (
    build_id text NOT NULL,
    platform text NOT NULL,
    start bigint NOT NULL,
    size integer NOT NULL,
    object_key text NOT NULL,
    PRIMARY KEY (build_id, platform, start),
    FOREIGN KEY (build_id, platform) REFERENCES build_jobs ON DELETE CASCADE
);
