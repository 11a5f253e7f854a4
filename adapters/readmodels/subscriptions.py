"""The published events of a workspace after a position: in pages from the log, and then as they happen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from time import monotonic
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from adapters.log.recorder import COLUMNS, TABLE
from adapters.postgres.retrying import RETRY_SECONDS, Pool, retrying
from adapters.provides import provides
from adapters.published import Envelopes
from adapters.readmodels.audit import AuditUnavailable
from adapters.readmodels.followers import Follower, Followers
from adapters.readmodels.past import PositionIsAhead
from adapters.readmodels.settings import Reading
from adapters.readmodels.views import LOOK_SECONDS, Progress
from domain.published import by_stored_name, matching
from domain.vocabulary import events, renamed

#: A page ends with the event that fills so many bytes: it is what a reader costs who does not read.
PAGE_BYTES = 128 * 1024
PAGE_EVENTS = 1_000
#: So many pages are read at once for all subscribers of a process: everybody else needs connections as well.
READERS = 2
#: What happens within so short a time is looked for once.
GATHER_SECONDS = 0.01


class Wanted(Struct, frozen=True):
    """What a subscriber has chosen: types or patterns of them (none: all), and the stream of one thing."""

    types: tuple[str, ...] = ()
    subject: str | None = None


class Told(Struct, frozen=True, gc=False):
    """A published event in its envelope, and its position."""

    position: int
    body: bytes


class Page(Struct, frozen=True):
    """Published events in order; up to `upto` there will never be others, so that is where one goes on."""

    events: Sequence[Told]
    upto: int
    is_full: bool
    #: The newest event of the workspace, which may not be told yet.
    newest: int


# Up to where the projector is, everything that will ever be there is there; see `audit`.
_PAGE = f"""
WITH frontier AS (SELECT coalesce(max(position), 0) AS position FROM checkpoints WHERE name = 'jobs' AND live),
head AS (SELECT coalesce(max(notification_id), 0) AS position FROM {TABLE} WHERE workspace_id = %(workspace_id)s)
SELECT frontier.position, head.position, page.*
FROM frontier CROSS JOIN head LEFT JOIN LATERAL (
    SELECT sized.* FROM (
        SELECT found.*, sum(octet_length(state)) OVER (ORDER BY notification_id) - octet_length(state) AS before
        FROM (
            SELECT {COLUMNS} FROM {TABLE}
            WHERE workspace_id = %(workspace_id)s AND notification_id > %(after)s
              AND notification_id <= frontier.position
              AND (topic = ANY(%(names)s::text[])
                   OR (topic <> ALL(%(known)s::text[]) AND topic LIKE ANY(%(patterns)s::text[])))
              AND (%(subject)s::text IS NULL OR originator_id = %(subject)s)
            ORDER BY notification_id LIMIT {PAGE_EVENTS}
        ) AS found
    ) AS sized
    WHERE sized.before < {PAGE_BYTES} ORDER BY sized.notification_id
) AS page ON true
"""


class Subscriptions:
    """Reads on for everybody who is subscribed in this process.

    Those who are at the same place and want the same are given the same page, which is read and written once.
    """

    def __init__(
        self,
        pool: Pool,
        followers: Followers,
        progress: Progress,
        envelopes: Envelopes,
        *,
        wait_seconds_max: float,
        retry_seconds: float = 10.0,
    ) -> None:
        self._pool = pool
        self._progress = progress
        self._wait_seconds_max = wait_seconds_max
        self._followers = followers
        self._envelopes = envelopes
        self._retry_seconds = retry_seconds
        self._readers = asyncio.Semaphore(READERS)
        self._reading: dict[tuple[str, int, Wanted], asyncio.Task[Page]] = {}

    @contextmanager
    def place(self, workspace_id: str) -> Iterator[Follower]:
        """A place to wait in; raises TooManyFollowers or NoRoomToWait."""
        with self._followers.place(workspace_id) as follower:
            yield follower

    async def newest(self) -> int:
        """The position after which comes what happens from now on."""

        async def ask(connection: AsyncConnection[TupleRow]) -> int:
            cursor = await connection.execute(
                "SELECT coalesce(max(position), 0) FROM checkpoints WHERE name = 'jobs' AND live"
            )
            return int((await cursor.fetchone() or (0,))[0])

        return await retrying(self._pool, ask, seconds=self._retry_seconds, refusal=AuditUnavailable)

    async def page(self, workspace_id: str, after: int, wanted: Wanted) -> Page:
        """What has happened after a position; raises PositionIsAhead for one that the log has not reached."""
        return await asyncio.shield(self.read(workspace_id, after, wanted))

    def read(self, workspace_id: str, after: int, wanted: Wanted) -> asyncio.Task[Page]:
        """The same, begun and not waited for: one page is read while the one before it is on its way."""
        key = (workspace_id, after, wanted)
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = asyncio.create_task(self._read(*key), name="subscribers-page")
            reading.add_done_callback(lambda task: self._over(key, task))
        return reading

    async def first(self, workspace_id: str, after: int, wanted: Wanted) -> Page:
        """The page with which a stream begins: what its reader has been told is done belongs to it, in bounds."""
        page = await self.page(workspace_id, after, wanted)
        deadline = monotonic() + self._wait_seconds_max
        needed = page.newest
        while not page.is_full and page.upto < needed and monotonic() < deadline:
            await self._progress.wait(page.upto + 1, LOOK_SECONDS)
            page = await self.page(workspace_id, after, wanted)
        return page

    async def next(self, follower: Follower, workspace_id: str, after: int, wanted: Wanted, seconds: float) -> Page:
        """The next page with events; one without, which may be further on, when none came for so long."""
        deadline = monotonic() + seconds
        while True:
            follower.hush(after)
            page = await self.page(workspace_id, after, wanted)
            after = page.upto
            left = deadline - monotonic()
            if page.events or left <= 0 or follower.is_over:
                return page
            if not page.is_full:
                await follower.wait(left)
                await asyncio.sleep(GATHER_SECONDS)

    def _over(self, key: tuple[str, int, Wanted], task: asyncio.Task[Page]) -> None:
        del self._reading[key]
        if not task.cancelled():
            # Whoever asked may have gone; then nobody else looks at what went wrong.
            task.exception()

    async def _read(self, workspace_id: str, after: int, wanted: Wanted) -> Page:
        names, known, patterns = _topics(wanted.types)

        async def ask(connection: AsyncConnection[TupleRow]) -> Sequence[Any]:
            cursor = await connection.execute(
                _PAGE.encode(),
                {
                    "workspace_id": workspace_id,
                    "after": after,
                    "names": names,
                    "known": known,
                    "patterns": patterns,
                    "subject": wanted.subject,
                },
                binary=True,
            )
            return await cursor.fetchall()

        async with self._readers:
            rows = await retrying(self._pool, ask, seconds=self._retry_seconds, refusal=AuditUnavailable)
        frontier, head = rows[0][:2]
        if after > max(frontier, head):
            raise PositionIsAhead(position=after, head=max(frontier, head))
        found = [row[2:15] for row in rows if row[2] is not None]
        written = [(row[0], self._envelopes.write(row)) for row in found]
        # By its number of events or by their bytes: only what is shorter than both has come to the end.
        last = rows[-1]
        is_full = len(found) == PAGE_EVENTS or (bool(found) and last[15] + len(last[13]) >= PAGE_BYTES)
        return Page(
            events=[Told(position, body) for position, body in written if body is not None],
            upto=found[-1][0] if is_full else max(after, frontier),
            is_full=is_full,
            newest=head,
        )


@lru_cache(256)
def _topics(types: tuple[str, ...]) -> tuple[str, str, str]:
    """The stored names of chosen types, all names that are known, and patterns for those that are not known yet.

    Each is an array as Postgres reads it: some hundred names need not be written anew for every page.
    """
    chosen = {each.type for each in matching(types)}
    names = [name for name, each in by_stored_name().items() if each.type in chosen]
    patterns = [each.replace("_", r"\_").replace("*", "%") for each in types] or ["%"]
    return _array(names), _array([*events(), *renamed()]), _array(patterns)


def _array(texts: Iterable[str]) -> str:
    """What Postgres reads as an array of texts."""
    quoted = (text.replace("\\", r"\\").replace('"', r"\"") for text in texts)
    return "{" + ",".join(f'"{each}"' for each in quoted) + "}"


@provides
def subscriptions(
    pool: Pool, followers: Followers, progress: Progress, envelopes: Envelopes, settings: Reading
) -> Subscriptions:
    """What is told to whoever is subscribed."""
    return Subscriptions(
        pool,
        followers,
        progress,
        envelopes,
        wait_seconds_max=settings.read_wait_seconds_max,
        retry_seconds=RETRY_SECONDS,
    )
