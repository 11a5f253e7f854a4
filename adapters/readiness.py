"""Whether everything is there that this process reaches for, and how far what happens has come."""

from __future__ import annotations

import asyncio
from time import monotonic

from msgspec import UNSET, UnsetType
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from adapters.launcher import can_shut_in
from adapters.log.eventlog import EventLog
from adapters.postgres.retrying import Pool, hanging_up
from adapters.provides import provides
from adapters.readmodels.condition import Condition, condition
from adapters.storage.blobs import Blobs
from adapters.stream.bus import POSITION, Bus
from domain.kernel import Value

#: How long each part may take to answer, and how long what they said is gone by, however often anybody asks.
SECONDS_MAX = 1.0
#: An event that is in the log for so long is in NATS, too, or does not get there.
RELAY_SECONDS_MAX = 5.0


class Parts(Value):
    """Each part in a word, and how far the read models are; numbers are left out while Postgres is away.

    `postgres`, `nats` and `objects` are `ok` or `away`; `postgres` and `objects` are `refusing` where they answer and
    take nothing that this process wants to write, as with a full disk. `nats` is `behind` where it answers and new
    events do not get into it. `read_models` are `ok`, `behind`, `stopped` (no projector is at work) or `not built yet`.
    `landlock` is `away` where the kernel of this process has none: what makes beats there is kept within limits only.
    """

    postgres: str
    nats: str
    read_models: str
    objects: str
    landlock: str
    behind_events: int | UnsetType = UNSET
    behind_seconds: float | UnsetType = UNSET
    parked_events: int | UnsetType = UNSET
    parked_jobs: int | UnsetType = UNSET

    @property
    def is_ready(self) -> bool:
        """Whether requests can be served: the object store, and what lags, are told of and do not decide."""
        return "away" not in {self.postgres, self.nats} and self.read_models != "not built yet"


class Readiness:
    """Asks each part.

    Postgres, the read models and NATS are needed by every request. The object store (`objects`) is not: without it
    uploads and details are refused as unavailable for the moment, and everything else is served.
    """

    def __init__(self, pool: Pool, bus: Bus, blobs: Blobs, events: EventLog) -> None:
        self._pool = pool
        self._bus = bus
        self._blobs = blobs
        self._events = events
        self._told: tuple[float, Parts] | None = None
        self._asking = asyncio.Lock()
        #: A position of the log that should get into NATS, and since when.
        self._owed: tuple[int, float] | None = None

    async def parts(self) -> Parts:
        """Each part, as it was a second ago at the earliest."""
        async with self._asking:
            if self._told is None or monotonic() - self._told[0] > SECONDS_MAX:
                parts = await self._ask()
                self._told = (monotonic(), parts)
            return self._told[1]

    async def _ask(self) -> Parts:
        found, arrived, objects = await asyncio.gather(self._condition(), self._arrived(), self._objects())
        nats = self._nats(found, arrived)
        if found is None:
            return Parts(postgres="away", nats=nats, read_models="away", objects=objects, landlock=_landlock())
        return Parts(
            postgres="refusing" if self._events.trouble.lasts else "ok",
            nats=nats,
            read_models=found.read_models,
            objects=objects,
            landlock=_landlock(),
            behind_events=found.behind_events,
            behind_seconds=round(found.behind_seconds, 1),
            parked_events=found.parked_events,
            parked_jobs=found.parked_jobs,
        )

    async def _condition(self) -> Condition | None:
        try:
            async with self._pool.connection(timeout=SECONDS_MAX) as connection:
                with hanging_up(connection, SECONDS_MAX):
                    return await condition(connection)
        except Exception:  # noqa: BLE001 - readiness reports, whatever it is
            return None

    def _nats(self, found: Condition | None, arrived: int) -> str:
        if not self._bus.is_connected:
            self._owed = None
            return "away"
        if found is None:
            return "ok"
        if self._owed is None or arrived >= self._owed[0]:
            self._owed = (found.head, monotonic())
        return "ok" if monotonic() - self._owed[1] <= RELAY_SECONDS_MAX else "behind"

    async def _arrived(self) -> int:
        """The newest position in NATS; 0 where there is none, or it does not say."""
        if not self._bus.is_connected:
            return 0
        try:
            async with asyncio.timeout(SECONDS_MAX):
                last = await self._bus.client.jetstream().get_last_msg(self._bus.stream, self._bus.events)
        except (NotFoundError, NatsError, TimeoutError, OSError):
            return 0
        return int((last.headers or {}).get(POSITION, "0"))

    async def _objects(self) -> str:
        try:
            if not await self._blobs.answers(SECONDS_MAX):
                return "away"
        except Exception:  # noqa: BLE001 - readiness reports, whatever it is
            return "away"
        return "refusing" if self._blobs.trouble.lasts else "ok"


def _landlock() -> str:
    return "ok" if can_shut_in() else "away"


@provides
def readiness(pool: Pool, bus: Bus, blobs: Blobs, events: EventLog) -> Readiness:
    """What `/ready` says."""
    return Readiness(pool, bus, blobs, events)
