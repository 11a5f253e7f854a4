"""Documents about people and what they belong to: never older than their own stream, whoever wrote to it and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import json
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

import commands.analyses.ports
import commands.identity.ports
from adapters.log.data_keys import DataKeys
from adapters.log.eventlog import EventLog
from adapters.postgres.retrying import RETRY_SECONDS, Pool, retrying
from adapters.provides import provides
from adapters.readmodels.settings import Reading
from adapters.readmodels.views import Progress, ReadsUnavailable, Seen
from projections.identity.api_keys import api_keys
from projections.identity.sessions import sessions
from projections.kernel import Document, Projection

# The document's own position tells whether it has every event of its stream, also while the projector lags behind or
# has parked the stream: each of these projections is moved by every event of the stream it is named after.
_DOCUMENTS = """
SELECT wanted.id, d.position, d.body, coalesce(newest.position, 0)
FROM checkpoints f
CROSS JOIN unnest(%s::text[]) AS wanted(id)
LEFT JOIN documents d ON d.projection = f.name AND d.version = f.version AND d.id = wanted.id
LEFT JOIN LATERAL (
    SELECT e.notification_id AS position FROM ledger_events e WHERE e.originator_id = %s || wanted.id
    ORDER BY e.originator_version DESC LIMIT 1
) newest ON true
WHERE f.name = %s AND f.live
"""

_CHILDREN = """
SELECT f.position, (SELECT coalesce(max(notification_id), 0) FROM ledger_events), d.id, d.body
FROM checkpoints f
LEFT JOIN documents d ON d.projection = f.name AND d.version = f.version AND d.parent = %s
WHERE f.name = %s AND f.live
ORDER BY d.created DESC
"""

_ANALYSES = """
SELECT substr(originator_id, length('analysis-') + 1) FROM ledger_events
WHERE workspace_id = %s AND starts_with(originator_id, 'analysis-') AND originator_version = 1
"""


class Found(NamedTuple):
    """A document and how far it has come."""

    position: int
    body: bytes | None


class Directory(commands.identity.ports.Directory, commands.analyses.ports.Directory):
    """Reads across workspaces, for whoever asks who somebody is."""

    def __init__(
        self,
        ledger: EventLog,
        pool: Pool,
        keys: DataKeys,
        progress: Progress,
        *,
        wait_seconds_max: float = 2.0,
        retry_seconds: float = 10.0,
    ) -> None:
        self._ledger = ledger
        self._pool = pool
        self._keys = keys
        self._progress = progress
        self._wait_seconds_max = wait_seconds_max
        self._retry_seconds = retry_seconds

    async def find(self, projection: Projection[Any], identity: str) -> Any:
        """The document as of this moment, or None."""
        return (await self.many(projection, [identity])).get(identity)

    async def standing(self, projection: Projection[Any], identity: str) -> tuple[Any, int]:
        """The document as of this moment, or None, and the position of the newest event in it (0: there is none)."""
        return (await self._standings(projection, [identity]))[identity]

    async def many(self, projection: Projection[Any], identities: Sequence[str]) -> dict[str, Any]:
        """Those of the documents that exist, as of this moment."""
        found = await self._standings(projection, identities)
        return {identity: document for identity, (document, _) in found.items() if document is not None}

    async def _standings(self, projection: Projection[Any], identities: Sequence[str]) -> dict[str, tuple[Any, int]]:
        found: dict[str, tuple[Any, int]] = {}
        rows = await self.ask(_DOCUMENTS, (list(identities), f"{projection.stream}-", projection.name))
        if identities and not rows:
            raise ReadsUnavailable
        for identity, position, body, newest in rows:
            document = json.decode(body, type=projection.document) if body is not None else None
            if (position or 0) < newest:
                document = await self.caught_up(projection, f"{projection.stream}-{identity}", position or 0, document)
            found[identity] = (document, newest)
        return found

    async def caught_up(
        self, projection: Projection[Any], stream: str, position: int, document: Document | None
    ) -> Document | None:
        """The document with the events of its stream after a position."""
        for each in await self._ledger.stream(stream):
            if each.position > position and projection.concerns(each.event) is not None:
                document = projection.evolve(document, each.event)
        return document

    async def children(self, projection: Projection[Any], parent: str) -> list[tuple[str, bytes]]:
        """Id and JSON of everything listed under something, newest first, with all that had happened when asked."""

        async def look() -> Seen[list[tuple[str, bytes]]]:
            rows = await self.ask(_CHILDREN, (parent, projection.name))
            if not rows:
                raise ReadsUnavailable
            return Seen(rows[0][0], rows[0][1], [(row[2], row[3]) for row in rows if row[2] is not None])

        return await self._progress.caught_up(look, self._wait_seconds_max)

    async def sessions_of(self, person_id: str) -> list[str]:
        """The open sessions of a person."""
        return [identity for identity, _ in await self.children(sessions, person_id)]

    async def keys_of(self, workspace_id: str) -> list[str]:
        """All API keys of a workspace, revoked ones too."""
        return [identity for identity, _ in await self.children(api_keys, workspace_id)]

    async def analyses_of(self, workspace_id: str) -> list[str]:
        """All analyses that were ever asked for in a workspace, from the log: its read models may be cleared."""
        return [row[0] for row in await self.ask(_ANALYSES, (workspace_id,))]

    async def erase(self, subject: str) -> None:
        """Destroy what reads the sealed fields of a subject."""
        await self._keys.destroy(subject)

    async def forget_origins(self, workspace_id: str) -> None:
        """Forget from where a workspace was used."""

        async def remove(connection: AsyncConnection[TupleRow]) -> None:
            await connection.execute("DELETE FROM request_origins WHERE workspace_id = %s", (workspace_id,))

        await retrying(self._pool, remove, seconds=self._retry_seconds, refusal=ReadsUnavailable)

    async def ask(self, query: str, parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""

        async def ask(connection: AsyncConnection[TupleRow]) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(query.encode(), parameters, prepare=True, binary=True)
            return await cursor.fetchall()

        return await retrying(self._pool, ask, seconds=self._retry_seconds, refusal=ReadsUnavailable)


@provides
def directory(log: EventLog, pool: Pool, keys: DataKeys, progress: Progress, settings: Reading) -> Directory:
    """Who is where."""
    return Directory(
        log, pool, keys, progress, wait_seconds_max=settings.read_wait_seconds_max, retry_seconds=RETRY_SECONDS
    )
