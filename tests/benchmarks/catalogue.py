"""A catalogue of 10,000 tracks and five years of plays: what a read costs. A million royalty lines beside bare COPY.

Reads go through the same code as the routes, one after the other. The import runs in a process of its own, whose memory
is watched; what it is compared with is the COPY of the very same rows into an empty table without indexes.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
from datetime import UTC, date, datetime, timedelta
from multiprocessing.queues import Queue
from pathlib import Path
from time import perf_counter, process_time
from typing import Any
from uuid import UUID

import psutil
import psycopg
import structlog

from adapters.catalogue.books import Books
from adapters.catalogue.importing import Importer
from adapters.catalogue.plays import Plays
from adapters.readmodels.projector import Projector
from adapters.readmodels.views import Progress, Reads
from adapters.stream.bus import Bus
from adapters.stream.feed import Feed
from commands.catalogue.ports import Sent, track_id
from commands.catalogue.tracks import AddTrack
from commands.kernel import execute
from domain.catalogue.imports import Options
from domain.catalogue.tracks import Details
from domain.ledger import Context
from projections.catalogue.tracks import track_counts, track_documents
from tests.benchmarks.measuring import argument, database, ledger, median, postgres, run, say, until

W = "w1"
HEADER = (
    "Reporting Date\tSale Month\tStore\tArtist\tTitle\tISRC\tUPC\tQuantity\tTeam Percentage\tSong/Album\t"
    "Country of Sale\tSongwriter Royalties Withheld\tEarnings (USD)\n"
)


def isrc(number: int) -> str:
    """The code of a track."""
    return f"QZABC{number:07d}"


async def main() -> None:
    """Reads, then the import."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    tracks, days, lines = argument("tracks", 10_000), argument("days", 1826), argument("lines", 1_000_000)
    with postgres() as server:
        url = database(server)
        await reads(url, tracks, days)
        await asyncio.to_thread(imports, url, lines)


async def reads(url: str, tracks: int, days: int) -> None:
    """Medians of the overview and of a year of one track."""
    async with ledger(url) as (log, pool):
        context = Context(correlation_id=UUID(int=1), workspace_id=W)
        now = datetime(2026, 1, 1, tzinfo=UTC)

        async def add(number: int) -> None:
            details = Details(title=f"Song {number}", artist=f"Artist {number % 500}", label="A label")
            code = isrc(number)
            await execute(
                AddTrack(track_id=track_id(W, code), workspace_id=W, isrc=code, details=details), log, now, context
            )

        for first in range(0, tracks, 500):
            await asyncio.gather(*map(add, range(first, min(first + 500, tracks))))
        bus = Bus("nats://127.0.0.1:1", "none")
        projector = Projector(log, Feed(log, bus), pool, [track_documents], [track_counts], [])
        stop = asyncio.Event()
        task = asyncio.create_task(projector.run(stop))
        await until(lambda: projector.position >= tracks)
        stop.set()
        await task
        await asyncio.to_thread(fill, url, tracks, days)
        books = Books(Reads(log, pool, Progress(bus)))
        overviews: list[float] = []
        again: list[float] = []
        series: list[float] = []
        last = date(2026, 1, 1)
        for number in range(60):
            begin = perf_counter()
            found = await books.overview(W, last - timedelta(days=number % days))
            overviews.append((perf_counter() - begin) * 1000)
            assert len(found.best_tracks) == 10
            begin = perf_counter()
            await books.overview(W, found.day)
            again.append((perf_counter() - begin) * 1000)
            begin = perf_counter()
            year = await books.series(W, isrc(number * 97 % tracks), 365)
            series.append((perf_counter() - begin) * 1000)
            assert len(year) == min(365, days)
        plays = Plays(Reads(log, pool, Progress(bus)), books)
        asked: dict[str, list[float]] = {
            "30 days": [],
            "a year": [],
            "the best of 30 days": [],
            "the best of a year": [],
        }
        for number in range(5):
            until_day = last - timedelta(days=number)
            for name, length in (("30 days", 30), ("a year", 365)):
                begin = perf_counter()
                told = await plays.days(W, until_day - timedelta(days=2 * length - 1), until_day)
                asked[name].append((perf_counter() - begin) * 1000)
                assert told
            for name, length in (("the best of 30 days", 30), ("the best of a year", 365)):
                begin = perf_counter()
                since = until_day - timedelta(days=length - 1)
                best = await plays.best(W, "track", since - timedelta(days=length), since, until_day, limit=10)
                asked[name].append((perf_counter() - begin) * 1000)
                assert len(best) == 10
    print(f"{tracks:,} tracks, {days:,} days, {tracks * days:,} rows")
    say("the overview of a day that was not asked for before", median(overviews[1:31]), "ms", goal="< 20")
    say("the overview of a day again", median(again), "ms", goal="< 20")
    say("a year of one track, median", median(series), "ms", goal="< 20")
    for name, taken in asked.items():
        say(f"plays of all tracks beside those before: {name}", median(taken), "ms")


