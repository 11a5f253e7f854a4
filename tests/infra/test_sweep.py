"""Files that nobody waits for go; files of work to be done stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from adapters.log.memory import MemoryLedger
from adapters.storage.blobs import Listed
from domain.analyses.analyses import AnalysisFailed, AnalysisRequested
from domain.kernel import Event
from domain.ledger import Context
from infra.embedded.nats import EmbeddedNats
from infra.migrate import migrate
from infra.processes import tick
from infra.sweep import sweep_uploads
from tests.conftest import Bucket
from tests.journeys.kit import settings_for

NOW = datetime.now(UTC)


class Shelf:
    """The object store as the sweep knows it."""

    def __init__(self, ages: dict[str, timedelta]) -> None:
        self.objects = {key: Listed(key=key, size=1, modified_at=NOW - age) for key, age in ages.items()}

    async def sweep(self, begun_before: datetime) -> int:
        assert begun_before < NOW
        return 0

    async def list(self, prefix: str) -> AsyncIterator[Listed]:
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield self.objects[key]

    async def delete(self, key: str) -> None:
        del self.objects[key]


def past(streams: dict[str, list[Event]]) -> MemoryLedger:
    """The ledger as the sweep knows it."""
    log = MemoryLedger(lambda: NOW)
    for stream, events in streams.items():
        for event in events:
            log.keep(stream, event, Context(correlation_id=uuid4()))
    return log


def requested(analysis_id: str) -> AnalysisRequested:
    return AnalysisRequested(
        analysis_id=analysis_id, workspace_id="w", origin="upload", source_url="storage://x", requested_at=NOW
    )


@pytest.mark.parametrize(
    ("history", "age", "stays"),
    [
        ("never asked for", timedelta(hours=2), False),
        ("never asked for", timedelta(minutes=1), True),
        ("waiting", timedelta(days=30), True),
        ("over", timedelta(hours=2), False),
    ],
)
async def test_a_file_goes_only_when_nobody_waits_for_it(history: str, age: timedelta, stays: bool) -> None:
    analysis_id = str(uuid4())
    events: dict[str, list[Event]] = {
        "never asked for": [],
        "waiting": [requested(analysis_id)],
        "over": [requested(analysis_id), AnalysisFailed(analysis_id=analysis_id, reason="x", failed_at=NOW)],
    }
    shelf = Shelf({f"uploads/w/{analysis_id}": age})

    await sweep_uploads(shelf, past({f"analysis-{analysis_id}": events[history]}))  # type: ignore[arg-type]  # twins

    assert (len(shelf.objects) == 1) is stays


async def test_what_is_kept_beside_the_log_goes_when_its_time_is_over(
    database_url: str, nats_server: EmbeddedNats, bucket: Bucket
) -> None:
    migrate(database_url)
    settings = settings_for(
        database_url,
        nats_server.url,
        bucket.url,
        bucket.access_key,
        bucket.secret_key,
        bucket.name,
        audit_origin_days=9,
    )
    with psycopg.connect(database_url, autocommit=True) as postgres:
        for name, days in (("last week", 7), ("last month", 30), ("years ago", 700)):
            ago = timedelta(days=days)
            postgres.execute("INSERT INTO credential_uses VALUES (%s, now() - %s)", (name, ago))
            postgres.execute(
                "INSERT INTO request_origins (workspace_id, correlation_id, seen_at) "
                "VALUES (%s, gen_random_uuid(), now() - %s)",
                (name, ago),
            )
            postgres.execute(
                "INSERT INTO rate_windows VALUES (%s, extract(epoch FROM now() - %s)::bigint, 1, 1)", (name, ago)
            )
        postgres.execute("INSERT INTO rate_windows VALUES ('now', extract(epoch FROM now())::bigint + 60, 1, 1)")

        def left() -> list[list[str]]:
            return [
                [row[0] for row in postgres.execute(f"SELECT {column} FROM {table} ORDER BY 1")]
                for table, column in (
                    ("credential_uses", "credential_id"),
                    ("request_origins", "workspace_id"),
                    ("rate_windows", "key"),
                )
            ]

        stop = asyncio.Event()
        ticking = asyncio.create_task(tick(settings, stop, lambda _: None))
        expected = [["last month", "last week"], ["last week"], ["now"]]
        async with asyncio.timeout(20):
            while left() != expected and not ticking.done():  # noqa: ASYNC110 - Postgres tells nobody
                await asyncio.sleep(0.05)
        stop.set()
        await ticking
        assert left() == expected
