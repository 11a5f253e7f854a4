"""Runners that wait: one claim of each, woken when there is a job for them, and one look for all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from adapters.builds.jobs import Free
from adapters.builds.waiting import Waiting, WaitingRunners
from adapters.readmodels.followers import Followers, TooManyFollowers
from domain.ledger import PUBLIC


class Counted:
    """Jobs that nobody has, and how often it was asked for them."""

    def __init__(self) -> None:
        self.jobs: list[Free] = []
        self.asked: list[Sequence[str] | None] = []

    async def free(self, workspaces: Sequence[str] | None) -> list[Free]:
        self.asked.append(workspaces)
        return self.jobs


@pytest.fixture
def jobs() -> Counted:
    return Counted()


@pytest.fixture
def runners(jobs: Counted) -> WaitingRunners:
    nothing: Any = None
    known: Any = jobs
    return WaitingRunners(known, Followers(nothing, nothing, 32))


def idle(claim: Waiting) -> Waiting:
    """It has looked for itself, in vain."""
    claim.due = False
    return claim


async def test_a_newer_claim_of_a_runner_ends_the_older(runners: WaitingRunners) -> None:
    with runners.place("r1", "w1", ["linux"], ["clap"]) as older:
        idle(older)
        waiting = asyncio.create_task(older.wait(60))
        with runners.place("r1", "w1", ["linux"], ["clap"]) as newer, runners.place("r2", "w1", ["linux"], ["clap"]):
            await asyncio.wait_for(waiting, 20)
            assert older.is_over
            assert not newer.is_over


async def test_the_runners_of_a_workspace_hold_an_eighth_of_the_places(runners: WaitingRunners) -> None:
    with (
        runners.place("r1", "w1", ["linux"], ["clap"]),
        runners.place("r2", "w1", ["linux"], ["clap"]),
        runners.place("r3", "w1", ["linux"], ["clap"]),
        runners.place("r4", "w1", ["linux"], ["clap"]),
    ):
        with pytest.raises(TooManyFollowers), runners.place("r5", "w1", ["linux"], ["clap"]):
            pass
        with runners.place("r6", "w2", ["linux"], ["clap"]):
            pass


async def test_it_is_looked_once_for_all_and_as_many_are_woken_as_there_are_jobs(
    runners: WaitingRunners, jobs: Counted
) -> None:
    with (
        runners.place("r1", "w1", ["linux"], ["clap"]) as first,
        runners.place("r2", "w1", ["linux"], ["clap", "lv2"]) as second,
        runners.place("r3", "w1", ["linux"], ["clap"]) as third,
        runners.place("r4", "w2", ["linux"], ["clap"]) as elsewhere,
        runners.place("r5", "w1", ["macos"], ["clap"]) as mac,
    ):
        everybody = [idle(each) for each in (first, second, third, elsewhere, mac)]
        await runners.look()
        assert not any(each.due for each in everybody)
        jobs.jobs = [Free("w1", "linux", ["lv2"], 7), Free("w1", "linux", ["clap"], 1)]
        waiting = asyncio.create_task(first.wait(60))
        await runners.look()
        await asyncio.wait_for(waiting, 20)
        assert [each.due for each in everybody] == [True, True, False, False, False]
        assert jobs.asked == [["w1", "w2"], ["w1", "w2"]]
        with runners.place("r6", PUBLIC, ["linux"], ["clap"]):
            await runners.look()
            assert jobs.asked[-1] is None
    await runners.look()
    assert len(jobs.asked) == 3


async def test_what_else_happens_in_a_workspace_has_no_runner_look(runners: WaitingRunners) -> None:
    with runners.place("r1", "w1", ["linux"], ["clap"]) as claim:
        idle(claim)
        waiting = asyncio.create_task(claim.wait(60))
        await asyncio.sleep(0)
        claim.follower.wake()
        await asyncio.sleep(0.01)
        assert not waiting.done()
        claim.wake()
        await asyncio.wait_for(waiting, 20)
