"""What an API key or a session token opens, found by its digest."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec.structs import replace

from domain.identity.api_keys import ApiKeyIssued, ApiKeyRetired, ApiKeyRevoked, NoSuchApiKey, api_keys
from domain.identity.sessions import SessionClosed, SessionOpened, sessions
from domain.identity.workspaces import Role
from domain.kernel import Event, Value
from projections.kernel import Document, Projection, projection

Kind = Literal["api_key", "session", "outside"]


class Credential(Document):
    """A key or a session as the guard of the routes knows it; one that is revoked or closed is no credential."""

    kind: Kind
    subject_id: str
    workspace_id: str
    person_id: str
    scopes: tuple[str, ...] = ()
    expires_at: datetime | None = None
    #: Of a session: for the how manieth time the person was a member when it was opened.
    membership: int = 1


class Access(Value):
    """Everything the guard needs to know of whoever holds a credential; the role is a person's, a key has none."""

    credential: Credential
    digest: str
    role: Role | None
    email: str
    verified: bool
    #: How often the workspace was reclaimed.
    tenancy: int = 0
    #: What this was seen in: streams, each with the position of its newest event.
    relies_on: tuple[tuple[str, int], ...] = ()


def evolve(credential: Credential | None, event: Event) -> Credential | None:
    """The credential after one more event."""
    match credential, event:
        case _, ApiKeyIssued():
            return Credential(
                kind="api_key",
                subject_id=event.api_key_id,
                workspace_id=event.workspace_id,
                person_id=event.person_id,
                scopes=event.scopes,
                expires_at=event.expires_at,
            )
        case _, SessionOpened():
            return Credential(
                kind="session",
                subject_id=event.session_id,
                workspace_id=event.workspace_id,
                person_id=event.person_id,
                expires_at=event.expires_at,
                membership=event.membership,
            )
        case Credential(), ApiKeyRetired():
            return replace(credential, expires_at=event.expires_at)
        case _, ApiKeyRevoked() | SessionClosed():
            return None
    return credential


def stream_of(credential: Credential) -> str:
    """The stream a credential is folded from, kept beside it so that one query tells whether it is up to date."""
    return (api_keys if credential.kind == "api_key" else sessions).stream(credential.subject_id)


credentials: Projection[Any] = projection(
    "credentials",
    Credential,
    on={
        ApiKeyIssued: "digest",
        ApiKeyRetired: "digest",
        ApiKeyRevoked: "digest",
        SessionOpened: "digest",
        SessionClosed: "digest",
    },
    evolve=evolve,
    begins=(ApiKeyIssued, SessionOpened),
    absent=NoSuchApiKey,
    parent=stream_of,
    version=4,
)
