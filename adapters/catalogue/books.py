"""What the books say: series of plays, a day's best, money by currency. Straight from the rows of imports."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from adapters.provides import provides
from adapters.readmodels.views import Reads, ReadsUnavailable, Seen
from projections.catalogue.tracks import track_counts, track_documents

#: How many tracks and artists are a day's best.
BEST = 10
#: Of how many imports a figure says that it came from them: the newest.
IMPORTS_SHOWN = 20
#: Days whose best are remembered in one process, some 5 kB each.
REMEMBERED_DAYS = 1_000


class Day(NamedTuple):
    """Plays of one recording on one day; None is what no file has said. And which import said it last."""

    date: date
    spotify_streams: int | None
    apple_streams: int | None
    import_id: str


class Overview(NamedTuple):
    """A day of a whole catalogue: how many tracks and days there are, and the best by plays, with stored documents."""

    day: date | None
    tracks: int
    days: int
    best_tracks: list[tuple[bytes, int]]
    best_artists: list[tuple[str, int]]


_SERIES = """
SELECT p.day, p.spotify, p.apple, i.import_id
FROM catalogue_workspaces w
JOIN catalogue_recordings r ON r.workspace = w.number AND r.isrc = %s
JOIN catalogue_plays p ON p.recording = r.number
LEFT JOIN catalogue_imports i ON i.number = p.import
WHERE w.workspace_id = %s
ORDER BY p.day DESC LIMIT %s
"""

_STANDING = """
SELECT f.position, (SELECT coalesce(max(notification_id), 0) FROM ledger_events WHERE workspace_id = %(workspace_id)s),
       f.version, w.number, (SELECT max(i.number) FROM catalogue_imports i WHERE i.workspace = w.number),
       (SELECT count(*) FROM catalogue_days d WHERE d.workspace = w.number),
       coalesce(%(day)s::date, (SELECT max(d.day) FROM catalogue_days d WHERE d.workspace = w.number)),
       (SELECT t.amount FROM tallies t JOIN checkpoints c ON c.name = t.projection AND c.version = t.version AND c.live
        WHERE t.projection = %(counts)s AND t.key = %(workspace_id)s)
FROM checkpoints f LEFT JOIN catalogue_workspaces w ON w.workspace_id = %(workspace_id)s
WHERE f.name = %(tracks)s AND f.live
"""

# Every track of the day with its plays is looked at once. The artist is a column of the stored documents; the bodies of
# the few best are read at the end.
_BEST = """
WITH played AS MATERIALIZED (
    SELECT d.id, d.parent AS artist, r.isrc, coalesce(p.spotify, 0) + coalesce(p.apple, 0) AS streams
    FROM catalogue_plays p
    JOIN catalogue_recordings r ON r.number = p.recording
    JOIN documents d ON d.projection = %(tracks)s AND d.version = %(version)s AND d.id = r.track_id
    WHERE p.workspace = %(workspace)s AND p.day = %(day)s
), tracks AS (
    SELECT id, isrc, streams FROM played ORDER BY streams DESC, isrc LIMIT %(best)s
), artists AS (
    SELECT artist, sum(streams)::bigint AS streams FROM played GROUP BY artist ORDER BY 2 DESC, 1 LIMIT %(best)s
)
SELECT d.body, NULL, t.streams, t.isrc FROM tracks t
JOIN documents d ON d.projection = %(tracks)s AND d.version = %(version)s AND d.id = t.id
UNION ALL SELECT NULL, artist, streams, NULL FROM artists
ORDER BY 3 DESC, 4, 2
"""

_PROGRESS = "SELECT rows_read, bytes_read, bytes_total FROM catalogue_progress WHERE import_id = %s"

# Files of an archive have lines of the same number: those come together, or a page that ends among them would lose
# some.
_ODD_ROWS = """
SELECT o.line, o.kind, o.reason, o.cells, i.header
FROM catalogue_imports i JOIN catalogue_workspaces w ON w.number = i.workspace
LEFT JOIN LATERAL (
    SELECT * FROM catalogue_odd_rows o WHERE o.import = i.number AND o.kind = ANY(%(kinds)s) AND o.line > %(after)s
    ORDER BY o.line FETCH FIRST %(limit)s ROWS WITH TIES
) o ON true
WHERE i.import_id = %(import_id)s AND w.workspace_id = %(workspace_id)s
"""


_TITLES = """
SELECT t.title_id, t.artist, t.title, t.reason, t.isrc, count(*) OVER (),
       (SELECT count(*) FROM catalogue_lines l WHERE l.title = t.number AND l.replaced_by IS NULL)
       + (SELECT count(*) FROM catalogue_snapshots s WHERE s.title = t.number AND s.replaced_by IS NULL)
