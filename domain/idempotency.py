"""An idempotency key: the same request sent twice is done once, for as long as the key is remembered."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from domain.kernel import Category, Conflict, Event, State


class IdempotencyKeyUsed(Event):
    """A request came with a key; `subject_id` is what was made for it."""

    target: ClassVar[str] = "idempotency_key"

    claim_id: str
    payload_digest: str
    subject_id: str
    used_at: datetime
    expires_at: datetime


class Claim(State):
    """The last request under a key."""

    payload_digest: str = ""
    subject_id: str = ""
    expires_at: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether the key is still remembered."""
        return self.expires_at is not None and now < self.expires_at


def evolve(claim: Claim, event: Event) -> Claim:
    """A claim after one more event."""
    match event:
        case IdempotencyKeyUsed():
            return Claim(payload_digest=event.payload_digest, subject_id=event.subject_id, expires_at=event.expires_at)
    return claim


class IdempotencyKeyReused(Conflict):
    """This Idempotency-Key was used with another request. Use a new key for a new request."""


claims = Category(name="idempotency", initial=Claim(), evolve=evolve)
