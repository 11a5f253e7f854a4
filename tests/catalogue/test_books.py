"""Reports in the books: again and again, corrected, out of turn, two at once, and cut off in the middle."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from adapters.catalogue import importing, reading
from adapters.catalogue.importing import Importer
from adapters.catalogue.reading import Titles
from adapters.catalogue.rebuilding import Problem, Replay
from commands.catalogue.ports import Paused, Refused, Sent
from domain.catalogue.imports import ImportCompleted, ImportRequested, Options, Report
from domain.catalogue.titles import TitleResolved
from domain.catalogue.tracks import Details, TrackAdded
from domain.kernel import Event
from infra.migrate import migrate
from tests.catalogue.reports import columns, table
from tests.core.conftest import eventually

TODAY = date(2026, 11, 28)
ISRC = "QZABC2300001"
ROW = {
    "Reporting Date": "2023-05-01", "Sale Month": "2023-02", "Store": "Spotify", "Artist": "A", "Title": "Song",
    "ISRC": ISRC, "Quantity": "10", "Song/Album": "Song", "Country of Sale": "US", "Earnings (USD)": "1.5",
}  # fmt: skip


class Book:
    """The books of one workspace."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self.workspace_id = uuid4().hex
        self._directory = directory

    def add(self, content: str, import_id: str = "", filename: str = "report.csv", **options: Any) -> Report:
        """Import a report."""
        path = self._directory / uuid4().hex
        path.write_text(content)
        return asyncio.run(Importer(self.url).run(self.sent(import_id, filename, **options), path, TODAY))

    def sent(self, import_id: str = "", filename: str = "report.csv", **options: Any) -> Sent:
        """What is said about a report."""
        return Sent(
            import_id=import_id or uuid4().hex,
            workspace_id=self.workspace_id,
            filename=filename,
            options=Options(**options),
        )

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the books."""
        with psycopg.connect(self.url) as connection:
            text = query.replace(":mine", "(SELECT number FROM catalogue_workspaces WHERE workspace_id = %(w)s)")
            return connection.execute(text.encode(), {"w": self.workspace_id}).fetchall()

    @property
    def money(self) -> str:
        """What all lines that count are worth."""
        [(found,)] = self.ask(
            "SELECT coalesce(sum(amount), 0) FROM catalogue_lines WHERE workspace = :mine AND replaced_by IS NULL"
        )
        return str(found)

    def size(self) -> int:
        """How many rows there are of whatever kind."""
        names = ("lines", "blocks", "imports", "recordings", "plays", "snapshots", "titles")
        return sum(self.ask(f"SELECT count(*) FROM catalogue_{each} WHERE workspace = :mine")[0][0] for each in names)


@pytest.fixture(scope="module")
def migrated(module_database_url: str) -> str:
    migrate(module_database_url)
    return module_database_url


@pytest.fixture
def book(migrated: str, tmp_path: Path) -> Book:
    return Book(migrated, tmp_path)


def bank(*rows: dict[str, str]) -> str:
    return table("distrokid.bank.v1", *(ROW | row for row in rows))


def told(report: Report) -> tuple[int, int, int, int]:
    """New, changed, unchanged and missing."""
    counts = report.counts
    return counts.new, counts.changed, counts.unchanged, counts.missing


A, B = {"Country of Sale": "US"}, {"Country of Sale": "DE", "Earnings (USD)": "0.25"}
#: The next statement, about the same month.
LATE = {"Reporting Date": "2023-06-01", "Earnings (USD)": "0.01"}


def test_the_same_report_again_and_an_overlapping_one_add_nothing(book: Book) -> None:
    assert told(book.add(bank(A, B))) == (2, 0, 0, 0)
    assert told(book.add(bank(B, A))) == (0, 0, 2, 0)
    assert told(book.add(bank(A, B, LATE))) == (1, 0, 2, 0)
    assert book.money == "1.76"


def test_equal_rows_all_count_also_when_they_come_again(book: Book) -> None:
    assert told(book.add(bank(A, A))) == (2, 0, 0, 0)
    assert told(book.add(bank(A, A))) == (0, 0, 2, 0)
    assert told(book.add(bank(A, A, A))) == (0, 3, 0, 0)
    assert book.money == "4.5"


def test_equal_rows_are_seen_however_late_in_a_file_they_come(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "DUPLICATES_WATCHED", 2)
    rows = [{"Quantity": str(number)} for number in range(6)]
    assert "duplicate_rows" not in book.add(bank(*rows)).warnings
    assert "duplicate_rows" in book.add(bank(*rows, {"Quantity": "5"})).warnings


def test_what_rows_repeat_is_told_apart_by_each_of_its_cells(book: Book) -> None:
    others = ({"Store": "Apple"}, {"Country of Sale": "DE"}, {"ISRC": "QZABC2300002"}, {"UPC": "123456789012"},
              {"Sale Month": "2023-03"}, {"Reporting Date": "2023-06-01"}, {"Song/Album": "Video"})  # fmt: skip
    assert told(book.add(bank(A, *others))) == (8, 0, 0, 0)
    rows = book.ask("SELECT store, country, upc, kind, sale_start, count(*) FROM catalogue_lines "
                    "WHERE workspace = :mine GROUP BY 1, 2, 3, 4, 5")  # fmt: skip
    assert len(rows) == 6  # the recording and the statement are elsewhere
    assert told(book.add(bank(*others, A))) == (0, 0, 8, 0)


def test_a_corrected_statement_replaces_and_both_are_kept(book: Book) -> None:
    book.add(bank(A, B))
    assert told(book.add(bank(A | {"Earnings (USD)": "2.5"}, B))) == (0, 1, 1, 0)

    assert book.money == "2.75"
    rows = book.ask(
        "SELECT amount::text, replaced_by IS NOT NULL FROM catalogue_lines WHERE workspace = :mine ORDER BY 1"
    )
    assert rows == [("0.25", False), ("1.5", True), ("2.5", False)]


def test_an_older_statement_after_a_correction_warns_and_undoes_nothing(book: Book) -> None:
    book.add(bank(A, B))
    book.add(bank(A | {"Earnings (USD)": "2.5"}, B))
    older = book.add(bank(A, B))

    assert told(older) == (0, 0, 2, 0)
    assert "older_statement" in older.warnings
    assert book.money == "2.75"


def test_two_parts_of_one_statement_are_no_older_and_newer_one(book: Book) -> None:
    book.add(bank(A))
    assert told(book.add(bank(B))) == (1, 0, 0, 1)
    again = book.add(bank(A))
    assert told(again) == (0, 0, 1, 0)
    assert "older_statement" not in again.warnings


def test_late_money_for_an_old_month_adds_to_it_and_keeps_its_statement(book: Book) -> None:
    book.add(bank(A))
    book.add(bank(LATE))

    assert book.money == "1.51"
    rows = book.ask("SELECT statement::text, sale_start::text FROM catalogue_blocks WHERE workspace = :mine ORDER BY 1")
    assert rows == [("2023-05-01", "2023-02-01"), ("2023-06-01", "2023-02-01")]


SALE = {"item type": "track", "item name": "Song", "artist": "A", "currency": "USD", "quantity": "1", "net amount": "1"}


def test_two_downloads_of_parts_of_a_month_are_both_there_and_overlap_in_nothing(book: Book) -> None:
    def sold(*days: int) -> Report:
        return book.add(table("bandcamp.raw", *(SALE | {"date": f"1/{day}/20 4:49am"} for day in days)))

    assert told(sold(2, 15)) == (2, 0, 0, 0)
    assert told(sold(16, 31)) == (2, 0, 0, 0)
    assert told(sold(15, 16, 17)) == (1, 0, 2, 0)
    assert book.money == "5"


def test_a_month_and_a_year_that_end_on_one_day_are_two_figures(book: Book) -> None:
    def songs(streams: str, name: str) -> Report:
        return book.add(
            table("spotify.songs", {"song": "Song", "listeners": "5", "streams": streams, "saves": "1"}),
            filename=name,
            period_end=date(2023, 2, 28),
        )

    songs("700", "4bF2-songs-1year.csv")
    songs("70", "4bF2-songs-28day.csv")
    assert book.ask("SELECT period_start::text, streams FROM catalogue_snapshots WHERE workspace = :mine "
                    "AND replaced_by IS NULL ORDER BY 1") == [("2022-03-01", 700), ("2023-02-01", 70)]  # fmt: skip


def test_rows_that_are_missing_are_told_and_kept_unless_they_are_to_be_replaced(book: Book) -> None:
    book.add(bank(A, B))
    assert told(book.add(bank(A))) == (0, 0, 1, 1)
    assert book.money == "1.75"
    assert told(book.add(bank(A), replace=True)) == (0, 0, 1, 1)
    assert book.money == "1.5"


def test_numbers_written_otherwise_are_the_same_numbers(book: Book) -> None:
    book.add(bank(A))
    assert told(book.add(bank(A | {"Earnings (USD)": "1.500", "Quantity": "10.0"}))) == (0, 0, 1, 0)


def test_nothing_of_a_strict_import_is_kept_when_a_row_is_wrong(book: Book) -> None:
    with pytest.raises(Refused) as refused:
        book.add(bank(A, {"Quantity": "ten"}), strict=True)
    assert refused.value.reason == "rows_rejected"
    assert book.size() == 0


def test_whoever_runs_an_import_again_is_told_what_came_of_it(book: Book) -> None:
    first = book.add(bank(A), import_id="once")
    assert book.add("nothing that could be read", import_id="once") == first
    assert book.money == "1.5"


def test_three_kinds_of_truth_are_three_kinds_of_rows(book: Book) -> None:
    book.add(bank(A))
    book.add(table("own.daily", {"isrc": ISRC, "date": "2023-02-01", "spotify_streams": "7"}))
    with pytest.raises(Paused) as asked:
        book.add(table("spotify.songs", {"song": "Song", "listeners": "5", "streams": "70", "saves": "-"}))
    assert asked.value.question == "period"
    songs = table("spotify.songs", {"song": "Song", "listeners": "5", "streams": "70", "saves": "-"})
    assert told(book.add(songs, period_end=date(2023, 2, 28))) == (1, 0, 0, 0)
    assert told(book.add(songs, period_end=date(2023, 2, 28))) == (0, 0, 1, 0)

    counted = [book.ask(f"SELECT count(*) FROM catalogue_{each} WHERE workspace = :mine")[0][0] for each in
               ("lines", "plays", "snapshots")]  # fmt: skip
    assert counted == [1, 1, 1]


def test_sums_of_plays_are_those_of_the_plays_whatever_replaces_them(book: Book) -> None:
    def daily(*rows: tuple[int, str, str, str]) -> None:
        cells = ({"isrc": f"QZABC23000{number:02d}", "date": day, "spotify_streams": spotify, "apple_streams": apple}
                 for number, day, spotify, apple in rows)  # fmt: skip
        book.add(table("own.daily", *cells))

    def differ(sums: str, day: str, *by: str) -> list[tuple[Any, ...]]:
        keys = ", ".join((sums, *by))
        kept = f"SELECT {keys}, plays, spotify, spotify_told, apple, apple_told FROM catalogue_{sums}_plays"
        made = (
            f"SELECT {day}, {', '.join(by)}, count(*), coalesce(sum(spotify), 0), count(spotify), "
            f"coalesce(sum(apple), 0), count(apple) FROM catalogue_plays WHERE workspace = :mine "
            f"GROUP BY {', '.join(map(str, range(1, len(by) + 2)))}"
        )
        return book.ask(f"({kept} WHERE workspace = :mine EXCEPT {made}) UNION ALL "
                        f"({made} EXCEPT {kept} WHERE workspace = :mine)")  # fmt: skip

    def agree() -> int:
        assert differ("day", "day", "import") == []
        assert differ("month", "date_trunc('month', day)::date", "recording", "import") == []
        return int(book.ask("SELECT count(*) FROM catalogue_day_plays WHERE workspace = :mine")[0][0])

    daily((1, "2024-01-30", "5", ""), (1, "2024-02-01", "7", "0"), (2, "2024-02-01", "", "9"))
    assert agree() == 2
    # One day is corrected, to which another track has nothing to say, and one gets what the first file did not know.
    daily((1, "2024-02-01", "8", ""), (1, "2024-01-30", "", "3"), (1, "2024-02-02", "1", "1"))
    assert agree() == 4
    # Of what a later file has said of all, nothing is left to the first.
    daily((1, "2024-02-01", "9", ""), (2, "2024-02-01", "4", ""))
    assert agree() == 3
    asyncio.run(Importer(book.url).forget(book.workspace_id))
    assert book.ask("SELECT FROM catalogue_day_plays d WHERE NOT EXISTS "
                    "(SELECT FROM catalogue_plays p WHERE p.workspace = d.workspace)") == []  # fmt: skip


def test_two_imports_of_one_file_at_once_add_it_once(book: Book, tmp_path: Path) -> None:
    book.add(bank(A))  # or they would wait for each other to write the workspace and the statement down
    path = tmp_path / "bank"
    path.write_text(bank(A, B))

    async def both() -> list[Report]:
        importer = Importer(book.url)
        return await asyncio.gather(*(importer.run(book.sent(), path, TODAY) for _ in range(4)))

    reports = asyncio.run(both())
    assert sorted(told(each) for each in reports) == [(0, 0, 2, 0)] * 3 + [(1, 0, 1, 0)]
    assert book.money == "1.75"


UNTITLED = {"ISRC": "", "Title": "Unknown"}


def _lines_of_nobody(book: Book) -> int:
    found: int = book.ask("SELECT count(*) FROM catalogue_lines WHERE workspace = :mine AND recording IS NULL")[0][0]
    return found


def test_what_a_title_is_reaches_rows_that_are_being_written_at_that_moment(book: Book, tmp_path: Path) -> None:
    book.add(bank(UNTITLED))
    [(title_id,)] = book.ask("SELECT title_id FROM catalogue_titles WHERE workspace = :mine")
    path = tmp_path / "bank"
    path.write_text(bank(UNTITLED, UNTITLED | {"Country of Sale": "DE"}))
    importer = Importer(book.url)

    async def at_once() -> None:
        with psycopg.connect(book.url) as holder:
            holder.execute("LOCK TABLE catalogue_odd_rows IN ACCESS EXCLUSIVE MODE")
            writing = asyncio.create_task(importer.run(book.sent(), path, TODAY))
            await eventually(lambda: _waits(book, "relation"))
            saying = asyncio.create_task(importer.resolve(book.workspace_id, title_id, ISRC))
            await eventually(lambda: saying.done() or _waits(book, "advisory"))
            holder.rollback()
        await asyncio.gather(writing, saying)

    asyncio.run(at_once())
    assert _lines_of_nobody(book) == 0


def test_what_a_title_is_reaches_rows_that_are_read_when_it_is_said(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.add(bank(UNTITLED))
    [(title_id,)] = book.ask("SELECT title_id FROM catalogue_titles WHERE workspace = :mine")
    importer = Importer(book.url)
    known = importer._titles

    def said_after(workspace_id: str) -> Titles:
        found = known(workspace_id)
        importer._resolve(importing._Line(book.url, 60), workspace_id, title_id, ISRC)
        return found

    monkeypatch.setattr(importer, "_titles", said_after)
    path = tmp_path / "bank"
    path.write_text(bank(UNTITLED, UNTITLED | {"Country of Sale": "DE"}))
    asyncio.run(importer.run(book.sent(), path, TODAY))

    assert _lines_of_nobody(book) == 0


def test_who_waits_for_the_books_of_one_workspace_takes_no_thread_of_anybody_else(
    book: Book, tmp_path: Path, migrated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "RESOLVE_WAITS_SECONDS", 60.0)
    book.add(bank(UNTITLED))
    [(title_id,)] = book.ask("SELECT title_id FROM catalogue_titles WHERE workspace = :mine")
    importer, other = Importer(book.url), Book(migrated, tmp_path)
    path = tmp_path / "bank"
    path.write_text(bank(A, B))

    async def busy() -> None:
        with psycopg.connect(book.url) as holder:
            importing._take_turn(holder, importing._workspace(holder, book.workspace_id))
            saying = [asyncio.create_task(importer.resolve(book.workspace_id, title_id, ISRC)) for _ in range(40)]
            await eventually(lambda: _waits(book, "advisory"))
            await asyncio.wait_for(asyncio.to_thread(lambda: None), 20)
            assert told(await asyncio.wait_for(importer.run(other.sent(), path, TODAY), 20)) == (2, 0, 0, 0)
            assert not any(each.done() for each in saying)
            holder.commit()
        await asyncio.gather(*saying)

    asyncio.run(busy())
    assert _lines_of_nobody(book) == 0


def test_an_import_that_is_ended_from_outside_writes_nothing_afterwards(book: Book, tmp_path: Path) -> None:
    book.add(bank(A))
    before = book.size()
    path = tmp_path / "bank"
    path.write_text(bank(A, B))
    importer = Importer(book.url)

    async def ended() -> None:
        with psycopg.connect(book.url) as holder:
            holder.execute("LOCK TABLE catalogue_odd_rows IN ACCESS EXCLUSIVE MODE")
            writing = asyncio.create_task(importer.run(book.sent(), path, TODAY))
            await eventually(lambda: _waits(book, "relation"))
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(writing, 20)
            holder.rollback()
        # Its thread has ended: another may write at once, and what was ended is not there.
        assert told(await asyncio.wait_for(importer.run(book.sent(), path, TODAY), 20)) == (1, 0, 1, 0)

    asyncio.run(ended())
    assert book.size() == before + 2, "a line and an import"


class Originals:
    """What was sent, as it is kept."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @asynccontextmanager
    async def fetch(self, key: str) -> AsyncIterator[Path]:
        yield self._directory / key


