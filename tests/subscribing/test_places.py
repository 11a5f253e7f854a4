"""The places of readers in a stream of NATS that may be stopped, wiped and cut at any time."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from msgspec import json
from nats.errors import TimeoutError as NothingCame
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo
from nats.js.errors import NotFoundError

from adapters.operators import streamed
from adapters.operators.status import status
from adapters.operators.streamed import check_published
from adapters.published import Envelopes
from adapters.storage.blobs import Blobs
from adapters.stream import relay as relay_module
from adapters.subscribing import publishing as publishing_module
from adapters.subscribing.publishing import Publisher
from adapters.subscribing.readers import Readers
from commands.subscribing.consumers import MakeConsumer, RemoveConsumer
from domain.webhooks.endpoints import EndpointRegistered, EndpointRemoved
from infra.embedded.nats import EmbeddedNats
from projections.subscribing.consumers import nats_consumers
from tests.core.conftest import House, core_url, eventually, house, own_nats
from tests.core.orchard import NOW

__all__ = ["core_url", "house", "own_nats"]

PUBLISHED = "webhooks.EndpointRegistered"


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing is waited for that comes by itself."""
    monkeypatch.setattr(publishing_module, "KEEP_SECONDS", 0.03)
    monkeypatch.setattr(relay_module, "UNWANTED_SECONDS", 0.03)
    monkeypatch.setattr(relay_module, "VERIFY_SECONDS", 0.05)


async def register(house: House, *names: str, workspace_id: str = "w1") -> None:
    """An endpoint of each name is registered."""
    events = [
        EndpointRegistered(
            endpoint_id=name,
            workspace_id=workspace_id,
            url="https://example.com",
            secret_id=name,
            registered_at=NOW,
        )
        for name in names
    ]
    await house.record(f"endpoints-{workspace_id}", *events, workspace_id=workspace_id)


@asynccontextmanager
async def publishing(house: House, **options: Any) -> AsyncIterator[Publisher]:
    publisher = Publisher(
        house.new_ledger(), await house.new_bus(), house.pool, Envelopes("https://ledger.example"), house.url, **options
    )
    async with house.running(publisher.run):
        yield publisher


def projecting(house: House) -> Any:
    return house.projecting([nats_consumers], [])


def stream(house: House) -> str:
    return f"{house.prefix.upper()}-PUBLISHED"


async def place(house: House, consumer_id: str = "con-1", workspace_id: str = "w1", **wish: Any) -> None:
    """A consumer that is made, and there."""
    await house.ask(MakeConsumer(consumer_id=consumer_id, workspace_id=workspace_id, name="It", **wish), workspace_id)
    await eventually(lambda: info(house, consumer_id))


async def info(house: House, consumer_id: str = "con-1") -> ConsumerInfo | None:
    try:
        found: ConsumerInfo = await house.bus.client.jetstream().consumer_info(stream(house), consumer_id)
    except NotFoundError:
        return None
    return found


async def read(house: House, count: int, consumer_id: str = "con-1") -> list[str]:
    """The endpoints in the next so many events, each acknowledged, and the place written down."""
    subscription = await house.bus.client.jetstream().pull_subscribe_bind(consumer=consumer_id, stream=stream(house))
    found: list[Any] = []
    while len(found) < count:
        messages = await subscription.fetch(count - len(found), timeout=20)
        for message in messages:
            await message.ack_sync(timeout=10)
        found += [json.decode(each.data) for each in messages]
    await subscription.unsubscribe()
    last = int(found[-1]["sequence"])
    rows = "SELECT 1 FROM nats_positions WHERE consumer_id = %s AND position >= %s"
    await eventually(lambda: house.fetch(rows, consumer_id, last))
    return [each["data"]["endpoint_id"] for each in found]


async def nothing_more(house: House) -> bool:
    subscription = await house.bus.client.jetstream().pull_subscribe_bind(consumer="con-1", stream=stream(house))
    try:
        await subscription.fetch(1, timeout=0.3)
    except NothingCame:
        return True
    finally:
        await subscription.unsubscribe()
    return False


