"""An API key: a secret that acts for a workspace. Only its digest is ever written down."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from domain.kernel import Category, Event, NotFound, State

#: What a key may be allowed to do.
SCOPES = (
    "analyses:create",
    "analyses:read",
    "storage:write",
    "webhooks:manage",
    "usage:read",
    "catalogue:read",
    "builds:write",
    "licences:manage",
)


class ApiKeyIssued(Event):
    """A key has been made and shown once."""

    api_key_id: str
    workspace_id: str
    person_id: str
    name: str
    prefix: str
    digest: str
    scopes: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime | None = None


class ApiKeyRevoked(Event):
    """A key opens nothing any more."""

    api_key_id: str
    digest: str
    revoked_at: datetime


class ApiKey(State):
    """What rules need to know of a key."""

    workspace_id: str = ""
    digest: str = ""
    revoked: bool = False


def evolve(key: ApiKey, event: Event) -> ApiKey:
    """A key after one more event."""
    match event:
        case ApiKeyIssued():
            return ApiKey(workspace_id=event.workspace_id, digest=event.digest)
        case ApiKeyRevoked():
            return replace(key, revoked=True)
    return key


class NoSuchApiKey(NotFound):
    """There is no such API key."""


api_keys = Category(name="apikey", initial=ApiKey(), evolve=evolve, absent=NoSuchApiKey)
