"""What commands may rely on, whichever ledger they are given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from adapters.log.codec import EVENT_BYTES_MAX, EventIsTooLarge
from adapters.log.eventlog import EventLog
from adapters.log.memory import MemoryLedger
from commands.kernel import TooBusy, execute
from domain.keeping import CannotBeKept
from domain.kernel import Event
from domain.ledger import Authority, AuthorityChanged, Change, Context, Recorded, StaleVersion
from domain.vocabulary import named_alike
from tests.core.conftest import House
from tests.core.orchard import (
    NOW,
    AlarmSet,
    FillTree,
    GardenerHired,
    GraftTree,
    NameIsTaken,
    NameTree,
    NoSuchTree,
    PlantTree,
    Tree,
    TreePlanted,
    TreeWatered,
    WaterTree,
    context,
    trees,
)

Ledger = MemoryLedger | EventLog


@pytest.fixture(params=["memory", "postgres"])
async def ledger(request: pytest.FixtureRequest) -> AsyncIterator[Ledger]:
    """Either ledger; the one in memory needs no servers."""
    if request.param == "memory":
        yield MemoryLedger()
        return
    databases = request.getfixturevalue("core_url")
    nats_server = request.getfixturevalue("nats_server")
    async with House(databases, nats_server.url, f"t{uuid4().hex[:12]}") as house:
        yield house.ledger


async def record(ledger: Ledger, stream: str, *events: Any, after: int = 0) -> int:
    return await ledger.append([Change(stream=stream, after=after, events=events)], context())


async def test_a_stream_is_read_as_it_was_written(ledger: Ledger) -> None:
    await record(ledger, "tree-1", TreePlanted(tree_id="1"), TreeWatered(tree_id="1", litres=3))
    await record(ledger, "tree-1", TreeWatered(tree_id="1", litres=4), after=2)
    history = await ledger.read("tree-1")

    assert history.version == 3
    assert trees.fold(history.events).litres == 7
    assert await ledger.state(trees, "1") == trees.fold(history.events)
    assert await ledger.state(trees, "2") == trees.initial
    # Where the last event tells all, it is all that is looked at.
    by_last = replace(trees, snapshot=lambda event: Tree(litres=event.litres) if type(event) is TreeWatered else None)
    assert await ledger.state(by_last, "1") == Tree(litres=4)
    assert [each.version for each in await ledger.stream("tree-1", after=1)] == [2, 3]
    assert (await ledger.read("tree-2")).version == 0
    assert (await ledger.read("tree-\0")).version == 0


@pytest.mark.parametrize(
    "event",
    [
        TreePlanted(tree_id="a\0b"),
        TreePlanted(tree_id="\ud800"),
        TreePlanted(tree_id=7),  # type: ignore[arg-type]  # as a rule might that was given the wrong thing
        AlarmSet(tree_id="1", rings_at=datetime.max.replace(tzinfo=UTC)),
        AlarmSet(tree_id="1", rings_at=datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))),
        AlarmSet(tree_id="1", rings_at=datetime(2026, 1, 1)),  # noqa: DTZ001 - that it has no zone is the point
        GardenerHired(gardener_id="g", email="a\0b"),
        GardenerHired(gardener_id="g\0", email="a"),
        GardenerHired(gardener_id="g", email="a", nickname="\udfff"),
    ],
    ids=repr,
)
async def test_what_could_not_be_read_again_is_not_written(ledger: Ledger, event: Event) -> None:
    with pytest.raises(CannotBeKept):
        await record(ledger, "tree-1", TreePlanted(tree_id="1"), event)
    assert await ledger.head() == 0


async def test_what_fits_into_no_message_is_not_written(ledger: Ledger) -> None:
    with pytest.raises(EventIsTooLarge):
        await record(ledger, "tree-1", TreePlanted(tree_id="x" * EVENT_BYTES_MAX))
    assert await ledger.head() == 0


async def test_what_cannot_be_the_name_of_a_stream_is_refused_and_was_never_written(ledger: Ledger) -> None:
    for name in ("tree-\0", "tree-\ud800"):
        with pytest.raises(CannotBeKept):
            await record(ledger, name, TreePlanted(tree_id="1"))
        assert (await ledger.read(name)).version == 0
        assert await ledger.stream(name) == []


async def test_what_was_begun_in_a_workspace_is_found_by_its_kind(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of other kinds may begin alike: `tree-house-1` is no tree."""
    houses = replace(trees, name="tree-house")
    kinds = {each.name: each for each in (trees, houses)}
    monkeypatch.setattr("domain.vocabulary.categories", lambda: kinds)
    named_alike.cache_clear()
    for workspace_id, stream, actor in (
        ("w1", "tree-1", "ada"),
        ("w1", "tree-house-1", "ada"),
        ("w1", "shrub-1", "ada"),
        ("w2", "tree-2", "bob"),
        ("w3", "tree-3", "ada"),
    ):
        planted = Change(stream=stream, after=0, events=[TreePlanted(tree_id="1"), TreeWatered(tree_id="1")])
        await ledger.append([planted], replace(context(workspace_id), actor=actor))

    assert await ledger.begun(trees, {"w1"}) == ["1"]
    assert await ledger.begun(houses, {"w1"}) == ["1"]
    assert sorted(await ledger.begun(trees, {"w1", "w2"})) == ["1", "2"]
    assert await ledger.begun(trees, {"w1", "w2"}, actor="bob") == ["2"]
    assert await ledger.begun(trees, set()) == []
    named_alike.cache_clear()


