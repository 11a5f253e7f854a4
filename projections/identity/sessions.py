"""The open sessions of a person."""

from __future__ import annotations

from typing import Any

from domain.identity.sessions import NoSuchSession, SessionClosed, SessionOpened
from domain.kernel import Event
from projections.kernel import Document, Projection, projection, seconds


class Session(Document):
    """One of the places where a person is signed in."""

    id: str
    workspace_id: str
    user_id: str
    created_at: str
    expires_at: str
    user_agent: str | None = None


def evolve(session: Session | None, event: Event) -> Session | None:
    """The session after one more event; a closed one is not kept."""
    match event:
        case SessionOpened():
            return Session(
                id=event.session_id,
                workspace_id=event.workspace_id,
                user_id=event.person_id,
                created_at=seconds(event.opened_at),
                expires_at=seconds(event.expires_at),
                user_agent=event.user_agent,
            )
        case SessionClosed():
            return None
    return session


sessions: Projection[Any] = projection(
    "sessions",
    Session,
    on={
        SessionOpened: "session_id",
        SessionClosed: "session_id",
    },
    evolve=evolve,
    begins=(SessionOpened,),
    absent=NoSuchSession,
    parent=lambda session: session.user_id,
    stream="session",
    version=2,
)
