-- How far the readers of NATS are: NATS may be wiped, and nobody is told the whole past again.
CREATE TABLE nats_positions (
    consumer_id text PRIMARY KEY,
    position bigint NOT NULL
);
