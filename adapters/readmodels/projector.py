"""Moves read models forward: what a page changes and the position it ends at are one transaction."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from importlib import metadata
from typing import Any, LiteralString, NamedTuple

import structlog
from psycopg import AsyncConnection, OperationalError
from psycopg import Error as PostgresError
from psycopg.errors import ProgramLimitExceeded
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from adapters.jobs.worker import ring
from adapters.log.eventlog import EventLog, readable
from adapters.provides import provides
from adapters.readmodels.followers import tell
from adapters.readmodels.writers import DocumentWriter, JobWriter, TallyWriter, Writer
from adapters.stream.bus import Bus
from adapters.stream.feed import Ahead, Feed
from commands.kernel import REACTIONS, Reaction
from domain.identity.workspaces import WorkspaceForgotten
from domain.kernel import Event, Unavailable
from domain.ledger import Recorded, Unreadable
from domain.vocabulary import names_of
from projections.kernel import PROJECTIONS, TALLIES, Projection, Tally

log = structlog.get_logger(__name__)

PAGE_EVENTS = 1_000
#: While catching up there is more to gain from fewer transactions.
CATCH_UP_EVENTS = 5_000
#: After a page that was not full the projector rests so long for each of its events, and so long at most. A lone event
#: is followed at once; many find others to share a transaction with, which costs about as much as forty events.
REST_SECONDS_PER_EVENT = 0.0005
REST_SECONDS_MAX = 0.02
#: How often a projector shows that it is at work, also while nothing happens.
SHOW_SECONDS = 2.0
#: How often parked events are looked at, whether somebody asked to try them again, and new versions looked for.
LOOK_SECONDS = 0.5
#: How often it is looked for what belongs to versions that are gone; besides when one takes another's place.
DISCARD_SECONDS = 60.0
#: How often a projector that was overtaken while rebuilding looks whether the other one got there.
BUILDING_SECONDS = 1.0

#: How long a rebuilt version waits for the live one to be held still. It is tried again from where it was.
SWAP_LOCK_SECONDS_MAX = 5.0

#: Noted with what is given up: another version may do better.
CODE_VERSION = metadata.version("ledgerline")

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]


class CheckpointConflict(Exception):
    """Another projector has moved these checkpoints, or they are no longer live: read again where they are."""


_TRANSIENT = (CheckpointConflict, OperationalError, PoolTimeout, Unavailable, OSError)


def is_transient(problem: Exception) -> bool:
    """Whether a problem says nothing about the event at hand, so that trying again is the answer."""
    return isinstance(problem, _TRANSIENT) and not isinstance(problem, ProgramLimitExceeded)


def _release(version: str) -> tuple[int, ...]:
    """A version of the software in a form in which later ones are greater."""
    return tuple(int(part) for part in re.findall("[0-9]+", version))


class Checkpoint(NamedTuple):
    """Where a subscription is, as written in `checkpoints`, and how often its parked events were retried."""

    position: int
    retries: int


class Subscription:
    """Some writers that move together through the log."""

    def __init__(
        self, pool: Pool, writers: Sequence[Writer], checkpoints: dict[str, Checkpoint], *, live: bool
    ) -> None:
        self._pool = pool
        self.writers = list(writers)
        self.checkpoints = checkpoints
        self._live = live
        self._parked: dict[str, set[str]] = {writer.name: set() for writer in writers}
        #: Positions of events that an operator has told each writer to leave out.
        self._skipped: dict[str, set[int]] = {writer.name: set() for writer in writers}
        #: Whom each kind of event is handed to, so that nobody is asked about what is not theirs.
        self._takers: dict[type[Event], list[Writer]] = {}
        for writer in writers:
            for kind in writer.kinds:
                self._takers.setdefault(kind, []).append(writer)

    @property
    def position(self) -> int:
        """How far all of them have come."""
        return min((checkpoint.position for checkpoint in self.checkpoints.values()), default=0)

    async def recall(self) -> None:
        """Learn which streams are parked, and which events are to be left out."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute("SELECT subscription, version, stream FROM parked")
            rows = await cursor.fetchall()
            cursor = await connection.execute("SELECT subscription, position FROM skipped")
            skipped = await cursor.fetchall()
        for writer in self.writers:
            self._skipped[writer.name] = {position for name, position in skipped if name == writer.name}
            self._parked[writer.name] = {row[2] for row in rows if row[:2] == (writer.name, writer.version)}

    async def absorb(
        self, page: Sequence[Recorded | Unreadable], within: AsyncConnection[TupleRow] | None = None
    ) -> None:
        """Fold a page into every writer that has not seen it, and move their positions, or nothing at all.

        When something in the page cannot even be written, halving the page finds it, and it is parked alone. `within`
        is a connection whose transaction it is to be part of; who rolls that back needs another subscription.
        """
        try:
            await self._write(page, within, suspicious=len(page) == 1)
        except Exception as problem:
            if len(page) == 1 or is_transient(problem):
                raise
            half = len(page) // 2
            await self.absorb(page[:half], within)
            await self.absorb(page[half:], within)

    async def _write(
        self, page: Sequence[Recorded | Unreadable], within: AsyncConnection[TupleRow] | None, *, suspicious: bool
    ) -> None:
        end = page[-1].position
        parked: list[_Parked] = []
        to = self._pool.connection() if within is None else nullcontext(within)
        try:
            async with to as connection, connection.transaction():
                await self._advance(connection, end)
                fold = self._fold_suspicious if suspicious else self._fold
                for writer, share in self._shares(page):
                    parked += await fold(connection, writer, share)
        except BaseException:
            for writer in self.writers:
                writer.forget()
            raise
        for each in parked:
            self._parked[each.writer.name].add(each.stream)
        self.checkpoints = {
            name: checkpoint._replace(position=max(checkpoint.position, end))
            for name, checkpoint in self.checkpoints.items()
        }

    def _shares(self, page: Sequence[Recorded | Unreadable]) -> list[tuple[Writer, list[Recorded | Unreadable]]]:
        """What of a page is each writer's: events of its kinds and all unreadable ones, neither seen yet nor parked."""
        shares: dict[str, list[Recorded | Unreadable]] = {writer.name: [] for writer in self.writers}
        for each in page:
            takers = self.writers if isinstance(each, Unreadable) else self._takers.get(type(each.event), ())
            for writer in takers:
                shares[writer.name].append(each)
        found = []
        for writer in self.writers:
            seen, sick = self.checkpoints[writer.name].position, self._parked[writer.name]
            fresh = [each for each in shares[writer.name] if each.position > seen and each.stream not in sick]
            if skipped := self._skipped[writer.name]:
                fresh = [each for each in fresh if each.position not in skipped]
            found.append((writer, fresh))
        return found

    async def _advance(self, connection: AsyncConnection[TupleRow], end: int) -> None:
        """Compare and set: whoever finds the old checkpoints unchanged writes the new ones, before anybody else can."""
        cursor = await connection.execute(
            "UPDATE checkpoints f SET position = greatest(f.position, %s), moved_at = now() "
            "FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[]) AS was(name, version, position, retries) "
            "WHERE f.name = was.name AND f.version = was.version AND f.position = was.position "
            "AND f.retries = was.retries AND f.live = %s",
            (
                end,
                [writer.name for writer in self.writers],
                [writer.version for writer in self.writers],
                [self.checkpoints[writer.name].position for writer in self.writers],
                [self.checkpoints[writer.name].retries for writer in self.writers],
                self._live,
            ),
            prepare=True,
        )
        if cursor.rowcount != len(self.writers):
            raise CheckpointConflict

    async def _fold(
        self, connection: AsyncConnection[TupleRow], writer: Writer, page: Sequence[Recorded | Unreadable]
    ) -> list[_Parked]:
        """Fold what can be folded; park the rest, and with it what comes later in the same stream."""
        parked: dict[str, _Parked] = {}
        readable: list[Recorded] = []
        for each in page:
            if each.stream in parked:
                continue
            if isinstance(each, Unreadable):
                parked[each.stream] = _Parked(writer, each.stream, each.position, each.problem)
            else:
                readable.append(each)
        for poison in await writer.absorb(connection, readable):
            where = poison.recorded
            # An unreadable event of the same stream can only come later than the one that was read and failed.
            parked[where.stream] = _Parked(writer, where.stream, where.position, str(poison))
        for found in parked.values():
            await _park(connection, found)
        return list(parked.values())

    async def _fold_suspicious(
        self, connection: AsyncConnection[TupleRow], writer: Writer, page: Sequence[Recorded | Unreadable]
    ) -> list[_Parked]:
        """As `_fold` for events of one stream, parked from the first one when that fails in whatever way."""
        if not page:
            return []
        try:
            async with connection.transaction():
                return await self._fold(connection, writer, page)
        except Exception as problem:
            if is_transient(problem):
                raise
            writer.forget()
            found = _Parked(writer, page[0].stream, page[0].position, repr(problem))
            await _park(connection, found)
            return [found]

    async def retry_parked(self, ledger: EventLog) -> None:
        """Fold again, from the first one that failed, the streams that somebody asked to try again.

        So are those that an earlier release has parked: it may not have known an event that this one knows.
        """
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT subscription, version, stream, position, skip, retry, code_version FROM parked "
                "WHERE retry OR code_version <> %s",
                (CODE_VERSION,),
            )
            found = await cursor.fetchall()
        ours = _release(CODE_VERSION)
        asked = [row for row in found if row[5] or _release(row[6]) < ours]
        for writer in self.writers:
            for _, _, stream, first, skip, _, _ in (row for row in asked if row[:2] == (writer.name, writer.version)):
                missed = await self._missed(ledger, writer, stream, first)
                await self._retry(writer, stream, missed, skipped=first if skip else None)

    async def _missed(
        self, ledger: EventLog, writer: Writer, stream: str, first: int
    ) -> Sequence[Recorded | Unreadable]:
        """What a writer has left out of a stream since it was parked, but for what was forgotten meanwhile."""
        last = self.checkpoints[writer.name].position
        if WorkspaceForgotten in writer.kinds:
            for parked in await ledger.earlier(first - 1, first, 1, streams=[stream], names=(), home=""):
                names, home = list(names_of(WorkspaceForgotten)), parked[7]
                for forgotten in await ledger.earlier(first, last, PAGE_EVENTS, streams=None, names=names, home=home):
                    # All that came before it was dropped there, and would be made anew.
                    first = forgotten[0]
        return await ledger.passage(stream, first, last)

    async def _retry(
        self, writer: Writer, stream: str, missed: Sequence[Recorded | Unreadable], *, skipped: int | None
    ) -> None:
        checkpoint = self.checkpoints[writer.name]
        left_out = self._skipped[writer.name] | ({skipped} if skipped is not None else set())
        missed = [each for each in missed if each.position not in left_out]
        try:
            async with self._pool.connection() as connection, connection.transaction():
                await self._count_retry(connection, writer, checkpoint)
                if skipped is not None:
                    await connection.execute(
                        "INSERT INTO skipped (subscription, position, stream, problem) "
                        "SELECT subscription, position, stream, problem FROM parked "
                        "WHERE subscription = %s AND version = %s AND stream = %s ON CONFLICT DO NOTHING",
                        (writer.name, writer.version, stream),
                    )
                await connection.execute(
                    "DELETE FROM parked WHERE subscription = %s AND version = %s AND stream = %s",
                    (writer.name, writer.version, stream),
                )
                again = await self._fold_suspicious(connection, writer, missed)
        except BaseException:
            writer.forget()
            raise
        self.checkpoints[writer.name] = checkpoint._replace(retries=checkpoint.retries + 1)
        self._skipped[writer.name] = left_out
        if not again:
            self._parked[writer.name].discard(stream)
            log.info("event.unparked", subscription=writer.name, stream=stream, events=len(missed))

    async def _count_retry(self, connection: AsyncConnection[TupleRow], writer: Writer, checkpoint: Checkpoint) -> None:
        """Counted in the checkpoint, so that a projector that still skips the stream comes into conflict with it."""
        cursor = await connection.execute(
            "UPDATE checkpoints SET retries = retries + 1 WHERE name = %s AND version = %s "
            "AND position = %s AND retries = %s AND live = %s",
            (writer.name, writer.version, checkpoint.position, checkpoint.retries, self._live),
        )
        if cursor.rowcount != 1:
            raise CheckpointConflict


