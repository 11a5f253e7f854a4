"""Tables elsewhere: connected, pushed into, told of changes there, disconnected."""

from __future__ import annotations

from datetime import datetime, timedelta

from commands.kernel import Command, Transaction, decides, handles, part_of
from domain.catalogue.tables import (
    Kind,
    Tables,
    TablesConnected,
    TablesDisconnected,
    TablesNotPushed,
    TablesPushAsked,
    TablesPushBegun,
    TablesPushed,
    TablesRowsChanged,
    TablesRowsNotRead,
    tables_of,
)
from domain.identity.workspaces import WorkspaceReclaimed
from domain.kernel import Event

#: When a push that failed by what may pass is tried again: twice as late each time, and for about a week.
AGAIN_IN, AGAIN_IN_MAX, AGAIN_MAX = timedelta(minutes=5), timedelta(hours=6), 34
#: A table has no more rows that a push looks at.
UNREAD_MAX = 50_000


class ConnectTables(Command):
    """Push into these tables from now on, whose sealed token has been stored under this id."""

    workspace_id: str
    connection_id: str
    url: str
    secret_id: str
    tracks_table: int | None
    releases_table: int | None


class AskPush(Command):
    """Push what the catalogue has, soon."""

    workspace_id: str
    push_id: str
    #: How long to wait for what else changes.
    delay: timedelta = timedelta()


class BeginPush(Command):
    """Write down that the catalogue is being read for a push."""

    workspace_id: str
    push_id: str


class EndPush(Command):
    """Write down what was pushed; with a reason, why nothing was, and by which other push it is tried again."""

    workspace_id: str
    push_id: str
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    reason: str = ""
    next_push_id: str = ""


class TellOfRows(Command):
    """Say that rows were made or changed there."""

    workspace_id: str
    connection_id: str
    delivery_id: str
    kind: Kind
    rows: tuple[int, ...]


class NoteUnreadRows(Command):
    """Write down that rows which were told of cannot be read for now, and push soon, which reads them."""

    workspace_id: str
    connection_id: str
    kind: Kind
    rows: tuple[int, ...]
    push_id: str


class DisconnectTables(Command):
    """Push nothing there any more."""

    workspace_id: str


@handles(ConnectTables)
async def connect(wish: ConnectTables, transaction: Transaction) -> None:
    """A workspace has one set of tables; others take their place."""
    tables = await transaction.find(tables_of, wish.workspace_id)
    if tables.connection_id == wish.connection_id:
        return
    if tables.connection_id:
        transaction.record(tables_of, wish.workspace_id, _disconnected(wish.workspace_id, tables, transaction.now))
    connected = TablesConnected(
        workspace_id=wish.workspace_id,
        connection_id=wish.connection_id,
        url=wish.url,
        secret_id=wish.secret_id,
        tracks_table=wish.tracks_table,
        releases_table=wish.releases_table,
        connected_at=transaction.now,
    )
    transaction.record(tables_of, wish.workspace_id, connected)
    if (tables.url, tables.tracks_table) == (wish.url, wish.tracks_table):
        # Another token for the same table: what could not be read with the one before is still to be read.
        owed = tuple(sorted(row for kind, row in tables.unread | tables.reading if kind == "tracks"))
        if owed:
            transaction.record(
                tables_of,
                wish.workspace_id,
                _not_read(wish.workspace_id, wish.connection_id, "tracks", owed, transaction.now),
            )


@handles(AskPush)
async def ask(wish: AskPush, transaction: Transaction) -> None:
    """What waits to be pushed is pushed once; where there are no tables, nobody minds."""
    tables = await transaction.find(tables_of, wish.workspace_id)
    if not tables.connection_id or tables.waiting:
        return
    asked = _asked(wish.workspace_id, tables, wish.push_id, transaction.now, wish.delay)
    transaction.record(tables_of, wish.workspace_id, asked)


@decides(BeginPush, tables_of)
def begin(wish: BeginPush, tables: Tables, now: datetime) -> list[Event]:
    """Only what waits is begun."""
    if tables.waiting != wish.push_id:
        return []
    return [TablesPushBegun(workspace_id=wish.workspace_id, push_id=wish.push_id, begun_at=now)]


