"""The secret that a workspace's webhooks are signed with."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from msgspec import Struct

from api.auth import Asker, needs
from api.services import Services
from commands.webhooks.secrets import OVERLAP, RotateSigningSecret
from domain.webhooks.secrets import signing_secrets
from projections.kernel import seconds


class SigningSecret(Struct):
    """The newest secret; `old_expires_at` tells until when the one before signs too."""

    secret: str
    old_expires_at: str | None = None


@get("/v1/webhook-secret", tags=["analysis v1"], opt=needs("webhooks:manage", "admin"))
async def get_webhook_secret(services: NamedDependency[Services], asker: NamedDependency[Asker]) -> SigningSecret:
    """Read the secret that verifies webhooks of jobs (Standard Webhooks)."""
    history = await services.log.read(signing_secrets.stream(asker.workspace_id))
    newest = signing_secrets.fold(history.events).valid(asker.workspace_id, services.now())[0]
    return SigningSecret(secret=services.vault.signing_secret(newest))


@post("/v1/webhook-secret/rotate", status_code=200, tags=["analysis v1"], opt=needs("webhooks:manage", "admin"))
async def rotate_webhook_secret(services: NamedDependency[Services], asker: NamedDependency[Asker]) -> SigningSecret:
    """Make a new secret. For a day, messages carry a signature of the old one as well."""
    secret_id = services.vault.new_id()
    now = services.now()
    await services.execute(RotateSigningSecret(workspace_id=asker.workspace_id, secret_id=secret_id), asker.context)
    return SigningSecret(secret=services.vault.signing_secret(secret_id), old_expires_at=seconds(now + OVERLAP))
