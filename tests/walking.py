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
    """Every event by its stored name, those of named extensions too; events that tests made up are left out."""
    modules()
    ours = ("domain.", *(f"{name}.domain." for name in discovery.extensions()))
    return {name: kind for name, kind in sorted(events().items()) if kind.__module__.startswith(ours)}


def descendants(base: type[T]) -> set[type[T]]:
    """All subclasses that the layers define."""
    modules()
    direct = set(base.__subclasses__())
    return direct | {found for child in direct for found in descendants(child)}
