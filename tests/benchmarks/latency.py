"""From accepted to visible: a command is acknowledged, and the next read shows it.

Relay and projector run in a process of their own, as they do in life; commands and reads are asked for in this one.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from time import perf_counter

import structlog
from msgspec import json

from adapters.jobs.worker import ring
from adapters.readmodels.projector import Projector
from adapters.readmodels.views import Progress, Reads, Views
from adapters.stream.bus import Bus
from adapters.stream.feed import Feed
from adapters.stream.relay import Relay
from commands.kernel import execute
from tests.benchmarks.measuring import argument, database, ledger, nats, percentile, postgres, run, say
from tests.core.orchard import NOW, PlantTree, context, figures, forest


async def main() -> None:
    """Commands at an even pace; each is read as soon as it is acknowledged."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    seconds = argument("seconds", 5)
    with postgres() as server, nats() as messages:
        url = database(server)
        others = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.benchmarks.latency", "checkpoints", url, messages.url
        )
        bus = Bus(messages.url, "bench")
        bus.start()
        await bus.connected(10)
        async with ledger(url, bus) as (log, pool):
            progress = Progress(bus)
            await progress.start()
            views = Views(Reads(log, pool, progress, wait_seconds_max=30))
            numbers = count()

            async def plant_and_look(latencies: list[float]) -> None:
                tree = f"{next(numbers)}"
                await execute(PlantTree(tree_id=tree), log, NOW, context(f"w{tree}"))
                accepted = perf_counter()
                body = await views.get(forest_, tree, f"w{tree}")
                latencies.append((perf_counter() - accepted) * 1000)
                assert json.decode(body)["id"] == tree

            forest_ = forest()
            while True:
                async with pool.connection() as connection:
                    if await (await connection.execute("SELECT 1 FROM checkpoints")).fetchone():
                        break
                await asyncio.sleep(0.05)
            await pace(50, 2, plant_and_look)
            print(f"accepted to visible, {seconds} s at each pace, relay and projector in their own process")
            for rate, goal in ((50, "p50 < 8, p99 < 30"), (500, "p99 < 100")):
                latencies = await pace(rate, seconds, plant_and_look)
                say(f"p50 at {rate} commands/s", percentile(latencies, 0.5), "ms", goal=goal)
                say(f"p99 at {rate} commands/s", percentile(latencies, 0.99), "ms")
        await bus.close()
        others.terminate()
        await others.wait()


async def pace(rate: int, seconds: int, call) -> list[float]:  # type: ignore[no-untyped-def]
    """Start one call every so often, whatever became of the ones before; their latencies."""
    latencies: list[float] = []
    begin = perf_counter()
    async with asyncio.TaskGroup() as calls:
        for number in range(rate * seconds):
            await asyncio.sleep(max(0.0, begin + number / rate - perf_counter()))
            calls.create_task(call(latencies))
    return latencies


async def checkpoints() -> None:
    """A relay and a projector, until killed."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    url, nats_url = sys.argv[2:]
    bus = Bus(nats_url, "bench")
    bus.start()
    await bus.connected(10)
    async with ledger(url, bus) as (log, pool):
        feed, stop = Feed(log, bus), asyncio.Event()
        await feed.start()
        projector = Projector(
            log, feed, pool, [forest()], [figures()], [],
            on_progress=lambda position: bus.ring("projected", str(position).encode()), on_jobs=ring(bus),
        )  # fmt: skip
        await asyncio.gather(Relay(log, bus, url).run(stop), projector.run(stop))


if __name__ == "__main__":
    run(checkpoints if "checkpoints" in sys.argv else main)