def _again(book: Book, directory: Path, *events: Event) -> list[Problem]:
    """The books made again from events in this order, at the positions 10, 20, and so on."""
    history: Any = [SimpleNamespace(position=10 * at, event=each) for at, each in enumerate(events, 1)]
    originals: Any = Originals(directory)

    async def remake() -> list[Problem]:
        async with Importer(book.url).remake(book.workspace_id) as remaking:
            replay = Replay(book.workspace_id, history, remaking, originals, anyway=False)
            await replay.run()
            await remaking.commit()
        return replay.problems

    return asyncio.run(remake())


def _events(book: Book, directory: Path, report: Report, name: str, content: str) -> tuple[Event, Event]:
    (directory / name).write_text(content)
    asked = ImportRequested(
        import_id=name, workspace_id=book.workspace_id, filename="report.csv", object_key=name, size=len(content),
        sha256=sha256(content.encode()).hexdigest(), options=Options(), requested_at=datetime.now(UTC),
    )  # fmt: skip
    at = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)
    return asked, ImportCompleted(import_id=name, workspace_id=book.workspace_id, report=report, completed_at=at)


def _resolved(book: Book) -> TitleResolved:
    """Somebody says which recording the one title is that waits."""
    [(title_id,)] = book.ask("SELECT title_id FROM catalogue_titles WHERE workspace = :mine")
    return TitleResolved(
        title_id=title_id, workspace_id=book.workspace_id, artist="A", title="Unknown", isrc=ISRC,
        resolved_at=datetime.now(UTC),
    )  # fmt: skip


