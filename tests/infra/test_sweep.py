"""Files that nobody waits for go; files of work to be done stay."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from io import BytesIO
from uuid import uuid4

import psycopg
import pytest

from commands.analyses.sweeping import sweep_recordings
from domain.analyses.analyses import AnalysisFailed, AnalysisRequested, analyses
from domain.kernel import Event
from infra.embedded.nats import EmbeddedNats
from infra.migrate import migrate
from infra.processes import LEFT_BEHIND, tick
from tests.conftest import Bucket
from tests.journeys.kit import settings_for
from tests.scene import Scene

NOW = datetime.now(UTC)


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
    scene = Scene()
    if events[history]:
        scene.given(analyses, analysis_id, *events[history])
    key = f"uploads/w/{analysis_id}"
    await scene.blobs.put_bytes(key, b"RIFF", content_type="audio/wav")

    ports = await scene.ports(sweep_recordings.ports)
    swept = await sweep_recordings.handler(ports, datetime.now(UTC) + age - LEFT_BEHIND)

    assert (await scene.blobs.exists(key), swept) == (stays, int(not stays))


async def test_what_is_kept_beside_the_log_goes_when_its_time_is_over(
    database_url: str, nats_server: EmbeddedNats, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.processes.LEFT_BEHIND", -timedelta(minutes=1))
    for key in ("uploads/w/never-asked-for", "imports/w/never-asked-for", "downloads/w/never-asked-for"):
        bucket.client.put_object(bucket.name, key, BytesIO(b"bytes"), 5)
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
            objects = bucket.client.list_objects(bucket.name, recursive=True)
            return [[str(each.object_name) for each in objects]] + [
                [row[0] for row in postgres.execute(f"SELECT {column} FROM {table} ORDER BY 1")]
                for table, column in (
                    ("credential_uses", "credential_id"),
                    ("request_origins", "workspace_id"),
                    ("rate_windows", "key"),
                )
            ]

        stop = asyncio.Event()
        ticking = asyncio.create_task(tick(settings, stop, lambda _: None))
        expected = [["downloads/w/never-asked-for"], ["last month", "last week"], ["last week"], ["now"]]
        async with asyncio.timeout(20):
            while left() != expected and not ticking.done():  # noqa: ASYNC110 - Postgres tells nobody
                await asyncio.sleep(0.05)
        stop.set()
        await ticking
        assert left() == expected
