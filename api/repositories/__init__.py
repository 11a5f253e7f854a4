"""The routes of repositories."""
