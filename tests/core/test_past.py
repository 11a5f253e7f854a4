"""A read as of a position answers what the same read answered when the log ended there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from msgspec import json
from msgspec.structs import replace

from adapters.readmodels import past
from adapters.readmodels.past import AS_OF, PastUnreadable, PositionIsAhead, TooMuchToFold
from adapters.readmodels.views import Views
from commands.kernel import execute
from domain.analyses.analyses import AnalysisRequested
from domain.identity.workspaces import WorkspaceForgotten
from domain.kernel import Refusal
from projections.kernel import PROJECTIONS, TALLIES, Projection
from tests.core.conftest import House
from tests.core.orchard import NOW, TreeCursed, TreeFelled, TreePlanted, TreeWatered, figures, forest
from tests.examples import examples
from tests.spec import CONTEXT
from tests.strategies import ordinary

trees, sums = forest(), figures()
#: The same without a stream, as a projection over several is.
scattered = replace(trees, stream=None)

ENDING = ("Close", "Deactivate", "Delete", "Disconnect", "Forget", "Release", "Remove", "Retire", "Revoke", "Transfer")


@asynccontextmanager
async def looking_back(views: Views, to: int | datetime, workspace_id: str = "w1") -> AsyncIterator[None]:
    token = AS_OF.set(None)
    try:
        await views.look_back(workspace_id, to)
        yield
    finally:
        AS_OF.reset(token)


class Seen(NamedTuple):
    """What all reads answer."""

    found: list[bytes | None]
    page: list[Any]
    under: list[Any]
    sums: dict[str, int]


async def see(views: Views, projection: Projection[Any] = trees, workspace_id: str = "w1") -> Seen:
    return Seen(
        [await views.find(projection, identity, workspace_id) for identity in "1234"],
        await views.page(projection, workspace_id, limit=2, offset=1),
        await views.page(projection, workspace_id, limit=9, parent="pear"),
        await views.sums(sums, ["litres/1", "litres/3", "nothing"], workspace_id),
    )


async def test_every_read_as_of_a_position_answers_what_it_answered_then(house: House) -> None:
    history = [
        ("1", TreePlanted(tree_id="1")),
        ("1", TreeWatered(tree_id="1", litres=3)),
        ("2", TreePlanted(tree_id="2", kind="pear")),
        ("3", TreePlanted(tree_id="3", kind="pear")),
        ("1", TreeWatered(tree_id="1", litres=4)),
        ("2", TreeFelled(tree_id="2")),
        ("2", TreePlanted(tree_id="2", kind="apple")),
        ("3", TreeWatered(tree_id="3")),
    ]
    then: dict[int, Seen] = {}
    moments: dict[int, datetime] = {}
    async with house.relaying(), house.projecting():
        await house.caught_up()
        then[0] = await see(house.views)
        for tree_id, event in history:
            position = await house.record(f"tree-{tree_id}", event)
            then[position] = await see(house.views)
            [recorded] = (await house.ledger.at([position])).values()
            moments[position] = recorded.recorded_at
            await house.record("tree-9", TreePlanted(tree_id="9") if position == 1 else TreeWatered(tree_id="9"),
                               workspace_id="w2")  # fmt: skip
        for position, seen in then.items():
            for to in (position, moments.get(position, min(moments.values()) - timedelta(seconds=1))):
                async with looking_back(house.views, to):
                    assert await see(house.views) == seen
                    assert await see(house.views, scattered) == seen
        async with looking_back(house.views, position, "w2"):
            assert await house.views.find(trees, "1", "w2") is None
            assert await house.views.find(trees, "9", "w1") is None
            assert await house.views.find(trees, "1\0", "w1") is None


async def test_there_is_no_looking_ahead_and_no_answer_that_could_still_change(house: House) -> None:
    async with house.relaying(), house.projecting():
        head = await house.record("tree-1", TreePlanted(tree_id="1"))
        await house.caught_up()
        with pytest.raises(PositionIsAhead):
            await house.views.look_back("w1", head + 1)
        async with looking_back(house.views, datetime.now(UTC) + timedelta(days=1)):
            assert await house.views.find(trees, "1", "w1") is not None


async def test_what_would_cost_too_much_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house.relaying(), house.projecting():
        await house.record("tree-1", TreePlanted(tree_id="1"), *[TreeWatered(tree_id="1")] * 4)
        head = await house.record("tree-2", TreePlanted(tree_id="2"))
        await house.caught_up()
        monkeypatch.setattr(past, "FOLDED_MAX", 3)
        async with looking_back(house.views, head):
            assert await house.views.find(trees, "2", "w1") is not None
            with pytest.raises(TooMuchToFold):
                await house.views.find(trees, "1", "w1")
            with pytest.raises(TooMuchToFold):
                await house.views.page(trees, "w1", limit=1)
        async with looking_back(house.views, 3):
            assert len(await house.views.page(trees, "w1", limit=1)) == 1
        monkeypatch.setattr(past, "SCANNED_MAX", 5)
        async with looking_back(house.views, head):
            with pytest.raises(TooMuchToFold):
                await house.views.sums(sums, ["trees"], "w1")


async def test_an_event_that_nobody_can_fold_is_named(house: House) -> None:
    async with house.relaying(), house.projecting():
        await house.record("tree-1", TreePlanted(tree_id="1"))
        head = await house.record("tree-1", TreeCursed(tree_id="1"))
        await house.caught_up()
        async with looking_back(house.views, head - 1):
            assert await house.views.find(trees, "1", "w1") is not None
        async with looking_back(house.views, head):
            with pytest.raises(PastUnreadable):
                await house.views.find(trees, "1", "w1")


async def test_of_every_projection_the_newest_past_is_the_present_and_what_was_forgotten_stays_so(house: House) -> None:
    """The examples of all commands but those that end something, one after the other, in one workspace."""
    for example in examples().values():
        if not type(example.command).__name__.startswith(ENDING):
            for wish in (*example.before, example.command):
                with suppress(Refusal):  # what another example has done already
                    await execute(wish, house.ledger, NOW, CONTEXT)
    batched = replace(ordinary(AnalysisRequested), analysis_id="b1", batch_id="batch", workspace_id="w1")
    await house.record("analysis-b1", batched)
    names = ["jobs", *PROJECTIONS, *TALLIES]
    async with house.relaying(), house.projecting([*PROJECTIONS.values()], [*TALLIES.values()]):
        await house.caught_up(*names)
        head = await house.ledger.head()
        rows = await house.fetch("SELECT projection, id, workspace_id, body FROM documents")
        sizes = {name: len([row for row in rows if row[0] == name]) for name in PROJECTIONS}
        assert not [name for name, size in sizes.items() if not size], sizes
        for workspace_id in {row[2] for row in rows}:
            async with looking_back(house.views, head, workspace_id):
                for name, projection in PROJECTIONS.items():
                    stored = {row[1]: row[3] for row in rows if row[0] == name and row[2] == workspace_id}
                    for identity, body in stored.items():
                        again = await house.views.find(projection, identity, workspace_id)
                        assert again is not None, (name, identity)
                        assert json.decode(again) == json.decode(body), name
                    listed = await house.views.page(projection, workspace_id, limit=1_000)
                    assert sorted(each.body for each in listed) == sorted(stored.values()), name
        amounts = await house.fetch("SELECT projection, key, amount FROM tallies WHERE amount <> 0")
        assert {row[0] for row in amounts} == set(TALLIES)
        async with looking_back(house.views, head):
            for name, key, amount in amounts:
                assert await house.views.sums(TALLIES[name], [key], "w1") == {key: amount}

        await house.record("workspace-w1", WorkspaceForgotten(workspace_id="w1", forgotten_at=NOW))
        await house.caught_up(*names)
        async with looking_back(house.views, head):
            for projection in PROJECTIONS.values():
                assert await house.views.page(projection, "w1", limit=9) == []
