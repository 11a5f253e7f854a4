"""Does what follows from events: claims jobs one stream at a time, keeps them while it works, tries again, parks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import structlog
from psycopg import AsyncConnection, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from adapters.log.eventlog import EventLog
from adapters.stream.bus import Bus
from commands.kernel import Reaction
from domain.kernel import Refusal, Unavailable

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.25
#: When something that a reaction needs is away.
UNAVAILABLE_RETRY_DELAY = timedelta(seconds=1)


class TooManyCrashes(Exception):
    """The worker died with this job as often as it may be tried."""

    def __init__(self) -> None:
        super().__init__("gave up after repeated crashes")


# A job is free when it is due and nobody holds it, and nothing earlier of its stream is still to be done. A timer
# that is not due yet holds nobody up; a job that has failed and waits for its next attempt does, also when the attempt
# did not count.
# Each reaction is asked for by itself, because only so the index hands them out in the order in which they are due.
_CLAIM = """
WITH free AS MATERIALIZED (
    SELECT due.reaction, due.position
    FROM unnest(%(reactions)s::text[]) AS wanted(reaction), LATERAL (
        SELECT t.reaction, t.position, t.due_at FROM jobs t
        WHERE t.reaction = wanted.reaction AND t.due_at <= now() AND t.state <> 'parked'
          AND (t.state = 'ready' OR t.lease_until < now())
          AND NOT EXISTS (
              SELECT FROM jobs e
              WHERE e.reaction = t.reaction AND e.stream = t.stream AND e.position < t.position
                AND (e.attempts > 0 OR e.problem IS NOT NULL OR e.due_at <= now())
          )
        ORDER BY t.due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ) AS due
    ORDER BY due.due_at LIMIT %(limit)s
)
UPDATE jobs t SET state = 'running', owner = %(owner)s, attempts = attempts + 1,
                   lease_until = now() + %(lease)s * interval '1 second'
