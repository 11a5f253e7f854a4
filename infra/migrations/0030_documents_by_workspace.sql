-- A document is looked up by projection, version and id. An index that also begins with projection and version is taken
-- for that whenever the planner has no statistics yet, and then every look-up reads all documents there are.
DROP INDEX documents_by_workspace;
CREATE INDEX documents_by_workspace ON documents (workspace_id, projection, version, created DESC);
