"""What operators wait for on a long log: `status`, and a backup and its restore, beside the same without the log.

    python -m tests.benchmarks.operators [--events 1000000] [--rounds 15]

Status is compared with itself on an empty log, a backup with a bare COPY of the same rows to a file, and a restore with
the backup. Memory is what the process has grown by while it wrote, whatever the length of the log.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
import psycopg
from psycopg import AsyncConnection

from adapters.log.data_keys import export_keys
from adapters.log.recorder import COLUMNS, TABLE
from adapters.operators import backup
from adapters.operators.restoring import restore_database
from adapters.operators.status import status
from adapters.storage.blobs import Blobs
from adapters.stream.bus import Bus
from infra.container import container
from infra.embedded.blobs import EmbeddedBlobs
from infra.settings import read_settings
from tests.benchmarks.measuring import argument, database, median, nats, postgres, run, say

SECRET = "x" * 40
STATUS_SECONDS_MAX = 0.2
#: What a process may grow by that writes a backup of whatever length.
GROWTH_BYTES_MAX = 64 << 20
_FILL = f"""
INSERT INTO {TABLE} (originator_id, originator_version, topic, state, workspace_id)
SELECT 'analysis-' || n / 10, 1 + n %% 10, 'analyses.AnalysisStarted',
       convert_to('{{"analysis_id":"' || md5((n / 10)::text) || '","started_at":"2026-11-22T12:00:00Z"}}', 'UTF8'),
       'w' || n %% 100
FROM generate_series(0, %s - 1) AS n
"""


async def main() -> None:
    """Measure, print, and end with 1 where a goal is missed."""
    events, rounds = argument("events", 1_000_000), argument("rounds", 15)
    with (
        postgres() as server,
        nats() as stream,
        tempfile.TemporaryDirectory(prefix="ledgerline-bench-") as place,
        ExitStack() as stack,
    ):
        objects = EmbeddedBlobs(Path(place) / "blobs")
        objects.start()
        stack.callback(objects.stop)
        url, root = database(server), Path(place) / "backup"
        settings = read_settings(
            {
                "LEDGERLINE_POSTGRES_URL": url,
                "LEDGERLINE_NATS_URL": stream.url,
                "LEDGERLINE_S3_URL": objects.url,
                "LEDGERLINE_S3_ACCESS_KEY": objects.access_key,
                "LEDGERLINE_S3_SECRET_KEY": objects.secret_key,
                "LEDGERLINE_SECRET_KEY": SECRET,
            }
        )
        async with (
            container(settings) as here,
            await AsyncConnection.connect(url, autocommit=True) as connection,
        ):
            bus, blobs = await here.get(Bus), await here.get(Blobs)

            async def look() -> float:
                seconds = []
                for _ in range(rounds):
                    begin = perf_counter()
                    await status(connection, bus, blobs)
                    seconds.append(perf_counter() - begin)
                return median(seconds)

            empty = await look()
            await connection.execute(_FILL.encode(), (events,))
            # Nobody writes a million events in one statement: what the server tidies after it is not the log's.
            await connection.execute(b"CHECKPOINT")
            await connection.execute(f"VACUUM ANALYZE {TABLE}".encode())
            full = await look()
        copied = seconds_of(lambda: copy(url, Path(place) / "copied"))
        before = psutil.Process().memory_info().rss
        wrote = seconds_of(lambda: back_up(url, root, events))
        grown = psutil.Process().memory_info().rss - before
        size = sum(each.stat().st_size for each in root.rglob("*") if each.is_file())
        keys = backup.open_keys((backup.parts(root)[-1][0] / "keys.sealed").read_bytes(), SECRET)
        other = database(server)
        restored = seconds_of(lambda: restore_database(other, root, keys))
        with psycopg.connect(other) as there:
            assert there.execute(f"SELECT count(*) FROM {TABLE}".encode()).fetchall() == [(events,)]
    print(f"a log of {events} events")
    say("status, median", full * 1e3, "ms", goal="< 200", note=f"{full / empty:.1f} times as long as on an empty log")
    say("backup", events / wrote, "events/s", note=f"{copied / wrote:.2f} of COPY, {size / events:.0f} bytes an event")
    say("restore", events / restored, "events/s", note=f"{wrote / restored:.2f} of the backup")
    say("memory grew while writing by", grown / (1 << 20), "MiB", goal="< 64")
    if full >= STATUS_SECONDS_MAX or grown >= GROWTH_BYTES_MAX:
        sys.exit(1)


def seconds_of(work: Callable[[], Any]) -> float:
    """How long it took."""
    begin = perf_counter()
    work()
    return perf_counter() - begin


def copy(url: str, path: Path) -> None:
    """All columns of all events, to a file."""
    query = f"COPY (SELECT {COLUMNS} FROM {TABLE}) TO STDOUT".encode()
    with (
        psycopg.connect(url) as connection,
        connection.cursor() as cursor,
        path.open("wb") as file,
        cursor.copy(query) as rows,
    ):
        file.writelines(rows)


def back_up(url: str, root: Path, events: int) -> None:
    """A first backup without objects, as the command writes it."""
    with (
        backup.alone(root),
        psycopg.connect(url, autocommit=True) as connection,
        backup.snapshot(connection) as (until, state),
        backup.new_part(root, 0, until) as part,
    ):
        keys = backup.Keys(secret_key=SECRET, data_keys=export_keys(connection, SECRET.encode()))
        (part / "keys.sealed").write_bytes(backup.seal_keys(keys, SECRET))
        assert backup.write_part(connection, part, 0, until, state) == events
        (part / "objects.ndjson.zst").write_bytes(b"")
        backup.seal_part(root, part, after=0, until=until, events=events, objects=0)


if __name__ == "__main__":
    run(main)
