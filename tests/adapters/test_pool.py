"""Connections that the server has closed while nobody used them."""

from __future__ import annotations

from contextlib import AsyncExitStack

import psutil
import psycopg

from adapters.log.canary import Canary
from adapters.postgres.pool import pool
from adapters.postgres.retrying import Pool
from adapters.postgres.settings import Postgres
from domain.sections import Url
from tests.core.conftest import eventually

#: As many as a process has.
CONNECTIONS = 10


async def _full(url: str) -> Pool:
    """A pool that has opened all it may."""
    made = await pool(Postgres(postgres_url=Url(url), postgres_connections_max=CONNECTIONS), Canary(b"k" * 40))
    async with AsyncExitStack() as taken:
        for _ in range(CONNECTIONS):
            await taken.enter_async_context(made.connection())
    return made


async def _cut(url: str) -> None:
    """End every other connection to a database, as a Postgres does that restarts; and see that they are gone."""
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        ).fetchall()
        for served_by in ended:
            connection.execute("SELECT pg_terminate_backend(%s)", served_by)
    assert len(ended) == CONNECTIONS
    await eventually(lambda: not any(psutil.pid_exists(pid) for (pid,) in ended))


async def test_nobody_is_handed_a_connection_that_was_closed_while_it_was_idle(database_url: str) -> None:
    made = await _full(database_url)
    await _cut(database_url)
    async with AsyncExitStack() as taken:
        for _ in range(CONNECTIONS):
            connection = await taken.enter_async_context(made.connection())
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
    await made.close()


async def test_a_connection_that_is_well_is_asked_nothing_when_it_is_handed_out(database_url: str) -> None:
    made = await _full(database_url)
    question = "SELECT 'the last question'"
    for _ in range(CONNECTIONS):
        async with made.connection() as connection:
            await connection.execute(question)
    with psycopg.connect(database_url, autocommit=True) as beside:
        for _ in range(CONNECTIONS):
            async with made.connection() as connection:
                asked = "SELECT query FROM pg_stat_activity WHERE pid = %s"
                last = beside.execute(asked, (connection.info.backend_pid,)).fetchone()
            assert last == (question,)
    await made.close()
