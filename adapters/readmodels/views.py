"""Reads: documents as stored JSON, never older than what its workspace has been told is done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec import json
from psycopg import AsyncConnection
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

from adapters.log.eventlog import EventLog
from adapters.postgres import arrays
from adapters.postgres.batch_loader import BatchLoader
from adapters.postgres.retrying import RETRY_SECONDS, Pool, retrying
from adapters.provides import provides
from adapters.readmodels.past import AS_OF, AsOf, Past
from adapters.readmodels.settings import Reading
from adapters.stream.bus import Bus
from domain.keeping import is_text
from domain.kernel import Unavailable
from projections.kernel import Document, Projection, Tally

T = TypeVar("T")

#: How often a waiting read looks for itself, in case nobody rings.
LOOK_SECONDS = 0.05


class ReadsUnavailable(Unavailable):
    """The read models cannot be reached at the moment. Try again shortly."""


class ReadsBehind(Unavailable):
    """What you last wrote is safe but cannot be shown yet. Try again shortly."""


class Listed(NamedTuple):
    """A document in a list: its place in the order of creation (for the next page), and its JSON."""

    created: int
    body: bytes


# A range of one in the order of the primary key: while the table is small, another index would do as well for what is
# equal, and be kept when it is large.
_GET = """
SELECT q.nth, f.position,
       (SELECT coalesce(max(notification_id), 0) FROM ledger_events e WHERE e.workspace_id = q.workspace_id),
       d.workspace_id, d.position, d.body
FROM unnest($1, $2, $3) WITH ORDINALITY AS q(workspace_id, id, name, nth)
JOIN checkpoints f ON f.name = q.name AND f.live
LEFT JOIN LATERAL (
    SELECT workspace_id, position, body FROM documents
    WHERE projection = f.name AND version = f.version AND id >= q.id AND id <= q.id ORDER BY id LIMIT 1
) AS d ON true
"""


class _Question(NamedTuple):
    workspace_id: str
    identity: str
    name: str


class _Found(NamedTuple):
    """Where the projection is, the workspace's newest event, and the document with its owner and place, if any."""

    position: int
    head: int
    owner: str | None
    seen: int
    body: bytes | None


_LIST = """
SELECT f.version, f.position,
       (SELECT coalesce(max(notification_id), 0) FROM ledger_events WHERE workspace_id = %(workspace_id)s),
       page.created, page.body
FROM checkpoints f
LEFT JOIN LATERAL (
    SELECT d.created, d.body FROM documents d
    WHERE d.projection = f.name AND d.version = f.version AND d.workspace_id = %(workspace_id)s
      AND d.created < %(before)s {parent}
    ORDER BY d.created DESC LIMIT %(limit)s OFFSET %(offset)s
) page ON true
WHERE f.name = %(name)s AND f.live
"""

# A search names its projection in the text, or no index of that projection could be used. Which documents there are is
# decided once, before the page is cut out of them, so that the total goes with the page.
_SEARCH = """
SELECT f.version, f.position,
       (SELECT coalesce(max(notification_id), 0) FROM ledger_events WHERE workspace_id = %(workspace_id)s),
       found.total, page.created, page.body
FROM checkpoints f
CROSS JOIN LATERAL (
    SELECT count(*) AS total FROM documents d WHERE {where}
) found
LEFT JOIN LATERAL (
    SELECT d.created, d.body FROM documents d WHERE {where}
    ORDER BY d.created DESC LIMIT %(limit)s OFFSET %(offset)s
) page ON true
WHERE f.name = %(name)s AND f.live
"""

_SUMS = """
SELECT f.version, f.position,
       (SELECT coalesce(max(notification_id), 0) FROM ledger_events WHERE workspace_id = %s),
       t.key, t.amount
FROM checkpoints f
LEFT JOIN tallies t ON t.projection = f.name AND t.version = f.version AND t.key = ANY(%s)
WHERE f.name = %s AND f.live
"""


class Seen(NamedTuple, Generic[T]):
    """What a look has found, how far what was looked at has come, and how far the log has."""

    reached: int
    head: int
    found: T


