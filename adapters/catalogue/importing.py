"""Files into the books: COPY into a staging table, one merge, one commit. A process that dies leaves nothing.

Runs in a thread with a connection of its own, since nearly all of it is work of the processor.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import IO, Any, Concatenate, ParamSpec, TypeVar

import psycopg
from msgspec import Struct, json
from msgspec.structs import replace
from psycopg import Connection
from psycopg.rows import TupleRow

from adapters.catalogue.files import Unreadable, tables
from adapters.catalogue.profiles import PROFILES, Profile, mapped
from adapters.catalogue.reading import Asks, Beside, Inconsistent, Reading, Titles, locate
from adapters.hanging_up import hang_up
from adapters.postgres.prepared import CONNECTING
from adapters.postgres.settings import Postgres
from adapters.provides import provides
from adapters.threads import Turns
from commands.catalogue.ports import Importing, Paused, Refused, Sent, track_id
from commands.kernel import derived_id
from domain.catalogue.imports import Counts, Options, Report
from domain.kernel import Unavailable
from projections.catalogue.tracks import track_documents

PAGE = 5_000
UNKNOWN_SHOWN_MAX = 1_000
#: Merges of one workspace go one after the other: what is new depends on what is there.
_RUNNING, _MERGING = 0x1ED6E2, 0x1ED6E3

_STAGED = {
    "plays": "line integer, isrc text, day date, spotify bigint, apple bigint",
    "royalties": "block integer, key bigint, line integer, subject integer, place integer, units bigint, "
    "currency text, amount numeric",
    "songs": "line integer, name text, isrc text, period_start date, period_end date, listeners bigint, "
    "streams bigint, saves bigint, unresolved integer",
}

#: What is written beside the rows, and how it is staged.
_BESIDE = {
    "odd": "line integer, kind text, reason text, cells text[]",
    "subjects": "local integer, isrc text, upc text, title integer",
    "places": "local integer, store text, country text, kind text",
}

#: What somebody has said that a title `t` is, after the file began to be read.
_SAID_SINCE = "(SELECT w.isrc FROM catalogue_titles w WHERE w.number = t.number)"

Progress = Callable[[int, int, int], None]
P = ParamSpec("P")
T = TypeVar("T")


#: So many threads of a process write to the books, one for a workspace at a time.
BOOKS_AT_ONCE = 4
#: How long a file waits for another merge of its workspace, and how long whoever says what a title is.
IMPORT_WAITS_SECONDS = 600.0
RESOLVE_WAITS_SECONDS = 10.0


class BooksUnavailable(Unavailable):
    """The books cannot be written at the moment. Send it again shortly; what is sent twice is read once."""


class _Line:
    """The connection of one call, which can be cut from outside: then its thread ends, and nothing of it was done."""

    def __init__(self, url: str, lock_seconds_max: float) -> None:
        self._url = url
        self._options = f"-c lock_timeout={lock_seconds_max:g}s"
        self._connection: Connection[TupleRow] | None = None
        self._is_cut = False

    def open(self, *, autocommit: bool = False) -> Connection[TupleRow]:
        """Connect; raises OperationalError when it was cut already."""
        self._connection = psycopg.connect(
            self._url, **{**CONNECTING, "autocommit": autocommit, "options": self._options}
        )
        if self._is_cut:
            self.cut()
        return self._connection

    def cut(self) -> None:
        """Let whoever waits for an answer hear that it is lost."""
        self._is_cut = True
        if self._connection is not None and not self._connection.closed:
            hang_up(self._connection.fileno())


class Importer(Importing):
    """Reads files into the books."""

    def __init__(self, postgres_url: str) -> None:
        self._url = postgres_url
        self._reading = Turns(BOOKS_AT_ONCE, "books")
        #: What a title is is said in a moment, also while a file is read.
        self._resolving = Turns(BOOKS_AT_ONCE, "titles")

    async def run(self, sent: Sent, path: Path, today: date) -> Report:
        """Read a file, once: what was read before is only told again. Raises Paused, Refused and BooksUnavailable."""
        return await self._in_turn(self._reading, sent.workspace_id, IMPORT_WAITS_SECONDS, self._run, sent, path, today)

    async def forget(self, workspace_id: str) -> None:
        """Delete all rows of a workspace."""
        await self._in_turn(self._reading, workspace_id, IMPORT_WAITS_SECONDS, self._forget, workspace_id)

    async def resolve(self, workspace_id: str, title_id: str, isrc: str) -> None:
        """Put what waits for a title under the recording that it is; nothing happens when that is so already."""
        await self._in_turn(
            self._resolving, workspace_id, RESOLVE_WAITS_SECONDS, self._resolve, workspace_id, title_id, isrc
        )

    async def _in_turn(
        self,
        turns: Turns,
        workspace_id: str,
        lock_seconds_max: float,
        work: Callable[Concatenate[_Line, P], T],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        """Do it in a thread, one of a workspace at a time: in one transaction, so that all of it is done or nothing.

        Whoever is cancelled cuts the connection and waits for the thread, which then ends: it must not write later what
        is said to have failed.
        """
        line = _Line(self._url, lock_seconds_max)
        working = asyncio.ensure_future(turns.run(workspace_id, partial(work, line), *arguments, **named))
        try:
            return await asyncio.shield(working)
        except psycopg.OperationalError as problem:
            raise BooksUnavailable from problem
        except asyncio.CancelledError:
            line.cut()
            working.cancel()
            await asyncio.wait({working})
            raise

    def _resolve(self, line: _Line, workspace_id: str, title_id: str, isrc: str) -> None:
        with line.open() as connection:
            _resolve(connection, workspace_id, title_id, isrc)

    @asynccontextmanager
    async def remake(self, workspace_id: str) -> AsyncIterator[Remaking]:
        """Make all rows of a workspace again, in one transaction: until it is committed, everybody sees those before.

        Imports of the workspace wait for it.
        """
        connection: Connection[TupleRow] = await asyncio.to_thread(lambda: psycopg.connect(self._url))
        try:
            yield await asyncio.to_thread(Remaking, connection, workspace_id)
        finally:
            await asyncio.to_thread(connection.close)

    def _run(self, line: _Line, sent: Sent, path: Path, today: date) -> Report:
        with line.open(autocommit=True) as connection, tempfile.TemporaryDirectory() as room:
            # One import is run by one process at a time; another waits here and then finds it done.
            connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", (_RUNNING, sent.import_id))
            done = connection.execute(
                "SELECT outcome FROM catalogue_imports WHERE import_id = %s", (sent.import_id,)
            ).fetchone()
            if done is not None:
                return json.decode(done[0], type=Report)
            with self._progress(sent.import_id) as progress:
                return _read(
                    connection, sent, path, Path(room), today, lambda: self._titles(sent.workspace_id), progress
                )

    @contextmanager
    def _progress(self, import_id: str) -> Iterator[Progress]:
        """Tells how far it is, on a connection of its own, because the other is in a transaction."""
        with psycopg.connect(self._url, autocommit=True) as connection:

            def note(rows: int, done: int, size: int) -> None:
                connection.execute(
                    "INSERT INTO catalogue_progress AS p VALUES (%s, %s, %s, %s) ON CONFLICT (import_id) DO UPDATE SET "
                    "rows_read = excluded.rows_read, bytes_read = excluded.bytes_read, moved_at = now()",
                    (import_id, rows, done, size),
                )

            try:
                yield note
            finally:
                connection.execute("DELETE FROM catalogue_progress WHERE import_id = %s", (import_id,))

    def _titles(self, workspace_id: str) -> Titles:
        # On a connection of its own: the other is busy copying when the first title without an ISRC comes.
        with psycopg.connect(self._url, autocommit=True) as connection:
            return _titles(connection, workspace_id)

    def _forget(self, line: _Line, workspace_id: str) -> None:
        with line.open() as connection:
            found = connection.execute(
                "SELECT number FROM catalogue_workspaces WHERE workspace_id = %s FOR UPDATE", (workspace_id,)
            ).fetchone()
            if found is None:
                return
            _empty(connection, found[0])
            connection.execute("DELETE FROM catalogue_workspaces WHERE number = %s", found)


class Remaking:
    """All rows of a workspace on their way to being made again, import by import, in the order of the log."""

    def __init__(self, connection: Connection[TupleRow], workspace_id: str) -> None:
        self._connection = connection
        self._workspace_id = workspace_id
        workspace = _workspace(connection, workspace_id)
        _take_turn(connection, workspace)
        rows = connection.execute("SELECT import_id FROM catalogue_imports WHERE workspace = %s", (workspace,))
        #: The imports that have rows until now.
        self.there = frozenset(row[0] for row in rows)
        _empty(connection, workspace)

    async def run(self, sent: Sent, path: Path, today: date, titles: Titles) -> Report:
        """Read an original once more, with the titles that there were; raises Paused, Refused."""
        return await asyncio.to_thread(self._run, sent, path, today, titles)

    def _run(self, sent: Sent, path: Path, today: date, titles: Titles) -> Report:
        with tempfile.TemporaryDirectory() as room:
            report = _read(self._connection, sent, path, Path(room), today, lambda: titles, lambda *_: None)
        self._connection.execute("DISCARD TEMP")
        return report

    async def resolve(self, title_id: str, isrc: str) -> bool:
        """Put what waits for a title under the recording that it is; False where no import has brought it yet."""
        return await asyncio.to_thread(_resolve, self._connection, self._workspace_id, title_id, isrc)

    async def commit(self) -> None:
        """Show it to everybody."""
        await asyncio.to_thread(self._connection.commit)


def _resolve(connection: Connection[TupleRow], workspace_id: str, title_id: str, isrc: str) -> bool:
    # Rows of the title that a merge is about to commit are seen by whoever waits for it, and by nobody else.
    _take_turn(connection, _workspace(connection, workspace_id))
    found = connection.execute(
        "UPDATE catalogue_titles t SET isrc = %s FROM catalogue_workspaces w WHERE w.number = t.workspace "
        "AND w.workspace_id = %s AND t.title_id = %s RETURNING t.workspace, t.number",
        (isrc, workspace_id, title_id),
    ).fetchone()
    if found is None:
        return False
    workspace, title = found
    connection.execute(
        "INSERT INTO catalogue_recordings (workspace, isrc, track_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (workspace, isrc, track_id(workspace_id, isrc)),
    )
    for table in ("lines", "snapshots"):
        connection.execute(
            f"UPDATE catalogue_{table} l SET recording = r.number FROM catalogue_recordings r "
            "WHERE l.title = %s AND r.workspace = %s AND r.isrc = %s".encode(),
            (title, workspace, isrc),
        )
    return True


def _empty(connection: Connection[TupleRow], workspace: int) -> None:
    """Delete all rows of a workspace but the one that it is known by."""
    by_import = "import IN (SELECT number FROM catalogue_imports WHERE workspace = %s)"
    by_block = "block IN (SELECT number FROM catalogue_blocks WHERE workspace = %s)"
    by_recording = "recording IN (SELECT number FROM catalogue_recordings WHERE workspace = %s)"
    own = ("lines", "snapshots", "titles", "blocks", "plays", "days", "recordings", "imports")
    for table, which in (
        ("odd_rows", by_import),
        ("block_versions", by_block),
        ("plays_before", by_recording),
        *((table, "workspace = %s") for table in own),
    ):
        connection.execute(f"DELETE FROM catalogue_{table} WHERE {which}".encode(), (workspace,))


def _profiles(options: Options) -> list[Profile]:
    """What a file may be: what it was found to be when it was sent, where that is a mapping of its workspace."""
    if options.mapping is not None:
        return [mapped(options.source or "", options.mapping)]
    return [each for each in PROFILES if options.source in (None, each.name)]


class _Track(Struct):
    isrc: str
    artist: str
    title: str


def _titles(connection: Connection[TupleRow], workspace_id: str) -> Titles:
    """What the catalogue of a workspace calls its recordings, and what its people have said about other titles."""
    # In one look: whoever says what a title is, says it in the log first.
    said = connection.execute(
        "SELECT (SELECT coalesce(max(e.notification_id), 0) FROM ledger_events e WHERE e.workspace_id = q.workspace_id)"
        ", t.artist, t.title, t.isrc FROM (SELECT %s::text AS workspace_id) q "
        "LEFT JOIN catalogue_workspaces w ON w.workspace_id = q.workspace_id "
        "LEFT JOIN catalogue_titles t ON t.workspace = w.number AND t.isrc IS NOT NULL",
        (workspace_id,),
    ).fetchall()
    rows = connection.execute(
        "SELECT f.position, d.body FROM checkpoints f "
        "LEFT JOIN documents d ON d.projection = f.name AND d.version = f.version AND d.workspace_id = %s "
        "WHERE f.live AND f.name = %s",
        (workspace_id, track_documents.name),
    ).fetchall()
    tracks = [json.decode(body, type=_Track) for _, body in rows if body is not None]
    return Titles(
        [(each.isrc, each.artist, each.title) for each in tracks],
        [(artist, title, isrc) for _, artist, title, isrc in said if isrc is not None],
        tracks_at=rows[0][0] if rows else None,
        titles_at=said[0][0],
    )


def _stage(connection: Connection[TupleRow], name: str, file: IO[bytes]) -> None:
    """Copy what was written beside the rows into a table of its own."""
    file.seek(0)
    connection.execute(f"CREATE TEMPORARY TABLE {name} ({_BESIDE[name]}) ON COMMIT DROP".encode())
    with connection.cursor().copy(f"COPY {name} FROM STDIN".encode()) as copy:
        while block := file.read(128 * 1024):
            copy.write(block)


def _read(
    connection: Connection[TupleRow],
    sent: Sent,
    path: Path,
    room: Path,
    today: date,
    titles: Callable[[], Titles],
    progress: Progress,
) -> Report:
    """Read a file and merge its rows, in a transaction or a part of one; raises Paused, Refused."""
    try:
        located = locate(tables(path, sent.filename, room, sent.options.encoding), _profiles(sent.options))
        with ExitStack() as files:
            beside = Beside(*(files.enter_context(tempfile.TemporaryFile()) for _ in Beside._fields))
            reading = Reading(
                located,
                sent.options,
                latest=today,
                beside=beside,
                filename=sent.filename,
                titles=titles,
                progress=progress,
            )
            return _merged(connection, sent, reading, beside)
    except Asks as asks:
        raise Paused(asks.source, asks.question, str(asks)) from asks
    except Unreadable as problem:
        raise Refused(problem.reason, str(problem)) from problem
    except Inconsistent as problem:
        raise Refused("date_inconsistent", str(problem)) from problem


def _merged(connection: Connection[TupleRow], sent: Sent, reading: Reading, beside: Beside) -> Report:
    """Stage the rows of a file and merge them into the books, all of them or none."""
    reading.ask()
    with connection.transaction():
        kind = reading.profile.kind
        connection.execute(f"CREATE TEMPORARY TABLE staged ({_STAGED[kind]}) ON COMMIT DROP".encode())
        with connection.cursor().copy("COPY staged FROM STDIN") as copy:
            for block in reading.lines():
                copy.write(block)
        for name, file in zip(Beside._fields, beside, strict=True):
            _stage(connection, name, file)
        rejected = reading.counts["rejected"]
        if sent.options.strict and rejected:
            raise Refused("rows_rejected", f"{rejected} rows are wrong, and the import was to be strict.")
        connection.execute("ANALYZE staged")
        books = _Books(connection, sent, reading)
        counts = {"plays": books.plays, "royalties": books.royalties, "songs": books.songs}[kind]()
        report = reading.report(counts, *books.unknown())
        books.keep_odd_rows()
        connection.execute(
            "UPDATE catalogue_imports SET outcome = %s WHERE number = %s", (json.encode(report), books.number)
        )
    return report


class _Books:
    """One merge, in the transaction in which its rows were staged."""

    def __init__(self, connection: Connection[TupleRow], sent: Sent, reading: Reading) -> None:
        self._connection = connection
        self._sent = sent
        self._reading = reading
        self.workspace = _workspace(connection, sent.workspace_id)
        _take_turn(connection, self.workspace)
        self.number = self._one(
            "INSERT INTO catalogue_imports (workspace, import_id, header, outcome) VALUES (%s, %s, %s, '') "
            "RETURNING number",
            (self.workspace, sent.import_id, reading.header),
        )[0]
        self._know_recordings()

    def _one(self, query: str, parameters: Any = ()) -> TupleRow:
        row = self._connection.execute(query.encode(), parameters).fetchone()
        assert row is not None
        return row

    def _do(self, query: str, parameters: Any = ()) -> int:
        return self._connection.execute(query.encode(), parameters).rowcount

    def _know_recordings(self) -> None:
        """Give each ISRC of the file a number, a page at a time."""
        named = "subjects" if self._reading.profile.kind == "royalties" else "staged"
        self._do(
            f"CREATE TEMPORARY TABLE codes ON COMMIT DROP AS SELECT DISTINCT isrc FROM {named} WHERE isrc IS NOT NULL"
        )
        self._do("ANALYZE codes")
        with self._connection.cursor(name="unknown") as cursor:
            cursor.execute(
                "SELECT c.isrc FROM codes c WHERE NOT EXISTS "
                "(SELECT FROM catalogue_recordings r WHERE r.workspace = %s AND r.isrc = c.isrc)",
                (self.workspace,),
            )
            while page := cursor.fetchmany(PAGE):
                codes = [row[0] for row in page]
                self._do(
                    "INSERT INTO catalogue_recordings (workspace, isrc, track_id) "
                    "SELECT %s, * FROM unnest(%s::text[], %s::text[]) ON CONFLICT DO NOTHING",
                    (self.workspace, codes, [track_id(self._sent.workspace_id, each) for each in codes]),
                )

    def unknown(self) -> tuple[list[str], int]:
        """Codes of the file that are not in the catalogue: the first of them, and how many there are."""
        rows = self._connection.execute(
            "WITH unknown AS (SELECT r.isrc FROM catalogue_recordings r WHERE r.workspace = %s "
            "AND r.isrc IN (SELECT isrc FROM codes) AND NOT EXISTS (SELECT FROM documents d JOIN checkpoints f "
            "ON f.name = d.projection AND f.version = d.version AND f.live "
            "WHERE d.projection = %s AND d.id = r.track_id)) "
            "SELECT isrc, (SELECT count(*) FROM unknown) FROM unknown ORDER BY isrc LIMIT %s",
            (self.workspace, track_documents.name, UNKNOWN_SHOWN_MAX),
        ).fetchall()
        return [row[0] for row in rows], rows[0][1] if rows else 0

    def keep_odd_rows(self) -> None:
        """Rows that were rejected, wait or were left alone."""
        self._do("INSERT INTO catalogue_odd_rows SELECT %s, * FROM odd", (self.number,))

    # --- plays ----------------------------------------------------------------------------------------------------

    def plays(self) -> Counts:
        """What the file knows of a day replaces what was known; what it does not know stays."""
        self._do(
            "CREATE TEMPORARY TABLE merged ON COMMIT DROP AS "
            "SELECT r.number AS recording, s.day, s.spotify, s.apple, p.recording IS NULL AS is_new, "
            "p.recording IS NOT NULL AND (coalesce(s.spotify, p.spotify), coalesce(s.apple, p.apple)) "
            "IS DISTINCT FROM (p.spotify, p.apple) AS is_changed "
            "FROM staged s JOIN catalogue_recordings r ON r.workspace = %s AND r.isrc = s.isrc "
            "LEFT JOIN catalogue_plays p ON p.recording = r.number AND p.day = s.day",
            (self.workspace,),
        )
        new, changed, unchanged = self._one(
            "SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE is_changed), "
            "count(*) FILTER (WHERE NOT is_new AND NOT is_changed) FROM merged"
        )
        self._do(
            "INSERT INTO catalogue_plays_before SELECT p.recording, p.day, p.spotify, p.apple, p.import, %s "
            "FROM catalogue_plays p JOIN merged m USING (recording, day) WHERE m.is_changed",
            (self.number,),
        )
        self._do(
            "INSERT INTO catalogue_plays AS p (recording, day, workspace, spotify, apple, import) "
            "SELECT recording, day, %s, spotify, apple, %s FROM merged WHERE is_new OR is_changed "
            "ORDER BY recording, day ON CONFLICT (recording, day) DO UPDATE SET "
            "spotify = coalesce(excluded.spotify, p.spotify), apple = coalesce(excluded.apple, p.apple), "
            "import = excluded.import",
            (self.workspace, self.number),
        )
        self._do(
            "INSERT INTO catalogue_days SELECT DISTINCT %s::integer, day FROM merged WHERE is_new "
            "ON CONFLICT DO NOTHING",
            (self.workspace,),
        )
        return replace(self._reading.tally(), new=new, changed=changed, unchanged=unchanged)

    # --- royalties ------------------------------------------------------------------------------------------------

    def royalties(self) -> Counts:
        """Each statement and period by itself: new, the same as before, corrected, or older than what is there."""
        self._know_titles()
        self._know_subjects()
        standings = self._know_blocks()
        if self._reading.may_have_duplicates and self._has_duplicates():
            self._reading.warnings["duplicate_rows"] = None
        counts = replace(
            self._reading.tally(),
            new=self._keep_lines("b.standing = 'fresh'") if "fresh" in standings else 0,
            unchanged=standings.get("same", 0),
        )
        if standings.keys() & {"changed", "older"}:
            counts = self._correct(counts)
        self._do(
            "INSERT INTO catalogue_block_versions SELECT number, digest, %s FROM blocks "
            "WHERE standing IN ('fresh', 'changed')",
            (self.number,),
        )
        return counts

    def _correct(self, counts: Counts) -> Counts:
        """Statements that were here and read otherwise now: what is new replaces, what is older warns."""
        self._compare()
        new, changed, unchanged, missing = self._one(
            "SELECT coalesce(sum(n) FILTER (WHERE was IS NULL), 0)::bigint, "
            "coalesce(sum(n) FILTER (WHERE was IS NOT NULL AND NOT same), 0)::bigint, "
            "coalesce(sum(n) FILTER (WHERE same), 0)::bigint, coalesce(sum(was) FILTER (WHERE n IS NULL), 0)::bigint "
            "FROM compared WHERE standing = 'changed'"
        )
        older, undone = self._one(
            "SELECT coalesce(sum(n), 0)::bigint, count(*) FILTER (WHERE n IS NOT NULL AND NOT coalesce(same, false)) "
            "FROM compared WHERE standing = 'older'"
        )
        if undone:
            self._reading.warnings["older_statement"] = None
        self._do(
            "UPDATE catalogue_lines l SET replaced_by = %s FROM compared c WHERE c.standing = 'changed' "
            "AND l.block = c.block AND l.key = c.key AND l.replaced_by IS NULL AND "
            "((c.n IS NOT NULL AND c.was IS NOT NULL AND NOT c.same) OR (%s AND c.n IS NULL))",
            (self.number, self._sent.options.replace),
        )
        self._keep_lines(
            "b.standing = 'changed' AND EXISTS (SELECT FROM compared c WHERE c.block = b.number AND c.key = s.key "
            "AND (c.was IS NULL OR NOT c.same))"
        )
        return replace(
            counts,
            new=counts.new + new,
            changed=changed,
            unchanged=counts.unchanged + unchanged + older,
            missing=missing,
        )

    def _has_duplicates(self) -> bool:
        found: bool = self._one(
            "SELECT EXISTS (SELECT FROM staged GROUP BY block, key, units, amount HAVING count(*) > 1)"
        )[0]
        return found

    def _know_subjects(self) -> None:
        """What rows repeat, by the numbers that it has in the books."""
        self._do(
            "CREATE TEMPORARY TABLE known ON COMMIT DROP AS SELECT s.local, r.number AS recording, "
            "t.number AS title, s.upc FROM subjects s LEFT JOIN titles t ON t.local = s.title "
            f"LEFT JOIN catalogue_recordings r ON r.workspace = %s AND r.isrc = coalesce(s.isrc, {_SAID_SINCE})",
            (self.workspace,),
        )
        for name in ("known", "places"):
            self._do(f"ANALYZE {name}")

    def _know_titles(self) -> None:
        """Give each title without ISRC its number."""
        self._do("CREATE TEMPORARY TABLE titles (local integer, number integer) ON COMMIT DROP")
        told = list(self._reading.titles.items())
        if not told:
            return
        ids = [derived_id("title", self._sent.workspace_id, *which) for which, _ in told]
        self._do(
            "INSERT INTO catalogue_titles (workspace, title_id, artist, title, reason) "
            "SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING",
            (
                self.workspace,
                ids,
                [artist for (artist, _), _ in told],
                [title for (_, title), _ in told],
                [self._reading.title_reasons[local] for _, local in told],
            ),
        )
        self._do(
            "INSERT INTO titles SELECT q.local, t.number FROM unnest(%s::integer[], %s::text[]) AS q(local, id) "
            "JOIN catalogue_titles t ON t.title_id = q.id",
            ([local for _, local in told], ids),
        )

    def _know_blocks(self) -> dict[str, int]:
        """Give each statement and period its number, and say how it stands to what was imported before.

        How many rows stand how.
        """
        found = self._reading.blocks
        self._do(
            "CREATE TEMPORARY TABLE told ON COMMIT DROP AS SELECT * FROM "
            "unnest(%s::integer[], %s::date[], %s::date[], %s::date[], %s::bytea[], %s::integer[]) "
            "AS t(local, statement, sale_start, sale_end, digest, n)",
            (
                list(found.values()),
                [which[0] for which in found],
                [which[1] for which in found],
                [which[2] for which in found],
                [each.to_bytes(16) for each in self._reading.block_digests],
                self._reading.block_rows,
            ),
        )
        source = self._reading.profile.name
        self._do(
            "INSERT INTO catalogue_blocks (workspace, source, statement, sale_start, sale_end) "
            "SELECT %s, %s, statement, sale_start, sale_end FROM told ON CONFLICT DO NOTHING",
            (self.workspace, source),
        )
        # A block without versions is new; one whose newest version is this one needs no look at its rows, unless
        # what it has no more is to go.
        self._do(
            "CREATE TEMPORARY TABLE blocks ON COMMIT DROP AS "
            "SELECT t.local, b.number, t.digest, t.n, b.sale_start, CASE "
            "WHEN v.newest IS NULL THEN 'fresh' WHEN v.newest = t.digest AND NOT %s THEN 'same' "
            "WHEN v.newest <> t.digest AND t.digest = ANY(v.digests) THEN 'older' ELSE 'changed' END AS standing "
            "FROM told t JOIN catalogue_blocks b ON b.workspace = %s AND b.source = %s "
            "AND b.statement = t.statement AND b.sale_start = t.sale_start AND b.sale_end = t.sale_end "
            "LEFT JOIN LATERAL (SELECT array_agg(digest) AS digests, "
            "(array_agg(digest ORDER BY import DESC))[1] AS newest FROM catalogue_block_versions v "
            "WHERE v.block = b.number) v "
            "ON true",
            (self._sent.options.replace, self.workspace, source),
        )
        self._do("ANALYZE blocks")
        rows = self._connection.execute("SELECT standing, sum(n)::bigint FROM blocks GROUP BY 1").fetchall()
        return {row[0]: row[1] for row in rows}

    def _compare(self) -> None:
        """What staged rows and those in the books have in common, by what a row is about."""
        value = "coalesce(units::text, '-') || ':' || trim_scale(amount)"
        values = f"array_agg({value} ORDER BY units, amount) AS v, count(*) AS n"
        self._do(
            "CREATE TEMPORARY TABLE compared ON COMMIT DROP AS "
            "SELECT coalesce(s.number, c.number) AS block, coalesce(s.key, c.key) AS key, "
            "coalesce(s.standing, c.standing) AS standing, s.n, c.n AS was, s.v = c.v AS same "
            f"FROM (SELECT b.number, b.standing, s.key, {values} FROM staged s JOIN blocks b ON b.local = s.block "
            "AND b.standing IN ('changed', 'older') GROUP BY 1, 2, 3) s FULL JOIN "
            f"(SELECT b.number, b.standing, l.key, {values} FROM catalogue_lines l JOIN blocks b ON b.number = l.block "
            "AND b.standing IN ('changed', 'older') WHERE l.replaced_by IS NULL GROUP BY 1, 2, 3) c "
            "ON c.number = s.number AND c.key = s.key"
        )

    def _keep_lines(self, which: str) -> int:
        return self._do(
            "INSERT INTO catalogue_lines (block, key, import, line, workspace, recording, title, upc, store, country, "
            "kind, sale_start, units, currency, amount) "
            "SELECT b.number, s.key, %s, s.line, %s, k.recording, k.title, k.upc, p.store, p.country, p.kind, "
            "b.sale_start, s.units, s.currency, s.amount FROM staged s JOIN blocks b ON b.local = s.block "
            f"JOIN known k ON k.local = s.subject JOIN places p ON p.local = s.place WHERE {which}",
            (self.number, self.workspace),
        )

    # --- figures over a stretch of time ---------------------------------------------------------------------------

    def songs(self) -> Counts:
        """What a store says of songs over a stretch of time replaces what it said of the same stretch."""
        self._know_titles()
        stored = (self.workspace, self._reading.profile.name)
        same = (
            "p.workspace = %s AND p.source = %s AND p.period_start IS NOT DISTINCT FROM s.period_start "
            "AND p.period_end = s.period_end AND p.replaced_by IS NULL AND p.name = s.name"
        )
        equal = "(p.listeners, p.streams, p.saves) IS NOT DISTINCT FROM (s.listeners, s.streams, s.saves)"
        new, changed, unchanged = self._one(
            "SELECT count(*) FILTER (WHERE p.name IS NULL), "
            f"count(*) FILTER (WHERE p.name IS NOT NULL AND NOT {equal}), "
            f"count(*) FILTER (WHERE p.name IS NOT NULL AND {equal}) "
            f"FROM staged s LEFT JOIN LATERAL (SELECT * FROM catalogue_snapshots p WHERE {same} LIMIT 1) p ON true",
            stored,
        )
        self._do(
            f"UPDATE catalogue_snapshots p SET replaced_by = %s FROM staged s WHERE {same} AND NOT {equal}",
            (self.number, *stored),
        )
        self._do(
            "INSERT INTO catalogue_snapshots (workspace, source, period_start, period_end, name, recording, title, "
            "listeners, streams, saves, import) "
            "SELECT %s, %s, s.period_start, s.period_end, s.name, r.number, t.number, "
            "s.listeners, s.streams, s.saves, %s FROM staged s "
            "LEFT JOIN titles t ON t.local = s.unresolved "
            f"LEFT JOIN catalogue_recordings r ON r.workspace = %s AND r.isrc = coalesce(s.isrc, {_SAID_SINCE}) "
            f"WHERE NOT EXISTS (SELECT FROM catalogue_snapshots p WHERE {same})",
            (*stored, self.number, self.workspace, *stored),
        )
        return replace(self._reading.tally(), new=new, changed=changed, unchanged=unchanged)


def _take_turn(connection: Connection[TupleRow], workspace: int) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_MERGING, workspace))


def _workspace(connection: Connection[TupleRow], workspace_id: str) -> int:
    connection.execute(
        "INSERT INTO catalogue_workspaces (workspace_id) VALUES (%s) ON CONFLICT DO NOTHING", (workspace_id,)
    )
    row = connection.execute(
        "SELECT number FROM catalogue_workspaces WHERE workspace_id = %s", (workspace_id,)
    ).fetchone()
    assert row is not None
    found: int = row[0]
    return found


@provides
def importer(settings: Postgres) -> Importer:
    """What reads files into the books."""
    return Importer(settings.postgres_url)
