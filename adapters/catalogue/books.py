"""What the books say: series of plays, a day's best, money by currency. Straight from the rows of imports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from adapters.provides import provides
from adapters.readmodels.views import Reads, ReadsUnavailable, Seen
from projections.catalogue.tracks import track_counts, track_documents

#: How many tracks and artists are a day's best.
BEST = 10


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
       f.version, w.number,
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

_ODD_ROWS = """
SELECT o.line, o.kind, o.reason, o.cells, i.header
FROM catalogue_imports i JOIN catalogue_workspaces w ON w.number = i.workspace
LEFT JOIN LATERAL (
    SELECT * FROM catalogue_odd_rows o WHERE o.import = i.number AND o.kind = ANY(%(kinds)s) AND o.line > %(after)s
    ORDER BY o.line LIMIT %(limit)s
) o ON true
WHERE i.import_id = %(import_id)s AND w.workspace_id = %(workspace_id)s
"""


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

    async def series(self, workspace_id: str, isrc: str, days: int) -> list[Day]:
        """The newest days of a recording, the newest first."""
        rows = await self._reads.ask(_SERIES, (isrc, workspace_id, days))
        return [Day(day, spotify, apple, import_id or "") for day, spotify, apple, import_id in rows]

    async def overview(self, workspace_id: str, day: date | None) -> Overview:
        """A day, or the latest that anything is known of."""

        async def look() -> Seen[tuple[Any, ...]]:
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
            return Seen(rows[0][0], rows[0][1], rows[0][2:])

        version, workspace, days, found, tracks = await self._reads.caught_up(look)
        if workspace is None or found is None:
            return Overview(found, tracks or 0, days, [], [])
        rows = await self._reads.ask(
            _BEST,
            {
                "tracks": track_documents.name,
                "version": version,
                "workspace": workspace,
                "day": found,
                "best": BEST,
            },
        )
        return Overview(
            found,
            tracks or 0,
            days,
            [(row[0], row[2]) for row in rows if row[0] is not None],
            [(row[1], row[2]) for row in rows if row[0] is None],
        )

    async def progress(self, import_id: str) -> tuple[int, int, int] | None:
        """Rows and bytes that were read of an import that is going on, and how many bytes there are."""
        rows = await self._reads.ask(_PROGRESS, (import_id,))
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    async def odd_rows(
        self, workspace_id: str, import_id: str, kinds: Sequence[str], *, after: int, limit: int
    ) -> tuple[list[str], list[OddRow]]:
        """The header of an import, and rows of these kinds after a line."""
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


@provides
def books(reads: Reads) -> Books:
    """What the books say."""
    return Books(reads)