class Progress:
    """How far the live projector has come, as far as this process has heard."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._moved = asyncio.Condition()
        self.position = 0

    async def start(self) -> None:
        """Begin to listen."""
        await self._bus.on(f"{self._bus.prefix}.projected", self._hear)

    async def _hear(self, data: bytes) -> None:
        async with self._moved:
            self.position = max(self.position, int(data))
            self._moved.notify_all()

    async def caught_up(self, look: Callable[[], Awaitable[Seen[T]]], seconds: float) -> T:
        """What a look finds once the projector is where the log was at the first look; raises ReadsBehind in the end.

        Events newer than those of the first look are not waited for, or a busy workspace would wait for ever.
        """
        deadline = monotonic() + seconds
        needed: int | None = None
        while True:
            seen = await look()
            needed = seen.head if needed is None else needed
            if seen.reached >= needed:
                return seen.found
            if (left := deadline - monotonic()) <= 0:
                raise ReadsBehind
            await self.wait(needed, min(left, LOOK_SECONDS))

    async def wait(self, position: int, seconds: float) -> None:
        """Until the projector is known to be at a position, or some time has passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(lambda: self.position >= position)


@dataclass(frozen=True)
class Reads:
    """What every read relies on: the read models, how far they are, and the log for what they do not have yet."""

    log: EventLog
    pool: Pool
    progress: Progress
    wait_seconds_max: float = 2.0
    retry_seconds: float = 10.0

    async def ask(self, query: str, parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a query, asked again while connections break; raises ReadsUnavailable in the end."""

        async def ask(connection: AsyncConnection[TupleRow]) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(query.encode(), parameters, prepare=True, binary=True)
            return await cursor.fetchall()

        return await retrying(self.pool, ask, seconds=self.retry_seconds, refusal=ReadsUnavailable)

    async def caught_up(self, look: Callable[[], Awaitable[Seen[T]]]) -> T:
        """What a look finds once the projector is where the log was at first; raises ReadsBehind in the end."""
        return await self.progress.caught_up(look, self.wait_seconds_max)


class Views:
    """Read models as everybody reads them.

    A read first sees the newest event of its workspace and then answers from a read model that has it: whoever got a
    2xx for a write sees it in the next read, from any process. The wait is bounded. After that a single document is
    brought up to date from the log where its projection allows it, and a list is refused as unavailable.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._past = Past(reads.log, reads.ask)
        self._documents: BatchLoader[_Question, _Found | None] = reads.log.loader(
            _GET,
            [arrays.TextColumn.array_oid] * 3,
            lambda questions: [
                arrays.TextColumn(list(map(arrays.text, each))).data for each in zip(*questions, strict=True)
            ],
            _found,
            ReadsUnavailable,
        )

    async def find(self, projection: Projection[Any], identity: str, workspace_id: str) -> bytes | None:
        """The JSON of a document of this workspace; None when there is none, or it is another workspace's."""
        if not (is_text(identity) and is_text(workspace_id)):
            return None
        if (as_of := AS_OF.get()) is not None:
            return await self._past.find(projection, identity, workspace_id, as_of)
        question = _Question(workspace_id, identity, projection.name)

        async def look() -> Seen[_Found]:
            found = await self._stored(question)
            return Seen(found.position, found.head, found)

        try:
            found = await self._reads.caught_up(look)
        except ReadsBehind:
            if projection.stream is None:
                raise
            return await self._brought_up_to_date(projection, identity, workspace_id, await self._stored(question))
        return found.body if found.owner == workspace_id else None

    async def _stored(self, question: _Question) -> _Found:
        found = await self._documents.ask(question)
        if found is None:
            raise ReadsUnavailable
        return found

    async def get(self, projection: Projection[Any], identity: str, workspace_id: str) -> bytes:
        """As `find`, but raises the projection's refusal when there is none."""
        body = await self.find(projection, identity, workspace_id)
        if body is None:
            raise projection.absent
        return body

    async def page(
        self,
        projection: Projection[Any],
        workspace_id: str,
        *,
        limit: int,
        before: int | None = None,
        offset: int = 0,
        parent: str | None = None,
    ) -> list[Listed]:
        """The JSON of documents of this workspace, newest first, those created before a place in that order.

        An `offset` leaves out so many of them, for contracts that count pages in this way.
        """
        if (as_of := AS_OF.get()) is not None:
            found = await self._past.page(projection, workspace_id, as_of, before=before, parent=parent)
            return [Listed(*each) for each in found[offset : offset + limit]]
        query = _LIST.format(parent="AND d.parent = %(parent)s" if parent is not None else "")
        rows = await self._rows(
            query,
            {
                "workspace_id": workspace_id,
                "before": 2**62 if before is None else before,
                "limit": limit,
                "offset": offset,
                "name": projection.name,
                "parent": parent,
            },
        )
        return [Listed(row[3], row[4]) for row in rows if row[4] is not None]

    async def search(
        self,
        projection: Projection[Any],
        workspace_id: str,
        *,
        limit: int,
        offset: int,
        all_of: Sequence[str] = (),
        any_of: Sequence[str] = (),
    ) -> tuple[list[Listed], int]:
        """A page of documents of this workspace, newest first, and how many there are in all.

        The documents have `facets`: all of some, and any of others (none: whichever) are in each that is found.
        """
        if (as_of := AS_OF.get()) is not None:
            found = await self._past.search(projection, workspace_id, as_of, all_of=all_of, any_of=any_of)
            return [Listed(*each) for each in found[offset : offset + limit]], len(found)
        where = f"d.projection = '{projection.name}' AND d.version = f.version AND d.workspace_id = %(workspace_id)s"
        if all_of:
            where += " AND document_facets(d.body) @> %(all_of)s::text[]"
        if any_of:
            where += " AND document_facets(d.body) && %(any_of)s::text[]"
        rows = await self._rows(
            _SEARCH.format(where=where),
            {
                "workspace_id": workspace_id,
                "limit": limit,
                "offset": offset,
                "all_of": list(all_of),
                "any_of": list(any_of),
                "name": projection.name,
            },
        )
        return [Listed(row[4], row[5]) for row in rows if row[5] is not None], rows[0][3]

    async def sums(self, tally: Tally, keys: Sequence[str], workspace_id: str) -> dict[str, int]:
        """The sums under these keys; a key nothing was counted under is 0."""
        if (as_of := AS_OF.get()) is not None:
            return await self._past.sums(tally, keys, workspace_id, as_of)
        rows = await self._rows(_SUMS, (workspace_id, list(keys), tally.name))
        return dict.fromkeys(keys, 0) | {row[3]: row[4] for row in rows if row[3] is not None}

    async def position_at(self, moment: datetime) -> int:
        """The position of the newest event that was recorded by then (0: there was none)."""
        return await self._past.position_at(moment)

    async def look_back(self, workspace_id: str, to: int | datetime) -> AsOf:
        """Have the request at hand read what was there at a position, or at a moment.

        Raises PositionIsAhead, and ReadsBehind while something may still come before that position.
        """
        position = to if isinstance(to, int) else await self._past.position_at(to)
        as_of = await self._past.of_workspace(workspace_id, position)

        async def look() -> Seen[None]:
            rows = await self._reads.ask("SELECT position FROM checkpoints WHERE name = 'jobs' AND live", ())
            return Seen(rows[0][0] if rows else 0, position, None)

        await self._reads.caught_up(look)
        AS_OF.set(as_of)
        return as_of

    async def _rows(self, query: str, parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a query, once the projection is where the workspace's log was when we first looked."""

        async def look() -> Seen[list[tuple[Any, ...]]]:
            rows = await self._reads.ask(query, parameters)
            if not rows:
                raise ReadsUnavailable
            return Seen(rows[0][1], rows[0][2], rows)

        return await self._reads.caught_up(look)

    async def _brought_up_to_date(
        self, projection: Projection[Any], identity: str, workspace_id: str, found: _Found
    ) -> bytes | None:
        """The document with the events of its stream that the projector has not folded yet."""
        document: Document | None = json.decode(found.body, type=projection.document) if found.body else None
        try:
            tail = await self._reads.log.since(f"{projection.stream}-{identity}", found.seen)
            document = projection.fold(identity, [each.event for each in tail], document)
        except Unavailable:
            raise
        except Exception as problem:
            # An event that cannot be folded waits for its repair; until then nobody can say what the thing is.
            raise ReadsBehind from problem
        owner = found.owner or next((each.workspace_id for each in tail), None)
        return json.encode(document) if document and owner == workspace_id else None


def _found(result: PGresult, questions: Sequence[_Question]) -> list[_Found | None]:
    value = result.get_value
    found: list[_Found | None] = [None] * len(questions)
    for row in range(result.ntuples):
        nth, position, head, owner, seen, body = (value(row, column) for column in range(6))
        found[int.from_bytes(nth or b"", "big") - 1] = _Found(
            int.from_bytes(position or b"", "big"),
            int.from_bytes(head or b"", "big"),
            None if owner is None else owner.decode(),
            int.from_bytes(seen or b"", "big"),
            body,
        )
    return found


@provides
async def progress(bus: Bus) -> Progress:
    """Hears how far the read models are."""
    made = Progress(bus)
    await made.start()
    return made


@provides
def reads(log: EventLog, pool: Pool, progress: Progress, settings: Reading) -> Reads:
    """What every read relies on."""
    return Reads(log, pool, progress, settings.read_wait_seconds_max, RETRY_SECONDS)


@provides
def views(reads: Reads) -> Views:
    """What routes read."""
    return Views(reads)
