"""Commands per second through the whole path: load, decide, append, each to a stream of its own."""

from __future__ import annotations

from itertools import count

from commands.kernel import execute
from tests.benchmarks.measuring import argument, callers, database, ledger, median, percentile, postgres, run, say
from tests.core.orchard import NOW, PlantTree, WaterTree, context


async def main() -> None:
    """Plant new trees, then water existing ones, which also reads their history."""
    rounds, seconds, concurrency = argument("rounds", 5), argument("seconds", 2), argument("callers", 32)
    numbers = count()
    with postgres() as server:
        async with ledger(database(server)) as (log, _):
            asked = context()

            async def plant(_: int) -> None:
                await execute(PlantTree(tree_id=f"{next(numbers)}"), log, NOW, asked)

            async def water(number: int) -> None:
                await execute(WaterTree(tree_id=f"{number * 50 + next(numbers) % 50}"), log, NOW, asked)

            planted, watered = [], []
            latencies: list[float] = []
            await callers(concurrency, 1, plant)
            for _ in range(rounds):
                rate, millis = await callers(concurrency, seconds, plant)
                planted.append(rate)
                latencies += millis
                watered.append((await callers(concurrency, seconds, water))[0])
            print(f"commands, {concurrency} callers, medians of {rounds} rounds of {seconds} s")
            say("on new streams", median(planted), "commands/s", goal=">= 5,000")
            say("p99", percentile(latencies, 0.99), "ms")
            say("on streams that are read first", median(watered), "commands/s")


if __name__ == "__main__":
    run(main)
