"""Whoever waits for events of a workspace is woken by what happens there, by nothing else, and keeps nobody out."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from time import monotonic
from typing import Any

import pytest

from adapters.published import Envelopes
from adapters.readmodels import followers
from adapters.readmodels.audit import Audit, Passage
from adapters.readmodels.followers import Followers, NoRoomToWait, TooManyFollowers
from adapters.readmodels.subscriptions import Subscriptions, Wanted
from tests.core.conftest import House, eventually
from tests.core.orchard import TreePlanted


class Watched(Audit):
    """An audit that counts how often it looks."""

    looks = 0

    async def _passage(self, workspace_id: str, after: int, limit: int) -> Passage:
        self.looks += 1
        return await super()._passage(workspace_id, after, limit)


def watched(house: House) -> Watched:
    return Watched(house.pool, house.keys, house.progress, house.followers, wait_seconds_max=2.0)


async def test_what_happens_elsewhere_wakes_nobody_and_what_happens_here_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "LOOK_SECONDS", 60.0)
    audit = watched(house)
    async with house.relaying(), house.projecting():
        await eventually(lambda: house.fetch("SELECT 1 FROM checkpoints WHERE live AND name = 'jobs'"))
        waiting = asyncio.create_task(audit.follow("w1", 0, 10, 30.0))
        await eventually(lambda: audit.looks == 1)
        for number in range(20):
            await house.record(f"tree-{number}", TreePlanted(tree_id=f"{number}"), workspace_id="w2")
            await house.caught_up()
        assert audit.looks == 1
        assert not waiting.done()

        began = monotonic()
        position = await house.record("tree-mine", TreePlanted(tree_id="mine"), workspace_id="w1")
        entries, going_on = await waiting
        assert monotonic() - began < 5
        assert ([each.position for each in entries], going_on) == ([position], position)
        assert audit.looks <= 4


class Deaf(Followers):
    """To whom every bell is lost."""

    async def _hear(self, data: bytes) -> None:
        assert data


async def test_a_lost_bell_costs_a_second_and_no_event(house: House) -> None:
    deaf = Deaf(house.bus, house.pool, 32)
    await deaf.start()
    audit = Watched(house.pool, house.keys, house.progress, deaf, wait_seconds_max=2.0)
    async with house.relaying(), house.projecting():
        await eventually(lambda: house.fetch("SELECT 1 FROM checkpoints WHERE live AND name = 'jobs'"))
        waiting = [asyncio.create_task(audit.follow("w1", 0, 10, 30.0)) for _ in range(3)]
        await eventually(lambda: audit.looks == 3)
        position = await house.record("tree-1", TreePlanted(tree_id="1"), workspace_id="w1")
        answers = await asyncio.wait_for(asyncio.gather(*waiting), 10)
    await deaf.close()
    assert {going_on for _, going_on in answers} == {position}


async def test_whoever_waits_in_vain_is_told_how_far_the_log_is(house: House) -> None:
    audit = watched(house)
    async with house.relaying(), house.projecting():
        position = await house.record("tree-1", TreePlanted(tree_id="1"), workspace_id="w2")
        await house.caught_up()
        assert await audit.follow("w1", 0, 10, 0.2) == ([], position)


def test_a_workspace_holds_an_eighth_of_the_places_and_all_of_them_hold_all() -> None:
    nothing: Any = None
    waiting = Followers(nothing, nothing, 16)
    with ExitStack() as held:
        for workspace_id in "aabbccddeeffgg":
            held.enter_context(waiting.place(workspace_id))
        with pytest.raises(TooManyFollowers), waiting.place("a"):
            pass
        held.enter_context(waiting.place("h"))
        held.enter_context(waiting.place("i"))
        with pytest.raises(NoRoomToWait), waiting.place("i"):
            pass
    with waiting.place("a"):
        pass
    assert not waiting._waiting


def test_a_place_goes_to_whoever_holds_fewer_and_who_loses_it_is_answered() -> None:
    nothing: Any = None
    waiting = Followers(nothing, nothing, 16)
    with ExitStack() as held:
        full = [(each, held.enter_context(waiting.place(each))) for each in "aabbccddeeffgghh"]
        late = held.enter_context(waiting.place("i"))
        assert [each for each, follower in full if follower.is_over] == ["a"]
        assert full[0][1].is_over, "whoever came first has waited longest"
        assert not late.is_over
        with pytest.raises(NoRoomToWait), waiting.place("a"):
            pass
        for each in "jklmnop":
            held.enter_context(waiting.place(each))
        assert sorted(each for each, follower in full if follower.is_over) == list("abcdefgh")
        with pytest.raises(NoRoomToWait), waiting.place("q"):
            pass
    assert not waiting._waiting
    assert waiting._count == 0


async def test_whoever_loses_the_place_is_told_at_once_how_far_the_log_is(house: House) -> None:
    waiting = Followers(house.bus, house.pool, 8)
    waiting._each = 8
    audit = Watched(house.pool, house.keys, house.progress, waiting, wait_seconds_max=2.0)
    subscriptions = Subscriptions(house.pool, waiting, house.progress, Envelopes("http://here"), wait_seconds_max=2.0)
    async with house.relaying(), house.projecting():
        position = await house.record("tree-1", TreePlanted(tree_id="1"), workspace_id="w1")
        await house.caught_up()
        with ExitStack() as held:
            first = asyncio.create_task(audit.follow("w1", position, 10, 60.0))
            await eventually(lambda: audit.looks == 1)
            rest = [held.enter_context(waiting.place("w1")) for _ in range(7)]
            with waiting.place("w2"):
                assert await asyncio.wait_for(first, 20) == ([], position)
            assert not any(each.is_over for each in rest)
            reading = asyncio.create_task(subscriptions.next(rest[0], "w1", position, Wanted(), 60.0))
            held.enter_context(waiting.place("w2"))
            held.enter_context(waiting.place("w3"))
            assert rest[0].is_over
            page = await asyncio.wait_for(reading, 20)
            assert (page.events, page.upto) == ([], position)
