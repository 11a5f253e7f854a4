"""What an operator asks: how far read models lag, how much is parked, and who waits for work."""

from __future__ import annotations

from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from adapters.log.recorder import TABLE
from domain.kernel import Value

Connection = AsyncConnection[TupleRow]


class Condition(Value, frozen=True):
    """How the read models are: `behind_events` positions (holes count) and `behind_seconds` behind the log at most.

    `behind_seconds` is the age of the oldest event that some read model has not folded, 0 when there is none;
    `moved_at` is when a checkpoint was last moved, None before the first projector.
    """

    behind_events: int
    behind_seconds: float
    moved_at: datetime | None
    parked_events: int
    parked_jobs: int


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
        WITH here AS (SELECT min(position) AS position, max(moved_at) AS moved_at FROM checkpoints WHERE live)
        SELECT greatest((SELECT max(notification_id) FROM {TABLE}) - coalesce(here.position, 0), 0), (
                   SELECT extract(epoch FROM clock_timestamp() - e.recorded_at)::float8 FROM {TABLE} e
                   WHERE e.notification_id > coalesce(here.position, 0) ORDER BY e.notification_id LIMIT 1
               ), here.moved_at, (SELECT count(*) FROM parked), (SELECT count(*) FROM jobs WHERE state = 'parked')
        FROM here
        """.encode()
    )
    [(behind, seconds, moved_at, events, jobs)] = await cursor.fetchall()
    return Condition(
        behind_events=behind or 0,
        behind_seconds=max(seconds or 0.0, 0.0),
        moved_at=moved_at,
        parked_events=events,
        parked_jobs=jobs,
    )


async def waiting(connection: Connection, limit: int = 100) -> list[Waiting]:
    """Who waits for what: at most so many workspaces and reactions, those with the most ready jobs first."""
    cursor = await connection.execute(
        "SELECT workspace_id, reaction, count(*) FILTER (WHERE state = 'ready'), "
        "count(*) FILTER (WHERE state = 'running'), "
        "greatest(coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE state = 'ready')), 0), 0)::float8 "
        "FROM jobs WHERE state IN ('ready', 'running') GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT %s",
        (limit,),
    )
    return [
        Waiting(workspace_id=workspace_id, reaction=reaction, ready=ready, running=running, oldest_seconds=seconds)
        for workspace_id, reaction, ready, running, seconds in await cursor.fetchall()
    ]
