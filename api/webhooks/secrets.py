"""The secret that a workspace's webhooks are signed with."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from msgspec import Struct

from api.auth import Asker, needs
from api.webhooks.ports import Ports
from commands.webhooks.secrets import RotateSigningSecret
from domain.webhooks.secrets import signing_secrets
from projections.kernel import seconds


class SigningSecret(Struct):
    """The newest secret; `old_expires_at` tells until when the one before signs too."""

    secret: str
    old_expires_at: str | None = None


@get("/v1/webhook-secret", tags=["analysis v1"], opt=needs("webhooks:manage", "admin"))
async def get_webhook_secret(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> SigningSecret:
    """Read the secret that verifies webhooks of jobs (Standard Webhooks)."""
    return await _newest(ports, asker)


@post("/v1/webhook-secret/rotate", status_code=200, tags=["analysis v1"], opt=needs("webhooks:manage", "admin"))
async def rotate_webhook_secret(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> SigningSecret:
    """Make a new secret. For a day, messages carry a signature of the old one as well."""
    wish = RotateSigningSecret(workspace_id=asker.workspace_id, secret_id=ports.vault.new_id())
    await ports.execute(wish, asker.context)
    return await _newest(ports, asker)


async def _newest(ports: Ports, asker: Asker) -> SigningSecret:
    history = await ports.log.read(signing_secrets.stream(asker.workspace_id))
    secrets, now = signing_secrets.fold(history.events), ports.now()
    ends = [end for _, end in secrets.ids if end is not None and now < end]
    return SigningSecret(
        secret=ports.vault.signing_secret(secrets.valid(asker.workspace_id, now)[0]),
        old_expires_at=seconds(max(ends)) if ends else None,
    )
