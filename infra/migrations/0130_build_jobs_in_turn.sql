-- Whose job was claimed last is asked for each workspace that waits.
DROP INDEX build_jobs_by_workspace;
CREATE INDEX build_jobs_by_workspace ON build_jobs (workspace_id, lease_until);
