"""Consumers as rules."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID

import pytest
from msgspec import json
from msgspec.structs import replace

from api.auth import Asker
from api.kernel import Claims
from api.subscribing.consumers import NewConsumer, create_nats_consumer
from commands.kernel import Command, execute
from commands.settings import Idempotency
from commands.subscribing.consumers import MakeConsumer, RemoveConsumer
from domain.idempotency import IdempotencyKeyReused
from domain.ledger import Context
from domain.published import NoSuchType
from domain.subscribing.consumers import (
    CONSUMERS_MAX,
    ConsumerMade,
    ConsumerRemoved,
    NoSuchConsumer,
    TooManyConsumers,
    consumer_books,
)
from projections.subscribing.consumers import ConsumerView
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


async def test_a_request_that_is_sent_again_makes_no_consumer_anew_that_was_removed_meanwhile() -> None:
    scene = Scene()

    async def write(command: Command, context: Context) -> int:
        return await execute(command, scene.log, scene.now, context)

    async def shown(_: object, consumer_id: str, __: str) -> bytes:
        if consumer_id not in (await scene.log.state(consumer_books, "w1")).consumer_ids:
            raise NoSuchConsumer
        view = ConsumerView(
            id=consumer_id, name="Chat", workspace_id="w1", event_types=(), after=0, created_at="2026-11-22T12:00:00Z"
        )
        return json.encode(view)

    readers = SimpleNamespace(
        made=AsyncMock(), of=AsyncMock(return_value={}), ready=AsyncMock(return_value=()), stream="S"
    )
    ports: Any = SimpleNamespace(
        execute=write,
        log=scene.log,
        views=SimpleNamespace(get=shown),
        vault=scene.vault,
        subscriptions=SimpleNamespace(newest=AsyncMock(return_value=9)),
        readers=readers,
        settings=SimpleNamespace(is_open=True, nats_public_url="nats://ledger.example"),
        claims=Claims(Idempotency()),
    )
    request: Any = SimpleNamespace(
        headers={"idempotency-key": "once"},
        method="POST",
        path_params={},
        route_handler=SimpleNamespace(handler_name="create_nats_consumer"),
    )
    asker = Asker(workspace_id="w1", person_id="ada", actor="person:ada", scopes=(), correlation_id=UUID(int=1))

    first = await create_nats_consumer.fn(request, NewConsumer(name="Chat"), ports, asker, "once")
    again = await create_nats_consumer.fn(request, NewConsumer(name="Chat"), ports, asker, "once")
    assert again.id == first.id
    with pytest.raises(IdempotencyKeyReused):
        await create_nats_consumer.fn(request, NewConsumer(name="Another"), ports, asker, "once")

    await scene.when(RemoveConsumer(consumer_id=first.id, workspace_id="w1"))
    with pytest.raises(NoSuchConsumer):
        await create_nats_consumer.fn(request, NewConsumer(name="Chat"), ports, asker, "once")
    # When the key is remembered no more, it makes another one, which begins where it is asked to.
    scene.later(hours=25)
    assert (await create_nats_consumer.fn(request, NewConsumer(name="Chat"), ports, asker, "once")).id != first.id


async def test_a_workspace_has_only_so_many_and_of_types_that_there_are() -> None:
    full = known(*(str(number) for number in range(CONSUMERS_MAX)))
    await full.refused(make, TooManyConsumers)
    await Scene().refused(replace(make, event_types=("nothing.*",)), NoSuchType)


async def test_what_is_there_is_removed_and_makes_room() -> None:
    scene = await known("C").when(RemoveConsumer(consumer_id="C", workspace_id=WORKSPACE))
    scene.then(removed)
    await scene.refused(RemoveConsumer(consumer_id="C", workspace_id=WORKSPACE), NoSuchConsumer)
