"""How fast the log is compared with its seals, and what sealing costs those who append.

The peer of the comparison is a bare COPY of the same rows. Appends are measured with a sealer at work in a process of
its own, as `tick` is, and without, in turns.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from time import perf_counter
from uuid import uuid4

import psycopg

from adapters.log.seals import Sealer, rows, seal_key
from adapters.operators.sealed_log import check_log
from domain.ledger import Change, Context
from tests.benchmarks.measuring import argument, callers, database, ledger, median, postgres, run, say
from tests.core.orchard import SECRET, TreePlanted

KEY = seal_key(SECRET)


def _seal_for_ever(url: str, seconds: float) -> None:
    asyncio.run(Sealer(url, seal_key(SECRET), seconds=seconds).run(asyncio.Event()))


@contextmanager
def sealing(url: str, seconds: float) -> Iterator[None]:
    """A sealer at work in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=_seal_for_ever, args=(url, seconds), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


async def main() -> None:
    """Fill a log, seal it, compare it; then append with and without a sealer."""
    events, rounds, seconds = argument("events", 200_000), argument("rounds", 5), argument("seconds", 3)
    concurrency, numbers = argument("callers", 32), count()
    with postgres() as server:
        url = database(server)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO ledger_events (originator_id, originator_version, topic, state, causation_id) "
                "SELECT 'tree-' || n % %s, n / %s + 1, 'core.TreeWatered', "
                "convert_to('{\"tree_id\":\"tree-' || n || '\",\"litres\":' || n % 97 || '}', 'UTF8'), "
                "gen_random_uuid() "
                "FROM generate_series(0, %s - 1) AS n",
                (events // 5, events // 5, events),
            )
            sealer, begin = Sealer(url, KEY, seconds=1), perf_counter()
            while sealer.seal(connection) is not None:
                pass
            sealed = events / (perf_counter() - begin)
            compared, copied = [], []
            for _ in range(rounds):
                begin = perf_counter()
                assert sum(1 for _ in rows(connection, 0)) == events
                copied.append(events / (perf_counter() - begin))
                begin = perf_counter()
                checked = check_log(url, KEY.public_key().public_bytes_raw())
                compared.append(events / (perf_counter() - begin))
                assert (checked.events, checked.findings) == (events, ())
        print(f"verify, {events} events in {events // 5} streams, medians of {rounds} rounds")
        say("compared with its seals", median(compared), "events/s", goal=">= 50,000")
        say("the same rows copied out, only", median(copied), "events/s")
        say("sealed, when it has fallen behind", sealed, "events/s")

        async with ledger(url) as (log, _):
            context = Context(correlation_id=uuid4(), workspace_id="w1", actor="bench")

            async def append(_: int) -> None:
                tree = f"n{next(numbers)}"
                await log.append([Change(stream=f"tree-{tree}", after=0, events=[TreePlanted(tree_id=tree)])], context)

            without, beside = [], []
            await callers(concurrency, 1, append)
            for _ in range(rounds):
                without.append((await callers(concurrency, seconds, append))[0])
                with sealing(url, 1.0):
                    await asyncio.sleep(1.5)
                    beside.append((await callers(concurrency, seconds, append))[0])
            ratios = [ours / bare for ours, bare in zip(beside, without, strict=True)]
            print(f"append beside a sealer, {concurrency} callers, medians of {rounds} rounds of {seconds} s")
            say("without", median(without), "events/s")
            say("with", median(beside), "events/s")
            say("with / without", median(ratios), "x", goal="> 0.9", note=" ".join(f"{each:.2f}" for each in ratios))


if __name__ == "__main__":
    run(main)