FROM catalogue_titles t JOIN catalogue_workspaces w ON w.number = t.workspace
WHERE w.workspace_id = %(workspace_id)s
  AND (t.title_id = %(title_id)s OR (%(title_id)s::text IS NULL AND t.isrc IS NULL))
ORDER BY t.number DESC LIMIT %(limit)s OFFSET %(offset)s
"""

#: What money can be told apart by, and how that is written.
GROUPS = {
    "month": "to_char(l.sale_start, 'YYYY-MM')",
    "store": "coalesce(l.store, '')",
    "country": "coalesce(l.country, '')",
    "source": "b.source",
    "statement": "b.statement::text",
    "isrc": "coalesce(r.isrc, '')",
    "upc": "coalesce(l.upc, '')",
    "artist": "coalesce(d.parent, t.artist, '')",
    "currency": "''",
}
# Sums of each import first, of which there are few, so that each figure can say which imports it came from.
_EARNED = """
WITH earned AS (
    SELECT {group} AS what, l.currency, l.import, sum(l.amount) AS amount, sum(l.units) AS units, count(*) AS rows,
           min(l.sale_start) AS first, max(b.sale_end) AS last
    FROM catalogue_workspaces w
    JOIN catalogue_lines l ON l.workspace = w.number AND l.replaced_by IS NULL
    JOIN catalogue_blocks b ON b.number = l.block
    LEFT JOIN catalogue_recordings r ON r.number = l.recording
    {beside}
    WHERE w.workspace_id = %(workspace_id)s
      AND (%(isrc)s::text IS NULL OR r.isrc = %(isrc)s)
      AND (%(since)s::date IS NULL OR l.sale_start >= %(since)s)
      AND (%(until)s::date IS NULL OR b.sale_end <= %(until)s)
    GROUP BY 1, 2, 3
)
SELECT what, currency, sum(amount), sum(units)::bigint, sum(rows)::bigint, min(first), max(last),
       coalesce(
           (array_agg(i.import_id ORDER BY e.import DESC) FILTER (WHERE i.import_id IS NOT NULL))[1:{shown}], '{{}}'
       )
FROM earned e LEFT JOIN catalogue_imports i ON i.number = e.import
GROUP BY 1, 2 ORDER BY {order} LIMIT %(limit)s
"""
#: What a group needs beside the lines.
_BESIDE = {
    "artist": """
    LEFT JOIN catalogue_titles t ON t.number = l.title
    LEFT JOIN documents d ON d.projection = %(tracks)s AND d.id = r.track_id
        AND d.version = (SELECT f.version FROM checkpoints f WHERE f.name = %(tracks)s AND f.live)
    """
}
# Whatever a report has said of a month: who is not in it has earned nothing there, which is not the same as no report.
_MONTHS = """
SELECT DISTINCT m::date FROM catalogue_workspaces w
JOIN catalogue_blocks b ON b.workspace = w.number
CROSS JOIN generate_series(date_trunc('month', b.sale_start::timestamp), b.sale_end::timestamp, '1 month') AS m
WHERE w.workspace_id = %s AND b.sale_end < b.sale_start + 3660 ORDER BY 1
"""


class Title(NamedTuple):
    """A title without an ISRC, how many titles there are in all, and how many rows it has."""

    id: str
    artist: str
    title: str
    reason: str
    isrc: str | None
    of: int
    rows: int


class Earned(NamedTuple):
    """Money of one currency, exact, and the units it was paid for."""

    what: str
    currency: str
    amount: Decimal
    units: int | None
    rows: int
    first: date
    last: date
    imports: list[str]


class Standing(NamedTuple):
    """How a workspace's books stand: the newest event and import, where its rows are, its days, and its tracks."""

    head: int
    version: int
    workspace: int | None
    newest: int | None
    days: int
    #: The day that was asked for, or the latest that anything is known of.
    day: date | None
    tracks: int | None


class OddRow(NamedTuple):
    """A row that was rejected, waits or was left alone."""

    line: int
    kind: str
    reason: str
    cells: list[str]


