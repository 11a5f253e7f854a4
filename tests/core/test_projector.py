"""Read models and their positions move together: every event counts exactly once, and a bad one stands alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from types import NoneType
from typing import Any

import psycopg
import pytest
from msgspec import json

from adapters.operators import parked
from adapters.operators import parked as operators
from adapters.operators.parked import Done, Filter
from adapters.readmodels import projector as projectors
from adapters.readmodels.projector import CODE_VERSION, Checkpoint, CheckpointConflict, Subscription, request_rebuild
from adapters.readmodels.writers import DocumentWriter, TallyWriter
from domain.identity.workspaces import WorkspaceForgotten
from tests.core.conftest import House, eventually
from tests.core.orchard import (
    NOW,
    Diary,
    PlantTree,
    TreeCursed,
    TreeFelled,
    TreePlanted,
    TreeView,
    TreeWatered,
    WaterTree,
    figures,
    forest,
    show,
)


async def assert_views_equal_a_replay(house: House) -> None:
    """Compare what is stored with folds written apart from the projector."""
    trees: dict[str, TreeView | None] = {}
    sums: dict[str, int] = {}
    for each in await house.everything():
        identity = each.stream.removeprefix("tree-")
        trees[identity] = show(trees.get(identity), each.event)
        match each.event:
            case TreePlanted():
                sums["trees"] = sums.get("trees", 0) + 1
            case TreeWatered(litres=litres):
                for key in ("litres", f"litres/{identity}"):
                    sums[key] = sums.get(key, 0) + litres
    assert await house.documents() == {key: json.encode(tree) for key, tree in trees.items() if tree}
    assert await house.sums() == sums


async def gardening(house: House, rounds: int = 60, seed: int = 1) -> None:
    chance = random.Random(seed)

    async def garden(tree_id: str) -> None:
        await house.ask(PlantTree(tree_id=tree_id))
        for _ in range(chance.randrange(4)):
            await house.ask(WaterTree(tree_id=tree_id, litres=chance.randrange(1, 9)))
        if chance.random() < 0.1:
            await house.record(f"tree-{tree_id}", TreeFelled(tree_id=tree_id))

    await asyncio.gather(*(garden(f"{seed}-{n}") for n in range(rounds)))


async def test_documents_and_sums_equal_a_replay(house: House) -> None:
    async with house.relaying(), house.projecting():
        await gardening(house)
        await house.caught_up()

    await assert_views_equal_a_replay(house)


async def test_competing_projectors_count_everything_once(house: House) -> None:
    buses = [await house.new_bus() for _ in range(3)]
    async with (
        house.relaying(),
        house.projecting(bus=buses[0]),
        house.projecting(bus=buses[1]),
        house.projecting(bus=buses[2]),
    ):
        for seed in range(3):
            await gardening(house, 20, seed)
        await house.caught_up()

    await assert_views_equal_a_replay(house)


async def test_a_projector_killed_in_the_middle_of_a_page_counts_nothing_twice(house: House) -> None:
    await gardening(house)
    for _ in range(2):
        projector = await house.new_projector()
        subscription = await projector._live()
        subscription._advance = _die  # type: ignore[method-assign]
        with pytest.raises(ConnectionResetError):
            await subscription.absorb(await house.ledger.page(subscription.position, 30))
    async with house.projecting():
        await house.caught_up()

    await assert_views_equal_a_replay(house)


async def _die(connection: object, end: int) -> None:
    raise ConnectionResetError


async def test_what_was_folded_in_a_transaction_that_failed_is_forgotten(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gardening(house, 10)
    subscription = await (await house.new_projector())._live()
    page = await house.ledger.page(0, 1000)
    await subscription.absorb(page[:5])
    count = TallyWriter.absorb
    monkeypatch.setattr(TallyWriter, "absorb", _lose_the_connection)
    with pytest.raises(psycopg.OperationalError):
        await subscription.absorb(page[5:])
    monkeypatch.setattr(TallyWriter, "absorb", count)
    await subscription.absorb(page[5:])

    await assert_views_equal_a_replay(house)


async def _lose_the_connection(sums: TallyWriter, connection: object, page: object) -> None:
    raise psycopg.OperationalError("the connection was lost after the documents were written")


async def test_who_was_overtaken_writes_nothing_and_remembers_nothing(house: House) -> None:
    await gardening(house, 10)
    page = await house.ledger.page(0, 1000)
    first, second = [await (await house.new_projector())._live() for _ in range(2)]
    await first.absorb(page)

    with pytest.raises(CheckpointConflict):
        await second.absorb(page)

    assert all(not writer._kept for writer in second.writers if isinstance(writer, DocumentWriter))
    await assert_views_equal_a_replay(house)


async def test_an_event_delivered_again_is_not_folded_again(house: House) -> None:
    await gardening(house, 10)
    page = await house.ledger.page(0, 1000)
    subscription = await (await house.new_projector())._live()
    await subscription.absorb(page[:20])
    await subscription.absorb(page[10:])

    await assert_views_equal_a_replay(house)


async def test_more_documents_than_are_remembered_are_read_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.readmodels.writers.REMEMBERED_DOCUMENTS", 3)
    async with house.relaying(), house.projecting():
        await gardening(house, 30)
        await house.caught_up()

    await assert_views_equal_a_replay(house)


# --- poison ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manner", ["raises", "unwritable", "too long"])
async def test_a_poison_event_parks_its_own_stream_and_nothing_else(house: House, manner: str) -> None:
    async with house.relaying(), house.projecting():
        await asyncio.gather(*(house.ask(PlantTree(tree_id=str(n))) for n in range(20)))
        await house.record("tree-7", TreeCursed(tree_id="7", manner=manner), TreeWatered(tree_id="7", litres=5))
        await asyncio.gather(*(house.ask(WaterTree(tree_id=str(n))) for n in range(20)))
        await house.caught_up()

    trees = {key: json.decode(body, type=TreeView) for key, body in (await house.documents()).items()}
    assert {key: tree.litres for key, tree in trees.items()} == {str(n): int(n != 7) for n in range(20)}
    parked = await house.fetch("SELECT subscription, stream, position, problem FROM parked ORDER BY subscription")
    assert {(row[0], row[1]) for row in parked} >= {("trees", "tree-7")}
    [cursed] = [each.position for each in await house.everything() if isinstance(each.event, TreeCursed)]
    assert {row[2] for row in parked} == {cursed}
    assert all(row[3] for row in parked)


async def test_an_event_nobody_can_read_parks_its_stream(house: House) -> None:
    await house.ask(PlantTree(tree_id="1"))
    await house.fetch(
        "INSERT INTO ledger_events (originator_id, originator_version, topic, state, workspace_id) "
        "VALUES ('tree-1', 2, 'core.TreeSungTo', '{}', 'w1'), "
        "('tree-2', 1, 'core.TreePlanted', '{\"tree_id\":\"2\"}', 'w1')"
    )
    async with house.projecting():
        await house.caught_up()

    assert set(await house.documents()) == {"1", "2"}
    assert {row[0] for row in await house.fetch("SELECT stream FROM parked")} == {"tree-1"}


async def test_a_repaired_poison_event_is_folded_in_its_turn_when_asked(house: House) -> None:
    buses = [await house.new_bus() for _ in range(2)]
    async with house.relaying(), house.projecting(bus=buses[0]), house.projecting(bus=buses[1]):
        await house.ask(PlantTree(tree_id="1"))
        await house.record("tree-1", TreeCursed(tree_id="1"), TreeWatered(tree_id="1", litres=3))
        await house.ask(WaterTree(tree_id="1", litres=4))
        await house.caught_up()
        assert await house.sums() == {"trees": 1}

        async with house.pool.connection() as connection:
            assert await parked.retry(connection, Filter(stream="tree-1")) == Done(jobs=0, streams=2)

        # Still cursed: it parks again, at the same place, and is asked for again.
        await eventually(lambda: _nobody_asks(house))
        await _lift_the_curse(house)
        async with house.pool.connection() as connection:
            await parked.retry(connection, Filter())
        await eventually(lambda: _nothing_parked(house))
        await house.ask(WaterTree(tree_id="1", litres=5))
        await house.caught_up()

    assert json.decode((await house.documents())["1"], type=TreeView).litres == 12
    assert await house.sums() == {"trees": 1, "litres": 12, "litres/1": 12}


async def test_an_event_that_is_skipped_is_left_out_for_good_and_what_came_after_it_is_folded(house: House) -> None:
    buses = [await house.new_bus() for _ in range(2)]
    async with house.relaying(), house.projecting(bus=buses[0]), house.projecting(bus=buses[1]):
        await house.record(
            "tree-1", TreePlanted(tree_id="1"), TreeCursed(tree_id="1"), TreeWatered(tree_id="1", litres=3)
        )
        await house.caught_up()
        assert [row[0] for row in await house.fetch("SELECT code_version FROM parked")] == [CODE_VERSION] * 2
        async with house.pool.connection() as connection:
            assert (await operators.skip(connection, operators.Filter(stream="tree-1"))).streams == 2
        await eventually(lambda: _nothing_parked(house))
        await house.ask(WaterTree(tree_id="1", litres=4))
        await house.caught_up()
        async with house.pool.connection() as connection:
            version = await request_rebuild(connection, "figures", 1)
        query = "SELECT 1 FROM checkpoints WHERE name = 'figures' AND version = %s AND live"
        await eventually(lambda: house.fetch(query, version))

        assert json.decode((await house.documents())["1"], type=TreeView).litres == 7
        assert await house.sums() == {"trees": 1, "litres": 7, "litres/1": 7}
        assert await house.fetch("SELECT 1 FROM parked") == []


async def test_what_was_forgotten_meanwhile_is_not_made_anew(house: House) -> None:
    async with house.projecting():
        await house.record("tree-1", TreeCursed(tree_id="1"), TreePlanted(tree_id="1"))
        await house.record("tree-2", TreeCursed(tree_id="2"), TreePlanted(tree_id="2"), workspace_id="w2")
        await house.record("workspace-w1", WorkspaceForgotten(workspace_id="w1", forgotten_at=NOW))
        await house.record("tree-2", TreeWatered(tree_id="2"), workspace_id="w2")
        await house.caught_up()
        await house.fetch("UPDATE ledger_events SET state = %s WHERE originator_id = 'tree-1' "
                          "AND originator_version = 1", b'{"tree_id":"1","manner":"harmless"}')  # fmt: skip
        await house.fetch("UPDATE ledger_events SET state = %s WHERE originator_id = 'tree-2' "
                          "AND originator_version = 1", b'{"tree_id":"2","manner":"harmless"}')  # fmt: skip
        async with house.pool.connection() as connection:
            await parked.retry(connection, Filter(name="trees"))
        await eventually(lambda: _nobody_asks(house))
        assert set(await house.documents()) == {"2"}


@pytest.mark.parametrize(("code_version", "is_tried"), [("0.0.9", True), ("", True), ("99.0.0", False)])
async def test_what_an_earlier_release_has_parked_is_tried_again(
    house: House, code_version: str, is_tried: bool
) -> None:
    await house.record("tree-1", TreePlanted(tree_id="1"), TreeCursed(tree_id="1"), TreeWatered(tree_id="1"))
    async with house.projecting():
        await house.caught_up()
    await _lift_the_curse(house)
    await house.fetch("UPDATE parked SET code_version = %s", code_version)
    projector = await house.new_projector()
    subscription = await projector._live()
    await subscription.recall()
    await subscription.retry_parked(house.ledger)

    assert await _nothing_parked(house) == is_tried


async def _lift_the_curse(house: House) -> None:
    harmless = b'{"tree_id":"1","manner":"harmless"}'
    await house.fetch("UPDATE ledger_events SET state = %s WHERE topic = 'core.TreeCursed'", harmless)


async def _nobody_asks(house: House) -> bool:
    return await house.fetch("SELECT 1 FROM parked WHERE retry") == []


async def _nothing_parked(house: House) -> bool:
    return await house.fetch("SELECT 1 FROM parked") == []


async def test_a_projector_that_still_skips_a_retried_stream_is_overtaken(house: House) -> None:
    await house.record("tree-1", TreePlanted(tree_id="1"), TreeCursed(tree_id="1"))
    first, second = [await (await house.new_projector())._live() for _ in range(2)]
    await first.absorb(await house.ledger.page(0, 10))
    second.checkpoints = dict(first.checkpoints)
    await second.recall()
    await _lift_the_curse(house)
    async with house.pool.connection() as connection:
        await parked.retry(connection, Filter())
    await first.retry_parked(house.ledger)
    await house.ask(WaterTree(tree_id="1", litres=2))

    with pytest.raises(CheckpointConflict):
        await second.absorb(await house.ledger.page(second.position, 10))


# --- rebuilding ------------------------------------------------------------------------------------------------------


async def versions(house: House) -> list[tuple[Any, ...]]:
    return await house.fetch("SELECT version, live, fold FROM checkpoints WHERE name = 'trees'")


async def test_a_raised_version_is_built_beside_the_old_one_and_takes_its_place(house: House) -> None:
    async with house.relaying(), house.projecting():
        await gardening(house, 30)
        await house.caught_up()
    writing = asyncio.create_task(_keep_gardening(house))
    async with house.relaying(), house.projecting([forest(version=2)], [figures(version=3)]):
        await eventually(lambda: _is_live(house, "trees", 2))
        await eventually(lambda: _is_live(house, "figures", 3))
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await house.caught_up()
        await eventually(lambda: _only_versions(house, {2}))

    assert await versions(house) == [(2, True, 2)]
    await assert_views_equal_a_replay(house)


async def _keep_gardening(house: House) -> None:
    for seed in range(1000, 9999):
        await gardening(house, 5, seed)


async def _is_live(house: House, name: str, fold: int) -> bool:
    return bool(await house.fetch("SELECT 1 FROM checkpoints WHERE name = %s AND live AND fold = %s", name, fold))


async def _only_versions(house: House, expected: set[int]) -> bool:
    rows = await house.fetch("SELECT version FROM documents UNION SELECT version FROM tallies")
    return {row[0] for row in rows} == expected


async def test_a_rebuild_on_request_heals_a_damaged_read_model_with_two_projectors(house: House) -> None:
    buses = [await house.new_bus() for _ in range(2)]
    async with house.relaying(), house.projecting(bus=buses[0]), house.projecting(bus=buses[1]):
        await gardening(house, 30)
        await house.caught_up()
        await house.fetch("UPDATE documents SET body = '{}'")
        await house.fetch("UPDATE tallies SET amount = 0")
        async with house.pool.connection() as connection:
            assert await request_rebuild(connection, "trees", 1) == 2
            assert await request_rebuild(connection, "figures", 1) == 2
        await gardening(house, 10, seed=2)
        await eventually(lambda: _only_versions(house, {2}))
        await gardening(house, 10, seed=3)
        await house.caught_up()

    await assert_views_equal_a_replay(house)


async def test_a_swap_waits_for_nobody_who_waits_for_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the live version; a live projector waits for that, and behind it wait a second one and a migration."""
    await gardening(house, 10)
    page = await house.ledger.page(0, 1000)
    builder, other = [await house.new_projector() for _ in range(2)]
    live = await builder._live()
    await live.absorb(page[:20])
    async with house.pool.connection() as connection:
        version = await request_rebuild(connection, "trees", 1)
    writer = builder._writer("trees", version)
    built = Subscription(house.pool, [writer], {"trees": Checkpoint(0, 0)}, live=False)
    await built.absorb(page[:10])
    waiting: list[asyncio.Task[Any]] = []

    async def queue(statement: Coroutine[Any, Any, Any]) -> None:
        waiting.append(asyncio.create_task(statement))
        await eventually(lambda: _waits_or_is_done(house, len(waiting), waiting[-1]))

    async def read(after: int, limit: int) -> list[Any]:
        if not waiting:
            await queue(live.absorb(page[20:]))
            await queue(_lock_table(house))
            await queue(other._live())
        return [each for each in page if each.position > after][:5]

    monkeypatch.setattr(house.ledger, "page", read)
    try:
        await asyncio.wait_for(builder._swap(writer, built), 20)
        outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 20)
    finally:
        await house.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    assert [type(each) for each in outcomes] == [CheckpointConflict, NoneType, Subscription]
    monkeypatch.undo()
    await (await other._live()).absorb(page)

    await assert_views_equal_a_replay(house)


