-- Whose request it was, so that their addresses go with them wherever they worked. What nobody in particular asked, in
-- no workspace, is shown to nobody and kept no longer.
ALTER TABLE request_origins ADD COLUMN person_id text;
DELETE FROM request_origins WHERE workspace_id = 'public';
UPDATE request_origins o SET person_id = substr(e.actor, length('person:') + 1)
FROM ledger_events e
WHERE e.workspace_id = o.workspace_id AND e.correlation_id = o.correlation_id AND e.actor LIKE 'person:%';
UPDATE request_origins o SET person_id = convert_from(made.state, 'UTF8')::jsonb ->> 'person_id'
FROM ledger_events e
JOIN ledger_events made
    ON made.originator_id = 'apikey-' || substr(e.actor, length('api_key:') + 1) AND made.originator_version = 1
WHERE e.workspace_id = o.workspace_id AND e.correlation_id = o.correlation_id AND e.actor LIKE 'api\_key:%';
CREATE INDEX request_origins_by_person ON request_origins (person_id) WHERE person_id IS NOT NULL;
