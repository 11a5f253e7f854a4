"""The signing secret of a workspace's webhooks. Secrets follow from the server's own; events hold only their ids."""

from __future__ import annotations

from datetime import datetime

from domain.kernel import Category, Event, State


class SigningSecretRotated(Event):
    """Deliveries are signed with a new secret, and with the old one too until it expires."""

    workspace_id: str
    secret_id: str
    rotated_at: datetime
    old_expires_at: datetime


class SigningSecrets(State):
    """The ids of the secrets of a workspace, newest first, each with the end of its time."""

    ids: tuple[tuple[str, datetime | None], ...] = ()

    def valid(self, workspace_id: str, now: datetime) -> list[str]:
        """The secrets to sign with now; a workspace that never rotated has one named after itself."""
        ids = self.ids or ((workspace_id, None),)
        return [secret_id for secret_id, end in ids if end is None or now < end]


def evolve(secrets: SigningSecrets, event: Event) -> SigningSecrets:
    """The secrets after one more event."""
    match event:
        case SigningSecretRotated():
            old = secrets.ids or ((event.workspace_id, None),)
            last = event.old_expires_at
            ended = tuple((secret_id, last if end is None else min(end, last)) for secret_id, end in old)
            return SigningSecrets(ids=((event.secret_id, None), *ended)[:10])
    return secrets


signing_secrets = Category(name="signingsecret", initial=SigningSecrets(), evolve=evolve)
