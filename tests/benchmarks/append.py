"""Appends per second, beside what the same Postgres does with single-row inserts at the same concurrency.

The peers insert a row of the same size into a table of their own: pgbench, the fastest client there is, and psycopg
in one asyncio process, which is what a service without group commit would do.
"""

from __future__ import annotations

from itertools import count
from typing import LiteralString
from uuid import uuid4

from psycopg import AsyncConnection

from domain.ledger import Change, Context
from tests.benchmarks.measuring import (
    argument,
    callers,
    database,
    ledger,
    median,
    percentile,
    pgbench,
    postgres,
    run,
    say,
)
from tests.core.orchard import TreePlanted

TABLE: LiteralString = (
    "CREATE TABLE peer (id text PRIMARY KEY, body bytea NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())"
)
PGBENCH = "INSERT INTO peer (id, body) VALUES (gen_random_uuid()::text, '\\x7b22747265655f6964223a22227d'::bytea);\n"


async def main() -> None:
    """Alternate between us and the peers, so that all of them meet the same neighbours."""
    rounds, seconds, concurrency = argument("rounds", 5), argument("seconds", 3), argument("callers", 32)
    numbers = count()
    with postgres() as server:
        url = database(server)
        async with ledger(url) as (log, _), await AsyncConnection.connect(url, autocommit=True) as admin:
            await admin.execute(TABLE)
            connections = [await AsyncConnection.connect(url, autocommit=True) for _ in range(concurrency)]
            context = Context(correlation_id=uuid4(), workspace_id="w1", actor="bench")

            async def append(_: int) -> None:
                tree = f"{next(numbers)}"
                await log.append([Change(stream=f"tree-{tree}", after=0, events=[TreePlanted(tree_id=tree)])], context)

            async def insert(number: int) -> None:
                await connections[number].execute(
                    "INSERT INTO peer (id, body) VALUES (%s, %s)",
                    (f"n{next(numbers)}", b'{"tree_id":""}'),
                    prepare=True,
                )

            ours, raw, bench, latencies = [], [], [], []
            await callers(concurrency, 1, append)
            for _ in range(rounds):
                bench.append(pgbench(server, url, PGBENCH, clients=concurrency, seconds=seconds))
                rate, millis = await callers(concurrency, seconds, append)
                ours.append(rate)
                latencies += millis
                raw.append((await callers(concurrency, seconds, insert))[0])
            ratios = [mine / theirs for mine, theirs in zip(ours, bench, strict=True)]
            print(f"append, {concurrency} callers, one event each, medians of {rounds} rounds of {seconds} s")
            say("ours", median(ours), "events/s", note=f"p50 {percentile(latencies, 0.5):.1f} ms")
            say("p99", percentile(latencies, 0.99), "ms", goal="< 10")
            say("pgbench, single-row INSERT", median(bench), "tps")
            say("asyncio + psycopg, single-row INSERT", median(raw), "tps")
            say("ours / pgbench", median(ratios), "x", goal=">= 2.0", note=" ".join(f"{ratio:.2f}" for ratio in ratios))
            say("ours / psycopg", median([a / b for a, b in zip(ours, raw, strict=True)]), "x")
            for connection in connections:
                await connection.close()


if __name__ == "__main__":
    run(main)