class _Parked(NamedTuple):
    writer: Writer
    stream: str
    position: int
    problem: str


async def _park(connection: AsyncConnection[TupleRow], found: _Parked) -> None:
    log.error(
        "event.parked",
        subscription=found.writer.name,
        stream=found.stream,
        position=found.position,
        problem=found.problem,
    )
    await connection.execute(
        "INSERT INTO parked (subscription, version, stream, position, problem, code_version) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (
            found.writer.name,
            found.writer.version,
            found.stream,
            found.position,
            found.problem[:2000].replace("\0", ""),
            CODE_VERSION,
        ),
    )


class Projector:
    """All projections, tallies and jobs of one deployment, rebuilt ones beside the live ones."""

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
        on_jobs: Callable[[str], None] = lambda _: None,
        on_events: Callable[[Collection[str]], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._feed = feed
        self._pool = pool
        self._projections = {each.name: each for each in projections}
        self._tallies = {each.name: each for each in tallies}
        self._jobs = JobWriter(reactions)
        self._on_progress = on_progress
        self._on_jobs = on_jobs
        self._on_events = on_events
        self._builders: dict[str, asyncio.Task[None]] = {}
        #: One at a time, since each reads the log on a second connection while it holds one.
        self._swapping = asyncio.Lock()
        self._swapped = asyncio.Event()
        self.position = 0
        self.is_ready = False

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the log until told to stop, over every interruption."""
        discarding = asyncio.create_task(self._discard_for_ever(), name="discard-versions")
        try:
            while not stop.is_set():
                try:
                    await self._follow(stop)
                except CheckpointConflict:
                    log.info("projector.checkpoint_conflict")
                    await asyncio.sleep(0.05)
                except _TRANSIENT as problem:
                    self.is_ready = False
                    log.warning("projector.interrupted", problem=str(problem).strip())
                    await asyncio.sleep(0.2)
        finally:
            tasks = [discarding, *self._builders.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._feed.close()

    async def _follow(self, stop: asyncio.Event) -> None:
        subscription = await self._live()
        await subscription.recall()
        looked = shown = 0.0
        limit = CATCH_UP_EVENTS
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            if loop.time() - looked > LOOK_SECONDS:
                looked = loop.time()
                await subscription.retry_parked(self._ledger)
                if await self._look_for_versions():
                    return
            if loop.time() - shown > SHOW_SECONDS:
                shown = loop.time()
                await self._show_up()
            page = await self._feed.next(subscription.position, limit)
            if page:
                await subscription.absorb(page)
                self._on_progress(subscription.position)
                self._on_events({each.workspace_id for each in readable(page)})
                for queue in self._jobs.queues:
                    self._on_jobs(queue)
                self._jobs.queues = set()
            self.position = subscription.position
            self.is_ready = len(page) < limit
            limit = PAGE_EVENTS if self.is_ready else CATCH_UP_EVENTS
            if page and self.is_ready:
                await asyncio.sleep(min(len(page) * REST_SECONDS_PER_EVENT, REST_SECONDS_MAX))

    async def _show_up(self) -> None:
        """Say that a projector is at work, also while nothing happens."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE checkpoints SET seen_at = now() WHERE name = %s AND live", (self._jobs.name,)
            )

    # --- versions ------------------------------------------------------------------------------------------------

    def _writer(self, name: str, version: int) -> Writer:
        if name in self._projections:
            return DocumentWriter(self._projections[name], version)
        if name in self._tallies:
            return TallyWriter(self._tallies[name], version)
        assert name == self._jobs.name
        return self._jobs

    def _folds(self) -> dict[str, int]:
        folds = {each.name: each.version for each in self._projections.values()}
        folds |= {each.name: each.version for each in self._tallies.values()}
        return folds | {self._jobs.name: self._jobs.fold}

    async def _live(self) -> Subscription:
        """The live checkpoints where they are now; where there are none at all yet, ours begin as live."""
        folds = self._folds()
        async with self._pool.connection() as connection, connection.transaction():
            # Who asks for the whole table makes all others queue behind it: only the very first has to.
            if not await _rows(connection, "SELECT FROM checkpoints LIMIT 1"):
                await connection.execute("LOCK TABLE checkpoints IN SHARE ROW EXCLUSIVE MODE")
                await connection.execute(
                    "INSERT INTO checkpoints (name, version, live, fold) "
                    "SELECT name, 1, true, fold FROM unnest(%s::text[], %s::int[]) AS ours(name, fold) "
                    "WHERE NOT EXISTS (SELECT FROM checkpoints)",
                    (list(folds), list(folds.values())),
                )
            # Jobs are taken on where they are. Counted as a retry, so that older software comes into conflict with it,
            # and then lets go of them: it would pass by what only newer reactions have something to do for.
            await connection.execute(
                "UPDATE checkpoints SET fold = %(fold)s, retries = retries + 1 "
                "WHERE name = %(name)s AND live AND fold < %(fold)s",
                {"name": self._jobs.name, "fold": self._jobs.fold},
            )
            rows = await _rows(connection, "SELECT name, version, fold, position, retries FROM checkpoints WHERE live")
        # What a newer version of the software folds is not ours to touch.
        ours = {row[0]: row for row in rows if row[0] in folds and row[2] <= folds[row[0]]}
        writers = [self._writer(name, row[1]) for name, row in ours.items()]
        return Subscription(
            self._pool, writers, {name: Checkpoint(row[3], row[4]) for name, row in ours.items()}, live=True
        )

    async def _look_for_versions(self) -> bool:
        """Start building what is asked for or changed; True when a build has ended meanwhile."""
        done = [name for name, task in self._builders.items() if task.done()]
        for name in done:
            task = self._builders.pop(name)
            if problem := task.exception():
                log.warning("rebuild.interrupted", projection=name, problem=repr(problem))
        folds = self._folds()
        async with self._pool.connection() as connection:
            rows = await _rows(connection, "SELECT name, version, live, fold FROM checkpoints ORDER BY version")
            live = {row[0]: row[3] for row in rows if row[2]}
            building = {row[0]: row[1] for row in rows if not row[2] and row[3] <= folds.get(row[0], 0)}
            for name, fold in folds.items():
                if live.get(name, 0) < fold and name not in building:
                    await request_rebuild(connection, name, fold)
        for name, version in building.items():
            if name not in self._builders:
                self._builders[name] = asyncio.create_task(self._build(name, version), name=f"rebuild-{name}")
        return bool(done)

    async def _build(self, name: str, version: int) -> None:
        """Fold the whole log into a version of its own, then put it in the place of the live one."""
        while True:
            async with self._pool.connection() as connection:
                rows = await _rows(
                    connection,
                    "SELECT position, retries FROM checkpoints WHERE name = %s AND version = %s AND NOT live",
                    (name, version),
                )
            if not rows:
                return  # another projector has brought it to its end
            writer = self._writer(name, version)
            subscription = Subscription(self._pool, [writer], {name: Checkpoint(*rows[0])}, live=False)
            await subscription.recall()
            log.info("rebuild.started", projection=name, version=version, position=subscription.position)
            try:
                await self._catch_up(subscription)
                await self._swap(writer, subscription)
            except CheckpointConflict:
                # Another projector builds it. Should that one stop, we go on where it was.
                await asyncio.sleep(BUILDING_SECONDS)
            else:
                return

    async def _catch_up(self, subscription: Subscription) -> None:
        ahead = Ahead(self._ledger)
        try:
            head = await self._ledger.head()
            while page := await ahead.page(subscription.position, CATCH_UP_EVENTS):
                await subscription.absorb(page)
                # Not how many there are: a page of large events ends before it is full.
                if page[-1].position >= head and len(page) < CATCH_UP_EVENTS:
                    return
                head = await self._ledger.head()
        finally:
            await ahead.close()

    async def _swap(self, writer: Writer, subscription: Subscription) -> None:
        """Hold the live version where it is, fold what is left up to there, and take its place.

        All on one connection: what was written on another could queue behind somebody who waits for this one, and of a
        circle that closes here Postgres knows nothing.
        """
        async with self._swapping, self._pool.connection() as connection, connection.transaction():
            await connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{SWAP_LOCK_SECONDS_MAX}s",))
            old = await _rows(
                connection, "SELECT position FROM checkpoints WHERE name = %s AND live FOR UPDATE", (writer.name,)
            )
            while old and subscription.position < old[0][0]:
                await subscription.absorb(await self._ledger.page(subscription.position, CATCH_UP_EVENTS), connection)
            await connection.execute(
                "DELETE FROM checkpoints WHERE name = %s AND version <> %s AND (live OR version < %s)",
                (writer.name, writer.version, writer.version),
            )
            checkpoint = subscription.checkpoints[writer.name]
            cursor = await connection.execute(
                "UPDATE checkpoints SET live = true WHERE name = %s AND version = %s AND NOT live AND position = %s",
                (writer.name, writer.version, checkpoint.position),
            )
            if cursor.rowcount != 1:
                raise CheckpointConflict
        log.info("rebuild.live", projection=writer.name, version=writer.version, position=subscription.position)
        self._swapped.set()

    async def _discard_for_ever(self) -> None:
        """Remove what belongs to versions that are gone, whoever has left it: nothing else would ever look at it."""
        while True:
            self._swapped.clear()
            try:
                await self._discard()
            except (PostgresError, *_TRANSIENT) as problem:
                log.warning("discard.interrupted", problem=str(problem).strip())
            with suppress(TimeoutError):
                async with asyncio.timeout(DISCARD_SECONDS):
                    await self._swapped.wait()

    async def _discard(self) -> None:
        async with self._pool.connection() as connection:
            for table, owner in (("documents", "projection"), ("tallies", "projection"), ("parked", "subscription")):
                cursor = await connection.execute(_VERSIONS_THERE.format(table=table, owner=owner).encode())
                for name, version in await cursor.fetchall():
                    # Asked again, since what has been there before is not always what is there now.
                    await connection.execute(
                        f"DELETE FROM {table} WHERE {owner} = %(name)s AND version = %(version)s AND NOT EXISTS "
                        "(SELECT FROM checkpoints WHERE name = %(name)s AND version = %(version)s)".encode(),
                        {"name": name, "version": version},
                    )


