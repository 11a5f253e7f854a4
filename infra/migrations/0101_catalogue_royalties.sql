-- Titles without an ISRC, and what people have said they are.
CREATE TABLE catalogue_titles (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace integer NOT NULL,
    title_id text NOT NULL UNIQUE,
    artist text NOT NULL,
    title text NOT NULL,
    reason text NOT NULL,
    isrc text
);
CREATE INDEX catalogue_titles_by_workspace ON catalogue_titles (workspace, number);

-- Statements of a source by the period that they are about: what is compared when one comes again.
CREATE TABLE catalogue_blocks (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace integer NOT NULL,
    source text NOT NULL,
    statement date NOT NULL,
    sale_start date NOT NULL,
    sale_end date NOT NULL,
    UNIQUE (workspace, source, statement, sale_start, sale_end)
);

-- Every way in which a block has come, newest last: an older one that comes again does not undo a newer one.
CREATE TABLE catalogue_block_versions (
    block integer NOT NULL,
    digest bytea NOT NULL,
    import integer NOT NULL,
    PRIMARY KEY (block, import)
);

-- Units and money. What was replaced stays, with the import that replaced it.
CREATE TABLE catalogue_lines (
    block integer NOT NULL,
    key bigint NOT NULL,
    import integer NOT NULL,
    line integer NOT NULL,
    workspace integer NOT NULL,
    recording integer,
    title integer,
    upc text,
    store text,
    country text,
    kind text,
    sale_start date NOT NULL,
    units bigint,
    currency text NOT NULL,
    amount numeric NOT NULL,
    replaced_by integer
);
CREATE INDEX catalogue_lines_by_block ON catalogue_lines (block) WHERE replaced_by IS NULL;
CREATE INDEX catalogue_lines_by_recording ON catalogue_lines (recording) WHERE replaced_by IS NULL;
CREATE INDEX catalogue_lines_by_title ON catalogue_lines (title) WHERE title IS NOT NULL;

-- What a store says of songs over a stretch of time, which is never added to anything else.
CREATE TABLE catalogue_snapshots (
    workspace integer NOT NULL,
    source text NOT NULL,
    period_start date,
    period_end date NOT NULL,
    name text NOT NULL,
    recording integer,
    title integer,
    listeners bigint,
    streams bigint,
    saves bigint,
    import integer NOT NULL,
    replaced_by integer
);
CREATE INDEX catalogue_snapshots_by_recording ON catalogue_snapshots (recording) WHERE replaced_by IS NULL;
CREATE INDEX catalogue_snapshots_by_workspace ON catalogue_snapshots (workspace, source, period_end)
    WHERE replaced_by IS NULL;
