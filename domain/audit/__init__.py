"""The audit: what was done in a workspace, and who may read it."""
