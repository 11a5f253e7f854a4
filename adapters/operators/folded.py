"""Whether the read models are what a fold of the log from its first event makes.

The log is folded once more into tables that only this connection sees, by the same writers, and both are compared in
one snapshot of the database: so it does not matter what is written meanwhile, and memory stays flat.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from msgspec import DecodeError, json
from psycopg import AsyncConnection, IsolationLevel
from psycopg.rows import TupleRow

from adapters.log.eventlog import EventLog
from adapters.log.recorder import COLUMNS, TABLE
from adapters.operators.findings import Finding, Progress, nobody
from adapters.postgres import arrays
from adapters.readmodels.writers import DocumentWriter, TallyWriter
from domain.kernel import Value
from domain.ledger import Recorded, Unreadable
from projections.kernel import PROJECTIONS, TALLIES

Connection = AsyncConnection[TupleRow]

PAGE_EVENTS = 5_000
#: So many differences of one read model are named.
NAMED_MAX = 20


class Folded(Value):
    """What was folded again: events, and read models; those that are being built are left out (`skipped`)."""

    events: int
    read_models: int
    skipped: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def different(self) -> tuple[str, ...]:
        """The read models that are not what they should be."""
        return tuple(sorted({each.subject for each in self.findings if each.subject is not None}))


class _Live(NamedTuple):
    """A read model as it is: how far it is, and which streams are parked in it from which position on."""

    writer: DocumentWriter | TallyWriter
    position: int
    parked: dict[str, int]
    #: Positions that an operator has told it to leave out.
    skipped: set[int]


async def check_read_models(
    postgres_url: str,
    ledger: EventLog,
    *,
    names: Collection[str] | None = None,
    after: int = 0,
    until: int | None = None,
    progress: Progress = nobody,
) -> Folded:
    """Fold the log again and compare: all read models or some, and of those documents whose newest event lies in a
    range (after a position, up to another) when there is one; sums lie nowhere."""
    async with await AsyncConnection.connect(postgres_url) as connection:
        arrays.register(connection)
        await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        live, skipped = await _live(connection)
        if names is not None:
            live = [each for each in live if each.writer.name in names]
            skipped = tuple(each for each in skipped if each in names)
        schema = await _shadow(connection)
        end = max((each.position for each in live), default=0)
        findings: list[Finding] = []
        events = position = 0
        while position < end:
            cursor = await connection.execute(
                f"SELECT {COLUMNS} FROM {TABLE} WHERE notification_id > %s AND notification_id <= %s "
                "ORDER BY notification_id LIMIT %s",
                (position, end, PAGE_EVENTS),
                binary=True,
            )
            rows = await cursor.fetchall()
            if not rows:
                break
            position = rows[-1][0]
            events += len(rows)
            page = await ledger.open(rows)
            for each in live:
                findings += await _fold(connection, each, page)
            progress("read_models", position, end)
        for each in live:
            findings += await _compare(connection, schema, each, after, until)
        await connection.rollback()
    return Folded(events=events, read_models=len(live), skipped=skipped, findings=tuple(findings))


async def _live(connection: Connection) -> tuple[list[_Live], tuple[str, ...]]:
    cursor = await connection.execute("SELECT subscription, version, stream, position FROM parked")
    parked: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
    for name, version, stream, position in await cursor.fetchall():
        parked[name, version][stream] = position
    cursor = await connection.execute("SELECT subscription, position FROM skipped")
    left_out: dict[str, set[int]] = defaultdict(set)
    for name, position in await cursor.fetchall():
        left_out[name].add(position)
    cursor = await connection.execute("SELECT name, version, fold, position FROM checkpoints WHERE live")
    rows = {name: rest for name, *rest in await cursor.fetchall()}
    live, skipped = [], []
    for kind, found in ((DocumentWriter, PROJECTIONS), (TallyWriter, TALLIES)):
        for name, folds in found.items():
            version, fold, position = rows.get(name, (0, 0, 0))
            if fold == folds.version:
                live.append(_Live(kind(folds, version), position, parked[name, version], left_out[name]))  # type: ignore[arg-type]
            else:
                skipped.append(name)
    return live, tuple(sorted(skipped))


async def _shadow(connection: Connection) -> str:
    """Empty tables in front of the real ones, for this transaction; returns the schema that those are in."""
    cursor = await connection.execute(
        "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'documents'::regclass"
    )
    [(schema,)] = await cursor.fetchall()
    for table, key in (("documents", "projection, version, id"), ("tallies", "projection, version, key")):
        await connection.execute(
            f"CREATE TEMP TABLE {table} (LIKE {schema}.{table}, PRIMARY KEY ({key})) ON COMMIT DROP".encode()
        )
    await connection.execute("CREATE INDEX ON pg_temp.documents (workspace_id, projection)")
    return str(schema)


async def _fold(connection: Connection, live: _Live, page: Sequence[Recorded | Unreadable]) -> list[Finding]:
    mine = [
        each
        for each in page
        if each.position <= live.position
        and each.position not in live.skipped
        and not live.parked.get(each.stream, each.position + 1) <= each.position
        and (isinstance(each, Unreadable) or type(each.event) in live.writer.kinds)
    ]
    broken = [(each.position, each.stream, each.problem) for each in mine if isinstance(each, Unreadable)]
    poison = await live.writer.absorb(connection, [each for each in mine if isinstance(each, Recorded)])
    broken += [(each.recorded.position, each.recorded.stream, str(each)) for each in poison]
    for position, stream, _ in broken:
        live.parked.setdefault(stream, position)
    return [
        Finding(
            part="read_models",
            kind="not_folded",
            message=f"The event at {position} ({stream}) cannot be folded into {live.writer.name}: {problem}",
            position=position,
            subject=live.writer.name,
        )
        for position, stream, problem in broken
    ]


_DIFFERENCES = """
SELECT coalesce(here.{key}, again.{key}), here.{key} IS NOT NULL, again.{key} IS NOT NULL, here.value, again.value,
       (here.rest, again.rest) IS NULL OR here.rest IS NOT DISTINCT FROM again.rest
