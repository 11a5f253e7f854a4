"""One stored line of every version of every event ever shipped, by which we keep our word that old events are read.

A context keeps its own in `tests/<context>/history.jsonl`, an extension beside its layers; `events.jsonl` has those of
before. They only grow. After adding an event, or raising a `schema_version`, add its line with

    python -m tests.history

and commit it together with the event. A line is never changed: when one does not decode any more, it is the upcaster
of its event that is missing.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Raw, json

from domain.discovery import context_of, extensions
from domain.kernel import Event
from tests.walking import kept

_TESTS = Path(__file__).parents[1]
_BEFORE = Path(__file__).with_name("events.jsonl")


class Line(NamedTuple):
    """A stored event: its name, its schema version, and its facts as they are on disk."""

    name: str
    schema_version: int
    facts: bytes


def lines() -> list[Line]:
    """Every line that was ever written."""
    places = [_BEFORE, *(path for _, path in kept("history.jsonl"))]
    found: list[Line] = []
    for text in (text for path in places for text in path.read_bytes().splitlines()):
        stored: dict[str, Any] = json.decode(text)
        raw = json.decode(text, type=dict[str, Raw])
        found.append(Line(stored["name"], stored["schema_version"], bytes(raw["facts"])))
    return found


def file_of(kind: type[Event]) -> Path:
    """Where the lines of an event are added: beside the tests of its context."""
    place, _, _ = kind.__module__.partition(".domain.")
    if place in extensions():
        return Path(str(files(place).joinpath("history.jsonl")))
    return _TESTS / context_of(kind.__module__) / "history.jsonl"
