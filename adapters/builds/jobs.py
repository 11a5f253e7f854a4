"""Jobs of builds in Postgres: whoever asks first has the next one, and workspaces come in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from adapters.postgres.retrying import Pool, retrying
from adapters.provides import provides
from commands.builds import ports
from commands.builds.ports import Chunk, JobRow
from domain.kernel import Unavailable
from domain.studio.projects import Format, Platform

_JOB = "build_id, platform, workspace_id, state, runner_id, fence, step, progress, log_bytes"

# A lease that has run out is as good as none: its runner is dead, or has been away for too long. The workspace comes
# first whose last lease is the oldest, so that a hundred builds of one do not make all others wait.
_CLAIM = f"""
UPDATE build_jobs SET state = 'claimed', runner_id = %(runner)s, fence = fence + 1, step = '', progress = 0,
    lease_until = now() + %(lease)s * interval '1 second'
WHERE (build_id, platform) = (
    SELECT build_id, platform FROM build_jobs AS job
    WHERE (state = 'ready' OR (state = 'claimed' AND lease_until < now()))
      AND platform = ANY(%(platforms)s) AND formats <@ %(formats)s::text[]
      AND (%(workspace)s::text IS NULL OR workspace_id = %(workspace)s)
    ORDER BY (SELECT max(lease_until) FROM build_jobs WHERE workspace_id = job.workspace_id) NULLS FIRST, queued_at
    LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING {_JOB}
"""


class Free(NamedTuple):
    """So many jobs of one kind that nobody has."""

    workspace_id: str
    platform: str
    formats: Sequence[str]
    number: int


class JobsUnavailable(Unavailable):
    """Builds cannot be looked up for the moment. Try again shortly."""


class Jobs(ports.Jobs):
    """See `commands.builds.ports.Jobs`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def _rows(self, query: str, parameters: Any) -> list[tuple[Any, ...]]:
        async def ask(connection: AsyncConnection[TupleRow]) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(query.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

        return await retrying(self._pool, ask, seconds=5.0, refusal=JobsUnavailable)

    async def put(
        self,
        build_id: str,
        project_id: str,
        workspace_id: str,
        formats: Mapping[Platform, Sequence[Format]],
        *,
        ready: bool,
    ) -> None:
        """Let a build wait on each platform, for a runner of these formats when ready, otherwise for a source."""
        await self._rows(
            "INSERT INTO build_jobs (build_id, platform, project_id, workspace_id, formats, state) "
            "SELECT %s, platform, %s, %s, ARRAY(SELECT jsonb_array_elements_text(formats)), %s "
            "FROM jsonb_each(%s) AS wanted (platform, formats) "
            "ON CONFLICT (build_id, platform) DO UPDATE SET state = excluded.state WHERE build_jobs.state = 'waiting'",
            (build_id, project_id, workspace_id, "ready" if ready else "waiting", Jsonb(dict(formats))),
        )

    async def claim(
        self, runner_id: str, workspace_id: str | None, platforms: Sequence[str], formats: Sequence[str], lease: float
    ) -> JobRow | None:
        """The next job that a runner can do, under a new fence: the oldest of the workspace whose turn it is."""
        rows = await self._rows(
            _CLAIM,
            {
                "runner": runner_id,
                "lease": lease,
                "platforms": list(platforms),
                "formats": list(formats),
                "workspace": workspace_id,
            },
        )
        return _job(rows[0]) if rows else None

    async def free(self, workspaces: Sequence[str] | None) -> Sequence[Free]:
        """What runners of these workspaces, or of all, could have now: the kinds of jobs that nobody has."""
        rows = await self._rows(
            "SELECT workspace_id, platform, formats, count(*) FROM build_jobs "
            "WHERE (state = 'ready' OR (state = 'claimed' AND lease_until < now())) "
            "AND (%(workspaces)s::text[] IS NULL OR workspace_id = ANY(%(workspaces)s)) "
            "GROUP BY workspace_id, platform, formats",
            {"workspaces": None if workspaces is None else list(workspaces)},
        )
        return [Free(*row) for row in rows]

    async def assign(self, build_id: str, holder: str, fence: int) -> None:
        """Let somebody who is no runner have all jobs of a build that wait, for as long as it takes."""
        await self._rows(
            "UPDATE build_jobs SET state = 'claimed', runner_id = %s, fence = %s, lease_until = NULL "
            "WHERE build_id = %s AND state = 'waiting'",
            (holder, fence, build_id),
        )

    async def extend(self, build_id: str, platform: str, runner_id: str, fence: int, lease: float) -> datetime | None:
        """Keep a job for longer; None when somebody else has it, or it is over."""
        rows = await self._rows(
            "UPDATE build_jobs SET lease_until = now() + %s * interval '1 second' "
            "WHERE build_id = %s AND platform = %s AND runner_id = %s AND fence = %s AND state = 'claimed' "
            "RETURNING lease_until",
            (lease, build_id, platform, runner_id, fence),
        )
        return rows[0][0] if rows else None

    async def note(self, build_id: str, platform: str, fence: int, step: str, progress: int) -> bool:
        """Write down how far a job is; whether it is still whose fence this is."""
        rows = await self._rows(
            "UPDATE build_jobs SET step = %s, progress = %s "
            "WHERE build_id = %s AND platform = %s AND fence = %s AND state = 'claimed' RETURNING 1",
            (step, progress, build_id, platform, fence),
        )
        return bool(rows)

    async def release(self, build_id: str, platform: str, fence: int) -> None:
        """Let another runner have it."""
        await self._rows(
            "UPDATE build_jobs SET state = 'ready', runner_id = '', lease_until = NULL "
            "WHERE build_id = %s AND platform = %s AND fence = %s AND state = 'claimed'",
            (build_id, platform, fence),
        )

    async def close(self, build_id: str, platform: str | None = None) -> None:
        """Nobody is to have it any more."""
        await self._rows(
            "UPDATE build_jobs SET state = 'over' WHERE build_id = %s AND (%s::text IS NULL OR platform = %s)",
            (build_id, platform, platform),
        )

    async def of(self, build_id: str) -> Sequence[JobRow]:
        """The jobs of a build."""
        rows = await self._rows(f"SELECT {_JOB} FROM build_jobs WHERE build_id = %s ORDER BY platform", (build_id,))
        return [_job(row) for row in rows]

    async def add_chunk(self, build_id: str, platform: str, fence: int, chunk: Chunk) -> int | None:
        """Append a piece to a log, if its end is where the piece begins; the log's length, None for a wrong fence."""
        rows = await self._rows(
            "WITH grown AS ("
            "  UPDATE build_jobs SET log_bytes = log_bytes + %(size)s WHERE build_id = %(build)s "
            "  AND platform = %(platform)s AND fence = %(fence)s AND state = 'claimed' AND log_bytes = %(start)s "
            "  RETURNING log_bytes"
            "), kept AS ("
            "  INSERT INTO build_log_chunks (build_id, platform, start, size, object_key) "
            "  SELECT %(build)s, %(platform)s, %(start)s, %(size)s, %(key)s FROM grown"
            ") SELECT log_bytes FROM grown",
            {
                "build": build_id,
                "platform": platform,
                "fence": fence,
                "start": chunk.start,
                "size": chunk.size,
                "key": chunk.object_key,
            },
        )
        if rows:
            return int(rows[0][0])
        rows = await self._rows(
            "SELECT log_bytes FROM build_jobs "
            "WHERE build_id = %s AND platform = %s AND fence = %s AND state = 'claimed'",
            (build_id, platform, fence),
        )
        return int(rows[0][0]) if rows else None

    async def chunks(self, build_id: str, platform: str, start: int) -> Sequence[Chunk]:
        """The pieces of a log from an offset on."""
        rows = await self._rows(
            "SELECT start, size, object_key FROM build_log_chunks "
            "WHERE build_id = %s AND platform = %s AND start + size > %s ORDER BY start",
            (build_id, platform, start),
        )
        return [Chunk(start=row[0], size=row[1], object_key=row[2]) for row in rows]

    async def waiting_for_source(self, project_id: str) -> Sequence[str]:
        """The builds of a project that wait for a source."""
        query = "SELECT DISTINCT build_id FROM build_jobs WHERE project_id = %s AND state = 'waiting'"
        return [row[0] for row in await self._rows(query, (project_id,))]

    async def unfinished(self, workspace_id: str) -> Sequence[str]:
        """The builds of a workspace of which a job is not over."""
        query = "SELECT DISTINCT build_id FROM build_jobs WHERE workspace_id = %s AND state <> 'over' ORDER BY build_id"
        return [row[0] for row in await self._rows(query, (workspace_id,))]

    async def forget(self, workspace_id: str) -> None:
        """Remove all of a workspace's jobs."""
        await self._rows("DELETE FROM build_jobs WHERE workspace_id = %s", (workspace_id,))


def _job(row: tuple[Any, ...]) -> JobRow:
    return JobRow(**dict(zip(_JOB.split(", "), row, strict=True)))


@provides
def jobs(pool: Pool) -> Jobs:
    """Where jobs of builds wait for runners."""
    return Jobs(pool)
