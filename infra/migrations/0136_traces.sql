-- The trace in which an event happened, as W3C writes it (`traceparent`); events of before have none.
ALTER TABLE ledger_events ADD COLUMN IF NOT EXISTS traceparent text;
