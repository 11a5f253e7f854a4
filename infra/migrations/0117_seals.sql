-- Seals over the log, beside it: what was appended since the seal before is chained, stream by stream, and signed. The
-- digests are one after the other, 32 bytes for each position; they cannot be compressed, and pieces of them are read.
CREATE TABLE log_seals (
    number bigint PRIMARY KEY,
    last bigint NOT NULL UNIQUE,
    statement text NOT NULL,
    signature bytea NOT NULL,
    positions bigint[] NOT NULL,
    digests bytea NOT NULL
);
ALTER TABLE log_seals ALTER COLUMN digests SET STORAGE EXTERNAL;
