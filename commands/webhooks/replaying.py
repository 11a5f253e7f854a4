"""What follows from a replay that was asked for: a few events at a time are sent, until the end of its range.

Each event is sent here for the first time, in places of its own, so that a replay of whatever length takes none from
what happens now; what fails is tried again as every delivery is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Literal

from msgspec.structs import replace

from commands.kernel import Queue, derived_id, reacts_to
from commands.ports import PublishedEvent
from commands.webhooks.deliveries import delivery_of_event
from commands.webhooks.ports import Ports
from commands.webhooks.replays import AdvanceReplay, EndReplay
from commands.webhooks.sending import Outcome, send
from commands.webhooks.settings import Webhooks
from domain.kernel import Event
from domain.ledger import Recorded
from domain.webhooks.deliveries import DeliveryInProgress, deliveries
from domain.webhooks.endpoints import Endpoint, endpoint_books
from domain.webhooks.replays import Replay, ReplayAdvanced, ReplayAsked, replays

#: Events of one step, and how many of them are sent at a time.
STEP_EVENTS = 32
SENDERS = 4

REPLAYS = Queue(
    "replays",
    concurrency=8,
    timeout=lambda settings: STEP_EVENTS / SENDERS * settings[Webhooks].webhook_seconds_max + 30.0,
)


async def _cannot_go_on(recorded: Recorded, ports: Ports, why: str) -> None:
    del why  # which is in the log of the process, for the operator
    event = recorded.event
    assert isinstance(event, ReplayAsked | ReplayAdvanced)
    await ports.execute(EndReplay(replay_id=event.replay_id, because="failed"), recorded.context())


def _due(event: Event) -> datetime | None:
    return event.goes_on_at if isinstance(event, ReplayAdvanced) else None


@reacts_to(ReplayAsked, ReplayAdvanced, name="replay-events", queue=REPLAYS, due=_due, gives_up=_cannot_go_on)
async def replay_events(recorded: Recorded, ports: Ports) -> None:
    """Send the next few events, and say how far the replay is; where nothing arrives, it goes on later and later."""
    event = recorded.event
    assert isinstance(event, ReplayAsked | ReplayAdvanced)
    replay = await ports.log.state(replays, event.replay_id)
    if replay.is_over or replay.position != (event.after if isinstance(event, ReplayAsked) else event.position):
        return
    book = await ports.log.state(endpoint_books, replay.workspace_id)
    endpoint = book.endpoints.get(replay.endpoint_id)
    if endpoint is None or not endpoint.enabled:
        because: Literal["removed", "disabled"] = "removed" if endpoint is None else "disabled"
        await ports.execute(EndReplay(replay_id=event.replay_id, because=because), recorded.context())
        return
    found = await ports.published.between(
        replay.workspace_id, replay.position, replay.until, replay.event_types, STEP_EVENTS
    )
    places = asyncio.Semaphore(SENDERS)

    async def tell(told: PublishedEvent) -> Outcome:
        async with places:
            return await _tell(told, event.replay_id, replay, endpoint, recorded, ports)

    came = Counter(await asyncio.gather(*(tell(each) for each in found)))
    waits = ports.settings.webhook_retry_seconds
    nothing_arrived = came["failed"] > 0 and not came["delivered"]
    await ports.execute(
        AdvanceReplay(
            replay_id=event.replay_id,
            after=replay.position,
            position=found[-1].position if len(found) == STEP_EVENTS else replay.until,
            delivered=came["delivered"],
            failed=came["failed"],
            skipped=came["skipped"],
            goes_on_at=ports.now() + timedelta(seconds=waits[min(replay.failures, len(waits) - 1)])
            if nothing_arrived
            else None,
        ),
        recorded.context(),
    )


async def _tell(
    told: PublishedEvent, replay_id: str, replay: Replay, endpoint: Endpoint, recorded: Recorded, ports: Ports
) -> Outcome:
    """Send an event unless that is done, or done by somebody else; a message has one id, however often it is sent."""
    if (await ports.log.state(replays, replay_id)).is_over:
        return "skipped"
    wish = delivery_of_event(told, replay.workspace_id, replay.endpoint_id, endpoint.url)
    before = await ports.log.state(deliveries, wish.delivery_id)
    is_given_up = before.given_up and before.replay_id != replay_id
    if before.queued and before.replay_id != replay_id and not is_given_up:
        if not before.delivered or not replay.again or before.body is None:
            return "skipped"
        wish = replace(
            wish,
            delivery_id=derived_id("replay", replay_id, wish.delivery_id),
            body=before.body,
            message_id=f"msg_{wish.delivery_id}",
        )
        before = await ports.log.state(deliveries, wish.delivery_id)
    if before.replay_id == replay_id and before.attempts:
        # This step was begun before, by a process that is no more.
        return "delivered" if before.delivered else "failed"
    await ports.execute(replace(wish, replay_id=replay_id), recorded.context())
    try:
        return await send(
            wish.delivery_id,
            ports,
            recorded.context(),
            sender=f"replay-{replay_id}",
            attempt=None if is_given_up else 1,
            force=is_given_up,
        )
    except DeliveryInProgress:
        return "skipped"
