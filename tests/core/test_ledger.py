"""An acknowledged append is on disk, and whoever reads by position misses nothing, whatever goes on meanwhile."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.pq.abc import PGresult

from adapters.log.codec import EVENT_BYTES_MAX, EventIsTooLarge
from adapters.log.eventlog import BATCH_EVENTS_MAX, EventLog, LedgerUnavailable
from adapters.log.identifiers import uuid7
from adapters.log.recorder import WRITING
from adapters.postgres.prepared import PreparedStatement
from domain.ledger import Change, Context, Recorded, StaleVersion, Unreadable
from tests.core.conftest import House, eventually
from tests.core.orchard import TreePlanted, TreeWatered, context


async def tail(ledger: EventLog, stop: asyncio.Event, found: list[Recorded]) -> None:
    """Read by position like every subscription does, and stop once told so and at the end."""
    while True:
        last_look = stop.is_set()
        page = await ledger.page(found[-1].position if found else 0, 50)
        found += [each for each in page if isinstance(each, Recorded)]
        if last_look and not page:
            return
        await asyncio.sleep(0)


def assert_in_order(found: list[Recorded]) -> None:
    versions: dict[str, int] = defaultdict(int)
    for each in found:
        assert each.version == versions[each.stream] + 1
        versions[each.stream] = each.version
    positions = [each.position for each in found]
    assert positions == sorted(set(positions))


async def test_a_tailing_reader_misses_nothing_while_many_write_and_some_fail(house: House) -> None:
    stop = asyncio.Event()
    found: list[Recorded] = []
    reader = asyncio.create_task(tail(house.new_ledger(), stop, found))
    writers = [house.new_ledger() for _ in range(3)]
    acknowledged: set[tuple[str, int]] = set()
    chance = random.Random(7)

    async def write(number: int) -> None:
        ledger = writers[number % 3]
        for _ in range(25):
            # A few streams for many writers: most appends that meet are refused, and leave holes in the positions.
            stream = f"tree-{chance.randrange(12)}"
            history = await ledger.read(stream)
            events = [TreeWatered(tree_id=stream) for _ in range(chance.randrange(1, 4))]
            try:
                await ledger.append([Change(stream=stream, after=history.version, events=events)], context())
            except StaleVersion:
                continue
            acknowledged.update((stream, history.version + n) for n in range(1, len(events) + 1))

    await asyncio.gather(*(write(number) for number in range(24)))
    stop.set()
    await reader

    assert {(each.stream, each.version) for each in found} == acknowledged
    assert_in_order(found)
    drawn = (await house.fetch("SELECT last_value FROM ledger_events_notification_id_seq"))[0][0]
    assert drawn > len(found), "there were no aborted transactions in this run"


async def test_a_reader_waits_for_a_writer_that_holds_an_earlier_position(house: House) -> None:
    async with await psycopg.AsyncConnection.connect(house.url) as slow:
        await slow.execute(f"SELECT pg_advisory_xact_lock_shared({WRITING})")
        await slow.execute(
            "INSERT INTO ledger_events (originator_id, originator_version, topic, state) "
            "VALUES ('tree-slow', 1, 'core.TreePlanted', '{\"tree_id\": \"slow\"}')"
        )
        await house.record("tree-fast", TreePlanted(tree_id="fast"))
        reading = asyncio.create_task(house.everything())
        await eventually(lambda: _somebody_waits_for_the_lock(house))
        assert not reading.done()
        await slow.commit()

    assert [each.stream for each in await reading] == ["tree-slow", "tree-fast"]


async def test_a_reader_waits_for_an_append_that_is_held_up_in_the_middle(house: House) -> None:
    held_up = house.new_ledger()
    async with await psycopg.AsyncConnection.connect(house.url) as blocker:
        await blocker.execute(
            "INSERT INTO ledger_events (originator_id, originator_version, topic, state, notification_id) "
            "VALUES ('tree-b', 1, 'core.TreePlanted', '{}', 999999)"
        )
        changes = [Change(stream=f"tree-{n}", after=0, events=[TreePlanted(tree_id=n)]) for n in "ab"]
        appending = asyncio.create_task(held_up.append(changes, context()))
        await eventually(lambda: house.fetch("SELECT 1 FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted"))
        await house.record("tree-c", TreePlanted(tree_id="c"))
        reading = asyncio.create_task(house.everything())
        await eventually(lambda: _somebody_waits_for_the_lock(house))
        assert not reading.done()
        await blocker.rollback()

    assert await appending == 2
    assert [each.stream for each in await reading] == ["tree-a", "tree-b", "tree-c"]


async def test_a_reader_passes_a_hole_that_nobody_can_fill_any_more(house: House) -> None:
    await house.record("tree-1", TreePlanted(tree_id="1"))
    with pytest.raises(StaleVersion):
        await house.record("tree-1", TreePlanted(tree_id="1"), after=0)
    await house.record("tree-2", TreePlanted(tree_id="2"))

    assert [each.position for each in await house.everything()] == [1, 3]


async def _somebody_waits_for_the_lock(house: House) -> bool:
    return bool(await house.fetch("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))


async def test_writer_processes_together_lose_nothing_and_invert_nothing(house: House) -> None:
    script = Path(__file__).with_name("writer_process.py")
    writers = [
        await asyncio.create_subprocess_exec(
            sys.executable, str(script), house.url, str(number), cwd=Path(__file__).parents[2]
        )
        for number in range(2)
    ]
    stop = asyncio.Event()
    found: list[Recorded] = []
    reader = asyncio.create_task(tail(house.ledger, stop, found))
    assert [await writer.wait() for writer in writers] == [0, 0]
    stop.set()
    await reader

    count = (await house.fetch("SELECT count(*) FROM ledger_events"))[0][0]
    assert len(found) == count == 2 * 6 * 15 * 2
    assert_in_order(found)


async def test_an_append_over_several_streams_is_written_whole_or_not_at_all(house: House) -> None:
    await house.record("tree-b", TreePlanted(tree_id="b"))
    changes = [
        Change(stream="tree-a", after=0, events=[TreePlanted(tree_id="a")]),
        Change(stream="tree-b", after=0, events=[TreePlanted(tree_id="b")]),
    ]
    with pytest.raises(StaleVersion):
        await house.ledger.append(changes, context())

    assert (await house.ledger.read("tree-a")).version == 0


async def test_one_conflict_in_a_batch_does_not_hurt_its_neighbours(house: House) -> None:
    await house.record("tree-7", TreePlanted(tree_id="7"))

    answers = await asyncio.gather(
        *(house.record(f"tree-{n}", TreePlanted(tree_id=str(n)), after=0) for n in range(20)), return_exceptions=True
    )

    assert [n for n, answer in enumerate(answers) if isinstance(answer, StaleVersion)] == [7]
    assert len(await house.everything()) == 20


async def test_the_acknowledged_position_is_the_events_own(house: House) -> None:
    positions = await asyncio.gather(
        *(house.record(f"tree-{n}", *[TreeWatered(tree_id=str(n))] * (n % 3 + 1), after=0) for n in range(40))
    )

    last = {each.stream: each.position for each in await house.everything()}
    assert {f"tree-{n}": position for n, position in enumerate(positions)} == last


async def test_more_events_than_fit_one_transaction_are_still_written(house: House) -> None:
    events = [TreeWatered(tree_id="1")] * (BATCH_EVENTS_MAX // 2 + 1)
    await asyncio.gather(*(house.record(f"tree-{n}", *events, after=0) for n in range(3)))

    assert await house.ledger.head() == 3 * len(events)


async def test_an_event_that_no_message_could_carry_is_refused_at_once(house: House) -> None:
    with pytest.raises(EventIsTooLarge):
        await house.record("tree-1", TreePlanted(tree_id="x" * EVENT_BYTES_MAX))


async def test_the_envelope_is_in_columns(house: House) -> None:
    asked = Context(correlation_id=uuid4(), causation_id=uuid4(), workspace_id="w7", actor="ada")
    before = datetime.now(UTC)
    change = Change(stream="tree-1", after=0, events=[TreePlanted(tree_id="1")])
    position = await house.ledger.append([change], asked)

    [row] = await house.fetch(
        "SELECT notification_id, originator_id, originator_version, topic, schema_version, workspace_id, actor, "
        "correlation_id, causation_id FROM ledger_events"
    )
    assert row == (
        position, "tree-1", 1, "core.TreePlanted", 1, "w7", "ada", asked.correlation_id, asked.causation_id
    )  # fmt: skip
    [recorded] = await house.everything()
    assert recorded.event == TreePlanted(tree_id="1")
    assert abs((recorded.recorded_at - before).total_seconds()) < 60
    assert recorded.context().causation_id == recorded.event_id


def test_event_ids_are_version_7_uuids_in_order_of_time() -> None:
    ids = [UUID(bytes=uuid7(n * 1_000_000)) for n in range(1_700_000_000_000, 1_700_000_000_100)]

    assert ids == sorted(ids)
    assert {(each.version, each.variant) for each in ids} == {(7, "specified in RFC 4122")}
    assert ids[5].int >> 80 == 1_700_000_000_005


async def test_an_event_this_version_cannot_read_keeps_its_place_among_the_others(house: House) -> None:
    await house.record("tree-1", TreePlanted(tree_id="1"))
    await house.fetch(
        "INSERT INTO ledger_events (originator_id, originator_version, topic, state) "
        "VALUES ('tree-2', 1, 'core.TreeSungTo', '{}')"
    )
    page = await house.ledger.page(0, 10)

    assert isinstance(page[0], Recorded)
    assert isinstance(page[1], Unreadable)
    assert (page[1].position, page[1].stream, page[1].version) == (2, "tree-2", 1)


# --- lost connections ------------------------------------------------------------------------------------------------


async def test_ones_own_committed_write_is_not_reported_as_a_conflict(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = house.new_ledger()
    await ledger.append([Change(stream="tree-0", after=0, events=[TreePlanted(tree_id="0")])], context())
    run = PreparedStatement.run
    lost: list[PGresult] = []

    async def run_and_lose_the_answer(prepared: PreparedStatement, parameters: Sequence[bytes]) -> PGresult:
        result = await run(prepared, parameters)
        if not lost:
            lost.append(result)
            raise psycopg.OperationalError("the connection was lost after the commit")
        return result

    monkeypatch.setattr(PreparedStatement, "run", run_and_lose_the_answer)
    change = Change(stream="tree-1", after=0, events=[TreePlanted(tree_id="1"), TreeWatered(tree_id="1")])
    position = await ledger.append([change], context())

    assert lost
    found = await house.everything()
    assert [each.stream for each in found] == ["tree-0", "tree-1", "tree-1"]
    assert found[-1].position == position


async def test_a_sequence_set_back_by_a_restore_is_an_error_and_not_an_endless_loop(house: House) -> None:
    await house.record("tree-1", TreePlanted(tree_id="1"))
    await house.fetch("SELECT setval('ledger_events_notification_id_seq', 1, false)")

    with pytest.raises(psycopg.errors.UniqueViolation):
        await house.record("tree-2", TreePlanted(tree_id="2"))


async def test_killed_backends_double_nothing_and_lose_nothing(house: House) -> None:
    ledger = house.new_ledger()
    killing = True

    async def kill() -> None:
        async with await psycopg.AsyncConnection.connect(house.url, autocommit=True) as admin:
            while killing:
                await admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND query LIKE 'WITH writing%' AND pid <> pg_backend_pid() "
                    "OR datname = current_database() AND query LIKE 'WITH writing%'"
                )
                await asyncio.sleep(0.005)

    async def write(number: int) -> list[tuple[str, int]]:
        stream, written = f"tree-{number}", []
        for version in range(12):
            change = Change(stream=stream, after=version, events=[TreeWatered(tree_id=stream, litres=version)])
            written.append((stream, await ledger.append([change], context())))
        return written

    killer = asyncio.create_task(kill())
    written = await asyncio.gather(*(write(number) for number in range(8)))
    killing = False
    await killer

    found = await house.everything()
    assert sorted((each.stream, each.position) for each in found) == sorted(each for mine in written for each in mine)
    assert_in_order(found)


async def test_a_ledger_that_stays_away_is_unavailable_after_its_retry_window(house: House) -> None:
    ledger = EventLog("postgresql://nobody@127.0.0.1:1/none", house.pool, house.keys, retry_seconds=0.1)
    changes = [Change(stream="tree-1", after=0, events=[TreePlanted(tree_id="1")])]
    answers = await asyncio.gather(*(ledger.append(changes, context()) for _ in range(3)), return_exceptions=True)

    assert [type(answer) for answer in answers] == [LedgerUnavailable] * 3
    await ledger.close()


async def test_closing_finishes_what_has_been_begun(house: House) -> None:
    ledger = house.new_ledger()
    appends = [
        asyncio.create_task(
            ledger.append([Change(stream=f"t-{n}", after=0, events=[TreePlanted(tree_id="x")])], context())
        )
        for n in range(50)
    ]
    await asyncio.sleep(0)
    await ledger.close()

    async with asyncio.timeout(10):
        assert all(isinstance(position, int) for position in await asyncio.gather(*appends))


async def test_a_page_ends_where_it_has_become_large_and_none_is_left_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.log.eventlog.PAGE_BYTES_MAX", 1_000)
    for n in range(6):
        await house.record(f"tree-{n}", TreePlanted(tree_id=str(n), kind="x" * (2_000 if n == 3 else 400)))
    sizes, position = [], 0
    while page := await house.ledger.raw_page(position, 100):
        sizes.append(len(page))
        position = page[-1][0]

    assert sizes == [3, 1, 2]
    async with house.projecting():
        await house.caught_up()
    assert len(await house.documents()) == 6
