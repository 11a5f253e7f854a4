"""How fast the log is compared with its seals, and what sealing costs those who append.

The peer of the comparison is a bare COPY of the same rows. Appends are measured with a sealer at work in a process of
its own, as `tick` is, and without, in turns.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from itertools import count
from multiprocessing.synchronize import Event as EventType
from time import perf_counter, process_time, sleep
from typing import Any
from uuid import uuid4

import psycopg
import structlog

from adapters.log.seals import Sealer, rows, seal_key
from adapters.operators.sealed_log import check_log
from domain.ledger import Change, Context
from tests.benchmarks.measuring import argument, callers, database, ledger, median, postgres, run, say
from tests.core.orchard import SECRET, TreePlanted

KEY = seal_key(SECRET)
#: Oftener than `tick` does it.
SEAL_SECONDS = 1.0


def _seal_for_ever(url: str, at_work: EventType, idle: EventType, busy: Any) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    sealer = Sealer(url, seal_key(SECRET), seconds=1)
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            at_work.wait()
            while sealer.seal(connection) is not None:
                pass
            busy.value = process_time()
            idle.set()
            sleep(SEAL_SECONDS)


class Beside:
    """A sealer in a process of its own, that works when it is told to."""

    def __init__(self, url: str) -> None:
        spawned = multiprocessing.get_context("spawn")
        self._at_work, self._idle, self._busy = spawned.Event(), spawned.Event(), spawned.Value("d", 0.0)
        arguments = (url, self._at_work, self._idle, self._busy)
        self.process = spawned.Process(target=_seal_for_ever, args=arguments, daemon=True)
        self.process.start()

    def work(self) -> float:
        """Begin, and wait until all that is there is sealed; the processor seconds so far."""
        self._idle.clear()
        self._at_work.set()
        assert self._idle.wait(300)
        return float(self._busy.value)

    def rest(self) -> float:
        """Seal what is left, and stop; the processor seconds so far."""
        self._idle.clear()
        assert self._idle.wait(300)
        self._at_work.clear()
        return float(self._busy.value)


async def main() -> None:
    """Fill a log, seal it, compare it; then append with and without a sealer."""
    events, rounds, seconds = argument("events", 200_000), argument("rounds", 5), argument("seconds", 3)
    concurrency, numbers = argument("callers", 32), count()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    with postgres() as server:
        url = database(server)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO ledger_events (originator_id, originator_version, topic, state, causation_id) "
                "SELECT 'tree-' || n %% %s, n / %s + 1, 'core.TreeWatered', "
                "convert_to('{\"tree_id\":\"tree-' || n || '\",\"litres\":' || n %% 97 || '}', 'UTF8'), "
                "gen_random_uuid() "
                "FROM generate_series(0, %s - 1) AS n",
                (events // 5, events // 5, events),
            )
            sealer, begin = Sealer(url, KEY, seconds=1), perf_counter()
            while sealer.seal(connection) is not None:
                pass
            sealed = events / (perf_counter() - begin)
            compared, copied, alone = [], [], []
            for _ in range(rounds):
                begin = perf_counter()
                assert sum(1 for _ in rows(connection, 0)) == events
                copied.append(events / (perf_counter() - begin))
                begin, busy = perf_counter(), process_time()
                checked = check_log(url, KEY.public_key().public_bytes_raw())
                compared.append(events / (perf_counter() - begin))
                alone.append(events / (process_time() - busy))
                assert (checked.events, checked.findings) == (events, ())
        print(f"verify, {events} events in {events // 5} streams, medians of {rounds} rounds")
        say("compared with its seals", median(compared), "events/s", goal=">= 50,000")
        say("the same, by its own processor time", median(alone), "events/s")
        say("the same rows copied out, only", median(copied), "events/s")
        say("sealed, when it has fallen behind", sealed, "events/s")

        async with ledger(url) as (log, _):
            context = Context(correlation_id=uuid4(), workspace_id="w1", actor="bench")

            async def append(_: int) -> None:
                tree = f"n{next(numbers)}"
                await log.append([Change(stream=f"tree-{tree}", after=0, events=[TreePlanted(tree_id=tree)])], context)

            without, beside, spent = [], [], []
            sealer_beside = Beside(url)
            await callers(concurrency, 1, append)
            for _ in range(rounds):
                without.append((await callers(concurrency, seconds, append))[0])
                before, first = await asyncio.to_thread(sealer_beside.work), next(numbers)
                beside.append((await callers(concurrency, seconds, append))[0])
                busy, last = await asyncio.to_thread(sealer_beside.rest), next(numbers)
                spent.append((busy - before) / (last - first) * 1e6)
            sealer_beside.process.terminate()
            ratios = [ours / bare for ours, bare in zip(beside, without, strict=True)]
            print(f"append beside a sealer, {concurrency} callers, medians of {rounds} rounds of {seconds} s")
            say("without", median(without), "events/s")
            say("with", median(beside), "events/s")
            say("the sealer's processor time", median(spent), "us/event")
            say("with / without", median(ratios), "x", goal="> 0.9", note=" ".join(f"{each:.2f}" for each in ratios))


if __name__ == "__main__":
    run(main)