async def _waits_or_is_done(house: House, count: int, task: asyncio.Task[Any]) -> bool:
    rows = await house.fetch(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return len(rows) == count or task.done()


async def _lock_table(house: House) -> None:
    """As a migration does that changes the table."""
    async with house.pool.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE checkpoints IN ACCESS EXCLUSIVE MODE")


async def test_a_second_projector_asks_for_no_more_than_to_read_where_the_others_are(house: House) -> None:
    projector = await house.new_projector()
    await projector._live()
    async with house.pool.connection() as connection, connection.transaction():
        await connection.execute("UPDATE checkpoints SET moved_at = now()")
        assert (await asyncio.wait_for(projector._live(), 20)).position == 0


async def test_a_swap_that_cannot_have_the_live_version_is_given_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projectors, "SWAP_LOCK_SECONDS_MAX", 0.05)
    projector = await house.new_projector()
    await projector._live()
    writer = projector._writer("trees", 2)
    built = Subscription(house.pool, [writer], {"trees": Checkpoint(0, 0)}, live=False)
    async with house.pool.connection() as connection, connection.transaction():
        await connection.execute("UPDATE checkpoints SET moved_at = now()")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await asyncio.wait_for(projector._swap(writer, built), 20)


async def test_a_version_that_went_live_ahead_of_the_others_is_not_set_back(house: House) -> None:
    """The sums are two pages ahead of the documents, as after a swap; the pages between must not count twice."""
    await gardening(house, 20)
    page = await house.ledger.page(0, 1000)
    projector = await house.new_projector()
    live = await projector._live()
    sums = [writer for writer in live.writers if writer.name == "figures"]
    ahead = Subscription(house.pool, sums, {"figures": live.checkpoints["figures"]}, live=True)
    await ahead.absorb(page[:30])

    subscription = await projector._live()
    await subscription.absorb(page[:10])
    subscription = await projector._live()
    await subscription.absorb(page[10:])

    await assert_views_equal_a_replay(house)


