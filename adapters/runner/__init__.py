"""The runner: takes builds over HTTP and makes plug-ins of them, in plain Python that runs without the service."""
