"""Does what follows from events: claims jobs one stream at a time, keeps them while it works, tries again, parks."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from math import inf
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import structlog
from psycopg import AsyncConnection, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from adapters.log.eventlog import EventLog
from adapters.operators.metrics import JOB_SECONDS, JOBS
from adapters.pausing import pause
from adapters.stream.bus import Bus
from commands.kernel import Queue, Reaction
from domain.kernel import Refusal, Unavailable
from domain.ledger import Recorded
from domain.sections import Sections
from domain.tracing import TRACE, span

log = structlog.get_logger(__name__)

#: How long a worker waits at most before it looks for jobs by itself: where nobody can ring, and where somebody can.
POLL_SECONDS = 0.25
RUNG_SECONDS_MAX = 1.0
#: How often it is looked at most what has become due, and how much of it at most is made ready at once.
MAKE_READY_SECONDS = 0.1
MADE_READY_MAX = 1_000
#: Workspaces looked at in one statement.
TENANTS_MAX = 64
#: Workspaces of which it is known who was served before whom.
SERVED_MAX = 256
#: How often it is tried to give a job up, after its last attempt, before it is parked.
GIVING_UP_MAX = 8
#: When something that a reaction needs is away.
UNAVAILABLE_RETRY_DELAY = timedelta(seconds=1)
#: How long a job is left to others at most when our clock says that it is too early.
CLOCK_BEHIND_DELAY_MAX = timedelta(seconds=30)


#: Noted with what is given up: another version may do better.
CODE_VERSION = version("ledgerline")


class TooManyCrashes(Exception):
    """The worker died with this job as often as it may be tried."""

    def __init__(self) -> None:
        super().__init__("gave up after repeated crashes")


class TookTooLong(Exception):
    """An attempt was ended because it went on for longer than its queue allows."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"It took longer than {seconds:g} seconds.")


class ClockBehind(Exception):
    """A job is due by the clock of Postgres and not ours: whoever looks at the time would find it too early."""

    def __init__(self, left: timedelta) -> None:
        self.left = left
        super().__init__(f"The clock of this machine is behind that of Postgres; by ours it is due in {left}.")


class NotGivenUp(Exception):
    """The job had failed for the last time, and then could not be given up either."""


# What is due is made ready, and what was left behind by a worker that died is ready again. Its owner is still written
# there, so that a worker which was only slow may end what nobody else has begun. Told is in how many seconds there is
# more of it: at once where more was due than is made ready in one go, or somebody else was about to do so.
_MAKE_READY = """
WITH due AS MATERIALIZED (
    SELECT reaction, position FROM jobs
    WHERE reaction = ANY(%(reactions)s::text[]) AND state = 'waiting' AND due_at <= now()
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), left_behind AS MATERIALIZED (
    SELECT reaction, position FROM jobs
    WHERE reaction = ANY(%(reactions)s::text[]) AND state = 'running' AND lease_until < now()
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), made AS (
    UPDATE jobs t SET state = 'ready' FROM (TABLE due UNION ALL TABLE left_behind) AS found
    WHERE t.reaction = found.reaction AND t.position = found.position
)
SELECT extract(epoch FROM min(coming.at) - now())::float8 FROM unnest(%(reactions)s::text[]) AS r(name), LATERAL (
    (SELECT due_at AS at FROM jobs WHERE reaction = r.name AND state = 'waiting' ORDER BY due_at LIMIT 1)
    UNION ALL
    (SELECT lease_until FROM jobs WHERE reaction = r.name AND state = 'running' ORDER BY lease_until LIMIT 1)
) AS coming
"""

