"""The log as lines of JSON, for whoever looks through it or keeps it elsewhere: events as they lie there, and seals.

An event is `{"position", "stream", "version", "event_id", "type", "schema_version", "recorded_at", "workspace_id",
"actor", "correlation_id", "causation_id", "state"}`; `state` is the text of its facts, byte by byte, personal fields
sealed (`state_base64` instead, where it is no text). What happened in a trace has a `traceparent` as well. A seal is
`{"seal", "signature"}`, the text of its statement and 64 bytes in hex, and comes after the last event that it covers.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType, json
from psycopg import Connection

from adapters.log.recorder import COLUMNS, TABLE

PAGE_ROWS = 2_000

#: Told what is written or read, how much of it and of how much.
Progress = Callable[[str, int, int], None]


class EventLine(Struct):
    """An event as it lies in the log."""

    position: int
    stream: str
    version: int
    event_id: UUID
    type: str
    schema_version: int
    recorded_at: datetime
    workspace_id: str
    actor: str
    correlation_id: UUID
    causation_id: UUID | None
    state: str | UnsetType = UNSET
    state_base64: str | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET

    @property
    def octets(self) -> bytes:
        """Its facts as they are stored."""
        if isinstance(self.state, str):
            return self.state.encode()
        return base64.b64decode(self.state_base64 or b"")


class SealLine(Struct):
    """A seal."""

    seal: str
    signature: str


encode_line = json.Encoder().encode


def event_line(row: Any) -> EventLine:
    """The line of a row of `COLUMNS`."""
    *envelope, octets, traceparent = row
    line = EventLine(*envelope)
    if traceparent is not None:
        line.traceparent = traceparent
    try:
        line.state = bytes(octets).decode()
    except UnicodeDecodeError:
        line.state_base64 = base64.b64encode(octets).decode()
    return line


def export(
    connection: Connection[Any], *, after: int = 0, until: int | None = None, progress: Progress = lambda *_: None
) -> Iterator[EventLine | SealLine]:
    """Events after a position up to another (or the end as it is now), each followed by the seal that it completes.

    `progress` is told of positions, since how many events there are in between nobody has counted.
    """
    if until is None:
        # Where the newest events are gone, the seals over them tell.
        ends = f"(SELECT max(notification_id) FROM {TABLE}), (SELECT max(last) FROM log_seals)"
        [(until,)] = connection.execute(f"SELECT coalesce(greatest({ends}), 0)").fetchall()
    seals = connection.execute(
        "SELECT last, statement, signature FROM log_seals WHERE last > %s AND last <= %s ORDER BY number",
        (after, until),
    ).fetchall()
    waiting = iter(seals)
    seal = next(waiting, None)
    with connection.transaction(), connection.cursor(name="export", binary=True) as cursor:
        cursor.itersize = PAGE_ROWS
        cursor.execute(
            f"SELECT {COLUMNS} FROM {TABLE} WHERE notification_id > %s AND notification_id <= %s "
            "ORDER BY notification_id",
            (after, until),
        )
        for number, row in enumerate(cursor):
            if number % PAGE_ROWS == 0:
                progress("positions", row[0] - after, until - after)
            # A seal whose last event is gone comes where that would have been.
            while seal is not None and row[0] > seal[0]:
                yield SealLine(seal[1], bytes(seal[2]).hex())
                seal = next(waiting, None)
            yield event_line(row)
        while seal is not None:
            yield SealLine(seal[1], bytes(seal[2]).hex())
            seal = next(waiting, None)
    if until > after:
        progress("positions", until - after, until - after)
