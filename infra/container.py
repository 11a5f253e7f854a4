"""The parts of a process, each made once, when somebody first needs it, and closed with the process."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar, get_type_hints

from adapters.provides import PROVIDERS, keys, kind_of
from domain import discovery
from domain.sections import Section, Sections
from infra.settings import Settings

T = TypeVar("T")


class NothingProvides(Exception):
    """A part that somebody needs and nobody makes: a mistake in the code, found at the start."""


class Container:
    """Makes parts by type: sections of the settings, dataclasses from their fields, everything else by its provider.

    What is `given` stands in for what would be made.

    So a context asks for what it needs by naming it in a dataclass of its own, and a part is asked for by whoever
    makes another one of it, in its parameters.
    """

    def __init__(self, stack: AsyncExitStack, settings: Settings, given: Mapping[type, Any] | None = None) -> None:
        self._stack = stack
        self._settings = settings
        self._made: dict[type, Any] = {Settings: settings, Sections: settings, **(given or {})}
        self._closed: set[int] = {id(each) for each in self._made.values()}

    async def get(self, kind: type[T]) -> T:
        """The part of a type. Raises NothingProvides."""
        made: T = await self._get(kind_of(kind), ())
        return made

    async def _get(self, kind: type, needed_by: tuple[type, ...]) -> Any:
        if kind in self._made:
            return self._made[kind]
        if issubclass(kind, Section):
            return self._settings[kind]
        way = " -> ".join(each.__qualname__ for each in (*needed_by, kind))
        if kind in needed_by:
            raise NothingProvides(f"{way}: it would need itself")
        make = _maker(kind)
        if make is None:
            raise NothingProvides(f"{way}: nothing provides it")
        made = make(**{name: await self._get(each, (*needed_by, kind)) for name, each in _needs(make).items()})
        if inspect.isawaitable(made):
            made = await made
        if _is_closable(made) and id(made) not in self._closed:
            self._closed.add(id(made))
            self._stack.push_async_callback(made.close)
        for key in {kind} if make is kind else keys(get_type_hints(make)["return"]):
            self._made.setdefault(key, made)
        return made


def _maker(kind: type) -> Callable[..., Any] | None:
    """What makes a part."""
    if dataclasses.is_dataclass(kind) and kind not in PROVIDERS:
        return kind
    if kind not in PROVIDERS:
        # A port is provided by an adapter that nobody has imported so far.
        discovery.modules("adapters", saying="@provides")
    return PROVIDERS.get(kind)


def _is_closable(made: Any) -> bool:
    """Whether it has a `close` of its own: one that has to be given something closes something else, as a build."""
    close = getattr(made, "close", None)
    return close is not None and all(
        each.default is not inspect.Parameter.empty for each in inspect.signature(close).parameters.values()
    )


def _needs(make: Callable[..., Any]) -> dict[str, type]:
    """The types of what a provider or a dataclass is made from."""
    hints = get_type_hints(make)
    return {name: kind_of(hints[name]) for name in inspect.signature(make).parameters}


def load_everything() -> None:
    """Import every command, reaction and projection, so that all are registered."""
    discovery.modules("commands")
    discovery.modules("projections")


@asynccontextmanager
async def container(settings: Settings, given: Mapping[type, Any] | None = None) -> AsyncIterator[Container]:
    """What makes the parts of one process, for as long as it lives."""
    load_everything()
    async with AsyncExitStack() as stack:
        yield Container(stack, settings, given)
