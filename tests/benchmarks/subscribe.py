"""How fast a subscriber catches up over HTTP, beside a bare COPY of the same rows, and what streams cost that are idle.

    python -m tests.benchmarks.subscribe [--events 100000] [--rounds 3] [--idle 1000] [--seconds 10]

The reader counts frames and does nothing else; COPY writes all columns of the same rows to one that does as little.
What the server and Postgres spend on an event does not depend on the neighbours, as the ratio of times does.
Idle streams are of workspaces of their own, eight each; meanwhile 200 events a second happen in another one, and all
of them must come.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from statistics import median
from time import monotonic, perf_counter, sleep
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg
import uvloop

from adapters.log.recorder import COLUMNS
from tests.benchmarks.followers import newcomer
from tests.benchmarks.job_submission import cpu_seconds
from tests.benchmarks.session_read import service

_FILL = """
INSERT INTO ledger_events (originator_id, originator_version, topic, state, workspace_id)
SELECT 'analysis-' || %(salt)s || (n / 10), 1 + n %% 10, 'analyses.AnalysisStarted',
       convert_to('{"analysis_id":"' || md5((n / 10)::text) || '","started_at":"2026-11-22T12:00:00.123456Z"}', 'UTF8'),
       %(workspace)s
FROM generate_series(0, %(count)s - 1) AS n
"""
STREAMS_EACH = 8
RATE = 200


def main() -> None:
    """Measure, print, and end with 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    plenty = {"LEDGERLINE_CONNECTIONS_PER_ADDRESS_MAX": "4000", "LEDGERLINE_REGISTER_LIMIT_PER_HOUR": "100000"}
    with service(**plenty) as url:
        server = next(each for each in psutil.Process().children(recursive=True) if "serve" in each.cmdline())
        database = server.environ()["LEDGERLINE_POSTGRES_URL"]
        sys.exit(not uvloop.run(measured(url, database, server, args)))


async def measured(url: str, database: str, server: psutil.Process, args: argparse.Namespace) -> bool:
    """Both parts; whether every goal is met."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        reader = await newcomer(http)
        workspace_id = await workspace_of(http, reader)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(_FILL, {"salt": "a", "workspace": workspace_id, "count": args.events})
        await asyncio.to_thread(caught_up, url, reader, args.events)
        rates, copies = [], []
        spent = {"server": 0.0, "Postgres": 0.0, "Postgres of COPY": 0.0}
        postgres = next(each for each in psutil.Process().children() if "postgres" in each.name())
        for _ in range(args.rounds):
            before = cpu_seconds(server), cpu_seconds(postgres)
            rates.append(await asyncio.to_thread(catch_up, url, reader, args.events))
            between = cpu_seconds(server), cpu_seconds(postgres)
            copies.append(await asyncio.to_thread(copy, database, workspace_id, args.events))
            spent["server"] += between[0] - before[0]
            spent["Postgres"] += between[1] - before[1]
            spent["Postgres of COPY"] += cpu_seconds(postgres) - between[1]
        ratio = median(a / b for a, b in zip(rates, copies, strict=True))
        each = ", ".join(f"{name} {used / args.rounds / args.events * 1e6:.1f}" for name, used in spent.items())
        print(f"microseconds of processor time an event: {each}")
        print(f"catching up over HTTP {median(rates):10,.0f} events/s (goal 20,000)")
        print(f"bare COPY             {median(copies):10,.0f} rows/s; ratio {ratio:.2f} (goal 0.5)")
        idle = await idle_streams(http, url, database, server, args)
    return median(rates) >= 20_000 and ratio >= 0.5 and idle


async def workspace_of(http: httpx.AsyncClient, headers: dict[str, str]) -> str:
    """The workspace that a session acts in."""
    return str((await http.get("/v1/auth/session", headers=headers)).json()["workspace_id"])


def opened(url: str, headers: dict[str, str], after: int | str) -> socket.socket:
    """A stream that has been asked for."""
    place = urlsplit(url)
    made = socket.create_connection((place.hostname or "", place.port or 0), timeout=120)
    lines = [f"GET /v1/events/stream?after={after} HTTP/1.1", f"Host: {place.netloc}"]
    made.sendall("\r\n".join([*lines, *(f"{name}: {each}" for name, each in headers.items()), "", ""]).encode())
    return made


def frames(stream: socket.socket, count: int) -> None:
    """Read so many events."""
    seen, tail = 0, b""
    while seen < count:
        part = stream.recv(1 << 18)
        assert part, "the stream has ended"
        seen += (tail + part).count(b"\ndata: ")
        # A mark that is cut in two is counted with the rest of it, and none is counted twice.
        tail = part[-6:]


def catch_up(url: str, headers: dict[str, str], count: int) -> float:
    """Events a second, from the request to the last of so many."""
    began = perf_counter()
    with opened(url, headers, 0) as stream:
        frames(stream, count)
    return count / (perf_counter() - began)


def caught_up(url: str, headers: dict[str, str], count: int) -> None:
    """Wait until all can be told."""
    catch_up(url, headers, count)


def copy(database: str, workspace_id: str, count: int) -> float:
    """Rows a second, likewise."""
    began, size = perf_counter(), 0
    with psycopg.connect(database) as connection, connection.cursor() as cursor:
        query = f"COPY (SELECT {COLUMNS} FROM ledger_events WHERE workspace_id = '{workspace_id}') TO STDOUT"
        with cursor.copy(query.encode()) as rows:
            for part in rows:
                size += len(part)
    assert size
    return count / (perf_counter() - began)


async def idle_streams(
    http: httpx.AsyncClient, url: str, database: str, server: psutil.Process, args: argparse.Namespace
) -> bool:
    """What so many idle streams add to the memory of the process, and whether all that happens elsewhere comes."""
    reader = await newcomer(http)
    workspace_id = await workspace_of(http, reader)
    before = server.memory_info().rss
    others = [await newcomer(http) for _ in range(-(-args.idle // STREAMS_EACH))]
    streams = [opened(url, others[number // STREAMS_EACH], "newest") for number in range(args.idle)]
    for stream in streams:
        await asyncio.to_thread(stream.recv, 4096)
    count = int(RATE * args.seconds)
    with opened(url, reader, "newest") as live:
        await asyncio.to_thread(live.recv, 4096)
        told = asyncio.create_task(asyncio.to_thread(frames, live, count))
        await asyncio.to_thread(happen, database, workspace_id, count)
        await asyncio.wait_for(told, 120)
    grown = (server.memory_info().rss - before) / 1e6
    for stream in streams:
        stream.close()
    print(f"{args.idle} idle streams add {grown:.0f} MB (goal 100); {count} events at {RATE}/s all came")
    return grown < 100


def happen(database: str, workspace_id: str, count: int) -> None:
    """So many events at an even pace, ten at a time."""
    with psycopg.connect(database, autocommit=True) as connection:
        began = monotonic()
        for number in range(0, count, 10):
            connection.execute(_FILL, {"salt": f"{number}-", "workspace": workspace_id, "count": 10})
            sleep(max(0.0, began + (number + 10) / RATE - monotonic()))


if __name__ == "__main__":
    main()
