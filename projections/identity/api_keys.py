"""API keys as their workspace sees them: never the key."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from domain.identity.api_keys import ApiKeyIssued, ApiKeyRetired, ApiKeyRevoked, NoSuchApiKey
from domain.kernel import Event
from projections.kernel import Document, Projection, projection, seconds


class ApiKey(Document):
    """One of a workspace's keys."""

    id: str
    workspace_id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: str
    revoked_at: str | None = None
    expires_at: str | None = None
    replaces: str | None = None
    replaced_by: str | None = None


def evolve(key: ApiKey | None, event: Event) -> ApiKey | None:
    """The key after one more event; nothing is left of one that was erased."""
    match key, event:
        case _, ApiKeyIssued():
            return ApiKey(
                id=event.api_key_id,
                workspace_id=event.workspace_id,
                name=event.name,
                prefix=event.prefix,
                scopes=event.scopes,
                created_at=seconds(event.issued_at),
                expires_at=seconds(event.expires_at) if event.expires_at else None,
                replaces=event.replaces,
            )
        case ApiKey(), ApiKeyRetired():
            return replace(key, replaced_by=event.replaced_by, expires_at=seconds(event.expires_at))
        case _, ApiKeyRevoked(erased=True):
            return None
        case ApiKey(), ApiKeyRevoked():
            return replace(key, revoked_at=seconds(event.revoked_at))
    return key


api_keys: Projection[Any] = projection(
    "api_keys",
    ApiKey,
    on={
        ApiKeyIssued: "api_key_id",
        ApiKeyRetired: "api_key_id",
        ApiKeyRevoked: "api_key_id",
    },
    evolve=evolve,
    begins=(ApiKeyIssued,),
    absent=NoSuchApiKey,
    parent=lambda key: key.workspace_id,
    stream="apikey",
    version=2,
)
