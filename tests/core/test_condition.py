"""How far read models lag, how much is parked and who waits for work can be told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from structlog.testing import CapturingLogger

from adapters.operators import parked
from adapters.operators.parked import Done, Filter
from adapters.readmodels import condition as reading
from adapters.readmodels import projector
from adapters.readmodels.condition import Bulletin, Condition, Waiting, condition, waiting
from domain.ledger import Recorded
from domain.sections import Secret, Url
from infra import processes
from infra.settings import Settings
from tests.core.conftest import House, eventually
from tests.core.orchard import Diary, TreeCursed, TreePlanted, TreeWatered


async def test_parked_events_and_jobs_are_counted_and_each_can_be_tried_again(house: House) -> None:
    diary = Diary()

    def mood(recorded: Recorded) -> None:
        raise RuntimeError("never")

    diary.mood = mood
    reaction = diary.reaction(attempts_max=1)
    await house.record("tree-1", TreePlanted(tree_id="1"), TreeCursed(tree_id="1"))
    await house.record("tree-2", TreePlanted(tree_id="2"), TreeWatered(tree_id="2"))
    async with house.projecting(None, [], [reaction]), house.working(reaction):
        await house.caught_up("trees", "jobs")
        await eventually(lambda: house.fetch("SELECT 1 FROM jobs WHERE state = 'parked'"))
    async with house.pool.connection() as connection:
        told = await condition(connection)
        assert (told.parked_events, told.parked_jobs) == (1, 1)

        assert await parked.retry(connection, Filter(name="nobody")) == Done(jobs=0, streams=0)
        assert await parked.retry(connection, Filter(stream="tree-1", name="trees")) == Done(jobs=0, streams=1)
        assert await parked.retry(connection, Filter(stream="tree-1", name="diary")) == Done(jobs=0, streams=0)
        assert await parked.retry(connection, Filter(stream="tree-2", name="diary")) == Done(jobs=1, streams=0)
        assert await house.fetch("SELECT retry FROM parked") == [(True,)]
        [each] = await waiting(connection)
        assert (each.workspace_id, each.reaction, each.ready, each.running) == ("w1", "diary", 1, 0)


async def test_read_models_that_lag_say_by_how_much(house: House) -> None:
    await house.record("tree-1", TreePlanted(tree_id="1"))
    async with house.projecting([], [], []):
        await house.caught_up("jobs")
    async with house.pool.connection() as connection:
        fresh = await condition(connection)
        assert (fresh.behind_events, fresh.behind_seconds) == (0, 0.0)
        assert fresh.moved_at is not None

        await house.record("tree-1", TreeWatered(tree_id="1"))
        await house.fetch("UPDATE ledger_events SET recorded_at = recorded_at - interval '1 minute'")
        late = await condition(connection)
        assert late.behind_events == 1
        assert 60 <= late.behind_seconds < 120
        assert late.moved_at == fresh.moved_at


async def test_a_projector_that_has_stopped_is_seen_also_while_nothing_happens(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector, "SHOW_SECONDS", 0.05)
    monkeypatch.setattr(reading, "SILENT_SECONDS_MAX", 0.5)

    async def told() -> str:
        async with house.pool.connection() as connection:
            return (await condition(connection)).read_models

    assert await told() == "not built yet"
    async with house.projecting([], [], []):
        await house.caught_up("jobs")
        await asyncio.sleep(1.0)
        assert await told() == "ok"
    await eventually(lambda: is_now("stopped", told))
    async with house.projecting([], [], []):
        await eventually(lambda: is_now("ok", told))


async def is_now(word: str, told: Callable[[], Awaitable[str]]) -> bool:
    return await told() == word


WELL = Condition(
    head=9, behind_events=0, behind_seconds=0.0, moved_at=datetime(2026, 1, 1, tzinfo=UTC), silent_seconds=1.0,
    parked_events=0, parked_jobs=0,
)  # fmt: skip


def test_how_things_are_is_said_once_a_minute_and_at_once_when_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    log = CapturingLogger()
    monkeypatch.setattr(reading, "log", log)
    bulletin = Bulletin()
    late = Waiting(workspace_id="w1", reaction="analyse-audio", ready=7, running=1, oldest_seconds=44.0)
    for at, found, who in (
        (0, WELL, []),
        (5, WELL, []),
        (10, replace(WELL, behind_events=3, behind_seconds=6.0), []),
        (15, replace(WELL, behind_events=4, behind_seconds=11.0), []),
        (20, WELL, []),
        (79, WELL, []),
        (80, WELL, [late]),
        (85, replace(WELL, parked_jobs=1), []),
        (90, replace(WELL, parked_jobs=1), []),
    ):
        bulletin.tell(found, who, float(at))

    assert [call.method_name for call in log.calls] == ["info", "warning", "info", "info", "warning"]
    assert [call.kwargs["read_models"] for call in log.calls] == ["ok", "behind", "ok", "ok", "ok"]
    assert log.calls[3].kwargs["late"] == [
        {"workspace_id": "w1", "reaction": "analyse-audio", "ready": 7, "oldest_seconds": 44}
    ]
    assert log.calls[4].kwargs["parked_jobs"] == 1


def test_read_models_that_are_not_built_yet_are_a_warning_only_once_they_could_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = CapturingLogger()
    monkeypatch.setattr("adapters.readmodels.condition.log", log)
    bulletin = Bulletin()
    new = replace(WELL, moved_at=None)
    for at in (100, 105, 114):
        bulletin.tell(new, [], float(at))
    assert not log.calls

    bulletin.tell(new, [], 115.0)
    bulletin.tell(WELL, [], 120.0)
    assert [(call.method_name, call.kwargs["read_models"]) for call in log.calls] == [
        ("warning", "not built yet"),
        ("info", "ok"),
    ]


async def test_a_replay_that_nobody_begins_says_so_and_stays_asked_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "REPLAY_STILL_SECONDS_MAX", 0.2)
    settings = Settings(
        postgres_url=Url(house.url),
        nats_url=Url(house.nats_url),
        secret_key=Secret("a secret of thirty-two bytes, yes"),
    )
    with pytest.raises(SystemExit, match=r"nothing folds usage .* Is `ledgerline project` running"):
        await processes.replay(settings, ["usage"])
    assert await house.fetch("SELECT version, live FROM checkpoints WHERE name = 'usage'") == [(1, False)]
