"""Where the source of a project is."""
