"""Everything there is of a kind: modules, events, categories, refusals; found by importing all of the house."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import TypeVar

from domain import discovery
from domain.kernel import Event
from domain.vocabulary import events

T = TypeVar("T")


@cache
def modules() -> tuple[ModuleType, ...]:
    """Every module of the layers that hold rules, facts, views and routes."""
    return tuple(
        module for layer in ("domain", "commands", "projections", "api") for module in discovery.modules(layer)
    )


@cache
def vocabulary() -> dict[str, type[Event]]:
    """Every event by its stored name, those of extensions that are named too."""
    modules()
    return dict(sorted(events().items()))


def descendants(base: type[T]) -> set[type[T]]:
    """All subclasses that the layers define."""
    modules()
    direct = set(base.__subclasses__())
    return direct | {found for child in direct for found in descendants(child)}
