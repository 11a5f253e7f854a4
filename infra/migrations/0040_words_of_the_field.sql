-- The tables go by the words of the field: a subscription has a checkpoint, and what follows from an event is a job.
ALTER TABLE followers RENAME TO checkpoints;
ALTER INDEX followers_one_live RENAME TO checkpoints_one_live;
ALTER TABLE checkpoints RENAME CONSTRAINT followers_pkey TO checkpoints_pkey;
UPDATE checkpoints SET name = 'jobs' WHERE name = 'duties';
ALTER TABLE parked RENAME COLUMN follower TO subscription;
UPDATE parked SET subscription = 'jobs' WHERE subscription = 'duties';
ALTER TABLE tasks RENAME TO jobs;
ALTER TABLE jobs RENAME CONSTRAINT tasks_pkey TO jobs_pkey;
ALTER INDEX tasks_due RENAME TO jobs_due;
ALTER INDEX tasks_by_stream RENAME TO jobs_by_stream;
