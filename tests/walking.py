"""Everything there is of a kind: modules, events, categories, refusals, and what contexts keep beside their tests."""

from __future__ import annotations

import importlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from domain import discovery
from domain.kernel import Event
from domain.vocabulary import events

T = TypeVar("T")

_TESTS = Path(__file__).parent


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


def kept(file: str) -> list[tuple[str, Path]]:
    """The packages that have a file of this name, with its place: folders of contexts here, then named extensions."""
    # A folder with layers of its own is an extension, whose things are there only when it is named as one.
    ours = sorted(path for path in _TESTS.glob(f"*/{file}") if not (path.parent / "domain").exists())
    theirs = [(name, Path(str(files(name).joinpath(file)))) for name in discovery.extensions()]
    return [*((f"tests.{path.parent.name}", path) for path in ours), *(each for each in theirs if each[1].exists())]


def kept_modules(name: str) -> list[ModuleType]:
    """The modules of this name that contexts and extensions keep."""
    return [importlib.import_module(f"{package}.{name}") for package, _ in kept(f"{name}.py")]