# A job is free when it is ready, and nothing earlier of its stream is still to be done. A timer that is not due yet
# holds nobody up; a job that has failed and waits for its next attempt does, also when the attempt did not count.
#
# Places are shared by a dynamic threshold (Choudhury and Hahne, 1998): a workspace gets another place as long as it
# has fewer than are free. So one that fills all it can leaves half, two leave a third, and whoever comes next finds a
# place whatever the others do. It is the worker's own places that are counted: each worker is fair. Among those who
# have as many, it is the turn of the one that was served longest ago.
# The workspaces are found by going from one to the next in the index, at most so many in a statement, and where one
# statement ended the next goes on.
_CLAIM = """
WITH RECURSIVE wanted AS (
    SELECT * FROM unnest(%(reactions)s::text[], %(queues)s::text[], %(free)s::int[], %(after)s::text[])
        AS w(reaction, queue, free, after)
), tenant(reaction, queue, free, workspace_id, nth) AS (
    SELECT w.reaction, w.queue, w.free, (
        SELECT min(t.workspace_id) FROM jobs t
        WHERE t.reaction = w.reaction AND t.state = 'ready' AND t.workspace_id > w.after
    ), 1 FROM wanted w
    UNION ALL
    SELECT b.reaction, b.queue, b.free, (
        SELECT min(t.workspace_id) FROM jobs t
        WHERE t.reaction = b.reaction AND t.state = 'ready' AND t.workspace_id > b.workspace_id
    ), b.nth + 1 FROM tenant b WHERE b.workspace_id IS NOT NULL AND b.nth < %(tenants_max)s
), held AS (
    SELECT * FROM unnest(%(held_queues)s::text[], %(held_workspaces)s::text[], %(held)s::int[], %(served)s::int[])
        AS h(queue, workspace_id, places, served)
), free AS MATERIALIZED (
    SELECT b.queue, b.free, coalesce(h.places, 0) AS places, coalesce(h.served, 0) AS served, due.*
    FROM tenant b LEFT JOIN held h ON h.queue = b.queue AND h.workspace_id = b.workspace_id, LATERAL (
        SELECT t.reaction, t.position, t.workspace_id, t.due_at FROM jobs t
        WHERE t.reaction = b.reaction AND t.workspace_id = b.workspace_id AND t.state = 'ready' AND t.due_at <= now()
          AND NOT EXISTS (
              SELECT FROM jobs e
              WHERE e.reaction = t.reaction AND e.stream = t.stream AND e.position < t.position
                AND (e.attempts > 0 OR e.problem IS NOT NULL OR e.due_at <= now())
          )
        ORDER BY t.due_at LIMIT greatest((b.free - coalesce(h.places, 0) + 1) / 2, 0) FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE b.workspace_id IS NOT NULL
), turns AS (
    SELECT *, places + row_number() OVER (PARTITION BY queue, workspace_id ORDER BY due_at, position) AS turn FROM free
), ordered AS (
    SELECT *, row_number() OVER (PARTITION BY queue ORDER BY turn, served, due_at, position) AS nth FROM turns
), claimed AS (
    UPDATE jobs t SET state = 'running', owner = %(owner)s, attempts = attempts + 1,
                       lease_until = now() + %(lease)s * interval '1 second'
    FROM ordered o
    WHERE t.reaction = o.reaction AND t.position = o.position AND o.turn - 1 < o.free - (o.nth - 1)
    RETURNING t.reaction, t.position, t.attempts, t.workspace_id, t.problem IS NOT NULL AS has_failed
)
SELECT reaction, position, attempts, workspace_id, has_failed FROM claimed
UNION ALL
SELECT queue, NULL, NULL, min(workspace_id), NULL FROM tenant WHERE nth = %(tenants_max)s GROUP BY queue
"""

_MINE = "WHERE reaction = %s AND position = %s AND owner = %s"
_BACK = "state = CASE WHEN {due} <= now() THEN 'ready' ELSE 'waiting' END, due_at = {due}"


class _Job(NamedTuple):
    reaction: Reaction
    position: int
    attempt: int
    workspace_id: str
    #: Whether an earlier attempt has said what was wrong.
    has_failed: bool
    #: Drawn anew for every claim, so that whoever has lost a job cannot touch it any more.
    owner: UUID
    #: Attempts before this one that cost nothing, and are counted in the table still.
    owed: int


class _Places:
    """The places of one queue in this process, and who holds them."""

    def __init__(self, queue: Queue, settings: Sections) -> None:
        self.queue = queue
        self.concurrency = queue.concurrency(settings)
        self.timeout = queue.timeout(settings)
        self.held: Counter[str] = Counter()
        #: Who was served of late, longest ago first.
        self.served: dict[str, None] = {}
        #: The workspace after which the next look begins; empty: with the first.
        self.after = ""

    @property
    def free(self) -> int:
        return self.concurrency - self.held.total()

    def take(self, workspace_id: str) -> None:
        self.held[workspace_id] += 1
        self.served.pop(workspace_id, None)
        self.served[workspace_id] = None
        if len(self.served) > SERVED_MAX:
            del self.served[next(iter(self.served))]

    def give_back(self, workspace_id: str) -> None:
        self.held[workspace_id] -= 1
        if not self.held[workspace_id]:
            del self.held[workspace_id]

    def shares(self) -> list[tuple[str, str, int, int]]:
        """The queue, each workspace that is known, how many places it holds, and when it was served (0: long ago)."""
        nth = {workspace_id: n for n, workspace_id in enumerate(self.served, 1)}
        return [(self.queue.name, each, self.held[each], nth.get(each, 0)) for each in {**self.held, **nth}]


