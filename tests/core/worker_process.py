"""A worker that says when it has begun and never ends; run and killed by test_jobs."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from adapters.jobs.worker import Worker
from adapters.log.data_keys import DataKeys
from adapters.log.eventlog import EventLog
from adapters.stream.bus import Bus
from commands.kernel import Reaction
from domain.ledger import Recorded
from infra.settings import Settings
from tests.core.orchard import SECRET, TreeWatered


async def work(recorded: Recorded, world: Any) -> None:
    """Begin."""
    print("at it", flush=True)
    await asyncio.Event().wait()


async def main(url: str) -> None:
    """Work without an end."""
    reaction = Reaction(name="diary", kinds=(TreeWatered,), handler=work, due=lambda _: None)
    async with AsyncConnectionPool[AsyncConnection[TupleRow]](url, min_size=1, open=False) as pool:
        ledger = EventLog(url, pool, DataKeys(pool, SECRET))
        bus = Bus("nats://127.0.0.1:1", "nowhere")
        worker = Worker(ledger, pool, bus, lambda _: None, [reaction], settings=Settings(), lease_seconds=1.0)
        await worker.run(asyncio.Event())


asyncio.run(main(sys.argv[1]))
