"""Consumers as rules."""

from __future__ import annotations

from msgspec.structs import replace

from commands.subscribing.consumers import MakeConsumer, RemoveConsumer
from domain.published import NoSuchType
from domain.subscribing.consumers import (
    CONSUMERS_MAX,
    ConsumerMade,
    ConsumerRemoved,
    NoSuchConsumer,
    TooManyConsumers,
    consumer_books,
)
from tests.scene import NOON, WORKSPACE, Scene

make = MakeConsumer(consumer_id="C", workspace_id=WORKSPACE, name="Chat", event_types=("builds.*",), after=7)
removed = ConsumerRemoved(consumer_id="C", workspace_id=WORKSPACE, removed_at=NOON)


def made(consumer_id: str = "C") -> ConsumerMade:
    return ConsumerMade(
        consumer_id=consumer_id,
        workspace_id=WORKSPACE,
        name="Chat",
        event_types=("builds.*",),
        after=7,
        made_at=NOON,
    )


def known(*consumer_ids: str) -> Scene:
    """A workspace with these consumers."""
    scene = Scene()
    scene.given(consumer_books, WORKSPACE, *map(made, consumer_ids))
    return scene


async def test_a_consumer_is_made_once() -> None:
    scene = await Scene().when(make)
    scene.then(made())
    (await scene.when(make)).then()


async def test_a_workspace_has_only_so_many_and_of_types_that_there_are() -> None:
    full = known(*(str(number) for number in range(CONSUMERS_MAX)))
    await full.refused(make, TooManyConsumers)
    await Scene().refused(replace(make, event_types=("nothing.*",)), NoSuchType)


async def test_what_is_there_is_removed_and_makes_room() -> None:
    scene = await known("C").when(RemoveConsumer(consumer_id="C", workspace_id=WORKSPACE))
    scene.then(removed)
    await scene.refused(RemoveConsumer(consumer_id="C", workspace_id=WORKSPACE), NoSuchConsumer)