async def test_letters_that_look_like_an_escape_are_only_letters(ledger: Ledger) -> None:
    written = TreePlanted(tree_id="\\u0000 \\\\u0000")
    await record(ledger, "tree-1", written)

    assert (await ledger.read("tree-1")).events == [written]


async def test_what_one_asks_for_in_vain_harms_nobody_beside(ledger: Ledger) -> None:
    wishes = (record(ledger, name, TreePlanted(tree_id="1")) for name in ("tree-1", "tree-\0", "tree-2"))
    first, refused, last = await asyncio.gather(*wishes, return_exceptions=True)

    assert isinstance(refused, CannotBeKept)
    assert {first, last} == {1, 2}


async def test_the_last_event_of_a_stream_is_read_without_those_before_it(ledger: Ledger) -> None:
    await record(ledger, "tree-1", TreePlanted(tree_id="1"), TreeWatered(tree_id="1", litres=3))
    await record(ledger, "tree-1", TreeWatered(tree_id="1", litres=4), after=2)
    await record(ledger, "tree-2", TreePlanted(tree_id="2"))

    histories = await asyncio.gather(*(ledger.last(f"tree-{name}") for name in ("1", "2", "1", "none", "\0")))
    assert [(each.version, list(each.events)) for each in histories] == [
        (3, [TreeWatered(tree_id="1", litres=4)]),
        (1, [TreePlanted(tree_id="2")]),
        (3, [TreeWatered(tree_id="1", litres=4)]),
        (0, []),
        (0, []),
    ]


async def test_what_was_decided_on_an_old_version_is_not_written(ledger: Ledger) -> None:
    await record(ledger, "tree-1", TreePlanted(tree_id="1"))
    with pytest.raises(StaleVersion):
        await ledger.append(
            [
                Change(stream="tree-2", after=0, events=[TreePlanted(tree_id="2")]),
                Change(stream="tree-1", after=0, events=[TreePlanted(tree_id="1")]),
            ],
            context(),
        )

    assert (await ledger.read("tree-2")).version == 0
    assert (await ledger.read("tree-1")).version == 1


def relying_on(*seen: tuple[str, int], renew: Any = None) -> Context:
    """In the name of somebody whose right was seen in these streams, up to these positions."""
    return replace(context(), authority=Authority(relies_on=seen, renew=renew))


async def test_what_somebody_may_no_longer_ask_for_is_not_written_and_harms_nobody_beside(ledger: Ledger) -> None:
    seen = await record(ledger, "key-1", TreePlanted(tree_id="key"))
    other = await record(ledger, "key-2", TreePlanted(tree_id="key"))
    await record(ledger, "key-1", TreeWatered(tree_id="key", litres=1), after=1)

    async def ask(name: str, relies_on: Context) -> bool:
        try:
            await ledger.append([Change(stream=name, after=0, events=[TreePlanted(tree_id=name)])], relies_on)
        except AuthorityChanged:
            return False
        return True

    written = await asyncio.gather(
        ask("tree-1", relying_on(("key-2", other), ("key-1", seen))),
        ask("tree-2", relying_on(("key-2", other), ("nothing-1", 0))),
        ask("tree-3", relying_on(("key-1", await ledger.head()))),
        ask("tree-4", relying_on(("key-2", other), ("key-1", seen))),
        ask("tree-5", relying_on(("key-2", other), ("nothing-1", 0))),
    )
    assert list(written) == [False, True, True, False, True]
    assert [(await ledger.read(f"tree-{name}")).version for name in range(1, 6)] == [0, 1, 1, 0, 1]


