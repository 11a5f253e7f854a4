"""A connection to Postgres that does one thing, run one prepared statement after the other, and does it quickly.

psycopg's cursors adapt every parameter and every row anew, which costs more than a small batch's insert itself. Here
parameters come as ready bytes and results are read as bytes; connecting and errors remain psycopg's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from psycopg import AsyncConnection, OperationalError
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.rows import TupleRow

#: A dead server is noticed after seconds, not after the hours TCP would grant it.
CONNECTING: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
#: The server itself gives a statement up after this; one that waits on would go on holding what nobody waits for.
STATEMENT_SECONDS_MAX = 10
#: A server that holds the connection and says nothing is as good as dead; whoever asked asks again, or says so.
ANSWER_SECONDS_MAX = STATEMENT_SECONDS_MAX + 1.0
#: How often it is looked whether a connection that says nothing is still there.
LOOK_SECONDS = 0.2
_STATEMENT = b"prepared"
#: Planned once and not at each execution, which took longer than the rest of it. Such a plan is kept while a table
#: grows, so it must be the same for a small one: these statements look a few rows up by their keys, each by the index
#: of its table, and LATERAL (... OFFSET 0) leaves no order of a join to choose.
_SETTINGS = f"""
SET statement_timeout = '{STATEMENT_SECONDS_MAX}s'; SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off
""".encode()
_GOOD = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class PreparedStatement:
    """One statement on a connection of its own, made on first use and made anew after it was lost.

    Parameters and results are in the binary format.
    """

    def __init__(self, postgres_url: str, statement: str, types: Sequence[int]) -> None:
        self._url = postgres_url
        self._statement = statement.encode()
        self._types = types
        self._connection: _Connection | None = None

    async def run(self, parameters: Sequence[bytes]) -> PGresult:
        """The result of the statement; raises psycopg's error for it, OperationalError for a lost connection.

        TimeoutError says that the server has not answered within `ANSWER_SECONDS_MAX`.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                if self._connection is None:
                    self._connection = await _Connection.open(self._url, self._statement, self._types)
                return await self._connection.run(parameters)
        except (OperationalError, OSError, asyncio.CancelledError):
            await self.close()
            raise

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()


class _Connection:
    """One connection and its one statement."""

    def __init__(self, connection: AsyncConnection[TupleRow], types: Sequence[int]) -> None:
        self._connection = connection
        self._formats = [1] * len(types)
        self._pgconn: PGconn = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._descriptor = connection.fileno()
        self._loop.add_reader(self._descriptor, self._readable)
        self._watches = True
        self._answer: asyncio.Future[PGresult] | None = None
        self._result: PGresult | None = None

    @classmethod
    async def open(cls, postgres_url: str, statement: bytes, types: Sequence[int]) -> _Connection:
        """Connect and prepare; raises OperationalError when the server is away."""
        connection = await AsyncConnection.connect(postgres_url, **CONNECTING)
        try:
            await connection.execute(_SETTINGS)
        except BaseException:
            await connection.close()
            raise
        prepared = cls(connection, types)
        try:
            await prepared._ask(lambda: prepared._pgconn.send_prepare(_STATEMENT, statement, types))
        except BaseException:
            await prepared.close()
            raise
        return prepared

    async def run(self, parameters: Sequence[bytes]) -> PGresult:
        """Send the parameters and wait for the result."""
        return await self._ask(
            lambda: self._pgconn.send_query_prepared(_STATEMENT, parameters, self._formats, result_format=1)
        )

    async def close(self) -> None:
        """Let go of the connection."""
        self._unwatch()
        with contextlib.suppress(OperationalError, OSError):
            await self._connection.close()

    async def _ask(self, send: Callable[[], None]) -> PGresult:
        self._result = None
        self._answer = self._loop.create_future()
        self._watch_out()
        try:
            try:
                send()
            except OperationalError as problem:
                self._fail(problem)
            else:
                self._writable()
            result = await self._answer
        finally:
            self._answer = None
            self._look.cancel()
        if result.status not in _GOOD:
            raise error_from_result(result, encoding="utf-8")
        return result

    def _watch_out(self) -> None:
        """Look by ourselves while an answer is awaited.

        libuv stops watching a socket that has an error, such as a reset, and uvloop tells nobody.
        """
        self._look = self._loop.call_later(LOOK_SECONDS, self._watch_out)
        self._readable()

    def _writable(self) -> None:
        """Send what is to be sent; what the socket does not take now is sent when it does."""
        try:
            unsent = self._pgconn.flush()
        except OperationalError as problem:
            self._fail(problem)
            return
        if unsent:
            self._loop.add_writer(self._descriptor, self._writable)
        else:
            self._loop.remove_writer(self._descriptor)

    def _readable(self) -> None:
        try:
            self._pgconn.consume_input()
            while not self._pgconn.is_busy():
                result = self._pgconn.get_result()
                if result is None:
                    self._succeed()
                    return
                # A statement has one result; after an error there may be another about the broken connection.
                self._result = self._result if self._result and self._result.status not in _GOOD else result
            if self._pgconn.status != ConnStatus.OK:
                self._fail(OperationalError("the connection is lost"))
        except OperationalError as problem:
            self._fail(problem)

    def _succeed(self) -> None:
        if self._answer and not self._answer.done() and self._result is not None:
            self._answer.set_result(self._result)

    def _fail(self, problem: OperationalError) -> None:
        self._unwatch()
        if self._answer and not self._answer.done():
            self._answer.set_exception(problem)

    def _unwatch(self) -> None:
        """Stop watching the descriptor, in the same breath in which libpq may have closed it.

        The next connection may get the same number. An event loop that still watches the old one then takes the new
        one for it and never hears of it; and what is removed later is somebody else's.
        """
        if self._watches:
            self._watches = False
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
