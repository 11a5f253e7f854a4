"""What the HTTP surfaces promise, held against a running stack."""
