"""The audit: what happened in a workspace, read straight from the envelopes of the log, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from msgspec import Struct
from msgspec.structs import replace
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from adapters.log import codec
from adapters.log.data_keys import DataKeys
from adapters.log.recorder import TABLE
from adapters.places import Places
from adapters.postgres.retrying import RETRY_SECONDS, Pool, retrying
from adapters.provides import provides
from adapters.readmodels.followers import Follower, Followers
from adapters.readmodels.past import AS_OF, PositionIsAhead
from adapters.readmodels.settings import Reading
from adapters.readmodels.views import LOOK_SECONDS, Progress
from domain.keeping import check_values
from domain.kernel import Event, Unavailable
from domain.vocabulary import addresses

log = structlog.get_logger(__name__)

#: So many searches run at once in a process, one of them for a workspace: each may look through all that a workspace
#: has done, and everybody else needs connections as well.
SEARCHES = 2


class AuditUnavailable(Unavailable):
    """The audit cannot be reached at the moment. Try again shortly."""


class Entry(Struct, frozen=True, kw_only=True):
    """One event as the audit sees it; `event` is null when this version cannot read it.

    Its addresses can be read, its other personal fields are sealed.
    """

    position: int
    event_id: UUID
    stream: str
    name: str
    recorded_at: datetime
    actor: str
    correlation_id: UUID
    causation_id: UUID | None
    event: Event | None
    ip: str | None
    user_agent: str | None
    request_id: str | None


class Passage(Struct, frozen=True, kw_only=True):
    """Events in order; up to `frontier` there are no others, and the workspace's newest is at `head`."""

    entries: list[Entry]
    frontier: int
    head: int


class Question(Struct, frozen=True, kw_only=True):
    """What to look for; what is null does not matter."""

    workspace_id: str
    limit: int
    before: UUID | None = None
    names: tuple[str, ...] | None = None
    actor: str | None = None
    target_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_search(self) -> bool:
        """Whether events may have to be passed over, however many."""
        return any(each is not None for each in (self.names, self.actor, self.target_id, self.since, self.until))


# The target is in the stream's name, or, where things share a stream, in the event: as a whole JSON string, so that
# no part of another id matches. What is sealed does not match either.
_FIND = f"""
SELECT e.notification_id, e.event_id, e.originator_id, e.topic, e.schema_version, e.recorded_at, e.actor,
       e.correlation_id, e.causation_id, e.state, o.ip, o.user_agent, o.request_id
FROM {TABLE} e
LEFT JOIN request_origins o ON o.workspace_id = e.workspace_id AND o.correlation_id = e.correlation_id
                           AND e.causation_id IS NULL
WHERE e.workspace_id = %(workspace_id)s
  AND (%(before)s::bigint IS NULL OR e.notification_id < %(before)s)
  AND (%(begins)s::bigint IS NULL OR e.notification_id > %(begins)s)
  AND (%(names)s::text[] IS NULL OR e.topic = ANY(%(names)s))
  AND (%(actor)s::text IS NULL OR e.actor = %(actor)s)
  AND (%(since)s::timestamptz IS NULL OR e.recorded_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR e.recorded_at <= %(until)s)
  AND (%(target)s::text IS NULL
       OR right(e.originator_id, length(%(target)s) + 1) = '-' || %(target)s
       OR position(convert_to('"' || %(target)s || '"', 'UTF8') IN e.state) > 0)
ORDER BY e.notification_id DESC LIMIT %(limit)s
"""

# Up to where the projector is, everything that will ever be there is there: what is written at this moment may still
# appear before what can be seen already, and a reader that goes by positions would miss it.
_FOLLOW = f"""
WITH frontier AS (SELECT coalesce(max(position), 0) AS position FROM checkpoints WHERE name = 'jobs' AND live),
head AS (SELECT coalesce(max(notification_id), 0) AS position FROM {TABLE} WHERE workspace_id = %(workspace_id)s)
SELECT frontier.position, head.position, page.*
FROM frontier CROSS JOIN head LEFT JOIN LATERAL (
    SELECT e.notification_id, e.event_id, e.originator_id, e.topic, e.schema_version, e.recorded_at, e.actor,
           e.correlation_id, e.causation_id, e.state, null::text, null::text, null::text
    FROM {TABLE} e
    WHERE e.workspace_id = %(workspace_id)s AND e.notification_id > %(after)s
      AND e.notification_id <= frontier.position
    ORDER BY e.notification_id LIMIT %(limit)s
) AS page ON true
"""

_PLACE = f"SELECT notification_id FROM {TABLE} WHERE workspace_id = %s AND event_id = %s"


