"""Whether everything is there that this process reaches for."""

from __future__ import annotations

import asyncio
from time import monotonic

from adapters.postgres.retrying import Pool
from adapters.provides import provides
from adapters.storage.blobs import Blobs
from adapters.stream.bus import Bus

#: How long each part may take to answer, and how long it goes by what the object store last said.
SECONDS_MAX = 1.0


class Readiness:
    """Asks each part.

    Postgres, the read models and NATS are needed by every request. The object store (`objects`) is not: without it
    uploads and details are refused as unavailable for the moment, and everything else is served.
    """

    def __init__(self, pool: Pool, bus: Bus, blobs: Blobs) -> None:
        self._pool = pool
        self._bus = bus
        self._blobs = blobs
        self._asked_objects: tuple[float, str] | None = None

    async def parts(self) -> dict[str, str]:
        """Each part, and whether it is `ok`."""
        found: dict[str, str] = {}
        try:
            async with self._pool.connection(timeout=SECONDS_MAX) as connection:
                cursor = await connection.execute("SELECT count(*) FROM checkpoints WHERE live")
                row = await cursor.fetchone()
                found["postgres"] = "ok"
                found["read_models"] = "ok" if row and row[0] else "not built yet"
        except Exception:  # noqa: BLE001 - readiness reports, whatever it is
            found["postgres"] = "away"
        found["nats"] = "ok" if self._bus.is_connected else "away"
        found["objects"] = await self._objects()
        return found

    async def _objects(self) -> str:
        """Whether the object store answers; asked once a second at most, however often anybody wants to know."""
        if self._asked_objects is None or monotonic() - self._asked_objects[0] > SECONDS_MAX:
            try:
                async with asyncio.timeout(SECONDS_MAX):
                    await self._blobs.exists("ready")
                state = "ok"
            except Exception:  # noqa: BLE001 - readiness reports, whatever it is
                state = "away"
            self._asked_objects = (monotonic(), state)
        return self._asked_objects[1]


@provides
def readiness(pool: Pool, bus: Bus, blobs: Blobs) -> Readiness:
    """What `/ready` says."""
    return Readiness(pool, bus, blobs)
