"""A request that is sent again is done once: what any command does with the key that it came under."""

from __future__ import annotations

from datetime import timedelta

from commands.kernel import Transaction
from domain.idempotency import IdempotencyKeyReused, IdempotencyKeyUsed, claims
from domain.kernel import Value


class Once(Value):
    """The idempotency key of a request, digested together with its workspace and route."""

    claim_id: str
    payload_digest: str
    lifetime: timedelta


async def claim(transaction: Transaction, once: Once | None, subject_id: str) -> bool:
    """Claim the key of a request for what it makes; False when it was done before, and nothing is left to do.

    Without a key (None) every request is a new one. Raises IdempotencyKeyReused when the key is held by another
    request. The claim is written with whatever the command records, or not at all.
    """
    if once is None:
        return True
    now = transaction.now
    held = await transaction.expect_new(claims, once.claim_id)
    if held.holds(now):
        if held.payload_digest != once.payload_digest:
            raise IdempotencyKeyReused
        return False
    transaction.record(
        claims,
        once.claim_id,
        IdempotencyKeyUsed(
            claim_id=once.claim_id,
            payload_digest=once.payload_digest,
            subject_id=subject_id,
            used_at=now,
            expires_at=now + once.lifetime,
        ),
    )
    return True
