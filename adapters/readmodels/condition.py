"""What an operator asks: how far read models lag, how much is parked, and who waits for work."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from adapters.log.recorder import TABLE
from domain.kernel import Value

Connection = AsyncConnection[TupleRow]

log = structlog.get_logger(__name__)

#: A read that waits for its own write gives up after two seconds; who lags as much has something the matter.
BEHIND_SECONDS_MAX = 5.0
#: A projector that starts together with everything else has built them within that.
STARTING_SECONDS = 15.0
#: How often it is said how things are, while they stay as they are.
SAID_SECONDS = 60.0
#: Whoever waits for longer is named.
LATE_SECONDS = 30.0
LATE_MAX = 5
LOOKED_AT_MAX = 100_000
#: A projector shows itself every two seconds.
SILENT_SECONDS_MAX = 10.0


class Condition(Value, frozen=True):
    """How the read models are: `behind_events` positions (holes count) and `behind_seconds` behind the log at most.

    `behind_seconds` is the age of the oldest event that some read model has not folded, 0 when there is none;
    `moved_at` is when a checkpoint was last moved, None before the first projector; `silent_seconds` is how long ago
    a projector was last seen at work.
    """

    head: int
    behind_events: int
    behind_seconds: float
    moved_at: datetime | None
    silent_seconds: float
    parked_events: int
    parked_jobs: int

    @property
    def is_well(self) -> bool:
        """Whether there is nothing for an operator to look after."""
        return self.read_models == "ok" and not self.parked_events and not self.parked_jobs

    @property
    def read_models(self) -> str:
        """How they are, in a word: `ok`, `not built yet`, `stopped` (no projector is at work), or `behind`."""
        if self.moved_at is None:
            return "not built yet"
        if self.silent_seconds > SILENT_SECONDS_MAX:
            return "stopped"
        return "behind" if self.behind_seconds > BEHIND_SECONDS_MAX else "ok"


class Waiting(Value, frozen=True):
    """The jobs of one workspace and reaction that are due or under way."""

    workspace_id: str
    reaction: str
    ready: int
    running: int
    oldest_seconds: float


async def condition(connection: Connection) -> Condition:
    """How far the read models are, and how much is parked."""
    cursor = await connection.execute(
        f"""
        WITH here AS (
            SELECT min(position) AS position, max(moved_at) AS moved_at,
                   extract(epoch FROM clock_timestamp() - max(greatest(seen_at, moved_at)))::float8 AS silent
            FROM checkpoints WHERE live
        )
        SELECT coalesce((SELECT max(notification_id) FROM {TABLE}), 0), coalesce(here.position, 0), (
                   SELECT extract(epoch FROM clock_timestamp() - e.recorded_at)::float8 FROM {TABLE} e
                   WHERE e.notification_id > coalesce(here.position, 0) ORDER BY e.notification_id LIMIT 1
               ), here.moved_at, here.silent, (SELECT count(*) FROM parked), (
                   SELECT count(*) FROM jobs WHERE state = 'parked'
               )
        FROM here
        """.encode()
    )
    [(head, position, seconds, moved_at, silent, events, jobs)] = await cursor.fetchall()
    return Condition(
        head=head,
        behind_events=max(head - position, 0),
        behind_seconds=max(seconds or 0.0, 0.0),
        moved_at=moved_at,
        silent_seconds=max(silent or 0.0, 0.0),
        parked_events=events,
        parked_jobs=jobs,
    )


async def waiting(connection: Connection, limit: int = 100) -> list[Waiting]:
    """Who waits for what: at most so many workspaces and reactions, those with the most ready jobs first.

    Of a backlog beyond `LOOKED_AT_MAX` a part is looked at.
    """
    cursor = await connection.execute(
        "SELECT workspace_id, reaction, count(*) FILTER (WHERE state = 'ready'), "
        "count(*) FILTER (WHERE state = 'running'), "
        "greatest(coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE state = 'ready')), 0), 0)::float8 "
        "FROM (SELECT * FROM jobs WHERE state IN ('ready', 'running') LIMIT %s) AS j "
        "GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT %s",
        (LOOKED_AT_MAX, limit),
    )
    return [
        Waiting(workspace_id=workspace_id, reaction=reaction, ready=ready, running=running, oldest_seconds=seconds)
        for workspace_id, reaction, ready, running, seconds in await cursor.fetchall()
    ]


class Bulletin:
    """Says in the log how things are: once a minute, and at once when they become worse or better.

    Read models that are not built yet are so at every first start, and worth a warning once they have had a moment.
    """

    def __init__(self) -> None:
        self._looked_at: float | None = None
        self._said_at: float | None = None
        self._was_well = True

    def tell(self, found: Condition, waiting: Sequence[Waiting], at: float) -> None:
        """Say it if it is time to; `at` is a clock in seconds that only goes forward."""
        if self._looked_at is None:
            self._looked_at = at
        if found.read_models == "not built yet" and at - self._looked_at < STARTING_SECONDS:
            return
        if found.is_well == self._was_well and self._said_at is not None and at - self._said_at < SAID_SECONDS:
            return
        self._said_at, self._was_well = at, found.is_well
        write = log.info if found.is_well else log.warning
        late = sorted(
            (each for each in waiting if each.oldest_seconds > LATE_SECONDS), key=lambda each: each.oldest_seconds
        )
        write(
            "service.condition",
            read_models=found.read_models,
            behind_events=found.behind_events,
            behind_seconds=round(found.behind_seconds, 1),
            parked_events=found.parked_events,
            parked_jobs=found.parked_jobs,
            ready_jobs=sum(each.ready for each in waiting),
            running_jobs=sum(each.running for each in waiting),
            late=[
                {
                    "workspace_id": each.workspace_id,
                    "reaction": each.reaction,
                    "ready": each.ready,
                    "oldest_seconds": round(each.oldest_seconds),
                }
                for each in late[: -LATE_MAX - 1 : -1]
            ],
        )
