"""What of subscribing belongs to somebody else."""

from __future__ import annotations

from tests.victims import Make, made

THEIRS: dict[str, Make] = {"consumer_id": lambda them, _: made(them, "/v1/nats-consumers", {"name": "Theirs"})}
