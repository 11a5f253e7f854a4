"""Read models: documents for things, tallies for numbers, both pure folds over events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Generic, TypeVar

from msgspec import field

from domain.kernel import Event, NotFound, Refusal, Value

D = TypeVar("D", bound="Document")


class Document(Value):
    """One thing as the API shows it: its JSON is the answer."""


class Projection(Value, Generic[D]):
    """Folds events into documents. Raise `version` when the fold changes: the new one is built beside the old.

    `concerns` names the document an event is about (None: none). `parent` names the thing it is listed under.
    `stream` is the category of streams whose events make one document, when its id is also the stream's: then a
    single document can be brought up to date from the log while the projector is behind. When a workspace is forgotten
    its documents go, unless the projection `outlives_workspaces`.
    """

    name: str
    document: type[D]
    concerns: Callable[[Event], str | None]
    evolve: Callable[[D | None, Event], D | None]
    version: int = 1
    absent: type[Refusal] = NotFound
    parent: Callable[[D], str | None] = field(default=lambda _: None)
    stream: str | None = None
    outlives_workspaces: bool = False

    def fold(self, identity: str, events: Iterable[Event]) -> D | None:
        """The document that these events make; None when none of them is about it."""
        document: D | None = None
        for event in events:
            if self.concerns(event) == identity:
                document = self.evolve(document, event)
        return document


class Tally(Value):
    """Folds events into sums: `counts` says which keys an event adds how much to."""

    name: str
    counts: Callable[[Event], Iterable[tuple[str, int]]]
    version: int = 1


#: Every projection and tally by its name.
PROJECTIONS: dict[str, Projection[Any]] = {}
TALLIES: dict[str, Tally] = {}


def projection(name: str, document: type[D], **parts: Any) -> Projection[D]:
    """Define a projection and register it."""
    assert name not in PROJECTIONS, f"two projections are called {name}"
    made: Projection[D] = Projection(name=name, document=document, **parts)
    PROJECTIONS[name] = made
    return made


def tally(name: str, counts: Callable[[Event], Iterable[tuple[str, int]]], *, version: int = 1) -> Tally:
    """Define a tally and register it."""
    assert name not in TALLIES, f"two tallies are called {name}"
    TALLIES[name] = Tally(name=name, counts=counts, version=version)
    return TALLIES[name]


@lru_cache(4096)
def seconds(moment: datetime) -> str:
    """A timestamp as the analysis, platform and studio surfaces write it: UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def milliseconds(moment: datetime) -> str:
    """A timestamp as the beat and catalogue surfaces write it: UTC, three decimals, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
