"""NATS carries events and is trusted with nothing: what it loses, doubles or mixes up changes no read model."""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
from typing import Any

import nats
import pytest
from msgspec import DecodeError, json
from nats.js.api import DiscardPolicy, RawStreamMsg, StreamConfig
from nats.js.errors import NotFoundError
from structlog.testing import capture_logs

from adapters.stream import relay as relays
from adapters.stream.bus import POSITION, PREVIOUS, Bus, decode_wire
from adapters.stream.feed import Feed
from adapters.stream.relay import OutOfStep, Relay
from domain.ledger import Recorded
from infra.embedded.nats import EmbeddedNats
from tests.core.conftest import House, eventually
from tests.core.orchard import PlantTree


async def plant(house: House, count: int, first: int = 0) -> None:
    await asyncio.gather(*(house.ask(PlantTree(tree_id=str(n))) for n in range(first, first + count)))


async def stored(house: House) -> list[RawStreamMsg]:
    """Every message in the stream, oldest first."""
    jetstream = house.bus.client.jetstream()
    info = await jetstream.stream_info(house.bus.stream)
    if not info.state.messages:
        return []
    return [
        await jetstream.get_msg(house.bus.stream, sequence)
        for sequence in range(info.state.first_seq, info.state.last_seq + 1)
    ]


async def the_stream_holds_the_ledger(house: House) -> bool:
    try:
        ids = [decode_wire(each.data or b"").id for each in await stored(house)]
    except (DecodeError, NotFoundError, nats.errors.Error, TimeoutError):
        return False
    return ids == [each.event_id for each in await house.everything()]


async def test_a_stream_that_takes_nothing_any_more_is_made_anew_and_it_is_said_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "STUCK_SECONDS_MAX", 0.3)
    full = StreamConfig(
        name=house.bus.stream,
        subjects=[house.bus.events],
        max_bytes=2_000,
        discard=DiscardPolicy.NEW,
        allow_direct=True,
    )
    await house.bus.client.jetstream().add_stream(full)
    with capture_logs() as lines:
        async with house.relaying():
            await plant(house, 30)
            await eventually(lambda: the_stream_holds_the_ledger(house))
            await eventually(lambda: any(line["event"] == "relay.recovered" for line in lines))

    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["relay.stuck"]


# --- the relay -------------------------------------------------------------------------------------------------------


async def test_the_stream_holds_every_event_once_in_order_and_names_its_predecessor(house: House) -> None:
    async with house.relaying():
        await plant(house, 30)
        await eventually(lambda: the_stream_holds_the_ledger(house))

    previous = 0
    for message, recorded in zip(await stored(house), await house.everything(), strict=True):
        headers = message.headers or {}
        assert message.subject == f"{house.prefix}.events.core.TreePlanted"
        assert (headers[POSITION], headers[PREVIOUS]) == (str(recorded.position), str(previous))
        wire = decode_wire(message.data or b"")
        assert (wire.workspace_id, wire.actor, wire.version) == ("w1", "tester", recorded.version)
        assert json.decode(wire.data) == {"tree_id": recorded.stream.removeprefix("tree-"), "kind": "apple"}
        previous = recorded.position


async def test_a_relay_goes_on_where_the_stream_ends(house: House) -> None:
    for number in range(3):
        await plant(house, 5, first=number * 5)
        async with house.relaying():
            await eventually(lambda: the_stream_holds_the_ledger(house))

    assert len(await stored(house)) == 15


async def test_only_one_of_two_relays_is_active_and_the_other_takes_over(house: House) -> None:
    async with house.relaying() as second:
        await eventually(lambda: second.is_active)
        async with house.relaying() as first:
            first_connection = await house.fetch(
                "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
                "WHERE locktype = 'advisory' AND datname = current_database()"
            )
            assert first_connection[0][0] == 1
            assert not first.is_active
            await plant(house, 5)
            await eventually(lambda: the_stream_holds_the_ledger(house))
            await house.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            await plant(house, 5, first=5)
            await eventually(lambda: the_stream_holds_the_ledger(house))
            await eventually(lambda: first.is_active or second.is_active)