class Audit:
    """Answers what was done in a workspace, by whom, to what and when."""

    def __init__(
        self,
        pool: Pool,
        keys: DataKeys,
        progress: Progress,
        followers: Followers,
        *,
        wait_seconds_max: float,
        retry_seconds: float = 10.0,
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._progress = progress
        self._followers = followers
        self._wait_seconds_max = wait_seconds_max
        self._retry_seconds = retry_seconds
        self._searches = Places(SEARCHES)

    async def find(self, question: Question) -> list[Entry] | None:
        """The newest events that match, of those that were there where the request looks back to.

        None when there is no event to begin before.
        """
        as_of = AS_OF.get()

        async def ask(connection: AsyncConnection[TupleRow]) -> Sequence[Any] | None:
            before = None
            if question.before is not None:
                cursor = await connection.execute(_PLACE.encode(), (question.workspace_id, question.before))
                place = await cursor.fetchone()
                if place is None:
                    return None
                before = place[0]
            if as_of is not None:
                before = as_of.position + 1 if before is None else min(before, as_of.position + 1)
            cursor = await connection.execute(
                _FIND.encode(),
                {
                    "workspace_id": question.workspace_id,
                    "before": before,
                    "begins": None if as_of is None else as_of.begins,
                    "names": None if question.names is None else list(question.names),
                    "actor": question.actor,
                    "since": question.since,
                    "until": question.until,
                    "target": question.target_id,
                    "limit": question.limit,
                },
            )
            return await cursor.fetchall()

        async with AsyncExitStack() as turn:
            if question.is_search:
                await turn.enter_async_context(
                    self._searches.place(question.workspace_id, self._retry_seconds, AuditUnavailable)
                )
            rows = await retrying(self._pool, ask, seconds=self._retry_seconds, refusal=AuditUnavailable)
        return None if rows is None else await self._opened([_entry(row) for row in rows])

    async def follow(
        self, workspace_id: str, after: int, limit: int, wait_seconds: float
    ) -> tuple[Sequence[Entry], int]:
        """The events after a position, so many at most, and where to go on; waits so long for the first.

        Raises PositionIsAhead for a position that the log has not reached: it is another log's, or made up; and
        TooManyFollowers or NoRoomToWait where too many wait already.
        """
        if not wait_seconds:
            return await self._follow(workspace_id, after, limit, 0.0, None)
        with self._followers.place(workspace_id) as follower:
            return await self._follow(workspace_id, after, limit, wait_seconds, follower)

    async def _follow(
        self, workspace_id: str, after: int, limit: int, wait_seconds: float, follower: Follower | None
    ) -> tuple[Sequence[Entry], int]:
        began = monotonic()
        needed: int | None = None
        while True:
            if follower is not None:
                follower.hush(after)
            passage = await self._passage(workspace_id, after, limit)
            if needed is None and after > (newest := max(passage.head, passage.frontier)):
                raise PositionIsAhead(position=after, head=newest)
            needed = passage.head if needed is None else needed
            waited = monotonic() - began
            is_full = len(passage.entries) == limit
            # What its reader has been told is done belongs to the answer, as in every other read.
            is_fresh = passage.frontier >= needed or waited >= self._wait_seconds_max
            is_over = waited >= wait_seconds or (follower is not None and follower.is_over)
            if is_full or (is_fresh and (passage.entries or is_over)):
                return passage.entries, passage.entries[-1].position if is_full else max(after, passage.frontier)
            if is_fresh and follower is not None:
                await follower.wait(wait_seconds - waited)
            else:
                await self._progress.wait(passage.frontier + 1, LOOK_SECONDS)

    async def _passage(self, workspace_id: str, after: int, limit: int) -> Passage:
        """The events after a position, oldest first, none of which will ever be preceded by another."""

        async def ask(connection: AsyncConnection[TupleRow]) -> Sequence[Any]:
            cursor = await connection.execute(
                _FOLLOW.encode(), {"workspace_id": workspace_id, "after": after, "limit": limit}
            )
            return await cursor.fetchall()

        rows = await retrying(self._pool, ask, seconds=self._retry_seconds, refusal=AuditUnavailable)
        entries = await self._opened([_entry(row[2:]) for row in rows if row[2] is not None])
        return Passage(entries=entries, frontier=rows[0][0], head=rows[0][1])

    async def _opened(self, entries: list[Entry]) -> list[Entry]:
        """The same with addresses that can be read."""
        with_address = [each.event for each in entries if each.event is not None and addresses(type(each.event))]
        if not with_address:
            return entries
        await self._keys.load(codec.subjects(with_address))
        return [
            each
            if each.event is None
            else replace(each, event=codec.unseal(each.event, self._keys, only=addresses(type(each.event))))
            for each in entries
        ]


def _entry(row: Any) -> Entry:
    position, event_id, stream, name, schema_version, recorded_at, actor, correlation, causation, state = row[:10]
    ip, agent, request_id = row[10:]
    try:
        event: Event | None = codec.decode(name, schema_version, state)
        # Moments at the ends of the calendar were taken once; there is no way to write them.
        check_values(event)
    except Exception as problem:  # noqa: BLE001 - that something was done is known even when its facts are not
        log.warning("audit.unreadable", position=position, name=name, problem=repr(problem))
        event = None
    return Entry(
        position=position,
        event_id=event_id,
        stream=stream,
        name=name,
        recorded_at=recorded_at,
        actor=actor,
        correlation_id=correlation,
        causation_id=causation,
        event=event,
        ip=ip,
        user_agent=agent,
        request_id=request_id,
    )


@provides
def audit(pool: Pool, keys: DataKeys, progress: Progress, followers: Followers, settings: Reading) -> Audit:
    """What was done, and by whom."""
    return Audit(
        pool, keys, progress, followers, wait_seconds_max=settings.read_wait_seconds_max, retry_seconds=RETRY_SECONDS
    )
