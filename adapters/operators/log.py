"""The log as an operator looks through it: as it lies there, personal data sealed, readable or not.

Nothing here decodes events into today's types, so what a newer or older version has written is shown as well.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from adapters.log.data_keys import SEALED
from adapters.log.recorder import COLUMNS, TABLE
from domain.kernel import PLAIN, Value

Connection = AsyncConnection[TupleRow]

LIMIT_MAX = 10_000


class Line(Value):
    """One event of the log: its envelope, and its facts as they are stored (`state`)."""

    position: int
    stream: str
    version: int
    event_id: UUID
    name: str
    schema_version: int
    recorded_at: datetime
    workspace_id: str
    actor: str
    correlation_id: UUID
    causation_id: UUID | None
    state: bytes
    traceparent: str | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What the event says, with a word in the place of each personal text."""
        try:
            found = msgspec.json.decode(self.state)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            return {"unreadable": str(problem)}
        return _veiled(found) if isinstance(found, dict) else {"unreadable": "no object"}

    @property
    def plain(self) -> dict[str, Any]:
        """The event as JSON has it."""
        return {
            "position": self.position,
            "recorded_at": self.recorded_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "type": self.name,
            "schema_version": self.schema_version,
            "stream": self.stream,
            "version": self.version,
            "workspace_id": self.workspace_id,
            "actor": self.actor,
            "event_id": str(self.event_id),
            "correlation_id": str(self.correlation_id),
            "causation_id": None if self.causation_id is None else str(self.causation_id),
            "traceparent": self.traceparent,
            "facts": self.facts,
        }


class Search(Value):
    """What to look for; what is null does not matter. `name` may hold `*`; of `stream` the beginning is enough.

    `after` and `before` are positions, both left out themselves.
    """

    stream: str | None = None
    name: str | None = None
    workspace_id: str | None = None
    actor: str | None = None
    correlation_id: UUID | None = None
    trace_id: str | None = None
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: int | None = None
    before: int | None = None


_MATCHES = """
    (%(stream)s::text IS NULL OR starts_with(originator_id, %(stream)s))
    AND (%(name)s::text IS NULL OR topic LIKE %(name)s)
    AND (%(workspace_id)s::text IS NULL OR workspace_id = %(workspace_id)s)
    AND (%(actor)s::text IS NULL OR actor = %(actor)s)
    AND (%(correlation_id)s::uuid IS NULL OR correlation_id = %(correlation_id)s)
    AND (%(trace_id)s::text IS NULL OR substring(traceparent FROM 4 FOR 32) = %(trace_id)s)
    AND (%(text)s::text IS NULL OR position(convert_to(%(text)s, 'UTF8') IN state) > 0)
    AND (%(since)s::timestamptz IS NULL OR recorded_at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR recorded_at <= %(until)s)
    AND (%(after)s::bigint IS NULL OR notification_id > %(after)s)
    AND (%(before)s::bigint IS NULL OR notification_id < %(before)s)
"""


async def newest(connection: Connection, search: Search, limit: int) -> list[Line]:
    """The last events that match, at most so many, oldest first."""
    return (await _find(connection, search, limit, "DESC"))[::-1]


async def oldest(connection: Connection, search: Search, limit: int) -> list[Line]:
    """The first events that match, at most so many, oldest first."""
    return await _find(connection, search, limit, "ASC")


async def _find(connection: Connection, search: Search, limit: int, order: str) -> list[Line]:
    statement = f"SELECT {COLUMNS} FROM {TABLE} WHERE {_MATCHES} ORDER BY notification_id {order} LIMIT %(limit)s"
    parameters = {name: getattr(search, name) for name in search.__struct_fields__}
    parameters |= {"name": _pattern(search.name), "limit": min(limit, LIMIT_MAX)}
    cursor = await connection.execute(statement.encode(), parameters)
    return [_line(row) for row in await cursor.fetchall()]


def _pattern(name: str | None) -> str | None:
    if name is None:
        return None
    literal = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return literal.replace("*", "%")


def _line(row: Any) -> Line:
    *envelope, state, traceparent = row
    facts = (*envelope, bytes(state), traceparent)
    return Line(**dict(zip(Line.__struct_fields__, facts, strict=True)))


def _veiled(part: Any) -> Any:
    match part:
        case str() if part.startswith((SEALED, PLAIN)):
            return "(personal)"
        case dict():
            return {name: _veiled(each) for name, each in part.items()}
        case list():
            return [_veiled(each) for each in part]
        case _:
            return part