def test_a_title_that_is_resolved_before_its_import_is_written_down_is_so_again(book: Book, tmp_path: Path) -> None:
    content = bank(UNTITLED)
    report = book.add(content, import_id="first")
    resolved = _resolved(book)
    asked, completed = _events(book, tmp_path, report, "first", content)
    # Its rows are in the books and the event is still to come: the process that read it has died between the two.
    for history in ((asked, completed, resolved), (asked, resolved, completed)):
        assert _again(book, tmp_path, *history) == []
        assert _lines_of_nobody(book) == 0, history


def test_books_are_made_again_with_what_was_known_when_a_file_was_read(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A track that is added, and a title that is resolved, while a long file is read are not known to it."""
    first = bank(UNTITLED)
    before = _events(book, tmp_path, book.add(first, import_id="before"), "before", first)
    resolved = _resolved(book)
    known, new = (
        TrackAdded(track_id=title, workspace_id=book.workspace_id, isrc=isrc, added_at=datetime.now(UTC),
                   details=Details(title=title, artist="A"))
        for title, isrc in (("Known", ISRC), ("New", "QZABC2300002"))
    )  # fmt: skip
    long = bank(UNTITLED | LATE, {"ISRC": "", "Title": "New"}, {"ISRC": "", "Title": "Known"})
    monkeypatch.setattr(Importer, "_titles", lambda *_: Titles([(ISRC, "A", "Known")], tracks_at=10, titles_at=35))
    report = book.add(long, import_id="long")
    monkeypatch.undo()
    assert (report.counts.accepted, report.counts.queued, report.tracks_at, report.titles_at) == (1, 2, 10, 35)
    asked, completed = _events(book, tmp_path, report, "long", long)

    assert _again(book, tmp_path, known, *before, new, asked, resolved, completed) == []
    rows = book.ask("SELECT t.title, l.recording IS NOT NULL FROM catalogue_lines l "
                    "LEFT JOIN catalogue_titles t ON t.number = l.title WHERE l.workspace = :mine")  # fmt: skip
    assert set(rows) == {("New", False), ("Unknown", True), (None, True)}


def _waits(book: Book, kind: str) -> bool:
    return bool(book.ask(f"SELECT FROM pg_locks WHERE locktype = '{kind}' AND NOT granted"))


def _import(url: str, sent: Sent, path: Path) -> None:
    asyncio.run(Importer(url).run(sent, path, TODAY))


def test_a_process_that_is_killed_in_the_middle_of_a_merge_leaves_nothing(book: Book, tmp_path: Path) -> None:
    """Its last statement is held up by a lock, so that it is killed when everything but the commit is done."""
    path = tmp_path / "bank"
    path.write_text(bank(A, B))
    sent = book.sent("cut")
    with psycopg.connect(book.url) as holder:
        holder.execute("LOCK TABLE catalogue_odd_rows IN ACCESS EXCLUSIVE MODE")
        process = multiprocessing.get_context("spawn").Process(target=_import, args=(book.url, sent, path))
        process.start()
        deadline = time.monotonic() + 30
        while not book.ask(
            "SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
            "WHERE c.relname = 'catalogue_odd_rows' AND NOT l.granted"
        ):
            assert process.is_alive()
            assert time.monotonic() < deadline
        process.kill()
        process.join()
        holder.rollback()

    assert book.size() == 0
    assert told(book.add(bank(A, B), import_id="cut")) == (2, 0, 0, 0)
    assert book.money == "1.75"


def test_the_books_of_a_forgotten_workspace_are_empty(book: Book) -> None:
    book.add(bank(A, {"ISRC": "", "Title": "Unknown"}, {"Quantity": "x"}))
    book.add(table("own.daily", {"isrc": ISRC, "date": "2023-02-01", "spotify_streams": "7"}))
    assert book.size() > 5
    asyncio.run(Importer(book.url).forget(book.workspace_id))
    assert book.size() == 0
    assert book.ask("SELECT FROM catalogue_odd_rows o WHERE NOT EXISTS "
                    "(SELECT FROM catalogue_imports i WHERE i.number = o.import)") == []  # fmt: skip


def test_a_file_of_any_shape_is_no_fault_of_ours(book: Book) -> None:
    head = ",".join(columns("distrokid.bank.v1"))
    for body in ("", "\n" * 50, ",\n" * 50, '"' * 99, "=1+1," * 13, "\u202e,🎵\n", "\\N\t\\.\n", "a" * 70_000):
        book.add(f"{head}\n{body}")
