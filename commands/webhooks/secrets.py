"""Changing the secret that a workspace's webhooks are signed with."""

from __future__ import annotations

from datetime import datetime, timedelta

from commands.kernel import Command, Transaction, decides, derived_id, part_of
from domain.identity.workspaces import WorkspaceReclaimed
from domain.kernel import Event
from domain.webhooks.secrets import SigningSecretRotated, SigningSecrets, signing_secrets

#: How long both the old and the new secret sign, so that receivers can change over.
OVERLAP = timedelta(hours=24)


class RotateSigningSecret(Command):
    """Sign with a new secret from now on."""

    workspace_id: str
    secret_id: str


@decides(RotateSigningSecret, signing_secrets, creates=True)
def rotate(wish: RotateSigningSecret, secrets: SigningSecrets, now: datetime) -> list[Event]:
    """A secret is new once."""
    if any(secret_id == wish.secret_id for secret_id, _ in secrets.ids):
        return []
    return [
        SigningSecretRotated(
            workspace_id=wish.workspace_id,
            secret_id=wish.secret_id,
            rotated_at=now,
            old_expires_at=now + OVERLAP,
        )
    ]


@part_of(WorkspaceReclaimed)
async def renew(event: WorkspaceReclaimed, transaction: Transaction) -> None:
    """Whoever has read the secret before the owner came can sign nothing with it from now on: there is no overlap."""
    now = transaction.now
    secrets = await transaction.find(signing_secrets, event.workspace_id)
    transaction.record(
        signing_secrets,
        event.workspace_id,
        SigningSecretRotated(
            workspace_id=event.workspace_id,
            secret_id=derived_id("reclaimed", event.workspace_id, secrets.valid(event.workspace_id, now)[0]),
            rotated_at=now,
            old_expires_at=now,
        ),
    )
