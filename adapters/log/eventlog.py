"""The ledger in Postgres: appends of concurrent callers share one transaction, readers never miss an event."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextvars import Context as NobodysContext
from functools import cache, partial
from time import monotonic, time_ns
from typing import Any, LiteralString, NamedTuple, TypeVar

import structlog
from msgspec.structs import replace
from psycopg import AsyncConnection, OperationalError
from psycopg.errors import DeadlockDetected, UniqueViolation
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

from adapters.log import codec
from adapters.log.data_keys import DataKeys
from adapters.log.identifiers import uuid7
from adapters.log.recorder import COLUMNS, TABLE, WRITING, StoredRow
from adapters.postgres import arrays
from adapters.postgres.batch_loader import CONNECTIONS, BatchLoader
from adapters.postgres.prepared import PreparedStatement
from adapters.postgres.retrying import RETRY_SECONDS, Pool, retrying
from adapters.postgres.settings import Postgres
from adapters.provides import provides
from adapters.stream.bus import Bus
from adapters.trouble import Trouble
from commands.kernel import Log
from domain.keeping import check_text, is_text
from domain.kernel import Category, Event, Unavailable
from domain.ledger import AuthorityChanged, Change, Context, History, Recorded, StaleVersion, Unreadable
from domain.tracing import TRACE, span
from domain.vocabulary import name_of, named_alike, personal_fields, remembered

log = structlog.get_logger(__name__)

K = TypeVar("K")
T = TypeVar("T")
V = TypeVar("V")

#: As many events as one transaction may carry; a bigger one holds everybody up without saving much more.
BATCH_EVENTS_MAX = 2_000
#: How much the facts of one page may come to; the one that goes beyond is its last. A page is held whole, and the next
#: one beside it.
PAGE_BYTES_MAX = 16 * 1024 * 1024
#: Numbers for the authorities in a batch; there are no more of them than appends, each of at least one event.
_NUMBERS = [arrays.int8(number) for number in range(BATCH_EVENTS_MAX)]

#: What is rung when a stream has grown of which processes remember something; the message is its name.
GROWN = "grown"
#: Hears of what was written: the last position, and the streams that have grown.
Committed = Callable[[int, Collection[str]], None]


class LedgerUnavailable(Unavailable):
    """The ledger cannot be reached at the moment. Try again shortly; what is sent twice acts once."""


#: One event as array elements, in the order of the INSERT.
_Row = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes]


#: A stream, and a version in it.
_Place = tuple[str, int]


class _Kind(NamedTuple):
    """What is the same for all events of a kind: whether it is sealed, its name and its version as elements."""

    is_personal: bool
    name: bytes
    schema_version: bytes


@cache
def _kind(event: type[Event]) -> _Kind:
    return _Kind(bool(personal_fields(event)), arrays.text(name_of(event)), arrays.int2(event.schema_version))


class _Append:
    """What one caller wants written: rows, the places they want, and the last one's id; until when, and its promise."""

    __slots__ = ("deadline", "future", "last_id", "places", "relies_on", "rows")

    def __init__(
        self,
        rows: list[_Row],
        places: list[_Place],
        last_id: bytes,
        deadline: float,
        relies_on: tuple[tuple[str, int], ...],
    ) -> None:
        self.rows = rows
        self.relies_on = relies_on
        self.places = places
        self.last_id = last_id
        self.deadline = deadline
        self.future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def succeed(self, position: int) -> None:
        if not self.future.done():
            self.future.set_result(position)

    def fail(self, problem: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(problem)


# The lock is taken while the first row is joined, and positions are drawn for joined rows: so always before. Appends
# whose authority has changed are left out: the list of such authorities is made once, and rows keep their order.
_INSERT = f"""
WITH writing AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared({WRITING}))
INSERT INTO {TABLE} (originator_id, originator_version, topic, state,
                     event_id, schema_version, workspace_id, actor, correlation_id, causation_id, traceparent)
SELECT stream, version, topic, state, event, schema, workspace, actor, correlation, causation, trace
FROM writing, unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    AS e(stream, version, topic, state, event, schema, workspace, actor, correlation, causation, trace, authority)
WHERE NOT authority = ANY (ARRAY(
    SELECT seen.authority FROM unnest($13, $14, $15) AS seen(authority, stream, position)
    WHERE seen.position < (
        SELECT notification_id FROM {TABLE} WHERE originator_id = seen.stream ORDER BY originator_version DESC LIMIT 1
    )
))
RETURNING notification_id
"""
_SEEN_COLUMNS = (arrays.Int8Column, arrays.TextColumn, arrays.Int8Column)
_INSERT_COLUMNS = (
    arrays.TextColumn,
    arrays.Int8Column,
    arrays.TextColumn,
    arrays.BytesColumn,
    arrays.UuidColumn,
    arrays.Int2Column,
    arrays.TextColumn,
    arrays.TextColumn,
    arrays.UuidColumn,
    arrays.UuidColumn,
    arrays.TextColumn,
)

_READ = f"""
SELECT originator_id, originator_version, topic, schema_version, state FROM {TABLE}
WHERE originator_id = ANY($1) ORDER BY originator_id, originator_version
"""
_LAST = f"""
SELECT e.* FROM unnest($1) AS asked(stream) CROSS JOIN LATERAL (
    SELECT originator_id, originator_version, topic, schema_version, state FROM {TABLE}
    WHERE originator_id = asked.stream ORDER BY originator_version DESC LIMIT 1
) AS e
"""
_HistoryRow = tuple[int, str, int, bytes]

_FIND: LiteralString = f"""
SELECT t.originator_id, t.originator_version, t.event_id, t.notification_id
FROM {TABLE} t JOIN unnest(%s, %s) AS e(stream, version)
ON t.originator_id = e.stream AND t.originator_version = e.version
"""

# At least one, however large it is.
_PAGE: LiteralString = f"""
SELECT {COLUMNS} FROM (
    SELECT *, sum(octet_length(state)) OVER (ORDER BY notification_id ROWS UNBOUNDED PRECEDING)
              - octet_length(state) AS bytes_before
    FROM (SELECT {COLUMNS} FROM {TABLE} WHERE notification_id > %s ORDER BY notification_id LIMIT %s) AS next
) AS sized WHERE bytes_before < %s ORDER BY notification_id
"""

# From the log itself: a read model may have parked what it should list.
_BEGUN: LiteralString = f"""
SELECT substr(originator_id, length(%(category)s) + 2) FROM {TABLE}
WHERE workspace_id = ANY(%(workspaces)s) AND starts_with(originator_id, %(category)s || '-') AND originator_version = 1
AND NOT originator_id ^@ ANY(%(others)s::text[]) AND (%(actor)s::text IS NULL OR actor = %(actor)s)
"""


class EventLog(Log):
    """Read streams, append to them atomically, and read everything in order of position.

    Positions grow without end and may have holes where a transaction was aborted; a page never passes a hole that
    somebody might still fill.
    """

    def __init__(
        self,
        postgres_url: str,
        pool: Pool,
        keys: DataKeys,
        *,
        on_commit: Committed = lambda _position, _streams: None,
        retry_seconds: float = 10.0,
    ) -> None:
        self.postgres_url = postgres_url
        self._pool = pool
        self._keys = keys
        #: Told at once of everything this process writes: the last position of it, and the streams that have grown.
        self.listeners: list[Committed] = [on_commit]
        #: That nothing can be written, as long as that lasts: a full disk answers questions all the same.
        self.trouble = Trouble("postgres")
        self._retry_seconds = retry_seconds
        self._queue: list[_Append] = []
        self._queued = asyncio.Event()
        # One is enough: a second batch in flight measured slower, since both wait for the same flush.
        self._writer: asyncio.Task[None] | None = None
        columns = (*_INSERT_COLUMNS, arrays.Int8Column, *_SEEN_COLUMNS)
        self._prepared = PreparedStatement(postgres_url, _INSERT, [column.array_oid for column in columns])
        self._batch: list[_Append] = []
        self._final = 0
        self._loaders: list[BatchLoader[Any, Any]] = []
        self._histories = self._asking(_READ)
        self._last = self._asking(_LAST)

    # --- writing -------------------------------------------------------------------------------------------------

    async def append(self, changes: Sequence[Change], context: Context) -> int:
        """Write all changes or none, and return the position of the last event.

        Raises StaleVersion when a stream has grown past what the change was decided on, AuthorityChanged when one has
        that the right to ask for it relies on.
        """
        sealed = [event for change in changes for event in change.events if _kind(type(event)).is_personal]
        if sealed:
            await self._keys.ensure({check_text(subject) for subject in codec.subjects(sealed)})
        with span("append") as written:
            append = self._prepare(changes, context)
            if not append.rows:
                return 0
            self._queue.append(append)
            self._queued.set()
            if self._writer is None or self._writer.done():
                # It outlives whoever happens to be the first.
                self._writer = asyncio.create_task(
                    self._write_for_ever(), name="ledger-writer", context=NobodysContext()
                )
            position = await append.future
            written.note(events=len(append.rows), position=position)
            return position

    async def close(self) -> None:
        """Finish what is queued and let go of the connection."""
        while unfinished := [*self._queue, *self._batch]:
            await asyncio.wait([append.future for append in unfinished])
        if self._writer:
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer
        await self._prepared.close()
        for loader in self._loaders:
            await loader.close()

    def _prepare(self, changes: Sequence[Change], context: Context) -> _Append:
        home, actor = arrays.text(context.workspace_id), arrays.text(context.actor)
        correlation_id = arrays.uuid(context.correlation_id)
        causation_id = arrays.uuid(context.causation_id) if context.causation_id else arrays.NULL
        traceparent = TRACE.get()
        trace = arrays.NULL if traceparent is None else arrays.text(traceparent)
        rows: list[_Row] = []
        places: list[_Place] = []
        event_id, now = b"", time_ns()
        for change in changes:
            # A batch carries what many have asked for: what Postgres would refuse must not get as far.
            stream = arrays.text(check_text(change.stream))
            workspace_id = home if change.workspace_id is None else arrays.text(change.workspace_id)
            for version, event in enumerate(change.events, change.after + 1):
                kind, event_id = _kind(type(event)), uuid7(now)
                state = codec.encode(event, self._keys)
                places.append((change.stream, version))
                rows.append(
                    (
                        stream,
                        arrays.int8(version),
                        kind.name,
                        arrays.raw(state),
                        arrays.uuid_of(event_id),
                        kind.schema_version,
                        workspace_id,
                        actor,
                        correlation_id,
                        causation_id,
                        trace,
                    )
                )
        relies_on = context.authority.relies_on if context.authority is not None else ()
        return _Append(rows, places, event_id, monotonic() + self._retry_seconds, relies_on)

    async def _write_for_ever(self) -> None:
        while True:
            await self._queued.wait()
            self._batch, self._queue = self._next_batch()
            if not self._queue:
                self._queued.clear()
            try:
                await self._commit()
            except asyncio.CancelledError:
                for append in self._batch:
                    append.fail(LedgerUnavailable())
                raise
            except Exception as problem:
                # The writer outlives whatever one batch runs into; its callers hear of it.
                log.exception("ledger.append.failed", appends=len(self._batch))
                for append in self._batch:
                    append.fail(problem)
            finally:
                self._batch = []

    def _next_batch(self) -> tuple[list[_Append], list[_Append]]:
        """As many appends as fit that do not want the same place, nor take one another's right; the rest waits.

        Whether a right still holds is asked of what is committed, so what it relies on does not grow beside it.
        """
        batch: list[_Append] = []
        rest: list[_Append] = []
        taken: set[_Place] = set()
        grown: set[str] = set()
        relied: set[str] = set()
        events = 0
        for append in self._queue:
            wanted = append.places
            streams = {stream for stream, _ in wanted}
            relies_on = {stream for stream, _ in append.relies_on}
            is_apart = taken.isdisjoint(wanted) and grown.isdisjoint(relies_on) and relied.isdisjoint(streams)
            if is_apart and not (batch and events + len(wanted) > BATCH_EVENTS_MAX):
                batch.append(append)
            else:
                rest.append(append)
            taken.update(wanted)
            grown |= streams
            relied |= relies_on
            events += len(wanted)
        # Two processes that want the same streams ask for them in the same order, so they do not wait in a circle.
        batch.sort(key=_first_place)
        return batch, rest

    async def _commit(self) -> None:
        """Write a batch, and after a conflict or a lost connection find out what became of each append."""
        doubtful = False
        conflict: UniqueViolation | None = None
        while self._batch:
            try:
                if doubtful:
                    undecided = await self._settle(self._batch)
                    if conflict and len(undecided) == len(self._batch):
                        # Nobody's place is taken, so it is the position: the sequence was set back by a restore.
                        raise conflict
                    self._batch, doubtful, conflict = undecided, False, None
                if self._batch:
                    await self._insert(self._batch)
            except UniqueViolation as problem:
                if conflict:
                    raise
                doubtful, conflict = True, problem
            except DeadlockDetected:
                # Others wanted the same streams in another order; they have gone ahead now.
                doubtful = True
            except (OperationalError, OSError, LedgerUnavailable) as problem:
                doubtful = True
                self.trouble.note(str(problem).strip())
                self._batch = self._within_time(self._batch, problem)
                await asyncio.sleep(0.05)
            else:
                self.trouble.over()
                return

    def _within_time(self, batch: list[_Append], problem: Exception) -> list[_Append]:
        """Send away the callers who have waited long enough, also those who still queue; the others try on."""
        now = monotonic()
        late = [append for append in [*batch, *self._queue] if append.deadline < now]
        if late:
            log.warning("ledger.unavailable", problem=str(problem).strip(), appends=len(late))
        for append in late:
            append.fail(LedgerUnavailable())
        self._queue = [append for append in self._queue if append.deadline >= now]
        return [append for append in batch if append.deadline >= now]

    async def _insert(self, batch: list[_Append]) -> None:
        columns = zip(*(row for append in batch for row in append.rows), strict=True)
        # Most of a busy batch comes from a few callers, whose authority is looked at once for all that they ask.
        authorities: dict[tuple[tuple[str, int], ...], bytes] = {}
        numbers: list[bytes] = []
        for append in batch:
            number = authorities.setdefault(append.relies_on, _NUMBERS[len(authorities)])
            numbers.extend([number] * len(append.rows))
        seen = [
            (number, arrays.text(stream), arrays.int8(position))
            for relies_on, number in authorities.items()
            for stream, position in relies_on
        ]
        result = await self._prepared.run(
            [
                *(make(items).data for make, items in zip(_INSERT_COLUMNS, columns, strict=True)),
                arrays.Int8Column(numbers).data,
                *(make([each[nth] for each in seen]).data for nth, make in enumerate(_SEEN_COLUMNS)),
            ]
        )
        if result.ntuples < len(numbers):
            for append in await self._settle(batch):
                append.fail(AuthorityChanged())
            return
        last = -1
        for append in batch:
            last += len(append.rows)
            position = int.from_bytes(result.get_value(last, 0) or b"", "big")
            append.succeed(position)
        self._tell(position, batch)

    def _tell(self, position: int, written: list[_Append]) -> None:
        streams = {stream for append in written for stream, _ in append.places}
        for listener in self.listeners:
            listener(position, streams)

    async def _settle(self, batch: list[_Append]) -> list[_Append]:
        """Answer those whose places are taken: with success when by themselves, with StaleVersion when by others."""
        places = [place for append in batch for place in append.places]
        rows = await self._fetch(
            _FIND,
            (
                arrays.TextColumn([arrays.text(stream) for stream, _ in places]),
                arrays.Int8Column([arrays.int8(version) for _, version in places]),
            ),
        )
        found = {(row[0], row[1]): (row[2].bytes, row[3]) for row in rows}
        undecided = []
        for append in batch:
            there = [found.get(place) for place in append.places]
            if not any(there):
                undecided.append(append)
            elif there[-1] and there[-1][0] == append.last_id:
                append.succeed(there[-1][1])
                self._tell(there[-1][1], [append])
            else:
                append.fail(StaleVersion(append.places[0][0]))
        return undecided

    # --- reading -------------------------------------------------------------------------------------------------

    async def read(self, stream: str) -> History:
        """All events of a stream, oldest first."""
        return await self._history(self._histories, stream)

    async def last(self, stream: str) -> History:
        """The last event of a stream, if there is one, and its version."""
        return await self._history(self._last, stream)

    def _asking(self, statement: str) -> BatchLoader[str, list[_HistoryRow]]:
        return self.loader(
            statement,
            [arrays.TextColumn.array_oid],
            lambda streams: [arrays.TextColumn([arrays.text(stream) for stream in set(streams)]).data],
            _histories,
            LedgerUnavailable,
        )

    async def _history(self, asking: BatchLoader[str, list[_HistoryRow]], stream: str) -> History:
        if not is_text(stream):
            return History(events=[], version=0)
        rows = await asking.ask(stream)
        events = [codec.decode(name, schema_version, state) for _, name, schema_version, state in rows]
        if needed := codec.subjects(events):
            await self._keys.load(needed)
            events = [codec.unseal(event, self._keys) for event in events]
        return History(events=events, version=rows[-1][0] if rows else 0)

    async def stream(self, stream: str, *, after: int = 0) -> list[Recorded]:
        """The events of a stream with their envelopes, from the version after `after`."""
        if not is_text(stream):
            return []
        return await self._readable(
            await self._fetch(
                f"SELECT {COLUMNS} FROM {TABLE} WHERE originator_id = %s AND originator_version > %s "
                "ORDER BY originator_version",
                (stream, after),
            )
        )

    async def since(self, stream: str, position: int) -> list[Recorded]:
        """The events of a stream after a position of the log, with their envelopes."""
        return await self._readable(
            await self._fetch(
                f"SELECT {COLUMNS} FROM {TABLE} WHERE originator_id = %s AND notification_id > %s "
                "ORDER BY originator_version",
                (stream, position),
            )
        )

    def loader(
        self,
        statement: str,
        types: Sequence[int],
        encode: Callable[[Sequence[K]], Sequence[bytes]],
        decode: Callable[[PGresult, Sequence[K]], Sequence[V]],
        refusal: type[Unavailable],
        connections: int = CONNECTIONS,
        patience_seconds: float | None = None,
    ) -> BatchLoader[K, V]:
        """A way to ask this database many questions at once, closed together with the ledger."""
        made = BatchLoader(
            self.postgres_url,
            statement,
            types,
            encode,
            decode,
            retry_seconds=self._retry_seconds,
            refusal=refusal,
            connections=connections,
            patience_seconds=patience_seconds,
        )
        self._loaders.append(made)
        return made

    async def passage(self, stream: str, first: int, last: int) -> list[Recorded | Unreadable]:
        """The events of a stream from one position to another, both included."""
        return await self.open(
            await self._fetch(
                f"SELECT {COLUMNS} FROM {TABLE} WHERE originator_id = %s AND notification_id BETWEEN %s AND %s "
                "ORDER BY originator_version",
                (stream, first, last),
            )
        )

    async def earlier(
        self, after: int, until: int, limit: int, *, streams: Sequence[str] | None, names: Sequence[str], home: str
    ) -> list[StoredRow]:
        """Stored events between two positions: of streams, or those of some names in a workspace (`home`)."""
        if streams is not None:
            where, which = "originator_id = ANY(%s)", (list(streams),)
        else:
            where, which = "workspace_id = %s AND topic = ANY(%s)", (home, list(names))  # type: ignore[assignment]
        return await self._fetch(
            f"SELECT {COLUMNS} FROM {TABLE} WHERE {where} AND notification_id > %s AND notification_id <= %s "
            "ORDER BY notification_id LIMIT %s",
            (*which, after, until, limit),
        )

    async def count_earlier(self, after: int, until: int, limit: int, *, names: Sequence[str], home: str) -> int:
        """How many events of some names there are in a workspace between two positions; `limit` for more."""
        [[found]] = await self._fetch(
            f"SELECT count(*) FROM (SELECT FROM {TABLE} WHERE workspace_id = %s AND topic = ANY(%s) "
            "AND notification_id > %s AND notification_id <= %s LIMIT %s) AS found",
            (home, list(names), after, until, limit),
        )
        return int(found)

    async def at(self, positions: Sequence[int]) -> dict[int, Recorded]:
        """The events at these positions."""
        rows = await self._fetch(f"SELECT {COLUMNS} FROM {TABLE} WHERE notification_id = ANY(%s)", (list(positions),))
        return {recorded.position: recorded for recorded in await self._readable(rows)}

    async def begun(
        self, category: Category[Any], workspace_ids: Collection[str], *, actor: str | None = None
    ) -> list[str]:
        """The ids of the things of a kind that were begun in workspaces (by `actor`), whatever became of them since."""
        wanted = {
            "category": category.name,
            "workspaces": sorted(workspace_ids),
            "others": list(named_alike(category.name)),
            "actor": actor,
        }
        return [row[0] for row in await self._fetch(_BEGUN, wanted)]

    async def head(self) -> int:
        """The position of the newest event (0: there is none)."""
        rows = await self._fetch(f"SELECT coalesce(max(notification_id), 0) FROM {TABLE}", ())
        return int(rows[0][0])

    async def raw_page(self, after: int, limit: int) -> list[StoredRow]:
        """Stored rows in order of position: all there will ever be between `after` and the last one returned.

        There may be fewer than `limit` although more follow, when they are large; none only when none follow.
        """
        rows = await self._page_rows(after, limit)
        if self._has_open_hole(after, rows):
            frontier = await self._await_writers()
            # What was in flight when we looked has landed or vanished by now, so look again up to there.
            rows = [row for row in await self._page_rows(after, limit) if row[0] <= frontier]
            if rows:
                # Not the frontier itself: a crash may hand out again what was drawn beyond the last commit.
                self._final = max(self._final, rows[-1][0])
        return rows

    async def page(self, after: int, limit: int) -> list[Recorded | Unreadable]:
        """The next events in order of position, skipping none; an empty list when there are no more yet."""
        return await self.open(await self.raw_page(after, limit))

    async def open(self, rows: Sequence[StoredRow]) -> list[Recorded | Unreadable]:
        """Decode stored rows; one that cannot be decoded comes back as Unreadable in its place."""
        opened: list[Recorded | Unreadable] = []
        for row in rows:
            try:
                event = codec.decode(row[4], row[5], row[11])
            except Exception as problem:  # noqa: BLE001 - whatever is wrong with one event, the others must flow
                opened.append(
                    Unreadable(position=row[0], stream=row[1], version=row[2], name=row[4], problem=repr(problem))
                )
            else:
                opened.append(_recorded(row, event))
        needed = codec.subjects(each.event for each in opened if isinstance(each, Recorded))
        if needed:
            await self._keys.load(needed)
            return [
                _with_event(each, codec.unseal(each.event, self._keys)) if isinstance(each, Recorded) else each
                for each in opened
            ]
        return opened

    async def _readable(self, rows: Sequence[StoredRow]) -> list[Recorded]:
        opened = []
        for each in await self.open(rows):
            if isinstance(each, Unreadable):
                raise codec.UnknownEvent(f"{each.name} at position {each.position}: {each.problem}")
            opened.append(each)
        return opened

    async def _page_rows(self, after: int, limit: int) -> list[StoredRow]:
        return await self._fetch(_PAGE, (after, limit, PAGE_BYTES_MAX))

    def _has_open_hole(self, after: int, rows: Sequence[StoredRow]) -> bool:
        if not rows:
            return False
        start = max(after, self._final)
        beyond = sum(1 for row in rows if row[0] > start)
        return rows[-1][0] - start > beyond

    async def _await_writers(self) -> int:
        """Wait for every transaction that has drawn a position, and return the last position drawn."""

        async def ask(connection: AsyncConnection[TupleRow]) -> int:
            async with connection.transaction():
                await connection.execute(f"SELECT pg_advisory_xact_lock({WRITING})")
                cursor = await connection.execute(f"SELECT last_value FROM {TABLE}_notification_id_seq")
                return int((await cursor.fetchone() or (0,))[0])

        return await self._retrying(ask)

    async def _fetch(self, query: LiteralString, parameters: tuple[Any, ...] | dict[str, Any]) -> list[Any]:
        async def ask(connection: AsyncConnection[TupleRow]) -> list[Any]:
            cursor = await connection.execute(query, parameters, prepare=True, binary=True)
            return await cursor.fetchall()

        return await self._retrying(ask)

    async def _retrying(self, ask: Callable[[AsyncConnection[TupleRow]], Awaitable[T]]) -> T:
        return await retrying(self._pool, ask, seconds=self._retry_seconds, refusal=LedgerUnavailable)


def _histories(result: PGresult, streams: Sequence[str]) -> list[list[_HistoryRow]]:
    """Version, name, schema version and facts of each event of each stream."""
    value = result.get_value
    found: dict[bytes, list[_HistoryRow]] = {stream.encode(): [] for stream in streams}
    for row in range(result.ntuples):
        found[value(row, 0) or b""].append(
            (
                int.from_bytes(value(row, 1) or b"", "big"),
                (value(row, 2) or b"").decode(),
                int.from_bytes(value(row, 3) or b"", "big"),
                value(row, 4) or b"",
            )
        )
    return [found[stream.encode()] for stream in streams]


def _first_place(append: _Append) -> _Place:
    return append.places[0]


def _recorded(row: StoredRow, event: Event) -> Recorded:
    return Recorded(
        position=row[0],
        stream=row[1],
        version=row[2],
        event_id=row[3],
        name=row[4],
        schema_version=row[5],
        recorded_at=row[6],
        workspace_id=row[7],
        actor=row[8],
        correlation_id=row[9],
        causation_id=row[10],
        event=event,
        traceparent=row[12],
    )


def _with_event(recorded: Recorded, event: Event) -> Recorded:
    return recorded if event is recorded.event else replace(recorded, event=event)


def readable(page: Iterable[Recorded | Unreadable]) -> list[Recorded]:
    """The events of a page that could be read."""
    return [each for each in page if isinstance(each, Recorded)]


def announce(bus: Bus, position: int, streams: Collection[str]) -> None:
    """Ring for what was written, and name the streams of which processes remember something."""
    bus.ring("bell", b"%d" % position)
    begins = remembered()
    for stream in streams:
        if stream.startswith(begins):
            bus.ring(GROWN, stream.encode())


@provides
def event_log(settings: Postgres, pool: Pool, keys: DataKeys, bus: Bus) -> EventLog:
    """The log, which rings when something has been written."""
    return EventLog(
        settings.postgres_url,
        pool,
        keys,
        on_commit=partial(announce, bus),
        retry_seconds=RETRY_SECONDS,
    )
