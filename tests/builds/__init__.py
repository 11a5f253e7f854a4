"""Builds: rules, the runner protocol, and the whole way over HTTP."""
