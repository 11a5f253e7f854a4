"""When keys and sessions were last used: noted in the background, at most once a minute for each, by each process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime
from time import monotonic

import structlog
from psycopg import AsyncConnection, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import PoolTimeout

from adapters.postgres.retrying import Pool, retrying
from adapters.provides import provides
from adapters.readmodels.views import ReadsUnavailable
from commands.sweeping import sweeps

log = structlog.get_logger(__name__)

#: How coarse the time is.
COARSE_SECONDS = 60.0
#: How long a note waits for others to be written with it.
BATCH_SECONDS = 0.05
REMEMBERED_MAX = 100_000
#: A credential that was not used for so long is one that nobody misses knowing about.
KEPT_DAYS = 365


class Uses:
    """The last use of each credential by its id."""

    def __init__(self, pool: Pool, *, coarse_seconds: float = COARSE_SECONDS) -> None:
        self._pool = pool
        self._coarse_seconds = coarse_seconds
        self._noted: dict[str, float] = {}
        self._pending: set[str] = set()
        self._writing: asyncio.Task[None] | None = None

    def note(self, credential_id: str) -> None:
        """A credential was used just now. Costs a look into a dictionary on most requests."""
        now = monotonic()
        if now - self._noted.get(credential_id, -self._coarse_seconds) < self._coarse_seconds:
            return
        if len(self._noted) >= REMEMBERED_MAX:
            self._noted.clear()
        self._noted[credential_id] = now
        self._pending.add(credential_id)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="credential-uses")

    async def _write(self) -> None:
        while self._pending:
            await asyncio.sleep(BATCH_SECONDS)
            used, self._pending = sorted(self._pending), set()
            try:
                async with self._pool.connection() as connection:
                    await connection.execute(
                        "INSERT INTO credential_uses (credential_id, used_at) SELECT *, now() FROM unnest(%s::text[]) "
                        "ON CONFLICT (credential_id) DO UPDATE SET used_at = excluded.used_at "
                        "WHERE credential_uses.used_at < excluded.used_at - %s * interval '1 second'",
                        (used, self._coarse_seconds),
                    )
            except (OperationalError, PoolTimeout) as problem:
                # Nobody waits for it; the next use in a minute notes itself.
                log.debug("uses.unwritten", credentials=len(used), problem=str(problem).strip())

    async def of(self, credential_ids: Sequence[str]) -> dict[str, datetime]:
        """When these were last used, as far as they were."""

        async def ask(connection: AsyncConnection[TupleRow]) -> dict[str, datetime]:
            cursor = await connection.execute(
                "SELECT credential_id, used_at FROM credential_uses WHERE credential_id = ANY(%s)",
                (list(credential_ids),),
                prepare=True,
            )
            return {row[0]: row[1] for row in await cursor.fetchall()}

        return await retrying(self._pool, ask, seconds=5.0, refusal=ReadsUnavailable)

    async def sweep(self, days: int) -> int:
        """Forget what has not been used for so many days; says how many."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "DELETE FROM credential_uses WHERE used_at < now() - %s * interval '1 day'", (days,)
            )
            return cursor.rowcount

    async def close(self) -> None:
        """Write what is pending."""
        if self._writing is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._writing


@provides
def uses(pool: Pool) -> Uses:
    """When keys were last used."""
    return Uses(pool)


@sweeps("last-uses")
async def sweep_uses(uses: Uses, _: datetime) -> int:
    """Forget what has not been used for long."""
    return await uses.sweep(KEPT_DAYS)
