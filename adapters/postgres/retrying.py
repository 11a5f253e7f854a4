"""Asking Postgres again while it restarts, for what may be asked twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from psycopg import AsyncConnection, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain.kernel import Unavailable

T = TypeVar("T")
#: How long one question rides out a Postgres that restarts. A request asks several, and clients wait ten seconds.
RETRY_SECONDS = 3.0

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]

#: Between two attempts; a pool hands out its broken connections one by one, so there may be many.
PAUSE_SECONDS = 0.02


async def retrying(
    pool: Pool, ask: Callable[[AsyncConnection[TupleRow]], Awaitable[T]], *, seconds: float, refusal: type[Unavailable]
) -> T:
    """What Postgres answers, asked again while connections break; raises `refusal` when it stays away for `seconds`."""
    deadline = monotonic() + seconds
    while True:
        try:
            async with pool.connection(max(deadline - monotonic(), 0.1)) as connection:
                return await ask(connection)
        except (PoolTimeout, OperationalError) as problem:
            if monotonic() > deadline:
                raise refusal from problem
            await asyncio.sleep(PAUSE_SECONDS)
