"""Replays: published events of a range of the log, told to an endpoint once more, or for the first time.

A replay has a stream of its own. Which of them are open in a workspace stands in one more, so that there are never too
many, however many ask at once.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from msgspec.structs import replace

from domain.kernel import Category, Conflict, Event, Invalid, NotFound, State

#: So many replays of a workspace are open at once.
REPLAYS_MAX = 5
#: And so many events are in one of them.
EVENTS_MAX = 100_000

#: Why a replay is over: all is told, somebody ended it, its endpoint is off or away, or it could not go on.
WhyReplayEnded = Literal["done", "cancelled", "disabled", "removed", "failed"]


class ReplayAsked(Event):
    """An endpoint is to be told what happened after one position and up to another; `again` what has arrived, too.

    `event_types` are types of published events, and `events` is how many of these there are in the range.
    """

    target: ClassVar[str] = "webhook_replay"

    replay_id: str
    workspace_id: str
    endpoint_id: str
    after: int
    until: int
    event_types: tuple[str, ...]
    events: int
    asked_at: datetime
    again: bool = False


class ReplayAdvanced(Event):
    """All up to a position has been sent once, or need not be; the next of them are sent when it is time.

    `delivered`, `failed` and `skipped` are numbers of events since the last position. What failed is tried again by
    itself, as every delivery is.
    """

    target: ClassVar[str] = "webhook_replay"

    replay_id: str
    position: int
    delivered: int
    failed: int
    skipped: int
    advanced_at: datetime
    goes_on_at: datetime | None = None


class ReplayEnded(Event):
    """Nothing more is sent by it, and why."""

    target: ClassVar[str] = "webhook_replay"

    replay_id: str
    because: WhyReplayEnded
    ended_at: datetime


class OpenReplaysChanged(Event):
    """These replays of a workspace are open now."""

    target: ClassVar[str] = "workspace"

    workspace_id: str
    replay_ids: tuple[str, ...]
    changed_at: datetime


class Replay(State):
    """What rules need to know of a replay; `failures` is how many times in a row nothing arrived."""

    workspace_id: str = ""
    endpoint_id: str = ""
    position: int = 0
    until: int = 0
    event_types: tuple[str, ...] = ()
    again: bool = False
    failures: int = 0
    asked: bool = False
    is_over: bool = False


def evolve(replay: Replay, event: Event) -> Replay:
    """A replay after one more event."""
    match event:
        case ReplayAsked():
            return Replay(
                workspace_id=event.workspace_id,
                endpoint_id=event.endpoint_id,
                position=event.after,
                until=event.until,
                event_types=event.event_types,
                again=event.again,
                asked=True,
            )
        case ReplayAdvanced():
            nothing_arrived = event.failed > 0 and not event.delivered
            return replace(replay, position=event.position, failures=replay.failures + 1 if nothing_arrived else 0)
        case ReplayEnded():
            return replace(replay, is_over=True)
    return replay


class OpenReplays(State):
    """The ids of the replays of a workspace that are open, oldest first."""

    replay_ids: tuple[str, ...] = ()


def opened(_: OpenReplays, event: Event) -> OpenReplays:
    """Those that are open after one more event."""
    return open_by(event) or OpenReplays()


def open_by(event: Event) -> OpenReplays | None:
    """What the newest event says of all before it."""
    match event:
        case OpenReplaysChanged():
            return OpenReplays(replay_ids=event.replay_ids)
    return None


class NoSuchReplay(NotFound):
    """There is no such replay."""


class TooManyReplays(Conflict):
    """{replays_max} replays of this workspace are under way. Wait for one of them, or cancel it."""


class EndpointIsOff(Conflict):
    """This endpoint is disabled, so nothing is sent to it. Enable it first."""


class TooManyEvents(Invalid):
    """There are more than {events_max} events in this range. Ask for a shorter one, or for fewer types."""


class NothingChosen(Invalid):
    """This endpoint has chosen no published events. Say in `event_types` which ones to replay."""


replays = Category(name="webhookreplay", initial=Replay(), evolve=evolve, absent=NoSuchReplay)
open_replays = Category(name="openreplays", initial=OpenReplays(), evolve=opened, snapshot=open_by)
