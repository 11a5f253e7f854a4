"""The parts of a process are found by their types, made once, and closed with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

import pytest

from adapters import provides as registry
from adapters.postgres.retrying import Pool
from adapters.provides import provides
from infra.container import Container, NothingProvides, container
from infra.settings import Settings
from tests.journeys.kit import Stack

closed: list[str] = []


class Pours(Protocol):
    """Gives water."""

    def pour(self) -> str:
        """Some."""


class Well:
    """Where water comes from."""

    async def close(self) -> None:
        """Cover it."""
        closed.append("well")


class Pump(Pours):
    """Brings it up."""

    def __init__(self, well: Well) -> None:
        self.well = well

    def pour(self) -> str:
        """Some."""
        return "water"

    async def close(self) -> None:
        """Stop it."""
        closed.append("pump")


class Fountain:
    """Not built here."""


class Shop:
    """Closes its counters, one by one, and has no end of its own."""

    def close(self, counter: int) -> None:
        """Close one of them."""
        closed.append(f"counter {counter}")


class Egg:
    """Needs a hen."""


class Hen:
    """Needs an egg."""


@dataclass(frozen=True)
class Ports:
    """What a garden needs."""

    water: Pours
    pump: Pump
    fountain: Fountain | None


@pytest.fixture(autouse=True)
def village() -> Iterator[None]:
    """What is provided here, and nowhere else."""
    closed.clear()

    @provides
    async def well() -> Well:
        return Well()

    @provides
    def pump(well: Well) -> Pump:
        return Pump(well)

    @provides
    def fountain() -> Fountain | None:
        return None

    @provides
    def egg(hen: Hen) -> Egg:
        return Egg()

    @provides
    def hen(egg: Egg) -> Hen:
        return Hen()

    @provides
    def shop() -> Shop:
        return Shop()

    yield
    for kind in (Well, Pump, Pours, Fountain, Egg, Hen, Shop):
        registry.PROVIDERS.pop(kind, None)


async def test_a_dataclass_is_filled_by_type_with_parts_that_are_made_once_and_closed_last_first() -> None:
    async with AsyncExitStack() as stack:
        container = Container(stack, Settings())
        ports = await container.get(Ports)

        assert ports.water is ports.pump
        assert ports.pump.well is await container.get(Well)
        assert ports.fountain is None
        assert await container.get(Ports) is ports
        assert closed == []

    assert closed == ["pump", "well"]


async def test_what_may_be_told_how_long_it_has_to_close_is_closed_too(stack: Stack) -> None:
    async with container(stack.settings) as here:
        pool = await here.get(Pool)
        assert not pool.closed
    assert pool.closed


async def test_what_closes_something_else_is_left_alone() -> None:
    async with AsyncExitStack() as stack:
        shop = await Container(stack, Settings(), {}).get(Shop)
        shop.close(1)
    assert closed == ["counter 1"]


async def test_what_is_given_is_used_and_left_open() -> None:
    mine = Well()
    async with AsyncExitStack() as stack:
        assert (await Container(stack, Settings(), {Well: mine}).get(Pump)).well is mine

    assert closed == ["pump"]


async def test_what_nobody_provides_is_named_with_who_needs_it() -> None:
    del registry.PROVIDERS[Well]
    async with AsyncExitStack() as stack:
        with pytest.raises(NothingProvides, match="Ports -> Pours -> Well: nothing provides it"):
            await Container(stack, Settings()).get(Ports)


async def test_what_needs_itself_is_named() -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(NothingProvides, match="Egg -> Hen -> Egg: it would need itself"):
            await Container(stack, Settings()).get(Egg)


def test_one_part_is_provided_by_one_function() -> None:
    with pytest.raises(AssertionError, match="two functions provide Well"):

        @provides
        def another() -> Well:
            return Well()
