"""Whoever looks through everything takes turns, and what nobody waits for ends in Postgres too."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from adapters.log.recorder import TABLE
from adapters.postgres.retrying import Pool, hanging_up
from adapters.readmodels import past
from adapters.readmodels.audit import Audit, AuditUnavailable, Question
from adapters.readmodels.views import Reads
from infra.container import container
from tests.core.conftest import House, eventually
from tests.core.orchard import TreePlanted, forest
from tests.journeys.kit import Stack


def searching(audit: Audit, workspace_id: str, count: int) -> list[asyncio.Task[object]]:
    wanted = Question(workspace_id=workspace_id, limit=10, target_id="nothing")
    return [asyncio.create_task(audit.find(wanted)) for _ in range(count)]


async def test_a_workspace_searches_once_at_a_time_and_all_of_them_leave_connections_to_others(house: House) -> None:
    await house.record("tree-1", TreePlanted(tree_id="1"))
    patient = {"wait_seconds_max": 2.0, "retry_seconds": 60.0}
    audit = Audit(house.pool, house.keys, house.progress, house.followers, **patient)

    async def waiting(count: int) -> bool:
        with psycopg.connect(house.url, autocommit=True) as watcher:
            [(found,)] = watcher.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND wait_event_type = 'Lock' AND query LIKE '%request_origins%'"
            ).fetchall()
        return bool(found == count)

    async with house.pool.connection() as holder:
        async with holder.transaction():
            await holder.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE".encode())
            tasks = searching(audit, "w1", 5)
            await eventually(lambda: waiting(1))
            tasks += searching(audit, "w2", 5) + searching(audit, "w3", 5)
            await eventually(lambda: waiting(2))
            tasks.append(asyncio.create_task(audit.find(Question(workspace_id="w1", limit=10))))
            await eventually(lambda: waiting(3))
        *found, page = await asyncio.wait_for(asyncio.gather(*tasks), 60)
    assert found == [[]] * 15
    assert isinstance(page, list)
    assert len(page) == 1
    assert not audit._searches._lines


async def test_a_search_whose_turn_does_not_come_is_refused_for_the_moment(house: House) -> None:
    hasty = Audit(house.pool, house.keys, house.progress, house.followers, wait_seconds_max=2.0, retry_seconds=0.05)
    async with hasty._searches.place("w1", 1.0, AuditUnavailable):
        with pytest.raises(AuditUnavailable):
            await hasty.find(Question(workspace_id="w1", limit=10, actor="person:1"))


async def test_what_nobody_waits_for_any_more_ends_in_postgres_too(stack: Stack) -> None:
    asked = "SELECT pg_sleep(600) AS abandoned"
    async with container(stack.settings) as here:
        pool = await here.get(Pool)
        async with pool.connection() as connection:
            with pytest.raises(psycopg.OperationalError), hanging_up(connection, 0.2):
                await connection.execute(asked)

        async def has_ended() -> bool:
            async with pool.connection() as connection:
                cursor = await connection.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = %s", (asked,)
                )
                return not await cursor.fetchall()

        await eventually(has_ended)


async def test_who_looks_back_much_waits_for_themselves_and_not_for_ever(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "TURN_SECONDS_MAX", 0.05)
    looking = past.Past(house.ledger, Reads(house.ledger, house.pool, house.progress).ask)
    trees, as_of = forest(), past.AsOf(0, 0)
    async with looking._place("w1"):
        with pytest.raises(past.PastIsBusy):
            await looking.find(trees, "1", "w1", as_of)
        assert await looking.find(trees, "1", "w2", as_of) is None
    assert await looking.find(trees, "1", "w1", as_of) is None
