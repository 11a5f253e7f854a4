"""One stored line of every version of every event ever shipped, by which we keep our word that old events are read.

`events.jsonl` only grows. After adding an event, or raising a `schema_version`, add its line with

    python -m tests.history

and commit it together with the event. A line is never changed: when one does not decode any more, it is the upcaster
of its event that is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Raw, json

FILE = Path(__file__).with_name("events.jsonl")


class Line(NamedTuple):
    """A stored event: its name, its schema version, and its facts as they are on disk."""

    name: str
    schema_version: int
    facts: bytes


def lines() -> list[Line]:
    """Every line that was ever written."""
    found: list[Line] = []
    for text in FILE.read_bytes().splitlines() if FILE.exists() else []:
        stored: dict[str, Any] = json.decode(text)
        raw = json.decode(text, type=dict[str, Raw])
        found.append(Line(stored["name"], stored["schema_version"], bytes(raw["facts"])))
    return found
