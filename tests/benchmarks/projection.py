"""Events per second from the ledger into documents and sums, beside COPY of the same rows out of Postgres."""

from __future__ import annotations

import asyncio
from time import perf_counter

import psycopg
import structlog

from adapters.log.recorder import TABLE
from adapters.readmodels.projector import Projector
from adapters.stream.bus import Bus
from adapters.stream.feed import Feed
from tests.benchmarks.measuring import argument, database, ledger, median, postgres, run, say, until
from tests.benchmarks.orchards import fill
from tests.core.orchard import figures, forest


async def main() -> None:
    """Catch up with a full ledger from nothing, again and again."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    events, rounds = argument("events", 100_000), argument("rounds", 3)
    with postgres() as server:
        url = database(server)
        fill(url, events)
        documents: list[float] = []
        both: list[float] = []
        copied: list[float] = []
        async with ledger(url) as (log, pool):
            for _ in range(rounds):
                for tallies, rates in (([], documents), ([figures()], both)):
                    with psycopg.connect(url, autocommit=True) as connection:
                        connection.execute("TRUNCATE checkpoints, documents, tallies, jobs, parked")
                    projector = Projector(
                        log, Feed(log, Bus("nats://127.0.0.1:1", "none")), pool, [forest()], tallies, []
                    )
                    stop = asyncio.Event()
                    begin = perf_counter()
                    running = asyncio.create_task(projector.run(stop))
                    await arrived(projector, events)
                    rates.append(events / (perf_counter() - begin))
                    stop.set()
                    await running
                copied.append(events / copy_out(url))
        print(f"projection catch-up, {events:,} events, medians of {rounds} rounds")
        say("into documents", median(documents), "events/s", goal=">= 50,000")
        say("into documents and sums", median(both), "events/s")
        say("COPY out of the same rows", median(copied), "events/s", note="the limit")
        say("documents / COPY", median([a / b for a, b in zip(documents, copied, strict=True)]), "x")


async def arrived(projector: Projector, position: int) -> None:
    """Until the projector is there."""
    await until(lambda: projector.position >= position)


def copy_out(url: str) -> float:
    """Seconds to receive every row."""
    begin = perf_counter()
    with (
        psycopg.connect(url) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"COPY {TABLE} TO STDOUT (FORMAT binary)") as rows,
    ):
        for _ in rows:
            pass
    return perf_counter() - begin


if __name__ == "__main__":
    run(main)
