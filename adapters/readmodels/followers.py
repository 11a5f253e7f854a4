"""Requests that wait until something happens in their workspace: woken by what is about it, within fair shares."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import structlog
from msgspec import json

from adapters.log.recorder import TABLE
from adapters.postgres.retrying import Pool
from adapters.provides import provides
from adapters.readmodels.settings import Reading
from adapters.stream.bus import Bus
from domain.kernel import Exhausted, Unavailable

log = structlog.get_logger(__name__)

#: The bell that names the workspaces of events that can be read now.
HAPPENED = "happened"
#: So many workspaces at most in one message, which NATS takes in any configuration.
NAMED_MAX = 2_000
#: How often it is looked for all who wait together, because bells may be lost.
LOOK_SECONDS = 1.0
#: What part of all places one workspace may hold.
SHARE = 8

_LOOK = f"""
SELECT w.id, (SELECT max(notification_id) FROM {TABLE} e WHERE e.workspace_id = w.id),
       (SELECT max(position) FROM checkpoints WHERE name = 'jobs' AND live)
FROM unnest(%s::text[]) AS w(id)
"""


class TooManyFollowers(Exhausted):
    """So many requests of this workspace wait for events already. Follow with fewer, or without `wait`."""


class NoRoomToWait(Unavailable):
    """Too many requests wait for events at the moment. Ask without `wait`, or try again shortly."""


class Follower:
    """One request that waits; `after` is the position up to which it has seen everything.

    Where `is_over`, it should wait no more: the process ends, or its place is another's now.
    """

    __slots__ = ("_bell", "after", "is_over")

    def __init__(self, *, is_over: bool = False) -> None:
        self.after = 0
        self.is_over = is_over
        self._bell = asyncio.Event()

    def hush(self, after: int) -> None:
        """Before a look: only what happens from now on wakes it."""
        self.after = after
        self._bell.clear()

    def wake(self) -> None:
        """Something has happened."""
        self._bell.set()

    def end(self) -> None:
        """It is answered now with what there is, and its client asks again."""
        self.is_over = True
        self._bell.set()

    async def wait(self, seconds: float) -> None:
        """Until something has happened, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._bell.wait()


class Followers:
    """Everybody who waits in this process.

    A workspace holds an eighth of the places at most. When all are taken, whoever comes with fewer than others hold
    gets one of theirs, by max-min fairness as uploads do: a place is held for an hour and taken again at once, so
    eight workspaces would keep everybody else out for good. What happens in one workspace wakes nobody of another: with
    a look of each of a thousand for every event of anybody, nothing else was done any more.
    """

    def __init__(self, bus: Bus, pool: Pool, places: int) -> None:
        self._bus = bus
        self._pool = pool
        self._places = places
        self._each = max(1, places // SHARE)
        self._count = 0
        #: By workspace, in the order in which they came.
        self._waiting: defaultdict[str, dict[Follower, None]] = defaultdict(dict)
        self._watching: asyncio.Task[None] | None = None
        self._is_ending = False

    async def start(self) -> None:
        """Begin to listen."""
        await self._bus.on(f"{self._bus.prefix}.{HAPPENED}", self._hear)
        self._watching = asyncio.create_task(self._watch(), name="followers")

    def end(self) -> None:
        """The process ends: whoever waits is answered now, and asks another one."""
        self._is_ending = True
        for waiting in self._waiting.values():
            for follower in waiting:
                follower.end()

    async def close(self) -> None:
        """Listen no more."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    @contextmanager
    def place(self, workspace_id: str) -> Iterator[Follower]:
        """A place to wait in; raises TooManyFollowers or NoRoomToWait."""
        if len(self._waiting.get(workspace_id, ())) >= self._each:
            raise TooManyFollowers(retry_after_seconds=1)
        if self._count >= self._places and not self._make_room(workspace_id):
            raise NoRoomToWait
        follower = Follower(is_over=self._is_ending)
        self._waiting[workspace_id][follower] = None
        self._count += 1
        try:
            yield follower
        finally:
            self._leave(workspace_id, follower)

    def _make_room(self, workspace_id: str) -> bool:
        """End one who waits in the workspace with most places, the one that came first; False where all hold alike."""
        most = max(self._waiting, key=lambda each: len(self._waiting[each]))
        if len(self._waiting[most]) <= len(self._waiting.get(workspace_id, ())) + 1:
            return False
        first = next(iter(self._waiting[most]))
        self._leave(most, first)
        first.end()
        log.info("follower.displaced", workspace=most)
        return True

    def _leave(self, workspace_id: str, follower: Follower) -> None:
        waiting = self._waiting.get(workspace_id, {})
        if follower not in waiting:
            return
        del waiting[follower]
        self._count -= 1
        if not waiting:
            del self._waiting[workspace_id]

    async def _hear(self, data: bytes) -> None:
        for workspace_id in json.decode(data, type=list[str]):
            for follower in self._waiting.get(workspace_id, ()):
                follower.wake()

    async def _watch(self) -> None:
        """Look for everybody who waits, once for all of them, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._waiting:
                try:
                    await self._look()
                except Exception as problem:  # noqa: BLE001 - whoever waits looks once more before it is answered
                    log.debug("followers.unseen", problem=repr(problem))

    async def _look(self) -> None:
        async with self._pool.connection(timeout=LOOK_SECONDS) as connection:
            cursor = await connection.execute(_LOOK.encode(), (list(self._waiting),), prepare=True)
            rows = await cursor.fetchall()
        for workspace_id, head, frontier in rows:
            for follower in self._waiting.get(workspace_id, ()):
                if follower.after < min(head or 0, frontier or 0):
                    follower.wake()


def tell(bus: Bus, workspaces: Collection[str]) -> None:
    """Ring for everybody who waits in these workspaces."""
    names = sorted(workspaces)
    for start in range(0, len(names), NAMED_MAX):
        bus.ring(HAPPENED, json.encode(names[start : start + NAMED_MAX]))


@provides
async def followers(bus: Bus, pool: Pool, settings: Reading) -> Followers:
    """Who waits in this process."""
    made = Followers(bus, pool, settings.followers_at_once_max)
    await made.start()
    return made
