"""How far the readers of NATS are, as it was last written down."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import nats
from nats.js.errors import APIError
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from adapters.postgres.retrying import RETRY_SECONDS, Pool, retrying
from adapters.provides import provides
from adapters.readmodels.views import ReadsUnavailable
from adapters.stream.bus import Bus
from adapters.subscribing.publishing import stream_name

#: How long NATS has to say whether there is a consumer, and how long whoever made one waits for it.
ANSWER_SECONDS_MAX = 1.0
MAKING_SECONDS_MAX = 5.0
LOOK_SECONDS = 0.1


class Readers:
    """The positions of readers, and the stream that they are places in."""

    def __init__(self, pool: Pool, bus: Bus) -> None:
        self._pool = pool
        self._bus = bus
        self.stream = stream_name(bus)

    async def ready(self, consumer_ids: Iterable[str]) -> set[str]:
        """Those that can be read from now."""

        async def is_ready(consumer_id: str) -> str | None:
            if not self._bus.is_connected:
                return None
            try:
                context = self._bus.client.jetstream(timeout=ANSWER_SECONDS_MAX)
                await context.consumer_info(self.stream, consumer_id)
            except (nats.errors.Error, APIError, OSError, TimeoutError):
                return None
            return consumer_id

        found = await asyncio.gather(*map(is_ready, consumer_ids))
        return {each for each in found if each is not None}

    async def made(self, consumer_id: str) -> None:
        """Wait until one can be read from, within its time."""
        deadline = asyncio.get_running_loop().time() + MAKING_SECONDS_MAX
        while not await self.ready([consumer_id]) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)

    async def of(self, consumer_ids: Sequence[str]) -> dict[str, int]:
        """The positions of the last events that these have acknowledged, as far as they have."""

        async def ask(connection: AsyncConnection[TupleRow]) -> dict[str, int]:
            cursor = await connection.execute(
                "SELECT consumer_id, position FROM nats_positions WHERE consumer_id = ANY(%s)", (list(consumer_ids),)
            )
            return {row[0]: row[1] for row in await cursor.fetchall()}

        return await retrying(self._pool, ask, seconds=RETRY_SECONDS, refusal=ReadsUnavailable)


@provides
def readers(pool: Pool, bus: Bus) -> Readers:
    """How far readers are."""
    return Readers(pool, bus)
