-- Where every follower of the log was a moment ago, by its name, so that one look tells how fast each of them moves.
CREATE TABLE follower_readings (
    read_at timestamptz PRIMARY KEY DEFAULT clock_timestamp(),
    positions jsonb NOT NULL
);
