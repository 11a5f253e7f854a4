-- How far the stream of published events is, as whoever fills it says; it goes back where NATS was wiped.
CREATE TABLE published_streams (
    stream text PRIMARY KEY,
    position bigint NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
