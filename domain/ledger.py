"""What the ledger knows about an event besides the fact itself: its place, its time, and who caused it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from uuid import UUID

from domain.kernel import Event, Value

#: The workspace of things that belong to nobody, such as anonymous demos.
PUBLIC = "public"


class Authority(Value):
    """What somebody's right to ask was seen in: streams, each with the position of its newest event that was seen.

    `renew` looks again after one of them has grown: the authority as it is then, or the refusal of who has lost it.
    """

    relies_on: tuple[tuple[str, int], ...]
    renew: Callable[[], Awaitable[Authority]]


class Context(Value):
    """In whose name something is asked: it is written beside every event that follows from it.

    With an `authority` it is written only while that holds.
    """

    correlation_id: UUID
    causation_id: UUID | None = None
    workspace_id: str = PUBLIC
    actor: str = "system"
    authority: Authority | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody who is known asks."""
        return self.actor in ("anonymous", f"person:{PUBLIC}")


class Recorded(Value):
    """An event in its place in the ledger."""

    position: int
    stream: str
    version: int
    event_id: UUID
    name: str
    schema_version: int
    recorded_at: datetime
    workspace_id: str
    actor: str
    correlation_id: UUID
    causation_id: UUID | None
    event: Event
    #: The trace in which it happened, as W3C writes it; see `domain.tracing`.
    traceparent: str | None = None

    def context(self) -> Context:
        """The context of what follows from this event."""
        return Context(
            workspace_id=self.workspace_id,
            actor=self.actor,
            correlation_id=self.correlation_id,
            causation_id=self.event_id,
        )


class Unreadable(Value):
    """Stands where an event should be that this version of the software cannot read."""

    position: int
    stream: str
    version: int
    name: str
    problem: str


class History(Value):
    """The events of one stream, and the version of the last of them (0: there are none)."""

    events: Sequence[Event]
    version: int


class Change(Value):
    """New events for one stream, right after the version that was read; in the context's workspace, or in another."""

    stream: str
    after: int
    events: Sequence[Event]
    workspace_id: str | None = None


class StaleVersion(Exception):
    """Somebody else wrote to the stream between our reading and our writing."""


class AuthorityChanged(Exception):
    """What the right to ask was seen in has grown since: look again whether it is still there."""