class Worker:
    """Works off the jobs of some reactions, several at once, as one of any number of workers.

    Each queue has places of its own, and in each queue workspaces share them fairly. A job is leased; whoever dies
    with it loses the lease and another worker takes over, so everything is done at least once. What fails, or takes
    too long, is tried again later and later, and after the last attempt given up: by the reaction's own words in the
    log, or else parked with its problem. The later jobs of its stream wait behind it, those of other streams do not.
    `ports` gives what a reaction asks for.
    """

    def __init__(
        self,
        ledger: EventLog,
        pool: AsyncConnectionPool[AsyncConnection[TupleRow]],
        bus: Bus,
        ports: Callable[[Reaction], Any],
        reactions: Iterable[Reaction],
        *,
        settings: Sections,
        lease_seconds: float = 15.0,
    ) -> None:
        self._ledger = ledger
        self._pool = pool
        self._bus = bus
        self._ports = ports
        self._reactions = {each.name: each for each in reactions}
        self._places = {each.queue.name: _Places(each.queue, settings) for each in self._reactions.values()}
        self._lease_seconds = lease_seconds
        self._rung = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._made_ready_at = 0.0
        #: When something becomes due, by the clock of the loop.
        self._due_at = 0.0
        #: Attempts that cost nothing, of jobs that could not be put back because Postgres was away, too.
        self._owed: dict[tuple[str, int], int] = {}
        self.is_ready = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop, then finish what is begun; when cancelled, hand back what is not finished."""
        for queue in self._places:
            await self._bus.on(f"{self._bus.prefix}.jobs.{queue}", self._wake)
        try:
            await self._work_until(stop)
            if self._running:
                await asyncio.wait(self._running)
        finally:
            for task in self._running:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running)

    async def _work_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._rung.clear()
            try:
                await self._make_ready()
                claimed = await self._claim()
                self.is_ready = True
            except (OperationalError, PoolTimeout, OSError) as problem:
                self.is_ready = False
                log.warning("worker.interrupted", problem=str(problem).strip())
                await pause(stop, POLL_SECONDS)
                continue
            for job in claimed:
                self._begin(job)
            if not claimed and not any(each.after and each.free for each in self._places.values()):
                await self._wait(stop)
        self.is_ready = False

    async def _wake(self, _: bytes) -> None:
        self._rung.set()

    def _begin(self, job: _Job) -> None:
        places = self._places[job.reaction.queue.name]
        places.take(job.workspace_id)
        task = asyncio.create_task(self._work(job), name=f"{job.reaction.name}-{job.position}")
        self._running.add(task)

        def finished(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            places.give_back(job.workspace_id)
            self._rung.set()
            if not task.cancelled() and (problem := task.exception()):
                log.error("job.lost", job=task.get_name(), problem=repr(problem))

        task.add_done_callback(finished)

    async def _wait(self, stop: asyncio.Event) -> None:
        waits = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self._rung.wait())}
        left = self._due_at - asyncio.get_running_loop().time()
        seconds = max(min(left, RUNG_SECONDS_MAX), 0.0) if self._bus.is_connected else POLL_SECONDS
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()

    async def _make_ready(self) -> None:
        """Look for what has become due, or was left behind, now and then, and learn when to look again."""
        now = asyncio.get_running_loop().time()
        again_at = self._made_ready_at + MAKE_READY_SECONDS
        if now < again_at:
            # Something may have been put back since, and be due before anything that was known of then.
            self._due_at = again_at
            return
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                _MAKE_READY, {"reactions": list(self._reactions), "limit": MADE_READY_MAX}, prepare=True
            )
            (left,) = await cursor.fetchone() or (None,)
        self._made_ready_at = now
        self._due_at = inf if left is None else now + max(left, MAKE_READY_SECONDS)

    async def _claim(self) -> list[_Job]:
        places = self._places
        wanted = [each for each in self._reactions.values() if places[each.queue.name].free > 0]
        if not wanted:
            return []
        shares = [share for queue in places.values() for share in queue.shares()]
        owner = uuid4()
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                _CLAIM,
                {
                    "owner": owner,
                    "lease": self._lease_seconds,
                    "reactions": [each.name for each in wanted],
                    "queues": [each.queue.name for each in wanted],
                    "free": [places[each.queue.name].free for each in wanted],
                    "after": [places[each.queue.name].after for each in wanted],
                    "held_queues": [share[0] for share in shares],
                    "held_workspaces": [share[1] for share in shares],
                    "held": [share[2] for share in shares],
                    "served": [share[3] for share in shares],
                    "tenants_max": TENANTS_MAX,
                },
                prepare=True,
            )
            rows = await cursor.fetchall()
        for each in wanted:
            places[each.queue.name].after = ""
        for name, position, _, workspace_id, _ in rows:
            if position is None:
                places[name].after = workspace_id or ""
        return [
            _Job(self._reactions[name], position, attempt - owed, workspace_id, has_failed, owner, owed)
            for name, position, attempt, workspace_id, has_failed in rows
            if position is not None
            for owed in (self._owed.pop((name, position), 0),)
        ]

    async def _work(self, job: _Job) -> None:
        heartbeat = asyncio.create_task(self._keep(job, asyncio.current_task()))
        outcome = "taken"
        try:
            outcome = await self._attempt(job)
        except asyncio.CancelledError:
            # Either another worker has it, or this one has to end before the job does: that costs it no attempt.
            heartbeat.cancel()
            if await self._settle(
                f"UPDATE jobs SET state = 'ready', attempts = attempts - %s, owner = NULL, lease_until = NULL {_MINE}",
                job,
                1 + job.owed,
            ):
                outcome = "handed_back"
                log.info("job.handed_back", reaction=job.reaction.name, position=job.position)
            raise
        finally:
            JOBS.labels(job.reaction.name, outcome).inc()
            heartbeat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await heartbeat

    async def _attempt(self, job: _Job) -> str:
        """Do it, and write down what came of it; that in a word, for those who count."""
        try:
            with JOB_SECONDS.labels(job.reaction.name).time():
                await self._do(job)
        except Exception as problem:  # noqa: BLE001 - whatever goes wrong is written down and tried again
            return await self._failed(job, problem)
        await self._settle(f"DELETE FROM jobs {_MINE}", job)
        return "done"

    async def _do(self, job: _Job) -> None:
        if job.attempt > job.reaction.queue.attempts:
            # Either it took its worker down with it every time, so that nobody was left to say so, or that was tried.
            raise NotGivenUp if job.has_failed else TooManyCrashes
        recorded = await self._look_up(job)
        due = job.reaction.due(recorded.event)
        if due is not None and (left := due - datetime.now(UTC)) > timedelta():
            raise ClockBehind(left)
        with span(f"react {job.reaction.name}", "consumer", position=job.position, attempt=job.attempt):
            await self._in_time(job, job.reaction.handler(recorded, self._ports(job.reaction)))

    async def _look_up(self, job: _Job) -> Recorded:
        """The event of a job, whose trace the rest of it is in: each job is a task of its own."""
        [recorded] = (await self._ledger.at([job.position])).values()
        TRACE.set(recorded.traceparent)
        return recorded

    async def _in_time(self, job: _Job, work: Awaitable[None]) -> None:
        """Do it, but not for longer than the queue allows: whatever hangs, ends."""
        seconds = self._places[job.reaction.queue.name].timeout
        try:
            async with asyncio.timeout(seconds) as clock:
                await work
        except TimeoutError as problem:
            if clock.expired():
                raise TookTooLong(seconds) from problem
            raise

    async def _keep(self, job: _Job, work: asyncio.Task[Any] | None) -> None:
        """Renew the lease while the work goes on; give the work up when somebody else has taken it."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            with contextlib.suppress(OperationalError, PoolTimeout):
                async with self._pool.connection() as connection:
                    cursor = await connection.execute(
                        f"UPDATE jobs SET state = 'running', lease_until = now() + %s * interval '1 second' {_MINE}",
                        (self._lease_seconds, job.reaction.name, job.position, job.owner),
                    )
                if not cursor.rowcount and work:
                    log.warning("job.taken", reaction=job.reaction.name, position=job.position)
                    work.cancel()
                    return

    async def _failed(self, job: _Job, problem: Exception) -> str:
        """Put it back for another attempt, or give it up; what came of it, for those who count."""
        reaction, queue = job.reaction, job.reaction.queue
        if not isinstance(problem, NotGivenUp):
            log.warning("job.failed", reaction=reaction.name, position=job.position, workspace_id=job.workspace_id,
                        attempt=job.attempt, problem=repr(problem))  # fmt: skip
        if not _is_unavailable(problem) and job.attempt >= queue.attempts:
            worse = await self._give_up(job, problem) if reaction.gives_up is not None else None
            if reaction.gives_up is not None and worse is None:
                return "given_up"
            if worse is None or (not _is_unavailable(worse) and job.attempt >= queue.attempts + GIVING_UP_MAX):
                await self._park(job, worse or problem)
                return "parked"
            problem = worse
        if isinstance(problem, ClockBehind):
            delay = min(problem.left, CLOCK_BEHIND_DELAY_MAX)
        elif _is_unavailable(problem):
            delay = UNAVAILABLE_RETRY_DELAY
        else:
            delay = reaction.retry_delay(job.attempt)
        owed = job.owed + int(_is_unavailable(problem))
        is_put_back = await self._settle(
            f"UPDATE jobs SET {_BACK.format(due='now() + %s')}, attempts = attempts - %s, problem = %s, "
            f"owner = NULL, lease_until = NULL {_MINE}",
            job,
            delay,
            delay,
            owed,
            _noted(problem),
        )
        if owed and not is_put_back:
            self._owed[reaction.name, job.position] = owed
        return "failed"

    async def _give_up(self, job: _Job, problem: Exception) -> Exception | None:
        """Have the reaction say in the log why there will be nothing; what went wrong when it could not."""
        assert job.reaction.gives_up is not None
        try:
            recorded = await self._look_up(job)
            await self._in_time(job, job.reaction.gives_up(recorded, self._ports(job.reaction), _told(problem)))
        except Exception as worse:  # noqa: BLE001 - whatever it was, somebody will see it
            # Of a server that is away a traceback tells nobody anything.
            tell = log.warning if _is_unavailable(worse) else log.exception
            tell("job.not_given_up", reaction=job.reaction.name, position=job.position, workspace_id=job.workspace_id,
                 problem=repr(worse))  # fmt: skip
            return worse
        await self._settle(f"DELETE FROM jobs {_MINE}", job)
        return None

    async def _park(self, job: _Job, problem: Exception) -> None:
        log.error("job.parked", reaction=job.reaction.name, position=job.position, workspace_id=job.workspace_id,
                  problem=repr(problem))  # fmt: skip
        await self._settle(
            f"UPDATE jobs SET state = 'parked', problem = %s, code_version = %s, owner = NULL, "
            f"lease_until = NULL {_MINE}",
            job,
            _noted(problem),
            CODE_VERSION,
        )

    async def _settle(self, statement: str, job: _Job, *values: Any) -> bool:
        """Write what became of a job, for as long as it takes Postgres to come back within the lease.

        Returns whether the job was still ours.
        """
        deadline = asyncio.get_running_loop().time() + self._lease_seconds
        while True:
            try:
                async with self._pool.connection() as connection:
                    cursor = await connection.execute(
                        statement.encode(), (*values, job.reaction.name, job.position, job.owner)
                    )
            except (OperationalError, PoolTimeout):
                if asyncio.get_running_loop().time() > deadline:
                    return False  # the lease runs out and somebody does it again, which they must be able to
                await asyncio.sleep(0.1)
            else:
                return cursor.rowcount > 0


def _told(problem: Exception) -> str:
    """What may be said of a failure to whoever asked: our sentences, never the inside of an unexpected error."""
    if isinstance(problem, Refusal | TooManyCrashes | TookTooLong) or hasattr(problem, "transient"):
        return str(problem)
    return "It failed on our side, several times."


def _is_unavailable(problem: Exception) -> bool:
    """Whether it is nobody's fault, such as a dependency that is away: it costs no attempts, however long it lasts."""
    return isinstance(problem, (Unavailable, ClockBehind, OperationalError, PoolTimeout))


def _noted(problem: Exception) -> str:
    """A problem as a text that Postgres takes."""
    return repr(problem)[:2000].replace("\0", "")


def ring(bus: Bus) -> Callable[[str], None]:
    """What the projector calls when there is new work for a queue."""
    return lambda queue: bus.ring(f"jobs.{queue}")


async def due_reactions(connection: AsyncConnection[TupleRow]) -> set[str]:
    """The names of reactions with work that could be done now."""
    cursor = await connection.execute(
        "SELECT DISTINCT reaction FROM jobs WHERE state IN ('ready', 'waiting') AND due_at <= now()"
    )
    return {reaction for (reaction,) in await cursor.fetchall()}