async def test_nothing_is_published_before_somebody_reads_and_then_all_of_the_past(house: House) -> None:
    await register(house, "a", "b")
    async with projecting(house), publishing(house):
        await house.caught_up("jobs")
        with pytest.raises(NotFoundError):
            await house.bus.client.jetstream().stream_info(stream(house))
        await place(house)
        assert await read(house, 2) == ["a", "b"]


async def test_a_wiped_nats_is_filled_again_and_nobody_is_told_again_what_they_have_acknowledged(
    core_url: str, own_nats: EmbeddedNats
) -> None:
    async with House(core_url, own_nats.url, "own") as house, projecting(house), publishing(house):
        await register(house, *"abcd")
        await place(house)
        assert await read(house, 2) == ["a", "b"]

        own_nats.stop()
        await register(house, "e")
        shutil.rmtree(own_nats.directory / "data")
        own_nats.start()

        await eventually(lambda: house.bus.is_connected)
        await eventually(lambda: info(house))
        assert await read(house, 3) == ["c", "d", "e"]
        assert (await house.bus.client.jetstream().stream_info(stream(house))).state.messages == 5


async def _delete(house: House) -> None:
    await house.bus.client.jetstream().delete_stream(stream(house))


async def _lose_one_inside(house: House) -> None:
    await house.bus.client.jetstream().delete_msg(stream(house), 3)


async def _receive_a_stranger(house: House) -> None:
    await house.bus.client.jetstream().publish(f"{house.prefix}-published.w1.webhooks.EndpointRegistered", b"{}")


@pytest.mark.parametrize("damage", [_delete, _lose_one_inside, _receive_a_stranger])
async def test_a_damaged_stream_begins_anew_and_each_place_is_where_it_was(house: House, damage: Any) -> None:
    async with projecting(house), publishing(house):
        await register(house, *"abcd")
        await place(house)
        assert await read(house, 2) == ["a", "b"]
        before = (await house.bus.client.jetstream().stream_info(stream(house))).created
        await damage(house)
        await register(house, "e")

        async def is_new() -> bool:
            try:
                now = await house.bus.client.jetstream().stream_info(stream(house))
            except NotFoundError:
                return False
            return now.created != before and now.state.messages == 5 and await info(house) is not None

        await eventually(is_new)
        assert await read(house, 3) == ["c", "d", "e"]


async def test_when_a_publisher_is_killed_another_one_goes_on(house: House) -> None:
    await register(house, *(f"{number}" for number in range(2_500)))
    near_the_end = await house.ledger.head() - 3
    async with projecting(house):
        first = Publisher(
            house.new_ledger(), await house.new_bus(), house.pool, Envelopes("https://ledger.example"), house.url
        )
        task = asyncio.create_task(first.run(asyncio.Event()))
        made = MakeConsumer(consumer_id="con-1", workspace_id="w1", name="It", after=near_the_end)
        await house.ask(made)

        async def messages() -> int:
            try:
                return int((await house.bus.client.jetstream().stream_info(stream(house))).state.messages)
            except NotFoundError:
                return 0

        await eventually(messages)
        # Once is not enough: until Python 3.12 `wait_for` loses a cancellation that comes with its answer.
        await eventually(lambda: task.cancel() is False)
        async with publishing(house):
            await register(house, "last")
            await eventually(lambda: info(house))
            assert await read(house, 4) == ["2497", "2498", "2499", "last"]
        assert await messages() == 2_501


async def test_a_reader_is_given_the_types_they_chose_after_the_position_they_chose(house: House) -> None:
    await register(house, "a", "b")
    after = await house.ledger.head()
    async with projecting(house), publishing(house):
        await place(house, event_types=(PUBLISHED,), after=after)
        removed = EndpointRemoved(endpoint_id="a", workspace_id="w1", removed_at=NOW)
        await house.record("endpoints-w1", removed)
        await register(house, "x", workspace_id="w2")
        await register(house, "c")
        assert await read(house, 1) == ["c"]
        assert await nothing_more(house)


