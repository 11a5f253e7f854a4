"""How far read models lag, how much is parked and who waits for work can be told."""

from __future__ import annotations

import pytest

from adapters.jobs import worker
from adapters.readmodels import projector
from adapters.readmodels.condition import condition, waiting
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

        assert await projector.request_retry(connection, name="nobody") == 0
        assert await projector.request_retry(connection, "tree-1", "trees") == 1
        assert await worker.request_retry(connection, "diary", "tree-1") == 0
        assert await worker.request_retry(connection, "diary", "tree-2") == 1
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
        await processes.replay(settings, "usage")
    assert await house.fetch("SELECT version, live FROM checkpoints WHERE name = 'usage'") == [(1, False)]