@decides(EndPush, tables_of)
def end(wish: EndPush, tables: Tables, now: datetime) -> list[Event]:
    """Only what has begun, or waits and cannot begin, comes to an end."""
    if wish.push_id not in (tables.running, tables.waiting):
        return []
    if wish.reason:
        failed = TablesNotPushed(
            workspace_id=wish.workspace_id, push_id=wish.push_id, reason=wish.reason, failed_at=now
        )
        waits = tables.waiting not in ("", wish.push_id)
        if not wish.next_push_id or waits or tables.failed >= AGAIN_MAX:
            return [failed]
        delay = min(AGAIN_IN * 2**tables.failed, AGAIN_IN_MAX)
        return [failed, _asked(wish.workspace_id, tables, wish.next_push_id, now, delay)]
    return [
        TablesPushed(
            workspace_id=wish.workspace_id,
            push_id=wish.push_id,
            created=wish.created,
            updated=wish.updated,
            unchanged=wish.unchanged,
            pushed_at=now,
        )
    ]


@decides(TellOfRows, tables_of)
def tell(wish: TellOfRows, tables: Tables, now: datetime) -> list[Event]:
    """A delivery is told once, by the tables that are connected."""
    if tables.connection_id != wish.connection_id:
        raise tables_of.absent
    if tables.delivery_id == wish.delivery_id:
        return []
    return [
        TablesRowsChanged(
            workspace_id=wish.workspace_id,
            connection_id=wish.connection_id,
            delivery_id=wish.delivery_id,
            kind=wish.kind,
            rows=wish.rows,
            told_at=now,
        )
    ]


@decides(NoteUnreadRows, tables_of)
def note_unread(wish: NoteUnreadRows, tables: Tables, now: datetime) -> list[Event]:
    """What is known to be unread is not noted twice, and what waits to be pushed is pushed once."""
    if tables.connection_id != wish.connection_id:
        return []
    known = tables.unread
    rows = tuple(each for each in dict.fromkeys(wish.rows) if (wish.kind, each) not in known)
    news: list[Event] = []
    if rows and len(known) < UNREAD_MAX:
        news.append(_not_read(wish.workspace_id, wish.connection_id, wish.kind, rows, now))
    if not tables.waiting:
        news.append(_asked(wish.workspace_id, tables, wish.push_id, now, AGAIN_IN))
    return news


@decides(DisconnectTables, tables_of)
def disconnect(wish: DisconnectTables, tables: Tables, now: datetime) -> list[Event]:
    """What is not connected cannot be disconnected."""
    if not tables.connection_id:
        raise tables_of.absent
    return [_disconnected(wish.workspace_id, tables, now)]


@part_of(WorkspaceReclaimed)
async def disconnect_theirs(event: WorkspaceReclaimed, transaction: Transaction) -> None:
    """Nothing is pushed to where whoever had the workspace before its owner came wanted it."""
    tables = await transaction.find(tables_of, event.workspace_id)
    if tables.connection_id:
        gone = _disconnected(event.workspace_id, tables, transaction.now)
        transaction.record(tables_of, event.workspace_id, gone, workspace_id=event.workspace_id)


def _asked(workspace_id: str, tables: Tables, push_id: str, now: datetime, delay: timedelta) -> TablesPushAsked:
    return TablesPushAsked(
        workspace_id=workspace_id,
        connection_id=tables.connection_id,
        push_id=push_id,
        asked_at=now,
        due_at=now + delay,
    )


def _not_read(
    workspace_id: str, connection_id: str, kind: Kind, rows: tuple[int, ...], now: datetime
) -> TablesRowsNotRead:
    return TablesRowsNotRead(
        workspace_id=workspace_id, connection_id=connection_id, kind=kind, rows=rows, failed_at=now
    )


def _disconnected(workspace_id: str, tables: Tables, now: datetime) -> TablesDisconnected:
    return TablesDisconnected(
        workspace_id=workspace_id,
        connection_id=tables.connection_id,
        secret_id=tables.secret_id,
        disconnected_at=now,
    )