FROM (SELECT {key}, {value} AS value, {rest} AS rest, {at} AS at FROM {schema}.{table}
      WHERE projection = %(name)s AND version = %(version)s) AS here
FULL JOIN (SELECT {key}, {value} AS value, {rest} AS rest, {at} AS at FROM pg_temp.{table}
           WHERE projection = %(name)s AND version = %(version)s) AS again ON here.{key} = again.{key}
WHERE (here.value IS DISTINCT FROM again.value OR here.rest IS DISTINCT FROM again.rest)
  AND (greatest(here.at, again.at) > %(after)s AND greatest(here.at, again.at) <= %(until)s) IS NOT FALSE
ORDER BY 1
"""


async def _compare(connection: Connection, schema: str, live: _Live, after: int, until: int | None) -> list[Finding]:
    writer = live.writer
    of_documents = {
        "table": "documents", "key": "id", "value": "body", "rest": "(workspace_id, parent, created)::text",
        "at": "position",
    }  # fmt: skip
    of_tallies = {"table": "tallies", "key": "key", "value": "amount", "rest": "''::text", "at": "NULL::bigint"}
    parts = of_documents if isinstance(writer, DocumentWriter) else of_tallies
    cursor = await connection.execute(
        _DIFFERENCES.format(schema=schema, **parts).encode(),
        {
            "name": writer.name,
            "version": writer.version,
            "after": after,
            "until": live.position if until is None else until,
        },
    )
    found: list[Finding] = []
    more = 0
    async for identity, is_here, is_again, here, again, is_same_rest in cursor:
        if isinstance(writer, TallyWriter) and (here or 0) == (again or 0):
            continue  # a sum that came to nothing may have a row or not
        if is_here and is_again and is_same_rest and _is_same(here, again):
            continue
        if len(found) == NAMED_MAX:
            more += 1
            continue
        kind = "document_missing" if not is_here else "document_left_over" if not is_again else "document_differs"
        words = {
            "document_missing": "is missing in",
            "document_left_over": "should not be in",
            "document_differs": "is not what a fold of the log makes, in",
        }
        text = f"{identity} {words[kind]} {writer.name}."
        found.append(Finding(part="read_models", kind=kind, message=text, subject=writer.name))
    if more:
        text = f"{more} more in {writer.name} are not what a fold of the log makes."
        found.append(Finding(part="read_models", kind="more", message=text, subject=writer.name))
    return found


def _is_same(here: Any, again: Any) -> bool:
    """Whether two documents say the same, in whatever order."""
    if not isinstance(here, bytes) or not isinstance(again, bytes):
        return bool(here == again)
    try:
        return bool(json.decode(here) == json.decode(again))
    except DecodeError:
        return False
