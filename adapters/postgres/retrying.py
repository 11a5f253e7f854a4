"""Asking Postgres again while it restarts, for what may be asked twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import TypeVar

from psycopg import AsyncConnection, OperationalError
from psycopg import Error as PostgresError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from adapters.hanging_up import hang_up
from domain.kernel import Unavailable

T = TypeVar("T")
#: How long one question rides out a Postgres that restarts. A request asks several, and clients wait ten seconds.
RETRY_SECONDS = 3.0

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]

#: A server that holds the connection and says nothing is as good as dead; whoever asked asks again, or says so. No
#: question of a request takes as long.
SILENT_SECONDS_MAX = 11.0
#: Questions of operators may go through the whole log.
LOOKED_SECONDS_MAX = 60.0

#: Between two attempts; several connections may break while they are asked something.
PAUSE_SECONDS = 0.02


@contextmanager
def hanging_up(connection: AsyncConnection[TupleRow], seconds: float) -> Iterator[None]:
    """Cut the connection when the block takes longer: whoever awaits an answer then hears that it is lost.

    Cancelling would ask the same server to stop, and wait ten seconds more for it to say so.
    """

    end = asyncio.get_running_loop().call_later(seconds, lambda: hang_up(connection.fileno()))
    try:
        yield
    finally:
        end.cancel()


@asynccontextmanager
async def asking(
    pool: Pool, refusal: type[Unavailable], seconds: float = LOOKED_SECONDS_MAX
) -> AsyncIterator[AsyncConnection[TupleRow]]:
    """A connection for what is asked once; raises `refusal` where Postgres is away, or silent for so long."""
    try:
        async with pool.connection(RETRY_SECONDS) as connection:
            with hanging_up(connection, seconds):
                yield connection
    except (PoolTimeout, OperationalError) as problem:
        raise refusal from problem


async def answers(pool: Pool, seconds: float) -> bool:
    """Whether Postgres answers within so long."""
    try:
        async with pool.connection(seconds) as connection:
            with hanging_up(connection, seconds):
                await connection.execute("SELECT 1")
    except (PoolTimeout, PostgresError, OSError):
        return False
    return True


async def retrying(
    pool: Pool, ask: Callable[[AsyncConnection[TupleRow]], Awaitable[T]], *, seconds: float, refusal: type[Unavailable]
) -> T:
    """What Postgres answers, asked again while connections break; raises `refusal` when it stays away for `seconds`.

    One that is there and says nothing is away, too.
    """
    deadline = monotonic() + seconds
    while True:
        try:
            async with pool.connection(max(deadline - monotonic(), 0.1)) as connection:
                with hanging_up(connection, SILENT_SECONDS_MAX):
                    return await ask(connection)
        except (PoolTimeout, OperationalError) as problem:
            if monotonic() > deadline:
                raise refusal from problem
            await asyncio.sleep(PAUSE_SECONDS)
