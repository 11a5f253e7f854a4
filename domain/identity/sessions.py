"""A session: a person at work in one workspace. Only the digest of its token is ever written down."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec.structs import replace

from domain.kernel import Category, Event, NotFound, State, personal

Reason = Literal["logout", "revoked", "expired", "forgotten"]


class SessionOpened(Event):
    """A person has signed in, or changed to another workspace."""

    session_id: str
    person_id: str
    workspace_id: str
    digest: str
    opened_at: datetime
    expires_at: datetime
    user_agent: Annotated[str | None, personal("person_id")] = None
    #: For the how manieth time the person was a member when it was opened; old sessions do not say.
    membership: int = 1


class SessionClosed(Event):
    """The token opens nothing any more."""

    session_id: str
    digest: str
    closed_at: datetime
    reason: Reason = "logout"


class Session(State):
    """What rules need to know of a session."""

    person_id: str = ""
    workspace_id: str = ""
    digest: str = ""
    expires_at: datetime | None = None
    closed: bool = False


def evolve(session: Session, event: Event) -> Session:
    """A session after one more event."""
    match event:
        case SessionOpened():
            return Session(
                person_id=event.person_id,
                workspace_id=event.workspace_id,
                digest=event.digest,
                expires_at=event.expires_at,
            )
        case SessionClosed():
            return replace(session, closed=True)
    return session


class NoSuchSession(NotFound):
    """There is no such session."""


sessions = Category(name="session", initial=Session(), evolve=evolve, absent=NoSuchSession, remembered=True)
