"""What every benchmark needs: servers of its own that flush to disk, and medians of runs side by side."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from uuid import uuid4

import psycopg
import uvloop
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from adapters.log.data_keys import DataKeys
from adapters.log.eventlog import EventLog
from adapters.stream.bus import Bus
from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres
from infra.migrate import migrate

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]


@contextmanager
def postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that flushes every commit to disk."""
    with tempfile.TemporaryDirectory(prefix="ledgerline-bench-") as directory:
        Path(directory).chmod(0o755)
        with EmbeddedPostgres(Path(directory) / "postgres") as server:
            yield server


@contextmanager
def nats() -> Iterator[EmbeddedNats]:
    """A NATS with JetStream in files."""
    with tempfile.TemporaryDirectory(prefix="ledgerline-bench-") as directory, EmbeddedNats(Path(directory)) as server:
        yield server


def database(server: EmbeddedPostgres) -> str:
    """The URL of a new, migrated database."""
    name = f"bench{uuid4().hex}"
    with psycopg.connect(server.url_of("postgres"), autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
    migrate(server.url_of(name))
    return server.url_of(name)


@asynccontextmanager
async def ledger(url: str, bus: Bus | None = None) -> AsyncIterator[tuple[EventLog, Pool]]:
    """A ledger on a database, as a serving process has it."""
    async with AsyncConnectionPool[AsyncConnection[TupleRow]](
        url, min_size=4, max_size=8, open=False, kwargs={"autocommit": True}
    ) as pool:
        log = EventLog(
            url,
            pool,
            DataKeys(pool, b"a secret of thirty-two bytes, yes"),
            on_commit=(lambda *_: bus.ring("bell")) if bus else (lambda *_: None),
        )
        yield log, pool
        await log.close()


def pgbench(server: EmbeddedPostgres, url: str, script: str, *, clients: int, seconds: float) -> float:
    """Transactions per second of a pgbench script with prepared statements."""
    parts = conninfo_to_dict(url)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(
            [
                str(server._bin / "pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-j", "2",
                "-T", str(int(seconds)), "-f", file.name, "-h", str(parts["host"]), "-p", str(parts["port"]),
                "-U", str(parts["user"]), str(parts["dbname"]),
            ],
            env=os.environ | {"PGPASSWORD": str(parts["password"])},
            capture_output=True,
            text=True,
            check=True,
        )  # fmt: skip
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])


async def callers(count: int, seconds: float, call: Callable[[int], Awaitable[Any]]) -> tuple[float, list[float]]:
    """So many callers that call again as soon as they are answered: calls per second, and each latency in ms."""
    latencies: list[float] = []
    end = perf_counter() + seconds

    async def keep_calling(number: int) -> None:
        while (begin := perf_counter()) < end:
            await call(number)
            latencies.append((perf_counter() - begin) * 1000)

    begin = perf_counter()
    await asyncio.gather(*(keep_calling(number) for number in range(count)))
    return len(latencies) / (perf_counter() - begin), latencies


async def until(condition: Callable[[], bool], *, within_seconds: float = 600.0) -> None:
    """Look every few milliseconds."""
    deadline = perf_counter() + within_seconds
    while not condition():
        assert perf_counter() < deadline, "it never came to be"
        await asyncio.sleep(0.005)


def percentile(values: list[float], part: float) -> float:
    """The value that this part of all values is not above."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def say(name: str, value: float, unit: str, *, goal: str = "", note: str = "") -> None:
    """One line of a result."""
    print(f"  {name:<48} {value:>12,.1f} {unit:<10} {f'(goal {goal})' if goal else ''} {note}".rstrip(), flush=True)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a benchmark on the loop that serves."""
    uvloop.run(main())  # type: ignore[arg-type]


def argument(name: str, default: int) -> int:
    """`--name N` from the command line."""
    return int(sys.argv[sys.argv.index(f"--{name}") + 1]) if f"--{name}" in sys.argv else default


__all__ = [
    "Pool", "argument", "callers", "database", "ledger", "median", "nats", "percentile", "pgbench", "postgres", "run",
    "say", "until",
]  # fmt: skip
