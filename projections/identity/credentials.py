"""What an API key opens, found by the digest of the key."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from domain.identity.api_keys import ApiKeyIssued, ApiKeyRevoked, NoSuchApiKey
from domain.kernel import Event
from projections.kernel import Document, Projection, projection


class Credential(Document):
    """A key as the guard at the door knows it."""

    api_key_id: str
    workspace_id: str
    person_id: str
    scopes: tuple[str, ...]
    expires_at: datetime | None = None
    revoked: bool = False


def concerns(event: Event) -> str | None:
    """The digest of the key an event is about."""
    match event:
        case ApiKeyIssued() | ApiKeyRevoked():
            return event.digest
    return None


def evolve(credential: Credential | None, event: Event) -> Credential | None:
    """The credential after one more event."""
    match credential, event:
        case _, ApiKeyIssued():
            return Credential(
                api_key_id=event.api_key_id,
                workspace_id=event.workspace_id,
                person_id=event.person_id,
                scopes=event.scopes,
                expires_at=event.expires_at,
            )
        case Credential(), ApiKeyRevoked():
            return replace(credential, revoked=True)
    return credential


credentials: Projection[Any] = projection(
    "credentials", Credential, concerns=concerns, evolve=evolve, absent=NoSuchApiKey
)
