-- Keys of workspaces for their cookies, wrapped with a master key whose name is beside them; and the cookies, sealed.
CREATE TABLE browser_profile_keys (
    workspace_id text PRIMARY KEY,
    master_key text NOT NULL,
    wrapped bytea NOT NULL
);
CREATE SEQUENCE browser_profile_ids AS bigint START 1001;
CREATE TABLE browser_profiles (
    profile_id bigint PRIMARY KEY,
    workspace_id text NOT NULL,
    sealed bytea NOT NULL
);
CREATE INDEX browser_profiles_by_workspace ON browser_profiles (workspace_id);
