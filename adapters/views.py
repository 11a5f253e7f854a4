"""Reads: documents as stored JSON, never older than what its workspace has been told is done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import json
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from adapters.bus import Bus
from adapters.eventlog import EventLog
from adapters.patience import Pool, patiently
from domain.kernel import Unavailable
from projections.kernel import Document, Projection, Tally

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


_GET = """
SELECT f.version, f.position,
       (SELECT coalesce(max(notification_id), 0) FROM ledger_events WHERE workspace_id = %s),
       d.workspace_id, d.position, d.body
FROM followers f
LEFT JOIN documents d ON d.projection = f.name AND d.version = f.version AND d.id = %s
WHERE f.name = %s AND f.live
"""

_LIST = """
SELECT f.version, f.position,
       (SELECT coalesce(max(notification_id), 0) FROM ledger_events WHERE workspace_id = %(workspace_id)s),
       page.created, page.body
FROM followers f
LEFT JOIN LATERAL (
    SELECT d.created, d.body FROM documents d
    WHERE d.projection = f.name AND d.version = f.version AND d.workspace_id = %(workspace_id)s
      AND d.created < %(before)s {parent}
    ORDER BY d.created DESC LIMIT %(limit)s
) page ON true
WHERE f.name = %(name)s AND f.live
"""

_SUMS = """
SELECT f.version, f.position,
       (SELECT coalesce(max(notification_id), 0) FROM ledger_events WHERE workspace_id = %s),
       t.key, t.amount
FROM followers f
LEFT JOIN tallies t ON t.projection = f.name AND t.version = f.version AND t.key = ANY(%s)
WHERE f.name = %s AND f.live
"""


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

    async def wait(self, position: int, seconds: float) -> None:
        """Until the projector is known to be at a position, or some time has passed."""
        try:
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(lambda: self.position >= position)
        except TimeoutError:
            return


class Views:
    """Read models as everybody reads them.

    A read first sees the newest event of its workspace and then answers from a read model that has it: whoever got a
    2xx for a write sees it in the next read, from any process. The wait is bounded. After that a single document is
    brought up to date from the log where its projection allows it, and a list is refused as unavailable.
    """

    def __init__(
        self,
        ledger: EventLog,
        pool: Pool,
        progress: Progress,
        *,
        wait_seconds_max: float = 2.0,
        patience_seconds: float = 10.0,
    ) -> None:
        self._ledger = ledger
        self._pool = pool
        self._progress = progress
        self._wait_seconds_max = wait_seconds_max
        self._patience_seconds = patience_seconds

    async def find(self, projection: Projection[Any], identity: str, workspace_id: str) -> bytes | None:
        """The JSON of a document of this workspace; None when there is none, or it is another workspace's."""
        rows, fresh = await self._rows(
            _GET, (workspace_id, identity, projection.name), tolerant=bool(projection.stream)
        )
        owner, seen, body = rows[0][3:]
        if not fresh:
            return await self._brought_up_to_date(projection, identity, workspace_id, owner, seen or 0, body)
        return body if owner == workspace_id else None

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
        parent: str | None = None,
    ) -> list[Listed]:
        """The JSON of documents of this workspace, newest first, those created before a place in that order."""
        query = _LIST.format(parent="AND d.parent = %(parent)s" if parent is not None else "")
        rows, _ = await self._rows(
            query,
            {
                "workspace_id": workspace_id,
                "before": 2**62 if before is None else before,
                "limit": limit,
                "name": projection.name,
                "parent": parent,
            },
        )
        return [Listed(row[3], row[4]) for row in rows if row[4] is not None]

    async def sums(self, tally: Tally, keys: Sequence[str], workspace_id: str) -> dict[str, int]:
        """The sums under these keys; a key nothing was counted under is 0."""
        rows, _ = await self._rows(_SUMS, (workspace_id, list(keys), tally.name))
        return dict.fromkeys(keys, 0) | {row[3]: row[4] for row in rows if row[3] is not None}

    async def _rows(self, query: str, parameters: Any, *, tolerant: bool = False) -> tuple[list[tuple[Any, ...]], bool]:
        """The rows of a query, and whether the projection was where the workspace's log was when we first looked."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait_seconds_max
        needed: int | None = None
        while True:
            rows = await self._fetch(query, parameters)
            if not rows:
                raise ReadsUnavailable
            _, position, head = rows[0][:3]
            # Events newer than those we first saw are not waited for, or a busy workspace would wait for ever.
            needed = head if needed is None else needed
            if position >= needed:
                return rows, True
            left = deadline - loop.time()
            if left <= 0:
                if tolerant:
                    return rows, False
                raise ReadsBehind
            await self._progress.wait(needed, min(left, LOOK_SECONDS))

    async def _fetch(self, query: str, parameters: Any) -> list[tuple[Any, ...]]:
        async def ask(connection: AsyncConnection[TupleRow]) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(query.encode(), parameters, prepare=True, binary=True)
            return await cursor.fetchall()

        return await patiently(self._pool, ask, seconds=self._patience_seconds, refusal=ReadsUnavailable)

    async def _brought_up_to_date(
        self,
        projection: Projection[Any],
        identity: str,
        workspace_id: str,
        owner: str | None,
        seen: int,
        body: bytes | None,
    ) -> bytes | None:
        """The document with the events of its stream that the projector has not folded yet."""
        document: Document | None = json.decode(body, type=projection.document) if body else None
        try:
            for each in await self._ledger.stream(f"{projection.stream}-{identity}"):
                owner = owner or each.workspace_id
                if each.position > seen and projection.concerns(each.event) == identity:
                    document = projection.evolve(document, each.event)
        except Unavailable:
            raise
        except Exception as problem:
            # An event that cannot be folded waits for its repair; until then nobody can say what the thing is.
            raise ReadsBehind from problem
        return json.encode(document) if document and owner == workspace_id else None
