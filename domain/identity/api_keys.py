"""An API key: a secret that acts for a workspace. Only its digest is ever written down."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec.structs import replace

from domain.kernel import Category, Conflict, Event, Invalid, NotFound, State, personal


class ApiKeyIssued(Event):
    """A key has been made and shown once; `replaces` is the key it was made to follow."""

    api_key_id: str
    workspace_id: str
    person_id: str
    name: Annotated[str, personal("workspace_id")]
    prefix: str
    digest: str
    scopes: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime | None = None
    replaces: str | None = None


class ApiKeyRetired(Event):
    """A key has been replaced and works a little longer, until its users have the new one."""

    api_key_id: str
    digest: str
    replaced_by: str
    retired_at: datetime
    expires_at: datetime


class ApiKeyRevoked(Event):
    """A key opens nothing any more. `erased`: nothing of it is to be shown, because its workspace is forgotten."""

    api_key_id: str
    digest: str
    revoked_at: datetime
    erased: bool = False


class ApiKey(State):
    """What rules need to know of a key."""

    workspace_id: str = ""
    person_id: str = ""
    name: str = ""
    digest: str = ""
    scopes: tuple[str, ...] = ()
    expires_at: datetime | None = None
    replaced_by: str | None = None
    revoked: bool = False
    erased: bool = False

    def works(self, now: datetime) -> bool:
        """Whether the key opens anything."""
        return not self.revoked and (self.expires_at is None or now < self.expires_at)


def evolve(key: ApiKey, event: Event) -> ApiKey:
    """A key after one more event."""
    match event:
        case ApiKeyIssued():
            return ApiKey(
                workspace_id=event.workspace_id,
                person_id=event.person_id,
                name=event.name,
                digest=event.digest,
                scopes=event.scopes,
                expires_at=event.expires_at,
            )
        case ApiKeyRetired():
            return replace(key, replaced_by=event.replaced_by, expires_at=event.expires_at)
        case ApiKeyRevoked():
            return replace(key, revoked=True, erased=key.erased or event.erased)
    return key


class NoSuchApiKey(NotFound):
    """There is no such API key."""


class UnknownScope(Invalid):
    """A key's scopes are one or more of: {scopes}."""


class ExpiryIsPast(Invalid):
    """A key's expiry lies in the future."""


class ApiKeyIsOver(Conflict):
    """This key is revoked, replaced or expired. Make a new one."""


api_keys = Category(name="apikey", initial=ApiKey(), evolve=evolve, absent=NoSuchApiKey, remembered=True)
