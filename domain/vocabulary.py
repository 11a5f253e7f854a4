"""Every event by its stored name, and how the shapes of old are read today.

These names are the storage format: a renamed class keeps its old name in `RENAMED`, a changed shape raises its
`schema_version` and leaves an upcaster in `UPCASTERS`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any, get_args, get_type_hints

from msgspec import Meta
from msgspec.structs import fields

import domain
from domain.kernel import PLAIN, Event

#: Names events were once stored under, and the names they go by now.
RENAMED: dict[str, str] = {}


def _personal_since_then(*fields: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """These fields lie there unsealed, as they did before they were personal."""

    def convert(facts: dict[str, Any]) -> dict[str, Any]:
        return facts | {field: PLAIN + facts[field] for field in fields if facts.get(field) is not None}

    return convert


#: (stored name, schema version) -> the same facts in the shape of the next version.
UPCASTERS: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {
    ("analyses.AnalysisRequested", 1): _personal_since_then("source_url", "webhook_url"),
    ("webhooks.DeliveryQueued", 1): _personal_since_then("url"),
    ("webhooks.EndpointRegistered", 1): _personal_since_then("url"),
    ("webhooks.EndpointMoved", 1): _personal_since_then("url"),
}


@cache
def name_of(kind: type[Event]) -> str:
    """The stored name of an event: its context and its class."""
    return f"{kind.__module__.split('.')[1]}.{kind.__name__}"


@cache
def events() -> dict[str, type[Event]]:
    """All events of the domain by their stored names."""
    for module in pkgutil.walk_packages(domain.__path__, "domain."):
        importlib.import_module(module.name)
    kinds = [kind for kind in _kinds(Event) if kind.__module__.startswith("domain.")]
    named = {name_of(kind): kind for kind in kinds}
    assert len(named) == len(kinds), "two events of one context have the same name"
    return named


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


def upcast(name: str, schema_version: int, facts: dict[str, Any]) -> dict[str, Any]:
    """Bring stored facts of an old schema version into today's shape, one version at a time."""
    while convert := UPCASTERS.get((name, schema_version)):
        facts = convert(facts)
        schema_version += 1
    return facts


def _kinds(base: type[Event]) -> list[type[Event]]:
    return [kind for child in base.__subclasses__() for kind in (child, *_kinds(child))]
