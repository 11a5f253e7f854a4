"""Everything that happens in a workspace, in order, for systems that follow it: read on from the last position."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from adapters.readmodels.audit import Entry
from api.audit.events import UNREADABLE
from api.audit.ports import Ports
from api.auth import Asker, needs, still
from domain.vocabulary import parted
from projections.audit.actions import action_of, particulars, target_of
from projections.kernel import seconds

EVENTS_MAX = 1_000
WAIT_SECONDS_MAX = 15


class FeedEvent(Struct):
    """One event; `data` has its facts but for those that say who somebody is, or says that it is `unreadable`."""

    id: str
    position: int
    type: str
    name: str
    created_at: str
    actor: str
    correlation_id: str
    causation_id: str | None
    target_type: str
    target_id: str
    data: dict[str, Any]


class Feed(Struct):
    """Events in their order, and the position after which to go on; none will ever appear before it."""

    events: list[FeedEvent]
    next: int


@get("/v1/events", tags=["platform"], opt={**needs("events:read", "admin"), "statuses": ("409",)})
async def follow_events(
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    after: Annotated[
        int, QueryParameter(ge=0, le=2**62, description="Go on after this position: the `next` of the answer before")
    ] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=EVENTS_MAX, description="How many at most")] = 100,
    wait: Annotated[
        int, QueryParameter(ge=0, le=WAIT_SECONDS_MAX, description="How many seconds to wait when there is nothing new")
    ] = 0,
) -> Feed:
    """Follow what happens in the workspace: each event once, in order, however long ago it happened."""
    entries, going_on = await ports.audit.follow(asker.workspace_id, after, limit, wait)
    if wait:
        # What has happened meanwhile may be that whoever waits may not follow any more.
        await still(asker)
    return Feed(events=[_told(each) for each in entries], next=going_on)


def _told(entry: Entry) -> FeedEvent:
    target_type, target_id = parted(entry.stream)
    data = dict(UNREADABLE)
    if entry.event is not None:
        target_type, target_id = target_of(entry.event)
        data = particulars(entry.event)
    return FeedEvent(
        id=str(entry.event_id),
        position=entry.position,
        type=action_of(entry.name),
        name=entry.name,
        created_at=seconds(entry.recorded_at),
        actor=entry.actor,
        correlation_id=str(entry.correlation_id),
        causation_id=None if entry.causation_id is None else str(entry.causation_id),
        target_type=target_type,
        target_id=target_id,
        data=data,
    )
