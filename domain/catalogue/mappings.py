"""A column mapping: what the columns of a report mean that nobody but its people knows."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal

from domain.kernel import Category, Conflict, Event, Invalid, NotFound, State, Value

DateOrder = Literal["dmy", "mdy", "ymd"]
Kind = Literal["plays", "royalties", "songs"]
#: What a column can mean, of reports that are mapped by hand.
FIELDS = (
    "isrc", "title", "artist", "upc", "store", "country", "units", "amount", "currency", "reporting", "sale",
    "sale_end", "kind", "date", "spotify", "apple", "listeners", "saves",
)  # fmt: skip
MAPPINGS_MAX = 200
HEADERS_MAX = 8
HEADER_CHARACTERS_MAX = 200

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Mapping(Value):
    """The headers of each field, the best first; what is not mapped is not read."""

    kind: Kind
    columns: dict[str, tuple[str, ...]]
    #: What the report counts in, where none of its columns says so.
    currency: str | None = None
    date_order: DateOrder | None = None
    #: The store of all rows, where none of its columns says so.
    store: str | None = None


class MappingSaved(Event):
    """Somebody has said what the columns of a kind of report mean: all of it, as it reads now."""

    mapping_id: str
    workspace_id: str
    name: str
    mapping: Mapping
    saved_at: datetime


class MappingRemoved(Event):
    """A mapping is not used any more; what was imported with it stays."""

    mapping_id: str
    removed_at: datetime


class SavedMapping(State):
    """What rules know of a mapping."""

    workspace_id: str = ""
    mapping: Mapping | None = None


def evolve(found: SavedMapping, event: Event) -> SavedMapping:
    """A mapping after one more event."""
    match event:
        case MappingSaved():
            return SavedMapping(workspace_id=event.workspace_id, mapping=event.mapping)
        case MappingRemoved():
            return SavedMapping()
    return found


class NoSuchMapping(NotFound):
    """There is no column mapping with this name."""


class BadMapping(Invalid):
    """{problem}"""


class TooManyMappings(Conflict):
    """A workspace has {mappings_max} column mappings at most. Remove one that is not used any more."""


mappings = Category(name="mapping", initial=SavedMapping(), evolve=evolve, absent=NoSuchMapping)

#: What a report of a kind cannot do without.
_NEEDED: dict[Kind, tuple[tuple[str, ...], ...]] = {
    "plays": (("date",), ("spotify", "apple")),
    "royalties": (("amount",), ("isrc", "title", "upc")),
    "songs": (("title",), ("spotify", "listeners", "saves")),
}


def check_name(name: str) -> None:
    """Raise BadMapping for a name that a mapping cannot have."""
    if not _NAME.fullmatch(name):
        raise BadMapping(
            problem="A mapping's name has 64 small letters, digits, points and dashes at most.", loc=("path", "name")
        )


def check(mapping: Mapping) -> None:
    """Raise BadMapping for one by which nothing could be read."""
    for field, headers in mapping.columns.items():
        if field not in FIELDS:
            raise BadMapping(problem=f"There is no field {field[:64]!r}; fields are {', '.join(FIELDS)}.", loc=_IN)
        if not 1 <= len(headers) <= HEADERS_MAX:
            raise BadMapping(problem=f"A field has between one and {HEADERS_MAX} headers.", loc=(*_IN, field))
        if any(not each.strip() or len(each) > HEADER_CHARACTERS_MAX for each in headers):
            raise BadMapping(
                problem=f"A header has between one and {HEADER_CHARACTERS_MAX} characters.", loc=(*_IN, field)
            )
    if mapping.kind not in _NEEDED:
        raise BadMapping(problem=f"A mapping is of one of the kinds {', '.join(_NEEDED)}.", loc=("body", "kind"))
    for choices in _NEEDED[mapping.kind]:
        if not any(each in mapping.columns for each in choices):
            raise BadMapping(problem=f"A report of {mapping.kind} needs a column for {' or '.join(choices)}.", loc=_IN)


_IN = ("body", "columns")
