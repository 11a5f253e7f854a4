"""Every role shows itself in the database now and then, so that one that died silently is missed."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import psycopg
import structlog
from psycopg import AsyncConnection

log = structlog.get_logger(__name__)

BEAT_SECONDS = 5.0
#: While it is not ready, so that it is soon seen to be.
UNREADY_SECONDS = 1.0
#: A role that has not shown itself for so long is not at work: it has died, hangs, or cannot reach Postgres.
SILENT_SECONDS_MAX = 20.0
#: What has ended is shown for so long.
REMEMBERED = "1 day"
PROBLEM_LENGTH = 500

_BEAT = """
INSERT INTO roles AS r (instance, role, host, pid, version, state, is_ready, problem, memory_bytes)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (instance) DO UPDATE SET state = excluded.state, is_ready = excluded.is_ready,
    problem = coalesce(excluded.problem, r.problem), memory_bytes = excluded.memory_bytes, seen_at = now()
"""


class Heartbeat:
    """Shows one process, for as long as it runs a role; what Postgres makes of it never disturbs the role."""

    def __init__(self, postgres_url: str, role: str, is_ready: Callable[[], bool]) -> None:
        self._url = postgres_url
        self._role = role
        self._is_ready = is_ready
        self._instance = uuid4()
        # Of what runs, whatever is installed over it meanwhile.
        self._version = version("ledgerline")
        #: Whether anybody has seen it.
        self._is_known = False

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                async with await self._connect() as connection:
                    await connection.execute("DELETE FROM roles WHERE seen_at < now() - %s::interval", (REMEMBERED,))
                    while True:
                        await self._beat(connection, "running", None)
                        await asyncio.sleep(BEAT_SECONDS if self._is_ready() else UNREADY_SECONDS)
            except (psycopg.Error, OSError) as problem:
                log.debug("heartbeat.missed", problem=str(problem).strip())
                await asyncio.sleep(BEAT_SECONDS)
            except Exception:
                # A role at work that shows itself no more is taken for dead.
                log.exception("heartbeat.stumbled")
                await asyncio.sleep(BEAT_SECONDS)

    async def end(self, problem: str | None) -> None:
        """Say that the role has ended, and why if it has failed."""
        if not self._is_known:
            return
        with suppress(psycopg.Error, OSError, TimeoutError):
            async with asyncio.timeout(2), await self._connect() as connection:
                await self._beat(connection, "stopped" if problem is None else "failed", problem)

    async def _connect(self) -> AsyncConnection[tuple[object, ...]]:
        return await AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=3, application_name="heartbeat"
        )

    async def _beat(self, connection: AsyncConnection[tuple[object, ...]], state: str, problem: str | None) -> None:
        noted = None if problem is None else problem[:PROBLEM_LENGTH].replace("\0", "")
        is_ready = state == "running" and self._is_ready()
        who = (self._instance, self._role, socket.gethostname(), os.getpid(), self._version)
        await connection.execute(_BEAT, (*who, state, is_ready, noted, _memory_bytes()))
        self._is_known = True


def _memory_bytes() -> int | None:
    """What this process holds in memory, where the system tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
