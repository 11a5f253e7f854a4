"""Where requests that changed something came from: kept beside the log, for a while, and written in the background."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from adapters.identity.settings import Origins as OriginSettings
from adapters.postgres import arrays
from adapters.postgres.retrying import Pool
from adapters.provides import provides
from commands.sweeping import sweeps

log = structlog.get_logger(__name__)

#: How long a note waits for others to be written with it.
BATCH_SECONDS = 0.05
#: While Postgres is away; the oldest go first, for an audit without an address is better than no service.
PENDING_MAX = 50_000
USER_AGENT_LENGTH_MAX = 256
REQUEST_ID_LENGTH_MAX = 128


# Of whoever is forgotten nothing is written any more, however late it comes.
_INSERT = """
INSERT INTO request_origins (workspace_id, correlation_id, person_id, ip, user_agent, request_id)
SELECT o.* FROM unnest(%s, %s, %s, %s, %s, %s) AS o(workspace_id, correlation_id, person_id, ip, user_agent, request_id)
WHERE NOT EXISTS (
    SELECT FROM data_keys k WHERE k.subject IN (o.workspace_id, o.person_id) AND k.destroyed_at IS NOT NULL
)
ON CONFLICT DO NOTHING
"""
# What was being written while somebody was forgotten, as well as what is old.
_SWEEP = """
DELETE FROM request_origins o WHERE o.seen_at < now() - %s * interval '1 day' OR EXISTS (
    SELECT FROM data_keys k
    WHERE k.subject IN (o.workspace_id, o.person_id) AND k.destroyed_at > now() - interval '1 day'
)
"""


class Origins:
    """The address, the user agent and the client's own id of each request that led to events."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._pending: dict[tuple[str, UUID], tuple[str | None, str, str, str | None]] = {}
        self._writing: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    def note(
        self, workspace_id: str, correlation_id: UUID, person_id: str | None, ip: str, user_agent: str, request_id: str
    ) -> None:
        """A request of somebody has changed something in a workspace."""
        # Postgres takes no NUL in text.
        agent = user_agent[:USER_AGENT_LENGTH_MAX].replace("\0", "")
        name = request_id[:REQUEST_ID_LENGTH_MAX].replace("\0", "") or None
        self._pending.setdefault((workspace_id, correlation_id), (person_id, ip, agent, name))
        if len(self._pending) > PENDING_MAX:
            del self._pending[next(iter(self._pending))]
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_soon(), name="request-origins")

    async def _write_soon(self) -> None:
        while self._pending:
            await asyncio.sleep(BATCH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write what is pending, so that whoever asks now sees it."""
        async with self._lock:
            pending, self._pending = self._pending, {}
            if not pending:
                return
            people, ips, agents, names = zip(*pending.values(), strict=True)
            try:
                async with self._pool.connection() as connection:
                    await connection.execute(
                        _INSERT,
                        (
                            arrays.TextColumn([arrays.text(workspace_id) for workspace_id, _ in pending]),
                            arrays.UuidColumn([arrays.uuid(correlation_id) for _, correlation_id in pending]),
                            arrays.TextColumn([arrays.NULL if who is None else arrays.text(who) for who in people]),
                            arrays.TextColumn([arrays.text(ip) for ip in ips]),
                            arrays.TextColumn([arrays.text(agent) for agent in agents]),
                            arrays.TextColumn([arrays.NULL if name is None else arrays.text(name) for name in names]),
                        ),
                    )
            except (OperationalError, PoolTimeout) as problem:
                log.warning("origins.unwritten", requests=len(pending), problem=str(problem).strip())
                self._pending = pending | self._pending

    async def sweep(self, days: int) -> int:
        """Forget what is older than so many days, and what is of the forgotten; says how many."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_SWEEP, (days,))
            return cursor.rowcount

    async def close(self) -> None:
        """Write what is pending."""
        if self._writing is not None:
            self._writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writing
        await self.flush()


@provides
def origins(pool: Pool) -> Origins:
    """Where requests come from."""
    return Origins(pool)


@dataclass(frozen=True)
class Sweeping:
    """What is swept, and how long it is kept."""

    origins: Origins
    settings: OriginSettings


@sweeps("origins")
async def sweep_origins(ports: Sweeping, _: datetime) -> int:
    """Forget where requests came from once it was kept for as long as the settings say."""
    return await ports.origins.sweep(ports.settings.audit_origin_days)
