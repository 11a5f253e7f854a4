"""Whoever was told that something is done sees it in the next read, or is told that it cannot be shown yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec import json

from adapters.readmodels.views import Listed, ReadsBehind, ReadsUnavailable, Views
from tests.core.conftest import House
from tests.core.orchard import (
    NoSuchTree,
    PlantTree,
    TreeCursed,
    TreeFelled,
    TreePlanted,
    TreeView,
    WaterTree,
    figures,
    forest,
)

trees, sums = forest(), figures()


@asynccontextmanager
async def open_house(house: House) -> AsyncIterator[Views]:
    async with house.relaying(), house.projecting():
        await house.caught_up()
        yield house.views


async def test_every_write_is_seen_by_the_next_read(house: House) -> None:
    async def garden(views: Views, tree_id: str) -> None:
        await house.ask(PlantTree(tree_id=tree_id))
        for litres in range(1, 6):
            await house.ask(WaterTree(tree_id=tree_id))
            seen = json.decode(await views.get(trees, tree_id, "w1"), type=TreeView)
            assert seen.litres == litres
            assert tree_id in {json.decode(each.body)["id"] for each in await views.page(trees, "w1", limit=100)}
            assert (await views.sums(sums, [f"litres/{tree_id}"], "w1")) == {f"litres/{tree_id}": litres}

    async with open_house(house) as views:
        await asyncio.gather(*(garden(views, str(n)) for n in range(8)))


async def test_reads_do_not_wait_for_strangers(house: House) -> None:
    async with open_house(house) as views:
        await house.ask(PlantTree(tree_id="1"))
        await views.get(trees, "1", "w1")
    # Nobody projects any more, and another workspace goes on writing.
    await house.ask(PlantTree(tree_id="2"), workspace_id="w2")
    impatient = house.new_views(wait_seconds_max=0)

    assert json.decode(await impatient.get(trees, "1", "w1"))["id"] == "1"
    assert len(await impatient.page(trees, "w1", limit=10)) == 1


async def test_while_the_projector_lags_a_document_comes_from_the_log_and_lists_are_refused(house: House) -> None:
    async with open_house(house) as views:
        await house.ask(PlantTree(tree_id="1"))
        await views.get(trees, "1", "w1")
    impatient = house.new_views(wait_seconds_max=0.05)
    await house.ask(WaterTree(tree_id="1", litres=4))
    await house.ask(PlantTree(tree_id="2"))

    assert json.decode(await impatient.get(trees, "1", "w1"), type=TreeView).litres == 4
    assert json.decode(await impatient.get(trees, "2", "w1"), type=TreeView).id == "2"
    assert await impatient.find(trees, "2", "w2") is None
    assert await impatient.find(trees, "3", "w1") is None
    with pytest.raises(ReadsBehind):
        await impatient.page(trees, "w1", limit=10)
    with pytest.raises(ReadsBehind):
        await impatient.sums(sums, ["trees"], "w1")

    await house.record("tree-2", TreeFelled(tree_id="2"))
    assert await impatient.find(trees, "2", "w1") is None
    await house.record("tree-1", TreeCursed(tree_id="1"))
    with pytest.raises(ReadsBehind):
        await impatient.find(trees, "1", "w1")


async def test_a_document_brought_up_to_date_from_the_log_equals_the_projected_one(house: House) -> None:
    await house.ask(PlantTree(tree_id="1", kind="pear"))
    await house.ask(WaterTree(tree_id="1", litres=2))
    async with open_house(house) as views:
        await views.get(trees, "1", "w1")
    for litres in (3, 4):
        await house.ask(WaterTree(tree_id="1", litres=litres))
    early = await house.new_views(wait_seconds_max=0).get(trees, "1", "w1")
    async with open_house(house) as views:
        assert await views.get(trees, "1", "w1") == early


async def test_another_workspaces_thing_is_not_found(house: House) -> None:
    async with open_house(house) as views:
        await house.ask(PlantTree(tree_id="1"))
        assert await views.find(trees, "1", "w2") is None
        with pytest.raises(NoSuchTree):
            await views.get(trees, "1", "w2")
        assert await views.page(trees, "w2", limit=10) == []


async def test_a_list_is_newest_first_and_read_on_where_it_stopped(house: House) -> None:
    async with open_house(house) as views:
        for n in range(7):
            await house.record(f"tree-{n}", TreePlanted(tree_id=str(n), kind="pear" if n % 2 else "apple"))
        await house.ask(WaterTree(tree_id="0"))
        pages: list[list[Listed]] = []
        while not pages or pages[-1]:
            before = pages[-1][-1].created if pages else None
            pages.append(await views.page(trees, "w1", limit=3, before=before))
        pears = await views.page(trees, "w1", limit=10, parent="pear")

    ids = [[json.decode(each.body)["id"] for each in page] for page in pages]
    assert ids == [["6", "5", "4"], ["3", "2", "1"], ["0"], []]
    assert [json.decode(each.body)["id"] for each in pears] == ["5", "3", "1"]


async def test_sums_of_what_was_never_counted_are_zero(house: House) -> None:
    async with open_house(house) as views:
        await house.ask(PlantTree(tree_id="1"))
        assert await views.sums(sums, ["trees", "litres"], "w1") == {"trees": 1, "litres": 0}


async def test_a_read_model_that_nobody_has_made_yet_is_unavailable(house: House) -> None:
    with pytest.raises(ReadsUnavailable):
        await house.views.find(trees, "1", "w1")


async def test_reads_find_the_newest_writes_without_any_bell(house: House) -> None:
    house.bus.ring = lambda *_: None  # type: ignore[method-assign]
    async with open_house(house) as views:
        await house.ask(PlantTree(tree_id="1"))
        assert json.decode(await views.get(trees, "1", "w1"))["id"] == "1"
