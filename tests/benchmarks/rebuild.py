"""A full rebuild beside the live read model: events per second, and how much memory it takes as it goes on."""

from __future__ import annotations

import asyncio
from time import perf_counter

import psutil
import structlog

from adapters.readmodels.projector import Projector, request_rebuild
from adapters.stream.bus import Bus
from adapters.stream.feed import Feed
from tests.benchmarks.measuring import argument, database, ledger, postgres, run, say, until
from tests.benchmarks.orchards import fill
from tests.core.orchard import forest


async def main() -> None:
    """Fold everything once, ask for it again, and watch the resident memory of this process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    events = argument("events", 200_000)
    with postgres() as server:
        url = database(server)
        fill(url, events)
        process = psutil.Process()
        async with ledger(url) as (log, pool):
            feed = Feed(log, Bus("nats://127.0.0.1:1", "none"))
            projector, stop = Projector(log, feed, pool, [forest()], [], []), asyncio.Event()
            running = asyncio.create_task(projector.run(stop))
            await until(lambda: projector.position >= events)
            async with pool.connection() as connection:
                await request_rebuild(connection, "trees", 1)
            begin = perf_counter()
            memory: list[tuple[int, int]] = []
            while True:
                async with pool.connection() as connection:
                    cursor = await connection.execute("SELECT position FROM checkpoints WHERE version = 2 AND NOT live")
                    row = await cursor.fetchone()
                if row is None:
                    break
                memory.append((row[0], process.memory_info().rss))
                await asyncio.sleep(0.05)
            took = perf_counter() - begin
            stop.set()
            await running
        half = [size for position, size in memory if position > events // 2] or [memory[-1][1]]
        early = [size for position, size in memory if events // 5 < position <= events // 2] or half
        print(f"rebuild of {events:,} events")
        say("speed", events / took, "events/s")
        say("memory, first half", max(early) / 2**20, "MiB")
        say("memory, second half", max(half) / 2**20, "MiB", goal="no more")


if __name__ == "__main__":
    run(main)
