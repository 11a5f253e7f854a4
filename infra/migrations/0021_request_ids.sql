-- What a client called its request (X-Request-ID). It joins nothing: two clients may call theirs the same.
ALTER TABLE request_origins ADD COLUMN request_id text;
