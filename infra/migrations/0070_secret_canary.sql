-- A word sealed with the server's secret key: whoever cannot open it holds another key than the one of this database.
CREATE TABLE secret_canary (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    sealed bytea NOT NULL
);
