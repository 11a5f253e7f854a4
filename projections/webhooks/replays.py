"""A replay as it is shown: what was asked for, how far it is, and how it ended."""

from __future__ import annotations

from typing import Any, Literal

from msgspec.structs import replace

from domain.kernel import Event
from domain.webhooks.replays import NoSuchReplay, ReplayAdvanced, ReplayAsked, ReplayEnded, WhyReplayEnded
from projections.kernel import Document, Projection, projection, seconds


class ReplayView(Document):
    """A replay of published events to an endpoint: those of `event_types` after `after` and up to `until`.

    Of its `events` so many have been `delivered`, have `failed` (and are tried again as every delivery is), or were
    `skipped`: they had arrived before, or are on their way. It is done with everything up to `position`. While it is
    `running` and nothing arrives, `goes_on_at` says when the next try is.
    """

    id: str
    endpoint_id: str
    status: Literal["running"] | WhyReplayEnded
    after: int
    until: int
    event_types: tuple[str, ...]
    only: Literal["missed", "all"]
    events: int
    position: int
    created_at: str
    delivered: int = 0
    failed: int = 0
    skipped: int = 0
    goes_on_at: str | None = None
    ended_at: str | None = None


def evolve(replay: ReplayView | None, event: Event) -> ReplayView | None:
    """The replay after one more event."""
    match replay, event:
        case _, ReplayAsked():
            return ReplayView(
                id=event.replay_id,
                endpoint_id=event.endpoint_id,
                status="running",
                after=event.after,
                until=event.until,
                event_types=event.event_types,
                only="all" if event.again else "missed",
                events=event.events,
                position=event.after,
                created_at=seconds(event.asked_at),
            )
        case ReplayView(), ReplayAdvanced():
            return replace(
                replay,
                position=event.position,
                delivered=replay.delivered + event.delivered,
                failed=replay.failed + event.failed,
                skipped=replay.skipped + event.skipped,
                goes_on_at=None if event.goes_on_at is None else seconds(event.goes_on_at),
            )
        case ReplayView(), ReplayEnded():
            return replace(replay, status=event.because, ended_at=seconds(event.ended_at), goes_on_at=None)
    return replay


webhook_replays: Projection[Any] = projection(
    "webhook_replays",
    ReplayView,
    on={ReplayAsked: "replay_id", ReplayAdvanced: "replay_id", ReplayEnded: "replay_id"},
    evolve=evolve,
    begins=(ReplayAsked,),
    absent=NoSuchReplay,
    parent=lambda replay: replay.endpoint_id,
    stream="webhookreplay",
)
