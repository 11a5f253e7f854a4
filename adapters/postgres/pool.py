"""The connections of one process to Postgres."""

from __future__ import annotations

from psycopg import AsyncConnection
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


@provides
async def pool(settings: Postgres, canary: Canary) -> Pool:
    """A pool that is open."""

    async def configure(connection: AsyncConnection[TupleRow]) -> None:
        arrays.register(connection)
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
