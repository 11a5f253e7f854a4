"""The connections of one process to Postgres."""

from __future__ import annotations

from contextlib import suppress

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


@provides
async def pool(settings: Postgres, canary: Canary) -> Pool:
    """A pool that is open."""

    async def configure(connection: AsyncConnection[TupleRow]) -> None:
        arrays.register(connection)
        with suppress(PostgresError):
            await connection.execute(LISTENED_FOR)
        # Postgres may have been away at the start: no connection is made with a wrong key later either.
        await canary.admit(connection)

    made: Pool = AsyncConnectionPool(
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