def fill(url: str, tracks: int, days: int) -> None:
    """Plays of every track on every day."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO catalogue_workspaces (workspace_id) VALUES (%s)", (W,))
        codes = [isrc(number) for number in range(tracks)]
        connection.execute(
            "INSERT INTO catalogue_recordings (workspace, isrc, track_id) "
            "SELECT 1, * FROM unnest(%s::text[], %s::text[])",
            (codes, [track_id(W, code) for code in codes]),
        )
        connection.execute("INSERT INTO catalogue_imports (workspace, import_id, outcome) VALUES (1, 'filled', '')")
        # As imports lay them down: day by day.
        connection.execute(
            "INSERT INTO catalogue_plays SELECT r.number, d.day, 1, (random() * 20000)::bigint, "
            "(random() * 2000)::bigint, 1 FROM generate_series(%s::date, %s::date, '1 day') AS d(day) "
            "CROSS JOIN catalogue_recordings r ORDER BY d.day, r.number",
            (date(2026, 1, 1) - timedelta(days=days - 1), date(2026, 1, 1)),
        )
        connection.execute("INSERT INTO catalogue_days SELECT DISTINCT 1, day FROM catalogue_plays WHERE recording = 1")
        connection.execute("VACUUM ANALYZE catalogue_plays, catalogue_recordings, catalogue_days, documents")


def imports(url: str, lines: int) -> None:
    """A report of so many lines, imported, and its rows copied bare."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bank.tsv"
        with path.open("w") as file:
            file.write(HEADER)
            for number in range(lines):
                month = number % 12 + 1
                file.write(
                    f"2025-{month:02d}-15\t2025-{month:02d}\tStore {number % 40}\tArtist {number % 500}\t"
                    f"Song {number % 10_000}\t{isrc(number % 10_000)}\t123456789012\t{number % 977}\t100\tSong\t"
                    f"{['US', 'DE', 'FR', 'GB', 'BR', 'JP'][number % 6]}\t0\t0.00{number:08d}\n"
                )
        context = multiprocessing.get_context("spawn")
        told: Queue[tuple[float, float, int]] = context.Queue()
        process = context.Process(target=imported, args=(url, str(path), told))
        process.start()
        seconds, own, grown = told.get()
        process.join()
        bare = copied(url)
    print(f"{lines:,} royalty lines")
    say("imported", seconds, "s", goal="< 60")
    say("of it processor time of the reader", own, "s")
    say("memory grown", grown / 1024**2, "MiB", goal="< 64")
    say("bare COPY of the same rows", bare, "s")
    say("import / bare COPY", seconds / bare, "x")


def imported(url: str, path: str, told: Any) -> None:
    """Import a report and tell how long it took and how much memory it needed at most."""

    async def story() -> tuple[float, float, int]:
        importer = Importer(url)
        own = psutil.Process()
        small = Path(path).with_suffix(".small")
        small.write_text(HEADER + "2024-01-15\t2024-01\tS\tA\tT\tQZABC9999999\t\t1\t100\tSong\tUS\t0\t0.1\n")
        await importer.run(_sent("small"), small, date(2026, 1, 1))
        before = most = own.memory_info().rss
        begin, worked = perf_counter(), process_time()
        task = asyncio.create_task(importer.run(_sent("large"), Path(path), date(2026, 1, 1)))
        while not task.done():
            most = max(most, own.memory_info().rss)
            await asyncio.sleep(0.05)
        report = task.result()
        assert report.counts.new == report.counts.accepted > 0
        return perf_counter() - begin, process_time() - worked, most - before

    told.put(asyncio.run(story()))


def _sent(import_id: str) -> Sent:
    return Sent(import_id=import_id, workspace_id=W, filename="bank.tsv", options=Options())


def copied(url: str) -> float:
    """Seconds that COPY takes for the rows of the import, from a file, into a table that has nothing but columns."""
    with psycopg.connect(url, autocommit=True) as connection, tempfile.TemporaryFile() as file:
        with connection.cursor().copy("COPY catalogue_lines TO STDOUT") as copy:
            for block in copy:
                file.write(block)
        file.seek(0)
        connection.execute("CREATE TABLE bare (LIKE catalogue_lines)")
        begin = perf_counter()
        with connection.cursor().copy("COPY bare FROM STDIN") as copy:
            while piece := file.read(128 * 1024):
                copy.write(piece)
        return perf_counter() - begin


if __name__ == "__main__":
    run(main)
