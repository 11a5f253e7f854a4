-- Rows of imported files, without foreign keys, which would cost more than the rows themselves. Each can be read again from the stored original of its import; what was imported, and what came
-- of it, is in the log. Small numbers stand for ids, because there are millions of rows.
CREATE TABLE catalogue_workspaces (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id text NOT NULL UNIQUE
);

-- What an import has brought, written in the transaction that brought it: whoever finds it here need not import again.
CREATE TABLE catalogue_imports (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace integer NOT NULL,
    import_id text NOT NULL UNIQUE,
    merged_at timestamptz NOT NULL DEFAULT now(),
    header text[] NOT NULL DEFAULT '{}',
    outcome bytea NOT NULL
);
CREATE INDEX catalogue_imports_by_workspace ON catalogue_imports (workspace);

-- Rows that were rejected, wait for a person, or were left alone.
CREATE TABLE catalogue_odd_rows (
    import integer NOT NULL,
    line integer NOT NULL,
    kind text NOT NULL,
    reason text NOT NULL,
    cells text[] NOT NULL
);
CREATE INDEX catalogue_odd_rows_by_import ON catalogue_odd_rows (import, kind, line);

-- How far an import has come that is still going on.
CREATE UNLOGGED TABLE catalogue_progress (
    import_id text PRIMARY KEY,
    rows_read bigint NOT NULL,
    bytes_read bigint NOT NULL,
    bytes_total bigint NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE catalogue_recordings (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace integer NOT NULL,
    isrc text NOT NULL,
    track_id text NOT NULL,
    UNIQUE (workspace, isrc)
);

-- Plays of one day. A null is what no file has said; a zero is what one has.
CREATE TABLE catalogue_plays (
    recording integer NOT NULL,
    day date NOT NULL,
    workspace integer NOT NULL,
    spotify bigint,
    apple bigint,
    import integer NOT NULL,
    PRIMARY KEY (recording, day)
);
CREATE INDEX catalogue_plays_by_day ON catalogue_plays (workspace, day) INCLUDE (recording, spotify, apple);

-- What was said of a day before a later import said something else.
CREATE TABLE catalogue_plays_before (
    recording integer NOT NULL,
    day date NOT NULL,
    spotify bigint,
    apple bigint,
    import integer NOT NULL,
    replaced_by integer NOT NULL
);
CREATE INDEX catalogue_plays_before_by_day ON catalogue_plays_before (recording, day);

-- The days of which anything is known.
CREATE TABLE catalogue_days (
    workspace integer NOT NULL,
    day date NOT NULL,
    PRIMARY KEY (workspace, day)
);
