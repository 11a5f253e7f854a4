-- Everything beside the log: keys of sealed fields, read models, and the work that follows from events.

CREATE TABLE data_keys (
    subject text PRIMARY KEY,
    wrapped bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    destroyed_at timestamptz
);

-- How far each follower of the log has come. A projection under a new version is built beside the live one.
CREATE TABLE followers (
    name text NOT NULL,
    version integer NOT NULL,
    position bigint NOT NULL DEFAULT 0,
    live boolean NOT NULL DEFAULT false,
    fold integer NOT NULL DEFAULT 1,
    retries bigint NOT NULL DEFAULT 0,
    moved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, version)
);
CREATE UNIQUE INDEX followers_one_live ON followers (name) WHERE live;

CREATE TABLE documents (
    projection text NOT NULL,
    version integer NOT NULL,
    id text NOT NULL,
    workspace_id text NOT NULL,
    parent text,
    created bigint NOT NULL,
    position bigint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (projection, version, id)
);
CREATE INDEX documents_by_workspace ON documents (projection, version, workspace_id, created DESC);
CREATE INDEX documents_by_parent ON documents (projection, version, parent, created) WHERE parent IS NOT NULL;

CREATE TABLE tallies (
    projection text NOT NULL,
    version integer NOT NULL,
    key text NOT NULL,
    amount bigint NOT NULL,
    PRIMARY KEY (projection, version, key)
);

-- What follows from events and is still to be done: reactions, retries, timers. Done rows are deleted.
CREATE TABLE tasks (
    reaction text NOT NULL,
    position bigint NOT NULL,
    stream text NOT NULL,
    due_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'running', 'parked')),
    attempts integer NOT NULL DEFAULT 0,
    owner uuid,
    lease_until timestamptz,
    problem text,
    PRIMARY KEY (reaction, position)
);
CREATE INDEX tasks_due ON tasks (reaction, due_at) WHERE state <> 'parked';
CREATE INDEX tasks_by_stream ON tasks (reaction, stream, position);

-- A poison event: it and the later events of its stream wait here; everything else flows.
CREATE TABLE parked (
    follower text NOT NULL,
    version integer NOT NULL,
    stream text NOT NULL,
    position bigint NOT NULL,
    problem text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    retry boolean NOT NULL DEFAULT false,
    PRIMARY KEY (follower, version, stream)
);
