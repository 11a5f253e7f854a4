"""Tables of a workspace elsewhere: a Baserow of its people's own, into which tracks and releases are pushed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec.structs import replace

from domain.kernel import Category, Conflict, Event, Invalid, NotFound, State, personal
from domain.objects import Kept, keeps, lets_go

#: What a table holds.
Kind = Literal["tracks", "releases"]


class TablesConnected(Event):
    """A workspace's tables are at this address; the token that opens them is sealed, and in no event."""

    workspace_id: str
    connection_id: str
    url: Annotated[str, personal("workspace_id", address=True)]
    secret_id: str
    tracks_table: int | None
    releases_table: int | None
    connected_at: datetime


class TablesPushAsked(Event):
    """What the catalogue has is to be pushed into the tables."""

    workspace_id: str
    connection_id: str
    push_id: str
    asked_at: datetime
    due_at: datetime


class TablesPushBegun(Event):
    """Somebody reads the catalogue for a push: what changes from now on waits for the next one."""

    workspace_id: str
    push_id: str
    begun_at: datetime


class TablesPushed(Event):
    """The tables have what the catalogue had: so many rows were made, changed, or were so already."""

    workspace_id: str
    push_id: str
    created: int
    updated: int
    unchanged: int
    pushed_at: datetime


class TablesNotPushed(Event):
    """The tables do not have what the catalogue has, and why."""

    workspace_id: str
    push_id: str
    reason: Annotated[str, personal("workspace_id")]
    failed_at: datetime


class TablesRowsChanged(Event):
    """The tables say that rows were made or changed there, which is looked up before it is believed."""

    workspace_id: str
    connection_id: str
    delivery_id: str
    kind: Kind
    rows: tuple[int, ...]
    told_at: datetime


class TablesRowsNotRead(Event):
    """Rows that were told of cannot be looked up there for now: the next push that comes to its end reads them."""

    workspace_id: str
    connection_id: str
    kind: Kind
    rows: tuple[int, ...]
    failed_at: datetime


class TablesDisconnected(Event):
    """Nothing is pushed there any more."""

    workspace_id: str
    connection_id: str
    secret_id: str
    disconnected_at: datetime


class Tables(State):
    """What rules know of a workspace's tables; `waiting` is the push that nobody has begun."""

    connection_id: str = ""
    url: str = ""
    secret_id: str = ""
    tracks_table: int | None = None
    releases_table: int | None = None
    waiting: str = ""
    running: str = ""
    delivery_id: str = ""
    begun_at: datetime | None = None
    #: When the last push that came to its end had begun: what was said since may not be there yet.
    pushed_since: datetime | None = None
    #: Pushes that have failed since the last one that came to its end.
    failed: int = 0
    #: Rows that were told of and could not be read: those that a push reads now, and those that the next one does.
    reading: frozenset[tuple[Kind, int]] = frozenset()
    unread: frozenset[tuple[Kind, int]] = frozenset()


def evolve(tables: Tables, event: Event) -> Tables:  # noqa: PLR0911 - one for each event
    """The tables after one more event."""
    match event:
        case TablesConnected():
            return Tables(
                connection_id=event.connection_id,
                url=event.url,
                secret_id=event.secret_id,
                tracks_table=event.tracks_table,
                releases_table=event.releases_table,
            )
        case TablesPushAsked():
            return replace(tables, waiting=event.push_id)
        case TablesPushBegun():
            reading = tables.reading | tables.unread
            begun = replace(tables, waiting="", running=event.push_id, begun_at=event.begun_at)
            return replace(begun, reading=reading, unread=frozenset())
        case TablesPushed() | TablesNotPushed():
            # One that was given up may never have begun.
            waiting = "" if tables.waiting == event.push_id else tables.waiting
            ended = replace(tables, running="", waiting=waiting, reading=frozenset())
            if isinstance(event, TablesPushed):
                return replace(ended, pushed_since=tables.begun_at, failed=0)
            return replace(ended, failed=tables.failed + 1, unread=tables.unread | tables.reading)
        case TablesRowsChanged():
            return replace(tables, delivery_id=event.delivery_id)
        case TablesRowsNotRead():
            return replace(tables, unread=tables.unread | {(event.kind, each) for each in event.rows})
        case TablesDisconnected():
            return Tables()
    return tables


class NoTables(NotFound):
    """This workspace has no tables elsewhere. Connect them first."""


class TablesRefused(Conflict):
    """{problem}"""


class BadTables(Invalid):
    """{problem}"""


def secret_key(workspace_id: str, secret_id: str) -> str:
    """Under which key the sealed token of tables lies in the object store."""
    return f"{secrets_of(workspace_id)}{secret_id}"


def secrets_of(workspace_id: str | None = None) -> str:
    """What the keys of all sealed tokens begin with, or of those of one workspace."""
    return "tables/" if workspace_id is None else f"tables/{workspace_id}/"


tables_of = Category(name="workspacetables", initial=Tables(), evolve=evolve, absent=NoTables)

keeps(
    TablesConnected,
    lambda event: [Kept(key=secret_key(event.workspace_id, event.secret_id), until=event.secret_id)],
)
lets_go(TablesDisconnected, what=lambda event: [event.secret_id])