async def test_a_relay_that_loses_postgres_leaves_the_stream_alone_and_stays_ready(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stands by, and loses its connection; then both do. Nothing of that is the stream's doing."""
    monkeypatch.setattr(relays, "STUCK_SECONDS_MAX", 0.0)
    asks = (
        "FROM pg_stat_activity WHERE datname = current_database() "
        "AND starts_with(query, 'SELECT pg_try_advisory_lock') "
        "AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
    )
    holds = (
        "FROM pg_locks WHERE locktype = 'advisory' AND granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with capture_logs() as lines:
        async with house.relaying() as first:
            await eventually(lambda: first.is_active)
            await plant(house, 3)
            await eventually(lambda: the_stream_holds_the_ledger(house))
            async with house.relaying() as second:
                await eventually(lambda: house.fetch(f"SELECT pg_terminate_backend(pid) {asks}"))
                await eventually(lambda: any(line["event"] == "relay.interrupted" for line in lines))
                await house.fetch(f"SELECT pg_terminate_backend(pid) {holds}")
                await eventually(lambda: first.is_active or second.is_active)
                await plant(house, 3, first=3)
                await eventually(lambda: the_stream_holds_the_ledger(house))
                assert first.is_ready
                assert second.is_ready

    assert not {"relay.stuck", "relay.stream_made_anew"} & {line["event"] for line in lines}


async def test_a_relay_that_slept_through_a_change_is_refused_by_the_server(house: House) -> None:
    await plant(house, 3)
    stale = Relay(house.ledger, house.bus, house.url)
    async with stale._acknowledgements():
        async with house.relaying():
            await eventually(lambda: the_stream_holds_the_ledger(house))
        await stale._resume()
        await plant(house, 3, first=3)
        async with house.relaying():
            await eventually(lambda: the_stream_holds_the_ledger(house))

        with pytest.raises(OutOfStep, match="wrong last sequence"):
            await stale._publish(await house.ledger.raw_page(stale.position, 100))

    assert await the_stream_holds_the_ledger(house)


async def test_a_later_message_of_a_page_does_not_slip_in_after_a_strangers(house: House) -> None:
    await plant(house, 4)
    relay = Relay(house.ledger, house.bus, house.url)
    async with relay._acknowledgements():
        await relay._resume()
        await _receive_a_stranger(house)
        with pytest.raises(OutOfStep, match="wrong last sequence"):
            await relay._publish(await house.ledger.raw_page(0, 100))
        await house.bus.client.flush()

    assert len(await stored(house)) == 1


async def _delete(house: House) -> None:
    await house.bus.client.jetstream().delete_stream(house.bus.stream)


async def _purge(house: House) -> None:
    await house.bus.client.jetstream().purge_stream(house.bus.stream)


async def _cut_off_the_beginning(house: House) -> None:
    await house.bus.client.jetstream().purge_stream(house.bus.stream, keep=4)


async def _lose_one_inside(house: House) -> None:
    await house.bus.client.jetstream().delete_msg(house.bus.stream, 5)


async def _lose_the_last(house: House) -> None:
    await house.bus.client.jetstream().delete_msg(house.bus.stream, 10)


async def _receive_a_stranger(house: House) -> None:
    await house.bus.client.jetstream().publish(f"{house.prefix}.events.core.TreeSungTo", b"{}")


async def _receive_an_echo(house: House) -> None:
    """A message of ours once more, from somebody who is not the relay."""
    jetstream = house.bus.client.jetstream()
    ours = await jetstream.get_msg(house.bus.stream, 3)
    assert ours.data is not None
    await jetstream.publish(f"{house.prefix}.events.core.TreePlanted", ours.data)


@pytest.mark.parametrize(
    "damage",
    [
        _delete, _purge, _cut_off_the_beginning, _lose_one_inside, _lose_the_last, _receive_a_stranger,
        _receive_an_echo,
    ],
)  # fmt: skip
async def test_a_damaged_stream_is_whole_again_with_nobody_doing_anything(house: House, damage: Any) -> None:
    async with house.relaying(), house.projecting():
        await plant(house, 10)
        await eventually(lambda: the_stream_holds_the_ledger(house))
        await damage(house)
        await plant(house, 2, first=10)
        await eventually(lambda: the_stream_holds_the_ledger(house))
        await house.caught_up()

    assert len(await house.documents()) == 12
    assert await house.sums() == {"trees": 12}


async def test_damage_done_while_nobody_looks_is_found_at_the_start(house: House) -> None:
    async with house.relaying():
        await plant(house, 10)
        await eventually(lambda: the_stream_holds_the_ledger(house))
    await _lose_one_inside(house)
    async with house.relaying():
        await eventually(lambda: the_stream_holds_the_ledger(house))


async def test_a_stream_of_another_ledger_is_not_continued(house: House) -> None:
    await plant(house, 5)
    async with house.relaying():
        await eventually(lambda: the_stream_holds_the_ledger(house))
    # As after a restore of the database alone: other events at the same positions.
    await house.fetch("TRUNCATE ledger_events RESTART IDENTITY")
    await plant(house, 2, first=100)
    async with house.relaying():
        await eventually(lambda: the_stream_holds_the_ledger(house))

    assert len(await stored(house)) == 2


async def test_nats_may_stop_lose_its_store_and_return_while_everything_runs(
    core_url: str, own_nats: EmbeddedNats
) -> None:
    async with House(core_url, own_nats.url, "own") as house, house.relaying(), house.projecting():
        await plant(house, 10)
        await eventually(lambda: the_stream_holds_the_ledger(house))

        own_nats.stop()
        await plant(house, 10, first=10)
        await house.caught_up()
        assert len(await house.documents()) == 20
        shutil.rmtree(own_nats.directory / "data")
        own_nats.start()

        await plant(house, 10, first=20)
        await eventually(lambda: the_stream_holds_the_ledger(house))
        await house.caught_up()
        assert len(await house.documents()) == 30
        assert await house.sums() == {"trees": 30}


# --- the feed --------------------------------------------------------------------------------------------------------


async def read_all(feed: Feed, head: int) -> list[Recorded]:
    found: list[Recorded] = []
    while not found or found[-1].position < head:
        page = await feed.next(found[-1].position if found else 0, 7)
        found += [each for each in page if isinstance(each, Recorded)]
    return found


@pytest.mark.parametrize("seed", range(5))
async def test_lost_doubled_and_mixed_up_messages_change_nothing(house: House, seed: int) -> None:
    await plant(house, 40)
    async with house.relaying():
        await eventually(lambda: the_stream_holds_the_ledger(house))
    messages = [each.data or b"" for each in await stored(house)]
    chance = random.Random(seed)
    delivered = [data for data in messages if chance.random() > 0.2]
    delivered += chance.choices(messages, k=15)
    for _ in range(10):
        here, there = chance.randrange(len(delivered)), chance.randrange(len(delivered))
        delivered[here], delivered[there] = delivered[there], delivered[here]

    feed = Feed(house.ledger, Bus("nats://127.0.0.1:1", "nowhere"))
    reading = asyncio.create_task(read_all(feed, await house.ledger.head()))
    for data in delivered:
        await feed._receive(data)
        if chance.random() < 0.3:
            await asyncio.sleep(0)

    assert await reading == await house.everything()


async def test_what_arrives_in_order_is_not_read_from_postgres(house: House) -> None:
    feed = Feed(house.ledger, house.bus)
    await feed.start()
    assert await feed.next(0, 10) == []
    async with house.relaying():
        await plant(house, 20)
        found = await read_all(feed, await house.ledger.head())

    assert found == await house.everything()
    assert (feed.from_nats, feed.from_postgres) == (20, 0)


async def test_messages_of_a_ledger_that_is_not_ours_do_not_keep_the_feed_busy(house: House) -> None:
    await plant(house, 3)
    async with house.relaying():
        await eventually(lambda: the_stream_holds_the_ledger(house))
    messages = await stored(house)
    feed = Feed(house.ledger, house.bus)
    await house.fetch("TRUNCATE ledger_events RESTART IDENTITY")
    for each in messages[1:]:
        await feed._receive(each.data or b"")

    assert await feed.next(0, 10) == []
    assert not feed._waiting


async def test_a_bus_handler_named_before_or_after_the_connection_hears_each_message_once(house: House) -> None:
    bus = Bus(house.nats_url, house.prefix)
    heard: list[bytes] = []
    count = itertools.count()

    async def hear(data: bytes) -> None:
        heard.append(data)

    def both_were_heard_after_ringing_again() -> bool:
        # A bell rung while a connection is being made again is lost, so it is rung until it is heard.
        for bell in ("early", "late"):
            house.bus.ring(bell, b"%s %d" % (bell.encode(), next(count)))
        return {each.split()[0] for each in heard} == {b"early", b"late"}

    await bus.on(f"{house.prefix}.early", hear)
    bus.start()
    try:
        assert await bus.connected(10)
        await bus.on(f"{house.prefix}.late", hear)
        await bus.client.flush()
        await eventually(both_were_heard_after_ringing_again)
        await bus.client.flush()
    finally:
        await bus.close()

    assert len(heard) == len(set(heard))


async def test_of_several_servers_one_that_is_there_is_taken(house: House) -> None:
    bus = Bus(f"nats://127.0.0.1:1, {house.nats_url},nats://127.0.0.1:2", house.prefix)
    bus.start()
    assert await bus.connected(20)
    heard: list[bytes] = []

    async def hear(data: bytes) -> None:
        heard.append(data)

    await bus.on(f"{bus.prefix}.bell", hear)

    def rung() -> bool:
        house.bus.ring("bell", b"1")  # one may be lost while the other side subscribes
        return bool(heard)

    await eventually(rung)
    await bus.close()


async def test_a_client_that_a_server_has_turned_away_is_followed_by_one_that_hears_the_same(house: House) -> None:
    bus = Bus(house.nats_url, house.prefix)
    heard: set[bytes] = set()

    async def hear(data: bytes) -> None:
        heard.add(data)

    await bus.on(f"{bus.prefix}.early", hear)
    bus.start()
    assert await bus.connected(20)
    await bus.on(f"{bus.prefix}.late", hear)
    for _ in range(2):
        heard.clear()
        first = bus.client
        await first._process_err("'Authorization Violation'")

        def rung() -> bool:
            for bell in ("early", "late"):
                house.bus.ring(bell, bell.encode())
            return heard == {b"early", b"late"}

        await eventually(rung)
        assert (first.is_closed, bus.is_connected) == (True, True)
    last = bus.client
    await bus.close()
    assert (last.is_closed, bus.client) == (True, last), "and none follows one that was told to end"
