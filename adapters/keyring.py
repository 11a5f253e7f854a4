"""Finds what an API key opens, and remembers it for less than a second, so that a revoked one opens nothing."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import NamedTuple

from msgspec import json
from psycopg import AsyncConnection, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from adapters.views import LOOK_SECONDS, Progress, ReadsUnavailable
from projections.identity.credentials import Credential

REMEMBER_SECONDS = 0.8
REMEMBERED_MAX = 100_000

_FIND = """
SELECT f.position, (SELECT coalesce(max(notification_id), 0) FROM ledger_events), d.body
FROM followers f
LEFT JOIN documents d ON d.projection = f.name AND d.version = f.version AND d.id = %s
WHERE f.name = 'credentials' AND f.live
"""


class _Known(NamedTuple):
    credential: Credential | None
    at: float


class Keyring:
    """Credentials by the digest of their key."""

    def __init__(
        self,
        pool: AsyncConnectionPool[AsyncConnection[TupleRow]],
        progress: Progress,
        *,
        wait_seconds_max: float = 2.0,
    ) -> None:
        self._pool = pool
        self._progress = progress
        self._wait_seconds_max = wait_seconds_max
        self._known: dict[str, _Known] = {}
        self._looking: dict[str, asyncio.Future[Credential | None]] = {}

    async def find(self, digest: str) -> Credential | None:
        """What the key with this digest opens; None when there is no such key."""
        known = self._known.get(digest)
        if known is not None and monotonic() - known.at < REMEMBER_SECONDS:
            return known.credential
        looking = self._looking.get(digest)
        if looking is None:
            looking = self._looking[digest] = asyncio.ensure_future(self._look(digest))
            looking.add_done_callback(lambda _: self._looking.pop(digest, None))
        return await asyncio.shield(looking)

    async def _look(self, digest: str) -> Credential | None:
        """A key nobody knows may have been made a moment ago: believe that only of a read model that is up to date."""
        deadline = monotonic() + self._wait_seconds_max
        needed: int | None = None
        while True:
            asked = monotonic()
            position, head, body = await self._fetch(digest)
            needed = head if needed is None else needed
            if body is not None or position >= needed:
                break
            if monotonic() > deadline:
                raise ReadsUnavailable
            await self._progress.wait(needed, LOOK_SECONDS)
        credential = json.decode(body, type=Credential) if body is not None else None
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        if credential is not None:
            self._known[digest] = _Known(credential, asked)
        return credential

    async def _fetch(self, digest: str) -> tuple[int, int, bytes | None]:
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_FIND.encode(), (digest,), prepare=True, binary=True)
                row = await cursor.fetchone()
        except (OperationalError, PoolTimeout) as problem:
            raise ReadsUnavailable from problem
        if row is None:
            raise ReadsUnavailable
        return row[0], row[1], row[2]