async def test_what_a_projector_that_was_stopped_left_of_a_version_is_removed_by_the_next(house: House) -> None:
    async with house.projecting():
        await gardening(house, 5)
        await house.record("tree-1", TreePlanted(tree_id="1"), TreeCursed(tree_id="1"))
        await house.caught_up()
    # Stopped after version 2 had taken the place of version 1, and before anything was removed.
    await house.fetch("UPDATE checkpoints SET version = 2, position = 0 WHERE name <> 'jobs'")
    for table in ("documents", "tallies", "parked"):
        assert await house.fetch(f"SELECT 1 FROM {table} WHERE version = 1")
    async with house.projecting():
        await house.caught_up()
        await eventually(lambda: _only_versions(house, {2}))
        await eventually(lambda: _nothing_parked_before(house, 2))

    assert await house.fetch("SELECT 1 FROM parked WHERE version = 2")


async def _nothing_parked_before(house: House, version: int) -> bool:
    return await house.fetch("SELECT 1 FROM parked WHERE version < %s", version) == []


async def test_older_software_lets_go_of_jobs_as_soon_as_there_is_newer(house: House) -> None:
    diary = Diary()
    older, newer = await house.new_projector(), await house.new_projector(reactions=[diary.reaction()])
    newer._jobs.fold += 1
    await house.ask(PlantTree(tree_id="1"))
    passes_by = await older._live()
    await passes_by.absorb(await house.ledger.page(0, 10))
    await newer._live()
    await house.ask(WaterTree(tree_id="1"))
    page = await house.ledger.page(passes_by.position, 10)

    with pytest.raises(CheckpointConflict):
        await passes_by.absorb(page)
    lets_go = await older._live()
    await lets_go.absorb(page)
    assert set(lets_go.checkpoints) == {"trees", "figures"}
    takes = await newer._live()
    await takes.absorb(page)
    assert [row[0] for row in await house.fetch("SELECT reaction FROM jobs")] == ["diary"]
    await assert_views_equal_a_replay(house)


