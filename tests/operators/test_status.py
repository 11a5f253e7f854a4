"""One look says how everything is that runs, and what somebody should look after."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psycopg
import pytest

from adapters.operators import heartbeat
from adapters.operators.heartbeat import Heartbeat
from adapters.operators.status import READINGS_KEPT_SECONDS, Status, note_reading, status
from adapters.postgres.settings import Postgres
from adapters.storage.blobs import Blobs
from infra import cli
from infra.cli.status import drawn
from infra.container import load_everything
from infra.embedded.nats import EmbeddedNats
from projections.kernel import PROJECTIONS, TALLIES
from tests.analyses.examples import requested
from tests.conftest import Bucket, Databases
from tests.core.conftest import House, _migrate, eventually
from tests.journeys import kit
from tests.journeys.kit import Stack


class Place:
    """A house, its objects, and a look at both."""

    def __init__(self, house: House, blobs: Blobs) -> None:
        self.house = house
        self.blobs = blobs

    async def look(self) -> Status:
        async with self.house.pool.connection() as connection:
            return await status(connection, self.house.bus, self.blobs)

    async def problems(self) -> tuple[str, ...]:
        return (await self.look()).problems


@pytest.fixture
async def place(
    databases: Databases, nats_server: EmbeddedNats, nats_prefix: str, bucket: Bucket
) -> AsyncIterator[Place]:
    load_everything()
    url = databases.copy_of("core", _migrate)
    blobs = Blobs(bucket.url, access_key=bucket.access_key, secret_key=bucket.secret_key, bucket=bucket.name)
    async with House(url, nats_server.url, nats_prefix) as house:
        yield Place(house, blobs)
    await blobs.close()
    databases.drop(url)


async def test_a_role_is_shown_while_it_runs_and_missed_when_it_is_silent(place: Place) -> None:
    heart = Heartbeat(place.house.url, "relay", lambda: True)
    beating = asyncio.create_task(heart.run())
    await eventually(lambda: heart._is_known)
    beating.cancel()
    [role] = (await place.look()).roles
    assert (role.role, role.state, role.is_ready) == ("relay", "running", True)
    assert role.memory_bytes is None or role.memory_bytes > 1_000_000
    await place.house.fetch("UPDATE roles SET seen_at = now() - interval '21 seconds'")
    [role] = (await place.look()).roles
    assert (role.state, role.is_ready) == ("silent", False)
    assert any("relay" in each and "has not shown itself for 21 s" in each for each in await place.problems())


async def test_a_role_that_has_failed_says_why_until_another_one_is_at_work(place: Place) -> None:
    heart = Heartbeat(place.house.url, "tick", lambda: True)
    async with await heart._connect() as connection:
        await heart._beat(connection, "running", None)
    await heart.end("ValueError('no clock')")
    assert "tick has failed: ValueError('no clock')" in await place.problems()
    other = Heartbeat(place.house.url, "tick", lambda: True)
    async with await other._connect() as connection:
        await other._beat(connection, "running", None)
    assert [each.state for each in (await place.look()).roles] == ["running"]
    await other.end(None)
    assert "tick was stopped, and none is at work." in await place.problems()


async def test_a_role_goes_on_showing_itself_whatever_is_installed_over_it_or_goes_wrong(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(name: str) -> str:
        raise PackageNotFoundError(name)

    heart = Heartbeat(place.house.url, "relay", lambda: True)
    monkeypatch.setattr(heartbeat, "version", gone)
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    wrong = iter([ValueError("once")])
    memory = heartbeat._memory_bytes

    def stumbles() -> int | None:
        for problem in wrong:
            raise problem
        return memory()

    monkeypatch.setattr(heartbeat, "_memory_bytes", stumbles)
    beating = asyncio.create_task(heart.run())
    await eventually(lambda: heart._is_known or beating.done())
    assert not beating.done()
    beating.cancel()
    [role] = (await place.look()).roles
    assert (role.state, role.version) == ("running", version("ledgerline"))


async def test_a_role_that_nobody_has_seen_does_not_wait_for_postgres_at_its_end() -> None:
    await Heartbeat("postgresql://me@127.0.0.1:1/x", "tick", lambda: True).end("whatever")


async def test_what_lags_is_named_with_how_far(place: Place) -> None:
    house = place.house
    assert "No projector is at work." in await place.problems()
    async with house.projecting([], []):
        await house.caught_up("jobs")
        await eventually(lambda: _is_seen(place))
    head = await house.ask(requested)
    await house.fetch("UPDATE ledger_events SET recorded_at = now() - interval '90 seconds'")
    found = await place.look()
    relay, sealer = (next(each for each in found.followers if each.kind == kind) for kind in ("relay", "sealer"))
    assert (relay.position, relay.behind_events) == (0, head)
    assert 90 <= relay.behind_seconds < 120
    assert sealer.behind_events == head
    said = " ".join(found.problems)
    for who in ("list of jobs", "relay", "sealer"):
        assert f"The {who} is {head} positions and 9" in said, said


async def test_how_fast_each_follower_moves_is_told_at_one_look_where_somebody_keeps_time(place: Place) -> None:
    house = place.house

    async def rates() -> dict[str, float | None]:
        return {each.name: each.positions_per_second for each in (await place.look()).followers}

    async def keep_time(seconds_ago: float) -> None:
        async with house.pool.connection() as connection:
            await note_reading(connection, await place.look())
            await connection.execute(
                "UPDATE follower_readings SET read_at = clock_timestamp() - make_interval(secs => %s) "
                "WHERE read_at = (SELECT max(read_at) FROM follower_readings)",
                (seconds_ago,),
            )

    assert await rates() == {"relay": None, "sealer": None}
    assert not [line for line in drawn(await place.look()) if line.endswith("/s")]
    async with house.projecting([], []):
        await house.caught_up("jobs")
        await keep_time(10.0)
        head = await house.ask(requested)
        await house.caught_up("jobs")
    await keep_time(1.0)
    found = await rates()
    assert found["relay"] == found["sealer"] == 0.0
    assert found["jobs"] == pytest.approx(head / 10, rel=0.3), "since the older of two readings"
    lines = [line for line in drawn(await place.look()) if line.startswith(("jobs ", "relay "))]
    assert [line.split()[-1] for line in lines] == [f"{(await rates())['jobs']:.1f}/s", "0.0/s"]

    await house.fetch("UPDATE follower_readings SET positions = jsonb_set(positions, '{jobs}', '999')")
    assert (await rates())["jobs"] is None, "nothing is said of one that has begun anew"
    await keep_time(READINGS_KEPT_SECONDS + 1)
    await house.fetch("DELETE FROM follower_readings WHERE read_at > now() - interval '14 seconds'")
    assert set((await rates()).values()) == {None}, "what is old says nothing of late"
    await keep_time(1.0)
    assert await house.fetch("SELECT count(*) FROM follower_readings") == [(1,)], "and is not kept"


async def _is_seen(place: Place) -> bool:
    return "No projector is at work." not in await place.problems()


async def test_jobs_are_counted_by_queue_and_state_and_not_beyond_a_limit(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.house.fetch(
        "INSERT INTO jobs (reaction, position, stream, due_at, state, workspace_id) "
        "SELECT 'analyse-audio', n, 's' || n, now() - interval '7 seconds', CASE WHEN n < 4 THEN 'ready' "
        "WHEN n = 4 THEN 'parked' ELSE 'running' END, 'w' || mod(n, 2) FROM generate_series(1, 9) AS n"
    )
    found = await place.look()
    who = [(each.workspace_id, each.reaction, each.ready, each.running) for each in found.waiting]
    assert who == [("w1", "analyse-audio", 2, 3), ("w0", "analyse-audio", 1, 2)]
    assert [line for line in drawn(found) if line.startswith("w1 waits for analyse-audio: 2 ready, for ")]
    [analyses] = [each for each in found.queues if each.queue == "analyses"]
    assert (analyses.ready, analyses.running, analyses.waiting, analyses.parked) == (3, 5, 0, 1)
    assert 7 <= analyses.oldest_seconds < 60
    assert "1 jobs of analyses are parked (`ledgerline parked`)." in await place.problems()
    monkeypatch.setattr("adapters.operators.status.COUNTED_MAX", 2)
    [analyses] = [each for each in (await place.look()).queues if each.queue == "analyses"]
    assert (analyses.ready, analyses.running) == (2, 2)


async def test_stores_that_are_away_are_named(place: Place) -> None:
    assert [each.state for each in (await place.look()).stores] == ["ok", "ok", "ok"]
    await place.house.bus.close()
    nowhere = Blobs("http://127.0.0.1:1", access_key="a", secret_key="b", bucket="c")
    there, place.blobs = place.blobs, nowhere
    found = await place.problems()
    place.blobs = there
    await nowhere.close()
    assert {"nats is away.", "objects is away."} <= set(found)


async def test_no_look_reads_through_the_log(place: Place) -> None:
    """However many events there are: every plan over the log goes by an index."""
    house = place.house
    await house.fetch(
        "INSERT INTO ledger_events (originator_id, originator_version, topic, state) "
        "SELECT 's' || n, 1, 't', '' FROM generate_series(1, 20000) AS n"
    )
    await house.fetch("ANALYZE ledger_events")
    await house.fetch("SELECT pg_stat_reset()")
    await place.look()

    async def scans() -> tuple[int, int]:
        rows = await house.fetch(
            "SELECT pg_stat_force_next_flush(), seq_tup_read, idx_tup_fetch FROM pg_stat_user_tables "
            "WHERE relname = 'ledger_events'"
        )
        return rows[0][1], rows[0][2]

    read, _ = await scans()
    assert read == 0


def test_the_command_shows_the_running_service(
    on_stack: Stack,
    elsewhere: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with psycopg.connect(on_stack.settings[Postgres].postgres_url, autocommit=True) as connection:
        found = connection.execute("SELECT count(*) FROM jobs WHERE state = 'parked'").fetchall()
    assert elsewhere
    ready = [{"role": role, "state": "running", "is_ready": True} for role in ("serve", "whole")]

    def told_once_it_is_ready() -> Any:
        capsys.readouterr()
        status_code = cli.main(["status", "--json"])
        told = json.loads(capsys.readouterr().out)
        assert status_code == (1 if told["problems"] else 0)
        is_there = [any(role.items() <= each.items() for each in told["roles"]) for role in ready]
        return told if all(is_there) else None

    told = kit.eventually(told_once_it_is_ready)
    assert {each["name"]: each["state"] for each in told["stores"]} == {"postgres": "ok", "nats": "ok", "objects": "ok"}
    assert sum(each["parked"] for each in told["queues"]) <= found[0][0]
    # As many as `verify` folds: jobs are no read model, since they are never written again.
    models = {each["name"] for each in told["followers"] if each["kind"] == "read model"}
    assert models == PROJECTIONS.keys() | TALLIES.keys()
    cli.main(["status"])
    shown = capsys.readouterr().out
    for word in ("ROLE", "whole", "FOLLOWER", "read models", "relay", "sealer", "QUEUE", "analyses", "postgres"):
        assert word in shown
