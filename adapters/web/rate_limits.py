"""Rate limits that hold across processes without asking Postgres about most requests.

Each key has a window of so many seconds, which begins with its first request. For who asks now and then a process
draws one at a time; for who asks again within half a second it draws a share of what is left in the window and spends
it by itself. The share shrinks as the window empties, and what a process does not spend soon it gives back. Draws of
many keys are one statement. All processes together therefore never let through more than the limit, and the whole
limit can be used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from ipaddress import IPv6Address, IPv6Network
from time import time
from typing import NamedTuple

import structlog
from psycopg import AsyncConnection, Error, OperationalError
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow
from psycopg_pool import PoolTimeout

from adapters.postgres import arrays
from adapters.postgres.batch_loader import BatchLoader
from adapters.postgres.retrying import Pool
from adapters.postgres.settings import Postgres
from adapters.provides import provides
from adapters.vault import Vault
from domain.kernel import Unavailable

log = structlog.get_logger(__name__)

#: What wrong keys count under, whichever way they come, with where from; and in which window.
REFUSED = "refused"
REFUSED_WINDOW_SECONDS = 60

#: Of what is left in a window, one process takes so much at a time.
SHARE = 8
#: What a process has not spent after so many seconds goes back.
IDLE_SECONDS = 0.5
#: How long a request waits to be counted; whatever it needs of Postgres afterwards it waits for anyway.
DRAW_SECONDS_MAX = 1.0
#: A Postgres that says nothing for so long is as good as away, and is not asked again for as long.
SILENT_SECONDS_MAX = 4.0

# What is drawn from an open window: as much as is wanted, but no more than a part of what is left in it.
_SHARE = f"""greatest(0, least(
    excluded.most - w.used, greatest(1, least(excluded.want, (excluded.most - w.used) / {SHARE}))
))"""
#: For each key draws a share from the window that is open, or opens one; says when it ends, what was drawn and what is
#: left. Whoever asks something else as well goes on with it in the same statement.
# In the order of the keys, so that two processes do not wait for each other in a circle. A window is found by its key:
# by when it ends, all that are open would be looked through.
DRAWING = f"""
WITH asked AS (
    SELECT * FROM unnest($1, $2, $3, $4, $5) AS a(key, now, seconds, most, want)
), target AS (
    SELECT a.key, a.most, a.want, coalesce(
        (
            SELECT ends_at FROM rate_windows w
            WHERE w.key = a.key AND w.ends_at + 0 > a.now ORDER BY ends_at + 0 DESC LIMIT 1
        ),
        a.now + a.seconds
    ) AS ends_at
    FROM asked a
), drawn AS (
    INSERT INTO rate_windows AS w (key, ends_at, used, drawn, most, want)
    SELECT key, ends_at, least(want, most), least(want, most), most, want FROM target ORDER BY key
    ON CONFLICT (key, ends_at) DO UPDATE SET drawn = {_SHARE}, used = w.used + {_SHARE}
    RETURNING key, ends_at, used, drawn
)
"""
_DRAW = f"{DRAWING} SELECT key, ends_at, used, drawn FROM drawn"
#: The types of the parameters of `DRAWING`.
DRAWING_TYPES = (arrays.TextColumn.array_oid, *[arrays.Int8Column.array_oid] * 4)

_GIVE_BACK = """
WITH idle AS (
    SELECT w.key, w.ends_at, given.idle
    FROM unnest(%s::text[], %s::bigint[], %s::integer[]) AS given(key, ends_at, idle)
    JOIN rate_windows w USING (key, ends_at)
    ORDER BY w.key FOR UPDATE OF w
)
UPDATE rate_windows w SET used = greatest(0, w.used - idle.idle)
FROM idle WHERE w.key = idle.key AND w.ends_at = idle.ends_at
"""


def network_of(address: str) -> str:
    """What an address counts as: of IPv6 the /64, since whoever has one address there has all of them."""
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address.split("%", maxsplit=1)[0])
    except ValueError:
        return address
    return str(found.ipv4_mapped or IPv6Network((int(found) >> 64 << 64, 64)))


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


class Drawn(NamedTuple):
    """What a draw has brought."""

    ends_at: int
    used: int
    drawn: int


class Draw(NamedTuple):
    """What is asked for."""

    key: str
    now: int
    window_seconds: int
    limit: int
    want: int


class LimitsUnavailable(Unavailable):
    """Nobody can say at the moment how often this was asked."""


Draws = BatchLoader[Draw, Drawn]
DrawOne = Callable[[Draw], Awaitable[Drawn]]


def draws(postgres_url: str) -> Draws:
    """Draws for all who ask at the same time."""
    return BatchLoader(
        postgres_url,
        _DRAW,
        DRAWING_TYPES,
        asked_of,
        _drawn,
        retry_seconds=DRAW_SECONDS_MAX,
        refusal=LimitsUnavailable,
        connections=1,
        patience_seconds=SILENT_SECONDS_MAX,
    )


def asked_of(asked: Sequence[Draw]) -> list[bytes]:
    """The parameters of `DRAWING`."""
    keys, *numbers = zip(*asked, strict=True)
    return [
        arrays.TextColumn(list(map(arrays.text, keys))).data,
        *(arrays.Int8Column(list(map(arrays.int8, each))).data for each in numbers),
    ]


def drawn_in(result: PGresult, row: int) -> Drawn:
    """What a draw has brought, in a row that begins with its key."""
    ends_at, used, drawn = (
        int.from_bytes(result.get_value(row, column) or b"", "big", signed=True) for column in (1, 2, 3)
    )
    return Drawn(ends_at, used, drawn)


def _drawn(result: PGresult, asked: Sequence[Draw]) -> list[Drawn]:
    found = {(result.get_value(row, 0) or b"").decode(): drawn_in(result, row) for row in range(result.ntuples)}
    return [found[each.key] for each in asked]


class Limiter:
    """Counts requests by key."""

    def __init__(
        self, pool: Pool, draws: Draws, now: Callable[[], float] = time, name: Callable[[str], str] = str
    ) -> None:
        """`name` is what a key is called in the database: keys tell who asked from where."""
        self._pool = pool
        self._draws = draws
        self._name = name
        self._now = now
        self._windows: dict[str, _Window] = {}
        #: Which windows end when, and in which there is something to give back.
        self._ending: list[tuple[float, str]] = []
        self._holding: dict[str, _Window] = {}
        self._returning: asyncio.Task[None] | None = None
        #: While Postgres says nothing, not every limit of every request waits for it.
        self._silent_until = 0.0

    def spend(self, key: str, limit: int, window_seconds: int) -> Verdict | None:
        """Count one request of those this process holds already; None when it holds none, and `take` is to be asked."""
        window = self._windows.get(key)
        if window is None or window.held <= 0:
            return None
        now = self._now()
        if window.ends_at <= now:
            return None
        window.held -= 1
        left = window.left + window.held
        return Verdict(True, limit, left, max(1, round(window.ends_at - now)), window_seconds)

    async def take(self, key: str, limit: int, window_seconds: int, draw: DrawOne | None = None) -> Verdict:
        """Count one request; Postgres being away lets it pass, since a limit protects nothing that is down.

        Whoever has another question for Postgres draws with it, with a `draw` of their own.
        """
        if self._returning is None or self._returning.done():
            self._returning = asyncio.create_task(self._give_back_for_ever(), name="rate-limits")
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window()
        now = self._now()
        if window.ends_at <= now or not window.held:
            async with window.lock:
                if (window.ends_at <= now or not window.held) and window.empty_until <= now:
                    await self._draw(key, window, limit, window_seconds, now, draw or self._draws.ask)
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

    async def _draw(
        self, key: str, window: _Window, limit: int, window_seconds: int, now: float, draw: DrawOne
    ) -> None:
        # Most keys ask now and then; what they would not spend soon would only have to go back.
        want = max(1, limit // SHARE) if now - window.drawn_at <= IDLE_SECONDS else 1
        drawn = await self._ask_for(Draw(self._name(key), int(now), window_seconds, limit, want), draw)
        known_end = window.ends_at
        if drawn is None:
            window.ends_at, window.held, window.left = now + 1.0, 1, 0
        else:
            window.ends_at, window.held = float(drawn.ends_at), drawn.drawn
            window.left = max(0, limit - drawn.used)
            window.drawn_at = now
            if window.held > 1:
                self._holding[key] = window
            elif not window.held:
                # Others may give something back before the window ends, so ask again before long.
                window.empty_until = min(window.ends_at, now + IDLE_SECONDS)
        if window.ends_at != known_end:
            heappush(self._ending, (window.ends_at, key))

    async def _ask_for(self, asked: Draw, draw: DrawOne) -> Drawn | None:
        """What is drawn; None while Postgres is away, or has said nothing a moment ago."""
        if self._now() < self._silent_until:
            return None
        try:
            return await draw(asked)
        except (Error, LimitsUnavailable, TimeoutError) as problem:
            if isinstance(problem, TimeoutError):
                self._silent_until = self._now() + SILENT_SECONDS_MAX
            log.warning("limits.unavailable", problem=str(problem).strip() or "no answer")
            return None

    async def _give_back_for_ever(self) -> None:
        while True:
            await asyncio.sleep(IDLE_SECONDS)
            await self.give_back()

    async def give_back(self, *, everything: bool = False) -> None:
        """Return what has lain idle, and forget windows that have ended."""
        now = self._now()
        while self._ending and self._ending[0][0] <= now:
            _, key = heappop(self._ending)
            window = self._windows.get(key)
            if window is None or window.ends_at > now:
                continue
            if window.lock.locked():
                # Whatever is drawn at the moment says anew when it ends.
                window.ends_at = 0.0
            else:
                del self._windows[key]
                self._holding.pop(key, None)
        idle = [
            (key, window)
            for key, window in self._holding.items()
            if not window.held or everything or now - window.drawn_at > IDLE_SECONDS
        ]
        given: list[tuple[str, int, int]] = []
        for key, window in idle:
            async with window.lock:
                del self._holding[key]
                held, window.held = window.held, 0
                window.left += held
                if held and window.ends_at > now:
                    given.append((self._name(key), int(window.ends_at), held))
        if not given:
            return
        try:
            async with self._pool.connection() as connection:
                await connection.execute(_GIVE_BACK.encode(), [list(each) for each in zip(*given, strict=True)])
        except (OperationalError, PoolTimeout):
            log.debug("limits.kept", keys=len(given))

    async def close(self) -> None:
        """Give everything back."""
        if self._returning is not None:
            self._returning.cancel()
        await self.give_back(everything=True)
        await self._draws.close()


async def forget_ended(connection: AsyncConnection[TupleRow]) -> None:
    """Remove windows that have been over for a minute: no process with a clock near ours looks for them."""
    await connection.execute("DELETE FROM rate_windows WHERE ends_at < extract(epoch FROM now()) - 60")


@provides
def limiter(pool: Pool, settings: Postgres, vault: Vault) -> Limiter:
    """Counts requests in all processes together."""
    return Limiter(pool, draws(settings.postgres_url), name=partial(vault.token, "rate"))