async def test_a_consumer_that_is_removed_is_gone_from_nats_and_whoever_looks_at_the_stream_is_not(
    house: House,
) -> None:
    async with projecting(house), publishing(house):
        await register(house, "a")
        await place(house)
        await place(house, "con-2")
        passing = ConsumerConfig(ack_policy=AckPolicy.NONE, inactive_threshold=60.0, mem_storage=True)
        looking = await house.bus.client.jetstream().pull_subscribe(">", stream=stream(house), config=passing)
        await house.ask(RemoveConsumer(consumer_id="con-1", workspace_id="w1"))

        async def is_gone() -> bool:
            return await info(house) is None

        await eventually(is_gone)
        # Another one is made in a later round, in which every one of this round has been dealt with.
        await place(house, "con-3")
        assert await read(house, 1, "con-2") == ["a"]
        assert len(await looking.fetch(1, timeout=20)) == 1


# --- what operators see of it


async def _said(house: House) -> list[tuple[str, Any]]:
    found = await check_published(
        house.ledger, house.bus, house.pool, Envelopes("https://elsewhere.example"), Readers(house.pool, house.bus)
    )
    return [(each.kind, each.subject or each.position) for each in found.findings]


async def _alter(house: House) -> None:
    await house.fetch("UPDATE ledger_events SET actor = 'x' WHERE notification_id = 2")


async def _alter_what_is_told(house: House) -> None:
    await house.fetch(
        "UPDATE ledger_events SET state = convert_to(replace(convert_from(state, 'UTF8'), '20', '19'), 'UTF8') "
        "WHERE notification_id = 2"
    )


async def _remove_the_reader(house: House) -> None:
    await house.bus.client.jetstream().delete_consumer(stream(house), "con-1")


async def _happen(house: House) -> None:
    await register(house, "e")


DAMAGES = {
    _delete: ("stream_missing", None),
    _lose_one_inside: ("message_missing", 3),
    _receive_a_stranger: ("message_differs", 0),
    _alter: ("message_differs", 2),
    _alter_what_is_told: ("message_differs", 2),
    _remove_the_reader: ("consumer_missing", "con-1"),
    _happen: ("stream_behind", 4),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_what_the_stream_does_not_hold_is_named_and_is_there_once_it_is_filled_again(
    house: House, damage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed, "CARRIED_SECONDS_MAX", 0.2)
    await register(house, *"abcd")
    async with projecting(house):
        assert await _said(house) == []
        async with publishing(house):
            await place(house)
            assert await read(house, 4) == list("abcd")
        assert await _said(house) == []
        await damage(house)
        named = await _said(house)
        assert named[0] == DAMAGES[damage]
        with suppress(NotFoundError):
            await _delete(house)
        async with publishing(house):
            monkeypatch.setattr(streamed, "CARRIED_SECONDS_MAX", 20.0)
            assert await _said(house) == []


async def test_who_publishes_is_shown_with_how_far_it_is_where_somebody_reads(house: House) -> None:
    nowhere = Blobs("http://127.0.0.1:1", access_key="a", secret_key="b", bucket="c")

    async def shown() -> list[tuple[int, int, bool]]:
        async with house.pool.connection() as connection:
            found = await status(connection, house.bus, nowhere)
        behind = any("The relay published is" in each for each in found.problems)
        return [(each.position, each.behind_events, behind) for each in found.followers if each.name == "published"]

    async def is_shown(expected: tuple[int, int, bool]) -> bool:
        return await shown() == [expected]

    await register(house, *"ab")
    async with projecting(house):
        await house.caught_up("jobs")
        assert await shown() == []
        async with publishing(house):
            await place(house)
            head = await house.ledger.head()
            await eventually(lambda: is_shown((head, 0, False)))
        await register(house, "c")
        await house.fetch("UPDATE ledger_events SET recorded_at = now() - interval '90 seconds'")
        assert await shown() == [(head, 1, True)]
    await nowhere.close()
