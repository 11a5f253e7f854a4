-- Jobs are shared out fairly among workspaces, so each says whose it is, and what is due is told from what is not: to
-- look for whose turn it is goes from workspace to workspace in the index, and must not go through everybody's timers.
ALTER TABLE jobs ADD COLUMN workspace_id text NOT NULL DEFAULT 'public';
UPDATE jobs SET workspace_id = e.workspace_id FROM ledger_events e WHERE e.notification_id = jobs.position;
ALTER TABLE jobs DROP CONSTRAINT tasks_state_check;
ALTER TABLE jobs ADD CONSTRAINT jobs_state_check CHECK (state IN ('waiting', 'ready', 'running', 'parked'));
UPDATE jobs SET state = 'waiting' WHERE state = 'ready' AND due_at > now();
DROP INDEX jobs_due;
CREATE INDEX jobs_ready ON jobs (reaction, workspace_id, due_at) WHERE state = 'ready';
CREATE INDEX jobs_waiting ON jobs (reaction, due_at) WHERE state = 'waiting';
CREATE INDEX jobs_running ON jobs (reaction, lease_until) WHERE state = 'running';
CREATE INDEX jobs_parked ON jobs (reaction, position) WHERE state = 'parked';
