"""Documents about people and what they belong to: never older than their own stream, whoever wrote to it and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import json
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from adapters.log.codec import UnknownEvent
from adapters.log.data_keys import DataKeys
from adapters.postgres.retrying import retrying
from adapters.provides import provides
from adapters.readmodels.views import Reads, ReadsUnavailable, Seen
from commands.identity.ports import Eraser
from projections.kernel import D, Projection

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

# What is parked will not be told that its subject is forgotten. Its projector drops what it remembers, too: a retry
# that it does not know of is one that its checkpoint conflicts with.
_DROP_PARKED = """
WITH sick AS (
    SELECT p.subscription, p.version, p.stream FROM parked p
    JOIN ledger_events e ON e.originator_id = p.stream AND e.originator_version = 1
    WHERE e.workspace_id = %(subject)s OR e.actor = 'person:' || %(subject)s OR p.stream = 'person-' || %(subject)s
), dropped AS (
    DELETE FROM documents d USING sick s WHERE d.projection = s.subscription AND d.version = s.version
    AND (d.workspace_id = %(subject)s OR d.id = %(subject)s OR d.parent IN (%(subject)s, s.stream))
)
UPDATE checkpoints c SET retries = c.retries + 1 FROM sick s WHERE c.name = s.subscription AND c.version = s.version
"""


class Found(NamedTuple):
    """A document and how far it has come."""

    position: int
    body: bytes | None


class Directory(Eraser):
    """Reads across workspaces, for whoever asks who somebody is."""

    def __init__(self, reads: Reads, keys: DataKeys) -> None:
        self._reads = reads
        self._keys = keys

    async def find(self, projection: Projection[Any], identity: str) -> Any:
        """The document as of this moment, or None."""
        return (await self.standing(projection, identity))[0]

    async def standing(self, projection: Projection[Any], identity: str) -> tuple[Any, int]:
        """The document as of this moment, or None, and the position of the newest event in it (0: there is none)."""
        return (await self._standings(projection, [identity])).get(identity, (None, 0))

    async def many(self, projection: Projection[Any], identities: Sequence[str]) -> dict[str, Any]:
        """Those of the documents that exist, as of this moment; one of an unreadable event as it was before that."""
        found = await self._standings(projection, identities, despite_unreadable=True)
        return {identity: document for identity, (document, _) in found.items() if document is not None}

    async def _standings(
        self, projection: Projection[Any], identities: Sequence[str], *, despite_unreadable: bool = False
    ) -> dict[str, tuple[Any, int]]:
        found: dict[str, tuple[Any, int]] = {}
        rows = await self._reads.ask(_DOCUMENTS, (list(identities), f"{projection.stream}-", projection.name))
        if identities and not rows:
            raise ReadsUnavailable
        for identity, position, body, newest in rows:
            document = json.decode(body, type=projection.document) if body is not None else None
            if (position or 0) < newest:
                stream = f"{projection.stream}-{identity}"
                try:
                    document = await self.caught_up(projection, identity, stream, position or 0, document)
                except UnknownEvent:
                    if not despite_unreadable:
                        raise
            found[identity] = (document, newest)
        return found

    async def caught_up(
        self, projection: Projection[D], identity: str, stream: str, position: int, document: D | None
    ) -> D | None:
        """The document with the events of its stream after a position."""
        tail = await self._reads.log.since(stream, position)
        return projection.fold(identity, [each.event for each in tail], document)

    async def children(self, projection: Projection[Any], parent: str) -> list[tuple[str, bytes]]:
        """Id and JSON of everything listed under something, newest first, with all that had happened when asked."""

        async def look() -> Seen[list[tuple[str, bytes]]]:
            rows = await self._reads.ask(_CHILDREN, (parent, projection.name))
            if not rows:
                raise ReadsUnavailable
            return Seen(rows[0][0], rows[0][1], [(row[2], row[3]) for row in rows if row[2] is not None])

        return await self._reads.caught_up(look)

    async def erase(self, subject: str) -> None:
        """Destroy what reads the sealed fields of a subject, and what is beside the log about it."""
        await self._keys.destroy(subject)

        async def remove(connection: AsyncConnection[TupleRow]) -> None:
            async with connection.transaction():
                await connection.execute(
                    "DELETE FROM request_origins WHERE workspace_id = %(subject)s OR person_id = %(subject)s",
                    {"subject": subject},
                )
                await connection.execute(_DROP_PARKED, {"subject": subject})

        await retrying(self._reads.pool, remove, seconds=self._reads.retry_seconds, refusal=ReadsUnavailable)


@provides
def directory(reads: Reads, keys: DataKeys) -> Directory:
    """Who is where."""
    return Directory(reads, keys)
