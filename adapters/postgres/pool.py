"""The connections of one process to Postgres."""

from __future__ import annotations

import select
from contextlib import suppress
from time import monotonic

from psycopg import AsyncConnection
from psycopg import Error as PostgresError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from adapters.log.canary import Canary
from adapters.postgres import arrays
from adapters.postgres.prepared import CONNECTING
from adapters.postgres.retrying import Pool
from adapters.postgres.settings import Postgres
from adapters.provides import provides

#: A pool backs off from a Postgres that is away, by twice as much each time; after so long it begins anew when asked.
RECONNECT_SECONDS_MAX = 4.0


#: A server that works on an answer looks so often whether anybody still waits for it: otherwise it would go on for
#: minutes where there is much to look through. Not every server can.
LISTENED_FOR = b"""
SELECT set_config(name, '2s', false) FROM pg_settings WHERE name = 'client_connection_check_interval'
"""


class _Pool(AsyncConnectionPool[AsyncConnection[TupleRow]]):
    """Connections of which none is handed out that its server has closed while it was idle.

    A restart cuts all of them, and each would cost somebody their question. A server says nothing that it was not asked
    for until it goes, so one on which nothing waits to be read is not asked whether it is well. (A `check` of the
    library waits for a second and more after each connection that fails it.)
    """

    async def getconn(self, timeout: float | None = None) -> AsyncConnection[TupleRow]:  # noqa: ASYNC109 - theirs
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            connection = await super().getconn(deadline - monotonic())
            if not _says_something(connection):
                return connection
            try:
                await self.check_connection(connection)
            except BaseException as problem:
                await self.putconn(connection)
                if not isinstance(problem, PostgresError):
                    raise
            else:
                return connection


def _says_something(connection: AsyncConnection[TupleRow]) -> bool:
    """Whether anything waits to be read, such as the end of the connection."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@provides
async def pool(settings: Postgres, canary: Canary) -> Pool:
    """A pool that is open."""

    async def configure(connection: AsyncConnection[TupleRow]) -> None:
        arrays.register(connection)
        with suppress(PostgresError):
            await connection.execute(LISTENED_FOR)
        # Postgres may have been away at the start: no connection is made with a wrong key later either.
        await canary.admit(connection)

    made: Pool = _Pool(
        settings.postgres_url,
        min_size=2,
        max_size=settings.postgres_connections_max,
        timeout=5.0,
        reconnect_timeout=RECONNECT_SECONDS_MAX,
        kwargs=CONNECTING,
        configure=configure,
        open=False,
    )
    await made.open()
    return made