async def test_older_software_leaves_a_newer_read_model_alone(house: House) -> None:
    await gardening(house, 5)
    async with house.projecting([forest(version=2)], []):
        await house.caught_up("trees")
    await gardening(house, 5, seed=2)
    async with house.projecting([forest(version=1)], []):
        await house.caught_up("jobs")

    [(position,)] = await house.fetch("SELECT position FROM checkpoints WHERE name = 'trees'")
    assert position < await house.ledger.head()


async def test_a_projection_that_is_new_is_filled_from_the_past(house: House) -> None:
    async with house.projecting([], [figures()]):
        await gardening(house, 10)
        await house.caught_up("figures")
    async with house.projecting():
        await eventually(lambda: _is_live(house, "trees", 1))
        await house.caught_up()

    await assert_views_equal_a_replay(house)


async def test_jobs_are_never_replayed(house: House) -> None:
    async with house.pool.connection() as connection:
        with pytest.raises(ValueError, match="nothing is done again"):
            await request_rebuild(connection, "jobs", 2)

    diary = Diary()
    async with house.projecting(reactions=[diary.reaction()]):
        await house.record("tree-1", TreePlanted(tree_id="1"), TreeWatered(tree_id="1"))
        await house.caught_up()
    await house.fetch("DELETE FROM jobs")
    async with house.projecting([forest(version=2)], [figures(version=2)], [diary.reaction()]):
        await eventually(lambda: _is_live(house, "trees", 2))
        await eventually(lambda: _is_live(house, "figures", 2))

    assert await house.fetch("SELECT * FROM jobs") == []