@pytest.mark.parametrize("is_first", [True, False])
async def test_nothing_is_written_behind_what_takes_its_right_in_the_same_moment(
    ledger: Ledger, is_first: bool
) -> None:
    seen = await record(ledger, "key-1", TreePlanted(tree_id="key"))

    async def lost() -> int:
        return await ledger.append(
            [Change(stream="key-1", after=1, events=[TreeWatered(tree_id="key", litres=1)])], context()
        )

    async def asked() -> int | None:
        try:
            return await ledger.append(
                [Change(stream="tree-1", after=0, events=[TreePlanted(tree_id="1")])], relying_on(("key-1", seen))
            )
        except AuthorityChanged:
            return None

    if is_first:
        lost_at, asked_at = await asyncio.gather(lost(), asked())
    else:
        asked_at, lost_at = await asyncio.gather(asked(), lost())
    assert asked_at is None or asked_at < lost_at
    assert (await ledger.read("tree-1")).version == (asked_at is not None)


async def test_whoever_has_the_right_still_is_heard_and_whoever_lost_it_is_refused(ledger: Ledger) -> None:
    seen = await record(ledger, "key-1", TreePlanted(tree_id="key"))
    await record(ledger, "key-1", TreeWatered(tree_id="key", litres=1), after=1)

    async def still() -> Authority:
        return Authority(relies_on=(("key-1", await ledger.head()),), renew=still)

    async def no_more() -> Authority:
        raise NoSuchTree

    with pytest.raises(NoSuchTree):
        await execute(PlantTree(tree_id="1"), ledger, NOW, relying_on(("key-1", seen), renew=no_more))
    assert (await ledger.read("tree-1")).version == 0
    await execute(PlantTree(tree_id="1"), ledger, NOW, relying_on(("key-1", seen), renew=still))
    assert (await ledger.read("tree-1")).version == 1


async def test_an_append_of_nothing_writes_nothing(ledger: Ledger) -> None:
    assert await ledger.append([], context()) == 0
    assert await ledger.append([Change(stream="tree-1", after=0, events=[])], context()) == 0
    assert await ledger.head() == 0


async def test_pages_hold_everything_in_order_with_its_envelope(ledger: Ledger) -> None:
    asked = Context(correlation_id=uuid4(), causation_id=uuid4(), workspace_id="w9", actor="ada")
    for n in range(5):
        change = Change(stream=f"tree-{n}", after=0, events=[TreePlanted(tree_id=str(n))])
        last = await ledger.append([change], asked)
    first, second = await ledger.page(0, 3), await ledger.page(3, 3)

    found = [each for each in [*first, *second] if isinstance(each, Recorded)]
    assert [each.stream for each in found] == [f"tree-{n}" for n in range(5)]
    assert [each.position for each in found] == [1, 2, 3, 4, 5]
    assert last == await ledger.head() == 5
    assert await ledger.page(5, 3) == []
    assert {(each.workspace_id, each.actor, each.correlation_id, each.causation_id) for each in found} == {
        ("w9", "ada", asked.correlation_id, asked.causation_id)
    }
    assert await ledger.at([2, 4, 99]) == {2: found[1], 4: found[3]}


async def test_of_many_who_want_the_same_name_exactly_one_gets_it(ledger: Ledger) -> None:
    answers = await asyncio.gather(
        *(execute(NameTree(tree_id=str(n), name="oak"), ledger, NOW, context()) for n in range(20)),
        return_exceptions=True,
    )
    winners = [answer for answer in answers if isinstance(answer, int)]
    assert len(winners) == 1
    assert sum(isinstance(answer, NameIsTaken) for answer in answers) == 19
    assert await ledger.head() == winners[0]
    assert len(await ledger.page(0, 100)) == 2, "nobody but the winner has left anything"


async def test_the_same_wish_sent_by_many_at_once_acts_once(ledger: Ledger) -> None:
    answers = await asyncio.gather(*(execute(PlantTree(tree_id="1"), ledger, NOW, context()) for _ in range(20)))

    assert sorted(answers)[:-1] == [0] * 19
    assert (await ledger.read("tree-1")).version == 1


async def test_a_limit_holds_however_many_press_against_it(ledger: Ledger) -> None:
    await execute(PlantTree(tree_id="1"), ledger, NOW, context())

    async def press() -> None:
        while True:
            try:
                await execute(FillTree(tree_id="1"), ledger, NOW, context())
            except TooBusy:
                continue
            return

    await asyncio.gather(*(press() for _ in range(16)))

    assert trees.fold((await ledger.read("tree-1")).events).litres == 10


async def test_a_thing_that_does_not_exist_is_refused(ledger: Ledger) -> None:
    with pytest.raises(NoSuchTree):
        await execute(WaterTree(tree_id="1"), ledger, NOW, context())


async def test_what_is_refused_on_a_presumption_is_looked_at_before_saying_no(ledger: Ledger) -> None:
    with pytest.raises(NoSuchTree):
        await execute(GraftTree(tree_id="1"), ledger, NOW, context())
    await execute(PlantTree(tree_id="1"), ledger, NOW, context())

    assert await execute(GraftTree(tree_id="1"), ledger, NOW, context()) == 2
