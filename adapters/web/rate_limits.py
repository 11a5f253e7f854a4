"""Rate limits that hold across processes without asking Postgres about most requests.

Each key has a window of so many seconds, which begins with its first request. A process draws a share of what is left
in the window and spends it by itself; the share shrinks as the window empties, and what a process does not spend soon
it gives back. All processes together therefore never let through more than the limit, and the whole limit can be used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import time
from typing import NamedTuple

import structlog
from psycopg import AsyncConnection, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from adapters.identity.vault import Vault
from adapters.postgres.retrying import Pool
from adapters.provides import provides

log = structlog.get_logger(__name__)

#: Of what is left in a window, one process takes so much at a time.
SHARE = 8
#: What a process has not spent after so many seconds goes back.
IDLE_SECONDS = 0.5
#: How long a request waits to be counted; whatever it needs of Postgres afterwards it waits for anyway.
DRAW_SECONDS_MAX = 1.0

# Draws a share from the window that is open, or opens one; says when it ends, what was drawn, and what is left.
_DRAW = """
WITH open AS (
    SELECT ends_at FROM rate_windows WHERE key = %(key)s AND ends_at > %(now)s ORDER BY ends_at DESC LIMIT 1
), target AS (
    SELECT coalesce((SELECT ends_at FROM open), %(now)s + %(window)s) AS ends_at
)
INSERT INTO rate_windows AS w (key, ends_at, used, drawn)
SELECT %(key)s, ends_at, first.share, first.share FROM target, (SELECT greatest(1, %(limit)s / %(of)s) AS share) first
ON CONFLICT (key, ends_at) DO UPDATE
SET drawn = least(%(limit)s - w.used, greatest(1, (%(limit)s - w.used) / %(of)s)),
    used = w.used + least(%(limit)s - w.used, greatest(1, (%(limit)s - w.used) / %(of)s))
RETURNING ends_at, used, drawn
"""


class Verdict(NamedTuple):
    """Whether a request may pass, and what its sender may know about it."""

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: int
    window_seconds: int


class _Window:
    """What this process holds of one key's window."""

    __slots__ = ("drawn_at", "empty_until", "ends_at", "held", "left", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.ends_at = 0.0
        self.held = 0
        self.left = 0
        self.drawn_at = 0.0
        self.empty_until = 0.0


class Limiter:
    """Counts requests by key."""

    def __init__(
        self,
        pool: AsyncConnectionPool[AsyncConnection[TupleRow]],
        now: Callable[[], float] = time,
        name: Callable[[str], str] = str,
    ) -> None:
        """`name` is what a key is called in the database: keys tell who asked from where."""
        self._pool = pool
        self._now = now
        self._name = name
        self._windows: dict[str, _Window] = {}
        self._returning: asyncio.Task[None] | None = None

    def spend(self, key: str, limit: int, window_seconds: int) -> Verdict | None:
        """Count one request of those this process holds already; None when it holds none, and `take` is to be asked."""
        window = self._windows.get(key)
        now = self._now()
        if window is None or window.held <= 0 or window.ends_at <= now:
            return None
        window.held -= 1
        left = window.left + window.held
        return Verdict(True, limit, left, max(1, round(window.ends_at - now)), window_seconds)

    async def take(self, key: str, limit: int, window_seconds: int) -> Verdict:
        """Count one request; Postgres being away lets it pass, since a limit protects nothing that is down."""
        if self._returning is None or self._returning.done():
            self._returning = asyncio.create_task(self._give_back_for_ever(), name="rate-limits")
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window()
        now = self._now()
        if window.ends_at <= now or not window.held:
            async with window.lock:
                if (window.ends_at <= now or not window.held) and window.empty_until <= now:
                    await self._draw(key, window, limit, window_seconds, now)
        allowed = window.held > 0 and window.ends_at > now
        if allowed:
            window.held -= 1
        return Verdict(
            allowed=allowed,
            limit=limit,
            remaining=window.left + window.held if allowed else 0,
            reset_seconds=max(1, round(window.ends_at - now)),
            window_seconds=window_seconds,
        )

    async def _draw(self, key: str, window: _Window, limit: int, window_seconds: int, now: float) -> None:
        try:
            async with self._pool.connection(DRAW_SECONDS_MAX) as connection:
                cursor = await connection.execute(
                    _DRAW.encode(),
                    {"key": self._name(key), "now": int(now), "window": window_seconds, "limit": limit, "of": SHARE},
                    prepare=True,
                )
                row = await cursor.fetchone()
        except (OperationalError, PoolTimeout) as problem:
            log.warning("limits.unavailable", problem=str(problem).strip())
            window.ends_at, window.held, window.left = now + 1.0, 1, 0
            return
        assert row is not None
        window.ends_at, used, window.held = float(row[0]), row[1], row[2]
        window.left = max(0, limit - used)
        window.drawn_at = now
        if not window.held:
            # Others may give something back before the window ends, so ask again before long.
            window.empty_until = min(window.ends_at, now + IDLE_SECONDS)

    async def _give_back_for_ever(self) -> None:
        while True:
            await asyncio.sleep(IDLE_SECONDS)
            await self.give_back()

    async def give_back(self, *, everything: bool = False) -> None:
        """Return what has lain idle, and forget windows that have ended."""
        now = self._now()
        for key, window in list(self._windows.items()):
            if window.ends_at <= now and not window.lock.locked():
                del self._windows[key]
            elif window.held and (everything or now - window.drawn_at > IDLE_SECONDS):
                async with window.lock:
                    idle, window.held = window.held, 0
                    window.left += idle
                try:
                    async with self._pool.connection() as connection:
                        await connection.execute(
                            "UPDATE rate_windows SET used = greatest(0, used - %s) WHERE key = %s AND ends_at = %s",
                            (idle, self._name(key), int(window.ends_at)),
                        )
                except (OperationalError, PoolTimeout):
                    log.debug("limits.kept", key=key, idle=idle)

    async def close(self) -> None:
        """Give everything back."""
        if self._returning is not None:
            self._returning.cancel()
        await self.give_back(everything=True)


@provides
def limiter(pool: Pool, vault: Vault) -> Limiter:
    """Counts requests in all processes together."""
    return Limiter(pool, name=partial(vault.token, "rate"))