FROM free WHERE t.reaction = free.reaction AND t.position = free.position
RETURNING t.reaction, t.position, t.attempts
"""

_MINE = "WHERE reaction = %s AND position = %s AND owner = %s"


class _Job(NamedTuple):
    reaction: Reaction
    position: int
    attempt: int
    #: Drawn anew for every claim, so that whoever has lost a job cannot touch it any more.
    owner: UUID


class Worker:
    """Works off the jobs of some reactions, several at once, as one of any number of workers.

    A job is leased; whoever dies with it loses the lease and another worker takes over, so everything is done at
    least once. What fails is tried again later and later, and parked with its problem after the last attempt; the
    later jobs of its stream wait behind it, those of other streams do not. `ports` gives what a reaction asks for.
    """

    def __init__(
        self,
        ledger: EventLog,
        pool: AsyncConnectionPool[AsyncConnection[TupleRow]],
        bus: Bus,
        ports: Callable[[Reaction], Any],
        reactions: Iterable[Reaction],
        *,
        concurrency: int = 8,
        lease_seconds: float = 15.0,
    ) -> None:
        self._ledger = ledger
        self._pool = pool
        self._bus = bus
        self._ports = ports
        self._reactions = {each.name: each for each in reactions}
        self._concurrency = concurrency
        self._lease_seconds = lease_seconds
        self._rung = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self.is_ready = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop, then finish what is begun."""
        for queue in {each.queue for each in self._reactions.values()}:
            await self._bus.on(f"{self._bus.prefix}.jobs.{queue}", self._wake)
        while not stop.is_set():
            try:
                claimed = await self._claim()
                self.is_ready = True
            except (OperationalError, PoolTimeout, OSError) as problem:
                self.is_ready = False
                log.warning("worker.interrupted", problem=str(problem).strip())
                await _either(stop, POLL_SECONDS)
                continue
            for job in claimed:
                task = asyncio.create_task(self._work(job), name=f"{job.reaction.name}-{job.position}")
                self._running.add(task)
                task.add_done_callback(self._finished)
            if not claimed or len(self._running) >= self._concurrency:
                await self._wait(stop)
        self.is_ready = False
        if self._running:
            await asyncio.wait(self._running)

    async def _wake(self, _: bytes) -> None:
        self._rung.set()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._rung.set()
        if not task.cancelled() and (problem := task.exception()):
            log.error("job.lost", job=task.get_name(), problem=repr(problem))

    async def _wait(self, stop: asyncio.Event) -> None:
        self._rung.clear()
        waits = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self._rung.wait())}
        await asyncio.wait(waits, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()

    async def _claim(self) -> list[_Job]:
        free = self._concurrency - len(self._running)
        if free <= 0:
            return []
        owner = uuid4()
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                _CLAIM,
                {
                    "owner": owner,
                    "lease": self._lease_seconds,
                    "reactions": list(self._reactions),
                    "limit": free,
                },
                prepare=True,
            )
            rows = await cursor.fetchall()
        return [_Job(self._reactions[name], position, attempt, owner) for name, position, attempt in rows]

    async def _work(self, job: _Job) -> None:
        heartbeat = asyncio.create_task(self._keep(job, asyncio.current_task()))
        try:
            await self._do(job)
        except Exception as problem:  # noqa: BLE001 - whatever goes wrong is written down and tried again
            await self._failed(job, problem)
        else:
            await self._settle(f"DELETE FROM jobs {_MINE}", job)
        finally:
            heartbeat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await heartbeat

    async def _do(self, job: _Job) -> None:
        if job.attempt > job.reaction.attempts_max:
            # It took its worker down with it every time, so nobody was left to say so.
            raise TooManyCrashes
        [recorded] = (await self._ledger.at([job.position])).values()
        await job.reaction.handler(recorded, self._ports(job.reaction))

    async def _keep(self, job: _Job, work: asyncio.Task[Any] | None) -> None:
        """Renew the lease while the work goes on; give the work up when somebody else has taken it."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            with contextlib.suppress(OperationalError, PoolTimeout):
                async with self._pool.connection() as connection:
                    cursor = await connection.execute(
                        f"UPDATE jobs SET lease_until = now() + %s * interval '1 second' {_MINE}",
                        (self._lease_seconds, job.reaction.name, job.position, job.owner),
                    )
                if not cursor.rowcount and work:
                    log.warning("job.taken", reaction=job.reaction.name, position=job.position)
                    work.cancel()
                    return

    async def _failed(self, job: _Job, problem: Exception) -> None:
        reaction = job.reaction
        # A dependency that is away is nobody's fault: it costs no attempts, however long it lasts.
        patient = isinstance(problem, (Unavailable, OperationalError, PoolTimeout))
        log.warning("job.failed", reaction=reaction.name, position=job.position, attempt=job.attempt,
                    problem=repr(problem))  # fmt: skip
        if not patient and job.attempt >= reaction.attempts_max:
            if reaction.gives_up is not None and await self._gave_up(job, problem):
                return
            await self._settle(
                f"UPDATE jobs SET state = 'parked', problem = %s, owner = NULL, lease_until = NULL {_MINE}",
                job,
                repr(problem)[:2000],
            )
            return
        delay = UNAVAILABLE_RETRY_DELAY if patient else reaction.retry_delay(job.attempt)
        await self._settle(
            "UPDATE jobs SET state = 'ready', due_at = now() + %s, attempts = attempts - %s, problem = %s, "
            f"owner = NULL, lease_until = NULL {_MINE}",
            job,
            delay,
            int(patient),
            repr(problem)[:2000],
        )

    async def _gave_up(self, job: _Job, problem: Exception) -> bool:
        assert job.reaction.gives_up is not None
        try:
            [recorded] = (await self._ledger.at([job.position])).values()
            await job.reaction.gives_up(recorded, self._ports(job.reaction), _told(problem))
        except Exception as worse:  # then it is parked, which is visible too
            log.exception("job.gives_up.failed", reaction=job.reaction.name, problem=repr(worse))
            return False
        await self._settle(f"DELETE FROM jobs {_MINE}", job)
        return True

    async def _settle(self, statement: str, job: _Job, *values: Any) -> None:
        """Write what became of a job, for as long as it takes Postgres to come back within the lease."""
        deadline = asyncio.get_running_loop().time() + self._lease_seconds
        while True:
            try:
                async with self._pool.connection() as connection:
                    await connection.execute(statement.encode(), (*values, job.reaction.name, job.position, job.owner))
            except (OperationalError, PoolTimeout):
                if asyncio.get_running_loop().time() > deadline:
                    return  # the lease runs out and somebody does it again, which they must be able to
                await asyncio.sleep(0.1)
            else:
                return


async def request_retry(connection: AsyncConnection[TupleRow], reaction: str | None = None) -> int:
    """Give parked jobs (of one reaction, or all) a new set of attempts; how many there were."""
    cursor = await connection.execute(
        "UPDATE jobs SET state = 'ready', attempts = 0 WHERE state = 'parked' AND (%s::text IS NULL OR reaction = %s)",
        (reaction, reaction),
    )
    return cursor.rowcount


def _told(problem: Exception) -> str:
    """What may be said of a failure to whoever asked: our sentences, never the inside of an unexpected error."""
    if isinstance(problem, Refusal | TooManyCrashes) or hasattr(problem, "transient"):
        return str(problem)
    return "It failed on our side, several times."


async def _either(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def ring(bus: Bus) -> Callable[[str], None]:
    """What the projector calls when there is new work for a queue."""
    return lambda queue: bus.ring(f"jobs.{queue}")
