"""Postgres goes away and comes back while everything runs: nobody has to do anything, nothing is lost or doubled."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres
from infra.migrate import migrate
from tests.core.conftest import House, eventually
from tests.core.orchard import Diary, PlantTree, WaterTree
from tests.core.test_projector import assert_views_equal_a_replay


async def test_a_restart_of_postgres_heals_everything(
    own_postgres: EmbeddedPostgres, nats_server: EmbeddedNats
) -> None:
    migrate(own_postgres.url)
    diary = Diary()
    reaction = diary.reaction()
    async with (
        House(own_postgres.url, nats_server.url, "restart") as house,
        house.relaying() as relay,
        house.projecting(None, None, [reaction]) as projector,
        house.working(reaction),
    ):
        await eventually(lambda: relay.is_active and projector.is_ready)
        accepted: list[str] = []

        async def garden(number: int) -> None:
            tree = f"{number}"
            await house.ask(PlantTree(tree_id=tree))
            await house.ask(WaterTree(tree_id=tree))
            accepted.append(tree)

        before = [garden(number) for number in range(10)]
        await asyncio.gather(*before)
        during = asyncio.gather(*(garden(number) for number in range(10, 30)))
        await asyncio.to_thread(_restart, own_postgres)
        await during
        await eventually(lambda: len(diary.entries) >= 30)
        await house.caught_up()

        assert sorted(accepted, key=int) == [str(n) for n in range(30)]
        assert len(await house.everything()) == 60
        assert {key: value for key, value in (await house.sums()).items() if "/" not in key} == {
            "trees": 30,
            "litres": 30,
        }
        await assert_views_equal_a_replay(house)
        assert set(diary.entries) == {(f"tree-{n}", 2) for n in range(30)}
        await eventually(lambda: relay.is_active)


def _restart(server: EmbeddedPostgres) -> None:
    port = conninfo_to_dict(server.url)["port"]
    server.stop()
    server.start()
    assert conninfo_to_dict(server.url)["port"] == port


async def test_a_write_cut_off_at_any_moment_is_there_once_or_not_at_all(house: House) -> None:
    """The statement waits inside Postgres for a lock, and its backend is killed there."""
    async with await psycopg.AsyncConnection.connect(house.url) as blocker:
        await blocker.execute(
            "INSERT INTO ledger_events (originator_id, originator_version, topic, state) "
            "VALUES ('tree-1', 1, 'x', '{}')"
        )
        planting = asyncio.create_task(house.ask(PlantTree(tree_id="1")))
        await eventually(lambda: _kill_waiting(house))
        await blocker.rollback()

    position = await planting
    [recorded] = await house.everything()
    assert recorded.position == position


async def _kill_waiting(house: House) -> Any:
    return await house.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
