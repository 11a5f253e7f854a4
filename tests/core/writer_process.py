"""A process that writes to shared streams, now and then too late; run by test_ledger."""

from __future__ import annotations

import asyncio
import random
import sys

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from adapters.log.data_keys import DataKeys
from adapters.log.eventlog import EventLog
from domain.ledger import Change, StaleVersion
from tests.core.orchard import SECRET, TreeWatered, context


async def main(url: str, seed: int) -> None:
    chance = random.Random(seed)
    async with AsyncConnectionPool[AsyncConnection[TupleRow]](url, min_size=2, open=False) as pool:
        ledger = EventLog(url, pool, DataKeys(pool, SECRET))

        async def write() -> None:
            left = 15
            while left:
                streams = sorted(chance.sample([f"tree-{n}" for n in range(40)], 2))
                histories = [await ledger.read(stream) for stream in streams]
                changes = [
                    Change(stream=stream, after=history.version, events=[TreeWatered(tree_id=stream)])
                    for stream, history in zip(streams, histories, strict=True)
                ]
                try:
                    await ledger.append(changes, context())
                except StaleVersion:
                    continue
                left -= 1

        await asyncio.gather(*(write() for _ in range(6)))
        await ledger.close()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
