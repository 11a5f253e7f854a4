"""A connection of one statement, on the event loop of the service: whatever the server does, an answer comes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from psycopg import AsyncConnection, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from adapters.licensing import counted
from adapters.log import eventlog
from adapters.log.recorder import TABLE
from adapters.log.states import newer_than
from adapters.postgres import prepared as prepared_statements
from adapters.postgres import retrying
from adapters.postgres.prepared import PreparedStatement
from adapters.readmodels import views
from adapters.web import rate_limits
from domain.kernel import Unavailable
from infra.embedded.postgres import EmbeddedPostgres

_WHO = "SELECT $1::int8, pg_backend_pid()::int8"
_INT8 = 20
_SEVEN = [(7).to_bytes(8, "big")]


@pytest.fixture
def prepared(postgres: EmbeddedPostgres) -> PreparedStatement:
    return PreparedStatement(postgres.url, _WHO, [_INT8])


async def backend_of(prepared: PreparedStatement) -> int:
    """The process at the other end, asked over a new connection when the old one is lost."""
    for _ in range(3):
        try:
            result = await prepared.run(_SEVEN)
        except OperationalError:
            continue
        assert int.from_bytes(result.get_value(0, 0) or b"", "big") == 7
        return int.from_bytes(result.get_value(0, 1) or b"", "big")
    raise AssertionError("every connection is lost")


@pytest.mark.parametrize("breath", [False, True])
async def test_whoever_was_sent_away_while_nobody_looked_comes_back(
    prepared: PreparedStatement, postgres: EmbeddedPostgres, breath: bool
) -> None:
    seen = set()
    for _ in range(10):
        async with asyncio.timeout(5):
            seen.add(backend := await backend_of(prepared))
        # Nothing of our loop runs meanwhile, so it learns of the farewell and of the broken line at once.
        with psycopg.connect(postgres.url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))
        if breath:
            await asyncio.sleep(0)
    assert len(seen) == 10
    await prepared.close()


async def test_whoever_is_sent_away_while_waiting_hears_of_it(postgres: EmbeddedPostgres) -> None:
    slow = PreparedStatement(postgres.url, "SELECT pg_sleep(60), $1::int8", [_INT8])
    waiting = asyncio.create_task(slow.run(_SEVEN))
    with psycopg.connect(postgres.url, autocommit=True) as other:
        sleeping = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        while not waiting.done():
            other.execute(sleeping)
            await asyncio.sleep(0.01)
    with pytest.raises(OperationalError):
        await waiting
    await slow.close()


async def test_a_server_that_says_nothing_is_given_up_and_another_connection_is_made(
    prepared: PreparedStatement, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await backend_of(prepared)
    os.kill(backend, signal.SIGSTOP)
    try:
        monkeypatch.setattr(prepared_statements, "ANSWER_SECONDS_MAX", 0.2)
        with pytest.raises(TimeoutError):
            await prepared.run(_SEVEN)
        monkeypatch.undo()
        assert await backend_of(prepared) != backend
    finally:
        os.kill(backend, signal.SIGCONT)
    await prepared.close()


class Away(Unavailable):
    """It is away."""


@pytest.mark.parametrize("how", ["retrying", "asking"])
async def test_a_server_that_says_nothing_to_a_pool_is_away_within_its_time(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(retrying, "SILENT_SECONDS_MAX", 0.2)

    async def backend_of(connection: AsyncConnection[TupleRow]) -> int:
        cursor = await connection.execute("SELECT pg_backend_pid()")
        return int((await cursor.fetchone() or (0,))[0])

    async with AsyncConnectionPool[AsyncConnection[TupleRow]](
        postgres.url, min_size=1, max_size=1, kwargs=prepared_statements.CONNECTING, open=False
    ) as pool:

        async def ask() -> int:
            if how == "retrying":
                return await retrying.retrying(pool, backend_of, seconds=0.0, refusal=Away)
            async with retrying.asking(pool, Away, 0.2) as connection:
                return await backend_of(connection)

        silent = await ask()
        os.kill(silent, signal.SIGSTOP)
        try:
            # Not so long as it takes to wait for the server to say that it has stopped.
            async with asyncio.timeout(4.5):
                with pytest.raises(Away):
                    await ask()
        finally:
            os.kill(silent, signal.SIGCONT)
        async with asyncio.timeout(20):
            while await _answer_of(ask) in (None, silent):
                pass


async def _answer_of(ask: Callable[[], Awaitable[int]]) -> int | None:
    try:
        return await ask()
    except Away:
        return None


async def test_what_nobody_waits_for_any_more_the_server_does_not_do_either(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = prepared_statements._SETTINGS.replace(b"timeout = '10s'", b"timeout = '100ms'")
    assert soon != prepared_statements._SETTINGS
    monkeypatch.setattr(prepared_statements, "_SETTINGS", soon)
    locked = PreparedStatement(postgres.url, "SELECT pg_advisory_xact_lock($1::int8)", [_INT8])
    with psycopg.connect(postgres.url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(7)")
        for _ in range(2):
            with pytest.raises(OperationalError, match="statement timeout"):
                await locked.run(_SEVEN)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
        assert other.execute(waiting).fetchone() == (0,)
    await locked.close()


_TEXTS, _NUMBERS = "text[]", "bigint[]"
_ROWS = [_TEXTS, _NUMBERS, _TEXTS, "bytea[]", "uuid[]", "smallint[]", _TEXTS, _TEXTS, "uuid[]", "uuid[]", _TEXTS]
STATEMENTS = {
    "an append": (eventlog._INSERT, [*_ROWS, _NUMBERS, _NUMBERS, _TEXTS, _NUMBERS]),
    "a stream": (eventlog._READ, [_TEXTS]),
    "its last event": (eventlog._LAST, [_TEXTS]),
    "what is newer in it": (newer_than("$1", "$2"), [_TEXTS, _NUMBERS]),
    "a document": (views._GET, [_TEXTS] * 3),
    "a limit": (rate_limits._DRAW, [_TEXTS, *[_NUMBERS] * 4]),
    "a code with its limit": (counted._BOTH, [_TEXTS, *[_NUMBERS] * 4, _TEXTS, _NUMBERS]),
}
#: What a row is found by in each table; of checkpoints there are no more than projections.
KEYS = {
    TABLE: ("originator_id = ", "workspace_id = "),
    "documents": ("documents.id >= q.id",),
    "rate_windows": ("key = a.key",),
}


@pytest.mark.parametrize("what", STATEMENTS)
def test_rows_are_found_by_their_keys_however_small_a_table_was_when_it_was_planned(what: str, core_url: str) -> None:
    statement, types = STATEMENTS[what]
    with psycopg.connect(core_url, autocommit=True) as connection:
        connection.execute(
            f"INSERT INTO {TABLE} (originator_id, originator_version, topic, state, event_id, schema_version, "
            "workspace_id, actor, correlation_id) SELECT 'tree-1', 1, 'x', '', gen_random_uuid(), 1, 'w', 'a', "
            "gen_random_uuid()".encode()
        )
        for table in (*KEYS, "checkpoints"):
            connection.execute(f"ANALYZE {table}".encode())
        connection.execute(prepared_statements._SETTINGS)
        connection.execute(f"PREPARE statement ({', '.join(types)}) AS {statement}".encode())
        nothing = ", ".join(f"ARRAY[]::{each}" for each in types)
        explained = connection.execute(f"EXPLAIN (VERBOSE, COSTS off) EXECUTE statement ({nothing})".encode())
        plan = [row[0].strip() for row in explained]
    assert any("$1" in line for line in plan), "it is planned for any values"
    assert not [line for line in plan if "Hash Join" in line or "Merge Join" in line], plan
    for at, line in enumerate(plan):
        found = re.search(r"Scan.* on public\.(\w+)", line)
        if found and (keys := KEYS.get(found[1])):
            condition = next((each for each in plan[at + 1 : at + 4] if each.startswith("Index Cond:")), "")
            assert any(key in condition for key in keys), "\n".join(plan)
