"""Read models: documents for things, tallies for numbers, both pure folds over events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, Generic, TypeVar

from msgspec import field
from msgspec.structs import force_setattr

from domain.kernel import Event, NotFound, Refusal, Value

D = TypeVar("D", bound="Document")


class Document(Value):
    """One thing as the API shows it: its JSON is the answer."""


#: Finds the id of the document that an event is about; None: it is about none.
Finds = Callable[[Any], str | None]


class Projection(Value, Generic[D]):
    """Folds events into documents. Raise `version` when the fold changes: the new one is built beside the old.

    `on` says of each kind of event where in it the id of its document is: the name of a field, or a function (None:
    it is about no document). Only events of the kinds in `begins` make a document where there is none: whatever else
    comes after a document has gone must not bring it back in pieces. `parent` names the thing it is listed under.
    `stream` is the category of streams whose events make one document, when its id is also the stream's: then a
    single document can be brought up to date from the log while the projector is behind. When a workspace is forgotten
    its documents go, unless the projection `outlives_workspaces`.
    """

    name: str
    document: type[D]
    on: Mapping[type[Event], str | Finds]
    evolve: Callable[[D | None, Event], D | None]
    begins: tuple[type[Event], ...]
    version: int = 1
    absent: type[Refusal] = NotFound
    parent: Callable[[D], str | None] = field(default=lambda _: None)
    stream: str | None = None
    outlives_workspaces: bool = False

    def __post_init__(self) -> None:
        assert set(self.begins) <= set(self.on), f"{self.name} begins with events that it does not look at"
        for kind, where in self.on.items():
            assert callable(where) or where in kind.__struct_fields__, f"{kind.__name__} has no field {where}"
        found = {kind: where if callable(where) else attrgetter(where) for kind, where in self.on.items()}
        force_setattr(self, "on", found)

    @property
    def finds(self) -> Mapping[type[Event], Finds]:
        """What finds the document in each kind of event."""
        return self.on  # type: ignore[return-value]  # names of fields have become functions when it was made

    def concerns(self, event: Event) -> str | None:
        """The id of the document an event is about; None: it is about none."""
        find = self.finds.get(type(event))
        return None if find is None else find(event)

    def fold(self, identity: str, events: Iterable[Event], document: D | None = None) -> D | None:
        """The document after these events, those that are not about it left out; None when there is none."""
        for event in events:
            if self.concerns(event) == identity:
                document = self.evolve(document, event)
        return document


#: Says which keys an event adds how much to.
Counts = Callable[[Any], Iterable[tuple[str, int]]]


class Tally(Value):
    """Folds events into sums: `counts` says of each kind of event which keys it adds how much to."""

    name: str
    counts: Mapping[type[Event], Counts]
    version: int = 1

    def counted(self, event: Event) -> Iterable[tuple[str, int]]:
        """What an event adds to which keys."""
        counts = self.counts.get(type(event))
        return () if counts is None else counts(event)


#: Every projection and tally by its name.
PROJECTIONS: dict[str, Projection[Any]] = {}
TALLIES: dict[str, Tally] = {}


def projection(name: str, document: type[D], **parts: Any) -> Projection[D]:
    """Define a projection and register it."""
    assert name not in PROJECTIONS, f"two projections are called {name}"
    made: Projection[D] = Projection(name=name, document=document, **parts)
    PROJECTIONS[name] = made
    return made


def tally(name: str, counts: Mapping[type[Event], Counts], *, version: int = 1) -> Tally:
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
