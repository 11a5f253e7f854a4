"""Replaying published events to an endpoint: asked for, carried on in steps, ended."""

from __future__ import annotations

from datetime import datetime

from commands.kernel import Command, Transaction, handles
from domain.webhooks.endpoints import NoSuchEndpoint, endpoint_books
from domain.webhooks.replays import (
    REPLAYS_MAX,
    EndpointIsOff,
    OpenReplaysChanged,
    ReplayAdvanced,
    ReplayAsked,
    ReplayEnded,
    TooManyReplays,
    WhyReplayEnded,
    open_replays,
    replays,
)


class AskForReplay(Command):
    """Tell an endpoint the `events` of these types after one position and up to another; `again` what has arrived."""

    replay_id: str
    workspace_id: str
    endpoint_id: str
    after: int
    until: int
    event_types: tuple[str, ...]
    events: int
    again: bool = False


@handles(AskForReplay)
async def ask_for_replay(wish: AskForReplay, transaction: Transaction) -> None:
    """A replay is begun once, for an endpoint that is told anything at all, while there is room for it."""
    if (await transaction.expect_new(replays, wish.replay_id)).asked:
        return
    endpoint = (await transaction.find(endpoint_books, wish.workspace_id)).endpoints.get(wish.endpoint_id)
    if endpoint is None:
        raise NoSuchEndpoint
    if not endpoint.enabled:
        raise EndpointIsOff
    under_way = (await transaction.find(open_replays, wish.workspace_id)).replay_ids
    if len(under_way) >= REPLAYS_MAX:
        raise TooManyReplays(replays_max=REPLAYS_MAX)
    asked = ReplayAsked(
        replay_id=wish.replay_id,
        workspace_id=wish.workspace_id,
        endpoint_id=wish.endpoint_id,
        after=wish.after,
        until=wish.until,
        event_types=wish.event_types,
        events=wish.events,
        again=wish.again,
        asked_at=transaction.now,
    )
    transaction.record(replays, wish.replay_id, asked)
    _open(wish.workspace_id, (*under_way, wish.replay_id), transaction)


class AdvanceReplay(Command):
    """All after one position and up to another has been sent once; the numbers are those of `ReplayAdvanced`."""

    replay_id: str
    after: int
    position: int
    delivered: int
    failed: int
    skipped: int
    goes_on_at: datetime | None = None


@handles(AdvanceReplay)
async def advance(wish: AdvanceReplay, transaction: Transaction) -> None:
    """Each step is counted once; the one that comes to the end of the range ends the replay."""
    replay = await transaction.load(replays, wish.replay_id)
    if replay.is_over or replay.position != wish.after:
        return
    advanced = ReplayAdvanced(
        replay_id=wish.replay_id,
        position=wish.position,
        delivered=wish.delivered,
        failed=wish.failed,
        skipped=wish.skipped,
        advanced_at=transaction.now,
        goes_on_at=wish.goes_on_at,
    )
    transaction.record(replays, wish.replay_id, advanced)
    if wish.position >= replay.until:
        await _end(wish.replay_id, replay.workspace_id, "done", transaction)


class EndReplay(Command):
    """Send nothing more by it."""

    replay_id: str
    because: WhyReplayEnded


@handles(EndReplay)
async def end(wish: EndReplay, transaction: Transaction) -> None:
    """What is over stays as it is."""
    replay = await transaction.load(replays, wish.replay_id)
    if not replay.is_over:
        await _end(wish.replay_id, replay.workspace_id, wish.because, transaction)


async def _end(replay_id: str, workspace_id: str, because: WhyReplayEnded, transaction: Transaction) -> None:
    transaction.record(replays, replay_id, ReplayEnded(replay_id=replay_id, because=because, ended_at=transaction.now))
    under_way = (await transaction.find(open_replays, workspace_id)).replay_ids
    _open(workspace_id, tuple(each for each in under_way if each != replay_id), transaction)


def _open(workspace_id: str, replay_ids: tuple[str, ...], transaction: Transaction) -> None:
    changed = OpenReplaysChanged(workspace_id=workspace_id, replay_ids=replay_ids, changed_at=transaction.now)
    transaction.record(open_replays, workspace_id, changed)
