"""Signing with another key."""

from __future__ import annotations

from datetime import timedelta

from commands.idempotency import Once, claim
from commands.kernel import Command, Transaction, handles
from domain.licensing.signing_keys import KeyWasRotated, SigningKeyRotated, signing_keys
from domain.studio.projects import projects


class RotateSigningKey(Command):
    """Sign with the key of this number, the next one. The keys before end after `old_end_after`, or never (None)."""

    project_id: str
    workspace_id: str
    number: int
    old_end_after: timedelta | None = None
    once: Once | None = None


@handles(RotateSigningKey)
async def rotate(wish: RotateSigningKey, transaction: Transaction) -> None:
    """A key is new once. Whoever has made it in the same moment may have left those before it good for longer."""
    (await transaction.load(projects, wish.project_id)).belongs_to(wish.workspace_id)
    if not await claim(transaction, wish.once, wish.project_id):
        return
    keys = await transaction.find(signing_keys, wish.project_id)
    now = transaction.now
    old_ends_at = None if wish.old_end_after is None else now + wish.old_end_after
    if wish.number == keys.newest and keys.older_end_by(old_ends_at):
        return
    if wish.number != keys.newest + 1:
        raise KeyWasRotated
    transaction.record(
        signing_keys,
        wish.project_id,
        SigningKeyRotated(
            project_id=wish.project_id,
            workspace_id=wish.workspace_id,
            number=wish.number,
            rotated_at=now,
            old_ends_at=old_ends_at,
        ),
    )
