"""Every event by its stored name, and how the shapes of old are read today.

These names are the storage format: a renamed event says what it was `formerly` called; one whose shape has changed
raises its `schema_version` and adds to its `upcasters`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, get_args, get_type_hints

from msgspec import Meta
from msgspec.structs import fields

from domain.discovery import context_of, modules
from domain.kernel import Category, Event


@cache
def name_of(kind: type[Event]) -> str:
    """The stored name of an event: its context and its class."""
    return f"{context_of(kind.__module__)}.{kind.__name__}"


@cache
def events() -> dict[str, type[Event]]:
    """All events of the domain by their stored names."""
    found = {module.__name__ for module in modules("domain")}
    kinds = [kind for kind in _kinds(Event) if kind.__module__ in found]
    named = {name_of(kind): kind for kind in kinds}
    assert len(named) == len(kinds), "two events of one context have the same name"
    return named


@cache
def renamed() -> dict[str, str]:
    """Names events were once stored under, and the names they go by now."""
    return {before: name for name, kind in events().items() for before in vars(kind).get("formerly", ())}


@cache
def names_of(kind: type[Event]) -> tuple[str, ...]:
    """Every name that events of a kind are stored under: today's and those of before."""
    return (name_of(kind), *vars(kind).get("formerly", ()))


@cache
def categories() -> dict[str, Category[Any]]:
    """Every kind of stream by its name."""
    things = {id(thing): thing for module in modules("domain") for thing in vars(module).values()}
    kinds = [thing for thing in things.values() if isinstance(thing, Category)]
    named = {kind.name: kind for kind in kinds}
    assert len(named) == len(kinds), f"two kinds of streams have one name: {sorted(kind.name for kind in kinds)}"
    return named


def parted(stream: str) -> tuple[str, str]:
    """The name of a stream's category, which may have hyphens, and the id; parted by the first where none is known."""
    known = categories()
    name = stream
    while name := name.rpartition("-")[0]:
        if name in known:
            return name, stream.removeprefix(f"{name}-")
    name, _, identity = stream.partition("-")
    return name, identity


@cache
def remembered() -> tuple[str, ...]:
    """How the names of those streams begin whose growth every process is told of."""
    return tuple(sorted(f"{name}-" for name, each in categories().items() if each.remembered))


@cache
def named_alike(name: str) -> tuple[str, ...]:
    """How the names of streams begin that are of another kind, and yet begin as those of this kind do."""
    return tuple(f"{other}-" for other in categories() if other.startswith(f"{name}-"))


@cache
def personal_fields(kind: type[Event]) -> tuple[tuple[str, str], ...]:
    """(field, field that holds the subject's id) for each personal field of an event."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple((field.name, subject) for field in fields(kind) if (subject := _subject(hints[field.name])))


@cache
def addresses(kind: type[Event]) -> frozenset[str]:
    """The personal fields of an event that are addresses."""
    hints = get_type_hints(kind, include_extras=True)
    return frozenset(field.name for field in fields(kind) if _mark(hints[field.name]).get("address"))


def _subject(hint: Any) -> str | None:
    return _mark(hint).get("personal")


def _mark(hint: Any) -> dict[str, Any]:
    """What is marked anywhere in a type, so that `X | None` is sealed as X is."""
    for meta in getattr(hint, "__metadata__", ()):
        if isinstance(meta, Meta) and meta.extra and "personal" in meta.extra:
            return meta.extra
    return next((found for part in get_args(hint) if (found := _mark(part))), {})


def upcast(kind: type[Event], schema_version: int, facts: dict[str, Any]) -> dict[str, Any]:
    """Bring stored facts of an old schema version into today's shape, one version at a time."""
    while convert := kind.upcasters.get(schema_version):
        facts = convert(facts)
        schema_version += 1
    return facts


def _kinds(base: type[Event]) -> list[type[Event]]:
    return [kind for child in base.__subclasses__() for kind in (child, *_kinds(child))]
