"""Everything in the ledger after a position, in order and without gaps, as soon as it is there."""

from __future__ import annotations

import asyncio
import contextlib
from heapq import heappop, heappush

from adapters.log.eventlog import EventLog
from adapters.provides import provides
from adapters.stream.bus import Bus, Wire, decode_wire, from_wire
from domain.ledger import Recorded, Unreadable

#: How many messages may wait unread; more are dropped, and read from Postgres instead.
BUFFER_MESSAGES_MAX = 20_000
POLL_SECONDS = 0.25
POLL_SECONDS_WITHOUT_NATS = 0.05


class Ahead:
    """Pages of the ledger, the next one already on its way while a full one is being worked on.

    A page is final once it has been read, so it does not matter how long it waits.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._coming: tuple[int, int, asyncio.Task[list[Recorded | Unreadable]]] | None = None

    async def page(self, after: int, limit: int) -> list[Recorded | Unreadable]:
        """The next events after a position, as `EventLog.page` gives them."""
        coming, self._coming = self._coming, None
        if coming is not None and coming[:2] == (after, limit):
            page = await coming[2]
        else:
            if coming is not None:
                await _dropped(coming[2])
            page = await self._log.page(after, limit)
        if len(page) == limit:
            beyond = page[-1].position
            self._coming = (beyond, limit, asyncio.create_task(self._log.page(beyond, limit), name="page-ahead"))
        return page

    async def close(self) -> None:
        """Let go of the page that is on its way."""
        coming, self._coming = self._coming, None
        if coming is not None:
            await _dropped(coming[2])


async def _dropped(task: asyncio.Task[list[Recorded | Unreadable]]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Feed:
    """Takes events from NATS while they come without a gap, and from Postgres whenever they do not.

    Each message names the position before its own. Duplicates, reordering and loss are therefore seen at once, and a
    silent NATS is noticed by polling. Nothing is ever acknowledged: the reader's own checkpoint is the only state.
    """

    def __init__(self, log: EventLog, bus: Bus) -> None:
        self._log = log
        self._ahead = Ahead(log)
        self._bus = bus
        self._waiting: list[tuple[int, int, Wire]] = []
        self._arrived = asyncio.Event()
        self._count = 0
        self._after = 0
        self._is_behind = True
        self.from_postgres = 0
        self.from_nats = 0

    async def start(self) -> None:
        """Begin to listen."""
        await self._bus.on(self._bus.events, self._receive)

    async def close(self) -> None:
        """Let go of what is on its way."""
        await self._ahead.close()

    async def _receive(self, data: bytes) -> None:
        wire = decode_wire(data)
        if wire.position > self._after and len(self._waiting) < BUFFER_MESSAGES_MAX:
            self._count += 1
            heappush(self._waiting, (wire.position, self._count, wire))
            self._arrived.set()

    async def next(self, after: int, limit: int) -> list[Recorded | Unreadable]:
        """The events right after a position; empty when none came for a while."""
        self._after = after
        run = self._take(after, limit)
        if run is None and not self._waiting and not self._is_behind:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                poll_seconds = POLL_SECONDS if self._bus.is_connected else POLL_SECONDS_WITHOUT_NATS
                async with asyncio.timeout(poll_seconds):
                    await self._arrived.wait()
            run = self._take(after, limit)
        if run is not None:
            self.from_nats += len(run)
            return await self._log.open([from_wire(wire) for wire in run])
        page = await self._ahead.page(after, limit)
        self.from_postgres += len(page)
        # A page of large events ends before it is full: only an empty one says that there are no more.
        self._is_behind = bool(page)
        if not page:
            # Messages from beyond the end of the ledger are another ledger's.
            self._waiting.clear()
        return page

    def _take(self, after: int, limit: int) -> list[Wire] | None:
        """The messages that follow a position without a gap; None when the next one is not among them."""
        while self._waiting and self._waiting[0][0] <= after:
            heappop(self._waiting)
        run: list[Wire] = []
        while self._waiting and len(run) < limit:
            position, _, wire = self._waiting[0]
            if position > after:
                if wire.previous != after:
                    break
                run.append(wire)
                after = position
            heappop(self._waiting)
        return run or None


@provides
async def feed(log: EventLog, bus: Bus) -> Feed:
    """A feed that listens."""
    made = Feed(log, bus)
    await made.start()
    return made