class Books:
    """Reads of what was imported."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        # A day's best follows from the newest event and the newest import of its workspace, which come in order.
        self._best: OrderedDict[tuple[Any, ...], list[tuple[Any, ...]]] = OrderedDict()

    async def series(self, workspace_id: str, isrc: str, days: int) -> list[Day]:
        """The newest days of a recording, the newest first."""
        rows = await self._reads.ask(_SERIES, (isrc, workspace_id, days))
        return [Day(day, spotify, apple, import_id or "") for day, spotify, apple, import_id in rows]

    async def standing(self, workspace_id: str, day: date | None = None) -> Standing:
        """How the books of a workspace stand, with all that it has written."""

        async def look() -> Seen[Standing]:
            rows = await self._reads.ask(
                _STANDING,
                {
                    "workspace_id": workspace_id,
                    "day": day,
                    "counts": track_counts.name,
                    "tracks": track_documents.name,
                },
            )
            if not rows:
                raise ReadsUnavailable
            return Seen(rows[0][0], rows[0][1], Standing(*rows[0][1:]))

        return await self._reads.caught_up(look)

    async def overview(self, workspace_id: str, day: date | None) -> Overview:
        """A day, or the latest that anything is known of."""
        head, version, workspace, newest, days, found, tracks = await self.standing(workspace_id, day)
        if workspace is None or found is None:
            return Overview(found, tracks or 0, days, [], [])
        rows = await self._best_of(head, newest, version, workspace, found)
        return Overview(
            found,
            tracks or 0,
            days,
            [(row[0], row[2]) for row in rows if row[0] is not None],
            [(row[1], row[2]) for row in rows if row[0] is None],
        )

    async def _best_of(
        self, head: int, newest: int | None, version: int, workspace: int, day: date
    ) -> list[tuple[Any, ...]]:
        """The best of a day as of an event and an import, remembered for whoever asks next."""
        known = (head, newest, version, workspace, day)
        rows = self._best.get(known)
        if rows is None:
            asked = {
                "tracks": track_documents.name,
                "version": version,
                "workspace": workspace,
                "day": day,
                "best": BEST,
            }
            rows = self._best[known] = await self._reads.ask(_BEST, asked)
            if len(self._best) > REMEMBERED_DAYS:
                self._best.popitem(last=False)
        return rows

    async def progress(self, import_id: str) -> tuple[int, int, int] | None:
        """Rows and bytes that were read of an import that is going on, and how many bytes there are."""
        rows = await self._reads.ask(_PROGRESS, (import_id,))
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    async def odd_rows(
        self, workspace_id: str, import_id: str, kinds: Sequence[str], *, after: int, limit: int
    ) -> tuple[list[str], list[OddRow]]:
        """The header of an import, and rows of these kinds after a line: so many, and others of the last one's line."""
        rows = await self._reads.ask(
            _ODD_ROWS,
            {
                "workspace_id": workspace_id,
                "import_id": import_id,
                "kinds": list(kinds),
                "after": after,
                "limit": limit,
            },
        )
        header = list(rows[0][4]) if rows else []
        return header, [OddRow(*row[:4]) for row in rows if row[0] is not None]

    async def titles(
        self, workspace_id: str, *, limit: int = 1, offset: int = 0, title_id: str | None = None
    ) -> list[Title]:
        """Titles that wait for a person, newest first, or the one with an id."""
        asked = {"workspace_id": workspace_id, "limit": limit, "offset": offset, "title_id": title_id}
        return [Title(*row) for row in await self._reads.ask(_TITLES, asked)]

    async def earned(
        self,
        workspace_id: str,
        by: str,
        *,
        isrc: str | None = None,
        since: date | None = None,
        until: date | None = None,
        limit: int,
    ) -> list[Earned]:
        """Money by currency, never added across: by the month that it was earned in, or what else is in `GROUPS`."""
        order = "1 DESC, 2" if by in ("month", "statement") else "3 DESC, 1, 2"
        asked = {"workspace_id": workspace_id, "isrc": isrc, "since": since, "until": until, "limit": limit}
        query = _EARNED.format(group=GROUPS[by], beside=_BESIDE.get(by, ""), order=order, shown=IMPORTS_SHOWN)
        rows = await self._reads.ask(query, {**asked, "tracks": track_documents.name})
        return [Earned(*row) for row in rows]

    async def months(self, workspace_id: str) -> list[date]:
        """The first days of the months that any report of earnings is about."""
        return [row[0] for row in await self._reads.ask(_MONTHS, (workspace_id,))]


@provides
def books(reads: Reads) -> Books:
    """What the books say."""
    return Books(reads)