# Which versions of a table have no checkpoint, going from one version to the next in the index.
_VERSIONS_THERE = """
WITH RECURSIVE there(name, version) AS (
    (SELECT {owner}, version FROM {table} ORDER BY {owner}, version LIMIT 1)
    UNION ALL
    SELECT next.* FROM there CROSS JOIN LATERAL (
        SELECT {owner}, version FROM {table} WHERE ({owner}, version) > (there.name, there.version)
        ORDER BY {owner}, version LIMIT 1
    ) AS next
)
SELECT name, version FROM there
WHERE NOT EXISTS (SELECT FROM checkpoints c WHERE c.name = there.name AND c.version = there.version)
"""


async def _rows(connection: AsyncConnection[TupleRow], query: LiteralString, parameters: Any = ()) -> list[TupleRow]:
    cursor = await connection.execute(query, parameters)
    return await cursor.fetchall()


async def request_rebuild(connection: AsyncConnection[TupleRow], name: str, fold: int) -> int:
    """Ask for a new version of a projection; a running projector builds it and puts it in the place of the live one.

    Returns the version, 0 when somebody else asked at the same moment. Jobs are never done again.
    """
    if name == JobWriter.name:
        raise ValueError("jobs are what reactions do; nothing is done again on a replay")
    cursor = await connection.execute(
        "INSERT INTO checkpoints (name, version, live, fold) "
        "SELECT %s, coalesce(max(version), 0) + 1, false, %s FROM checkpoints WHERE name = %s "
        "ON CONFLICT DO NOTHING RETURNING version",
        (name, fold, name),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def cancel_rebuild(connection: AsyncConnection[TupleRow], name: str) -> int:
    """Let go of what is being folded beside the live version, and how many versions that were.

    Whoever builds one finds it gone with their next page, and what is written of it is discarded. What a release folds
    otherwise is asked for again by its projector.
    """
    cursor = await connection.execute("DELETE FROM checkpoints WHERE name = %s AND NOT live", (name,))
    return cursor.rowcount


class Rebuild(NamedTuple):
    """How far a version is: whether it is live, its position and the log's, and for how long it has not moved."""

    live: bool
    position: int
    head: int
    still_seconds: float


async def rebuilds(connection: AsyncConnection[TupleRow], names: Collection[str]) -> dict[tuple[str, int], Rebuild]:
    """Every version of these projections by name and number."""
    cursor = await connection.execute(
        "SELECT name, version, live, position, (SELECT coalesce(max(notification_id), 0) FROM ledger_events), "
        "extract(epoch FROM now() - moved_at)::float8 FROM checkpoints WHERE name = ANY(%s)",
        (list(names),),
    )
    return {(name, version): Rebuild(*how) for name, version, *how in await cursor.fetchall()}


@provides
def projector(log: EventLog, feed: Feed, pool: Pool, bus: Bus) -> Projector:
    """What folds events into read models and jobs."""
    return Projector(
        log,
        feed,
        pool,
        PROJECTIONS.values(),
        TALLIES.values(),
        REACTIONS.values(),
        on_progress=lambda position: bus.ring("projected", b"%d" % position),
        on_jobs=ring(bus),
        on_events=partial(tell, bus),
    )
