"""Moves read models forward: what a page changes and the position it ends at are one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog
from psycopg import AsyncConnection, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from adapters.eventlog import EventLog, LedgerUnavailable
from adapters.feed import Feed
from adapters.sinks import Documents, Duties, Sink, Sums
from commands.kernel import Reaction
from domain.ledger import Recorded, Unreadable
from projections.kernel import Projection, Tally

log = structlog.get_logger(__name__)

PAGE_EVENTS = 1_000
#: While catching up there is more to gain from fewer transactions.
CATCH_UP_EVENTS = 5_000
#: How often parked events are looked at, whether somebody asked to try them again, and new versions looked for.
LOOK_SECONDS = 0.5

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]


class Overtaken(Exception):
    """Another projector has moved these followers, or they are no longer live: read again where they are."""


class Follower:
    """Some sinks that move together through the log."""

    def __init__(self, pool: Pool, sinks: Sequence[Sink], positions: dict[str, int], *, live: bool) -> None:
        self._pool = pool
        self.sinks = list(sinks)
        self.positions = positions
        self._live = live
        self._parked: dict[str, set[str]] = {sink.name: set() for sink in sinks}

    @property
    def position(self) -> int:
        """How far all of them have come."""
        return min(self.positions.values(), default=0)

    async def recall(self) -> None:
        """Learn which streams are parked."""
        async with self._pool.connection() as connection:
            for sink in self.sinks:
                cursor = await connection.execute(
                    "SELECT stream FROM parked WHERE follower = %s AND version = %s", (sink.name, sink.version)
                )
                self._parked[sink.name] = {row[0] for row in await cursor.fetchall()}

    async def absorb(self, page: Sequence[Recorded | Unreadable]) -> None:
        """Fold a page into every sink that has not seen it, and move their positions, or nothing at all."""
        end = page[-1].position
        try:
            async with self._pool.connection() as connection, connection.transaction():
                for sink in self.sinks:
                    await self._fold(connection, sink, page)
                await self._advance(connection, end)
        except BaseException:
            for sink in self.sinks:
                sink.forget()
            raise
        self.positions = dict.fromkeys(self.positions, end)

    async def _fold(
        self, connection: AsyncConnection[TupleRow], sink: Sink, page: Sequence[Recorded | Unreadable]
    ) -> None:
        parked, seen = self._parked[sink.name], self.positions[sink.name]
        readable: list[Recorded] = []
        for each in page:
            if each.position <= seen or each.stream in parked:
                continue
            if isinstance(each, Unreadable):
                await self._park(connection, sink, each.stream, each.position, each.problem)
            else:
                readable.append(each)
        for poison in await sink.absorb(connection, readable):
            where = poison.recorded
            await self._park(connection, sink, where.stream, where.position, str(poison))

    async def _park(
        self, connection: AsyncConnection[TupleRow], sink: Sink, stream: str, position: int, problem: str
    ) -> None:
        log.error("event.parked", follower=sink.name, stream=stream, position=position, problem=problem)
        self._parked[sink.name].add(stream)
        await connection.execute(
            "INSERT INTO parked (follower, version, stream, position, problem) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            (sink.name, sink.version, stream, position, problem),
        )

    async def _advance(self, connection: AsyncConnection[TupleRow], end: int) -> None:
        """Compare and set: whoever finds the old positions unchanged writes the new ones."""
        cursor = await connection.execute(
            "UPDATE followers f SET position = %s, moved_at = now() "
            "FROM unnest(%s::text[], %s::int[], %s::bigint[]) AS was(name, version, position) "
            "WHERE f.name = was.name AND f.version = was.version AND f.position = was.position AND f.live = %s",
            (
                end,
                [sink.name for sink in self.sinks],
                [sink.version for sink in self.sinks],
                [self.positions[sink.name] for sink in self.sinks],
                self._live,
            ),
        )
        if cursor.rowcount != len(self.sinks):
            raise Overtaken

    async def retry_parked(self, ledger: EventLog) -> None:
        """Fold again, from the first one that failed, the streams that somebody asked to try again."""
        for sink in self.sinks:
            async with self._pool.connection() as connection, connection.transaction():
                cursor = await connection.execute(
                    "DELETE FROM parked WHERE follower = %s AND version = %s AND retry RETURNING stream, position",
                    (sink.name, sink.version),
                )
                for stream, position in await cursor.fetchall():
                    self._parked[sink.name].discard(stream)
                    missed = [
                        each
                        for each in await ledger.stream(stream)
                        if position <= each.position <= self.positions[sink.name]
                    ]
                    for poison in await sink.absorb(connection, missed):
                        where = poison.recorded
                        await self._park(connection, sink, where.stream, where.position, str(poison))


class Projector:
    """All projections, tallies and duties of one deployment, rebuilt ones beside the live ones."""

    def __init__(
        self,
        ledger: EventLog,
        feed: Feed,
        pool: Pool,
        projections: Iterable[Projection[Any]],
        tallies: Iterable[Tally],
        reactions: Iterable[Reaction],
        *,
        on_progress: Callable[[int], None] = lambda _: None,
        on_duties: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._feed = feed
        self._pool = pool
        self._projections = {each.name: each for each in projections}
        self._tallies = {each.name: each for each in tallies}
        self._duties = Duties(reactions)
        self._on_progress = on_progress
        self._on_duties = on_duties
        self._builders: dict[str, asyncio.Task[None]] = {}
        self.position = 0
        self.is_ready = False

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the log until told to stop, over every interruption."""
        try:
            while not stop.is_set():
                try:
                    await self._follow(stop)
                except Overtaken:
                    log.info("projector.overtaken")
                    await asyncio.sleep(0.05)
                except (OperationalError, PoolTimeout, LedgerUnavailable, OSError) as problem:
                    log.warning("projector.interrupted", problem=str(problem).strip())
                    await asyncio.sleep(0.2)
        finally:
            for task in self._builders.values():
                task.cancel()
            await asyncio.gather(*self._builders.values(), return_exceptions=True)

    async def _follow(self, stop: asyncio.Event) -> None:
        follower = await self._live()
        await follower.recall()
        looked = 0.0
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            if loop.time() - looked > LOOK_SECONDS:
                looked = loop.time()
                await follower.retry_parked(self._ledger)
                if await self._look_for_versions():
                    return
            page = await self._feed.next(follower.position, PAGE_EVENTS)
            if page:
                await follower.absorb(page)
                self._on_progress(follower.position)
                for queue in self._duties.queues:
                    self._on_duties(queue)
            self.position = follower.position
            self.is_ready = not self._builders and (not page or len(page) < PAGE_EVENTS)

    # --- versions ------------------------------------------------------------------------------------------------

    def _sink(self, name: str, version: int) -> Sink | None:
        if name in self._projections:
            return Documents(self._projections[name], version)
        if name in self._tallies:
            return Sums(self._tallies[name], version)
        return self._duties if name == self._duties.name else None

    def _folds(self) -> dict[str, int]:
        folds = {each.name: each.version for each in self._projections.values()}
        folds |= {each.name: each.version for each in self._tallies.values()}
        return folds | {self._duties.name: self._duties.fold}

    async def _live(self) -> Follower:
        """The live followers where they are now; on an empty ledger all of ours begin as live."""
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute("LOCK TABLE followers IN SHARE ROW EXCLUSIVE MODE")
            cursor = await connection.execute("SELECT name, version, position, live FROM followers")
            rows = await cursor.fetchall()
            known = {row[0] for row in rows}
            # What follows from events starts with the events of today, even where there is a past.
            born_live = [name for name in self._folds() if name not in known and (not known or name == "duties")]
            for name in born_live:
                await connection.execute(
                    "INSERT INTO followers (name, version, live, fold) VALUES (%s, 1, true, %s)",
                    (name, self._folds()[name]),
                )
        places = {row[0]: (row[1], row[2]) for row in rows if row[3]} | dict.fromkeys(born_live, (1, 0))
        sinks = [sink for name, (version, _) in places.items() if (sink := self._sink(name, version))]
        return Follower(self._pool, sinks, {sink.name: places[sink.name][1] for sink in sinks}, live=True)

    async def _look_for_versions(self) -> bool:
        """Start building what is asked for or changed; True when a new version has gone live meanwhile."""
        done = [name for name, task in self._builders.items() if task.done()]
        for name in done:
            task = self._builders.pop(name)
            if problem := task.exception():
                log.warning("rebuild.interrupted", projection=name, problem=repr(problem))
        async with self._pool.connection() as connection:
            cursor = await connection.execute("SELECT name, version, live, fold FROM followers")
            rows = await cursor.fetchall()
            live = {row[0]: row[3] for row in rows if row[2]}
            building = {row[0]: row[1] for row in rows if not row[2]}
            for name, fold in self._folds().items():
                if live.get(name, 0) < fold and name not in building:
                    await request_rebuild(connection, name, fold)
        for name, version in building.items():
            if name not in self._builders and name in self._folds():
                self._builders[name] = asyncio.create_task(self._build(name, version), name=f"rebuild-{name}")
        return bool(done)

    async def _build(self, name: str, version: int) -> None:
        """Fold the whole log into a version of its own, then put it in the place of the live one."""
        sink = self._sink(name, version)
        assert sink is not None
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT position FROM followers WHERE name = %s AND version = %s", (name, version)
            )
            row = await cursor.fetchone()
        follower = Follower(self._pool, [sink], {name: row[0] if row else 0}, live=False)
        await follower.recall()
        log.info("rebuild.started", projection=name, version=version, position=follower.position)
        while True:
            page = await self._ledger.page(follower.position, CATCH_UP_EVENTS)
            if page:
                await follower.absorb(page)
            if len(page) < CATCH_UP_EVENTS:
                await self._swap(sink, follower)
                return

    async def _swap(self, sink: Sink, follower: Follower) -> None:
        """Hold the live version where it is, fold what is left up to there, and take its place."""
        async with self._pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                "SELECT version, position FROM followers WHERE name = %s AND live FOR UPDATE", (sink.name,)
            )
            old = await cursor.fetchone()
            if old is not None:
                while follower.position < old[1]:
                    await follower.absorb(await self._ledger.page(follower.position, CATCH_UP_EVENTS))
                await connection.execute("DELETE FROM followers WHERE name = %s AND version = %s", (sink.name, old[0]))
            await connection.execute(
                "UPDATE followers SET live = true WHERE name = %s AND version = %s", (sink.name, sink.version)
            )
        log.info("rebuild.live", projection=sink.name, version=sink.version, position=follower.position)
        if old is not None:
            await self._discard(sink.name, old[0])

    async def _discard(self, name: str, version: int) -> None:
        async with self._pool.connection() as connection:
            for table in ("documents", "tallies"):
                await connection.execute(
                    f"DELETE FROM {table} WHERE projection = %s AND version = %s",
                    (name, version),
                )
            await connection.execute("DELETE FROM parked WHERE follower = %s AND version = %s", (name, version))


async def request_rebuild(connection: AsyncConnection[TupleRow], name: str, fold: int) -> int:
    """Ask for a new version of a projection; a running projector builds it and puts it in place."""
    cursor = await connection.execute(
        "INSERT INTO followers (name, version, live, fold) "
        "SELECT %s, coalesce(max(version), 0) + 1, false, %s FROM followers WHERE name = %s "
        "ON CONFLICT DO NOTHING RETURNING version",
        (name, fold, name),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
