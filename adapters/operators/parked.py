"""Jobs and streams that were given up: looked at, tried again, or left out for good; all, or what a filter leaves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from adapters.log.recorder import TABLE
from domain.kernel import Value

Connection = AsyncConnection[TupleRow]

LIMIT_MAX = 10_000


class Filter(Value):
    """What of it is meant; null: it does not matter.

    `name` is a reaction, a read model, or whom or what something else was for; `problem` is part of a text.
    """

    kind: str | None = None
    name: str | None = None
    stream: str | None = None
    workspace_id: str | None = None
    position: int | None = None
    problem: str | None = None
    code_version: str | None = None


class Parked(Value):
    """A job, a stream from an event on that could not be folded, or something else by its kind.

    `about` is what that was; of jobs and streams their names say it. `code_version` is that which gave it up, where
    that may have been its fault. `position` is that of its event: of something else, of that which gave it up.
    """

    kind: str
    name: str
    about: str | None
    stream: str
    position: int
    workspace_id: str | None
    attempts: int | None
    problem: str
    code_version: str | None
    parked_at: datetime | None


class Done(Value):
    """How many jobs and how many streams were meant."""

    jobs: int
    streams: int


_ALL = f"""
SELECT 'job' AS kind, reaction AS name, NULL AS about, stream, position, workspace_id, attempts,
       coalesce(problem, '') AS problem, code_version, NULL::timestamptz AS parked_at, 1 AS version
FROM jobs WHERE state = 'parked'
UNION ALL
SELECT 'stream', p.subscription, NULL, p.stream, p.position, e.workspace_id, NULL, p.problem, p.code_version,
       p.parked_at, p.version
FROM parked p LEFT JOIN {TABLE} e ON e.notification_id = p.position
"""
#: Of rows that have these columns, those that a filter means; its fields are the parameters.
IS_MEANT = """
    (%(kind)s::text IS NULL OR kind = %(kind)s)
AND (%(name)s::text IS NULL OR name = %(name)s OR about = %(name)s)
AND (%(stream)s::text IS NULL OR stream = %(stream)s)
AND (%(workspace_id)s::text IS NULL OR workspace_id = %(workspace_id)s)
AND (%(position)s::bigint IS NULL OR position = %(position)s)
AND (%(problem)s::text IS NULL OR position(lower(%(problem)s) IN lower(problem)) > 0)
AND (%(code_version)s::text IS NULL OR code_version = %(code_version)s)
"""
_MEANT = f"SELECT * FROM ({_ALL}) AS a WHERE {IS_MEANT}"


async def parked(connection: Connection, meant: Filter, limit: int = LIMIT_MAX) -> list[Parked]:
    """What was given up, jobs first."""
    cursor = await connection.execute(
        f"{_MEANT} ORDER BY kind, name, position LIMIT %(limit)s".encode(), {**named(meant), "limit": limit}
    )
    return [of_row(row) for row in await cursor.fetchall()]


async def retry(connection: Connection, meant: Filter) -> Done:
    """Give jobs another set of attempts, and have streams folded again from the event that failed."""
    return await _apply(
        connection,
        meant,
        "UPDATE jobs t SET state = 'ready', attempts = 0, problem = NULL FROM meant m "
        "WHERE m.kind = 'job' AND t.reaction = m.name AND t.position = m.position AND t.state = 'parked' RETURNING 1",
        "UPDATE parked t SET retry = true FROM meant m "
        "WHERE m.kind = 'stream' AND (t.subscription, t.version, t.stream) = (m.name, m.version, m.stream) RETURNING 1",
    )


async def skip(connection: Connection, meant: Filter) -> Done:
    """Leave it out for good: a job is never done, an event never folded; what waited behind them goes on.

    A read model that is folded again leaves it out as well.
    """
    return await _apply(
        connection,
        meant,
        "DELETE FROM jobs t USING meant m "
        "WHERE m.kind = 'job' AND t.reaction = m.name AND t.position = m.position AND t.state = 'parked' RETURNING 1",
        "UPDATE parked t SET retry = true, skip = true FROM meant m "
        "WHERE m.kind = 'stream' AND (t.subscription, t.version, t.stream) = (m.name, m.version, m.stream) RETURNING 1",
    )


async def _apply(connection: Connection, meant: Filter, to_jobs: str, to_streams: str) -> Done:
    cursor = await connection.execute(
        f"WITH meant AS MATERIALIZED ({_MEANT}), jobs_meant AS ({to_jobs}), streams_meant AS ({to_streams}) "
        "SELECT (SELECT count(*) FROM jobs_meant), (SELECT count(*) FROM streams_meant)".encode(),
        named(meant),
    )
    [(jobs, streams)] = await cursor.fetchall()
    return Done(jobs=jobs, streams=streams)


def of_row(row: TupleRow) -> Parked:
    """What is shown of a row; whatever comes after that is not."""
    return Parked(**dict(zip(Parked.__struct_fields__, row, strict=False)))


def named(meant: Filter) -> dict[str, Any]:
    """The parameters of `IS_MEANT`."""
    return {name: getattr(meant, name) for name in meant.__struct_fields__}
