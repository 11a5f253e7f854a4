"""An event in words for people and machines: what was done, to what, and its particulars without anybody's person."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from domain.kernel import Event
from domain.vocabulary import addresses, events, name_of, personal_fields, renamed
from projections.kernel import seconds

#: How an address begins, and nothing that is sealed.
_ADDRESSES = ("http://", "https://", "storage://")

TEXT_LENGTH_MAX = 256
ITEMS_MAX = 50


@cache
def action_of(name: str) -> str:
    """What an event of this stored name says was done: `analyses.AnalysisRequested` is `analysis.requested`."""
    name = renamed().get(name, name)
    if name in events() and events()[name].action:
        return events()[name].action
    context, _, kind = name.partition(".")
    *noun, verb = re.findall(r"[A-Z][a-z0-9]*", kind) or [kind]
    return f"{'_'.join(noun).lower() or context}.{verb.lower()}"


@cache
def names_of(action: str) -> tuple[str, ...]:
    """The stored names of the events that say this was done, those of old included."""
    return tuple(name for name in (*events(), *renamed()) if action_of(name) == action)


def target_of(event: Event) -> tuple[str, str]:
    """What kind of thing an event is about, and its id: the first id that the event names."""
    for field, value in _facts(event):
        if field.endswith("_id"):
            kind = field.removesuffix("_id")
            return event.target or kind, str(value)
    context = name_of(type(event)).partition(".")[0]
    return context, context


def particulars(event: Event) -> dict[str, Any]:
    """The facts of an event that anybody who may read the audit may know.

    Left out are personal fields, digests of personal data, nested values (they may be long) and the queries of
    addresses (they may hold secrets). Of a personal address its place is shown, once it has been unsealed.
    """
    places = {field for field in addresses(type(event)) if str(getattr(event, field)).lower().startswith(_ADDRESSES)}
    hidden = {field for field, _ in personal_fields(type(event))} - places
    shown = {}
    for field, fact in _facts(event):
        if field not in hidden and not field.endswith("digest") and field != "workspace_id":
            value = _shown(fact)
            if value is not None:
                shown[field] = value
    return shown


def _facts(event: Event) -> Iterator[tuple[str, Any]]:
    """The fields of an event; what it is about is a field by the name of its kind: `analysis_id`, `build_id`."""
    for field in event.__struct_fields__:
        if field == "subject_id":
            yield f"{getattr(event, 'subject_kind', 'subject')}_id", event.subject_id  # type: ignore[attr-defined]
        elif field != "subject_kind":
            yield field, getattr(event, field)


def _shown(value: object) -> Any:
    match value:
        case bool() | int() | float():
            return value
        case str():
            return _text(value)
        case datetime():
            return seconds(value)
        case tuple() if value and all(isinstance(each, str) for each in value):
            return [_text(each) for each in value[:ITEMS_MAX]]
    return None


def _text(value: str) -> str:
    if "://" in value:
        try:
            parts = urlsplit(value)
        except ValueError:
            return ""
        value = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return value[:TEXT_LENGTH_MAX]
