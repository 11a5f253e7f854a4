"""Who may come in: credentials, the directory of people and workspaces, tokens and secrets."""
