"""Plays of a stretch of days beside those of the stretch before it, and what stores have said of stretches of time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

from adapters.catalogue.books import IMPORTS_SHOWN, Books
from adapters.provides import provides
from adapters.readmodels.views import Reads
from projections.catalogue.tracks import track_documents

#: Sums over many rows that one process has made at once.
AT_ONCE = 2
DAY = timedelta(days=1)


class Counted(NamedTuple):
    """Plays in a stretch of days; None is what no file has said. On how many days each store has told of any."""

    spotify: int | None = None
    apple: int | None = None
    spotify_days: int = 0
    apple_days: int = 0

    @property
    def streams(self) -> int | None:
        """Both stores together."""
        known = [each for each in (self.spotify, self.apple) if each is not None]
        return sum(known) if known else None

    @property
    def days(self) -> int:
        """On how many days anything was told."""
        return max(self.spotify_days, self.apple_days)

    def grown(self, before: Counted) -> float | None:
        """By which share there are more plays on a day than there were before.

        Only days of which a store has told are counted, each store by itself and only where it has told of both
        stretches: a report that is late is no fall. None where there is nothing to compare.
        """
        now = then = 0.0
        for plays, days, plays_before, days_before in (
            (self.spotify, self.spotify_days, before.spotify, before.spotify_days),
            (self.apple, self.apple_days, before.apple, before.apple_days),
        ):
            if plays is not None and plays_before is not None and days and days_before:
                now += plays / days
                then += plays_before / days_before
        return round(now / then - 1, 4) if then else None


class DayPlayed(NamedTuple):
    """A day of all tracks that were asked for, and the newest imports that its figures came from."""

    day: date
    spotify: int | None
    apple: int | None
    imports: tuple[str, ...]


class Played(NamedTuple):
    """A track or an artist: what it is called, its plays, those before, and the newest imports that they came from."""

    name: str
    body: bytes | None
    now: Counted
    before: Counted
    imports: tuple[str, ...]


class Snapshot(NamedTuple):
    """What a store has said of a song, an artist or a playlist over a stretch of time, and how many such there are."""

    source: str
    period_start: date | None
    period_end: date
    name: str
    isrc: str | None
    listeners: int | None
    streams: int | None
    saves: int | None
    import_id: str
    of: int


# The recordings of the catalogue that are asked about.
_OF = """
SELECT r.number, r.isrc, d.id, d.parent AS artist FROM catalogue_recordings r
JOIN documents d ON d.projection = %(tracks)s AND d.version = %(version)s AND d.id = r.track_id
WHERE r.workspace = %(workspace)s AND (%(isrc)s::text IS NULL OR r.isrc = %(isrc)s)
  AND (%(artist)s::text IS NULL OR d.parent = %(artist)s)
"""

_DAYS = f"""
WITH asked AS MATERIALIZED ({_OF}), told AS (
    SELECT p.day, p.import, sum(p.spotify) AS spotify, sum(p.apple) AS apple
    FROM catalogue_plays p JOIN asked ON asked.number = p.recording
    WHERE p.workspace = %(workspace)s AND p.day BETWEEN %(before)s AND %(until)s
    GROUP BY 1, 2
)
SELECT day, sum(spotify)::bigint, sum(apple)::bigint, (array_agg(import ORDER BY import DESC))[1:{IMPORTS_SHOWN}]
FROM told GROUP BY 1 ORDER BY 1
"""

# All of a catalogue: the sums of its days, less what is of no recording of the catalogue, of which there is little.
_ALL_DAYS = f"""
WITH strangers AS MATERIALIZED (
    SELECT r.number FROM catalogue_recordings r WHERE r.workspace = %(workspace)s AND NOT EXISTS (
        SELECT FROM documents d WHERE d.projection = %(tracks)s AND d.version = %(version)s AND d.id = r.track_id
    )
), parts AS (
    SELECT day, import, plays, spotify, spotify_told, apple, apple_told FROM catalogue_day_plays
    WHERE workspace = %(workspace)s AND day BETWEEN %(before)s AND %(until)s
    UNION ALL
    SELECT p.day, p.import, -1, -coalesce(p.spotify, 0), -(p.spotify IS NOT NULL)::integer, -coalesce(p.apple, 0),
           -(p.apple IS NOT NULL)::integer
    FROM strangers CROSS JOIN LATERAL (
        SELECT * FROM catalogue_plays p WHERE p.recording = strangers.number AND p.day BETWEEN %(before)s AND %(until)s
        OFFSET 0
    ) p
), told AS (
    SELECT day, import, sum(spotify) AS spotify, sum(spotify_told) AS spotify_told, sum(apple) AS apple,
           sum(apple_told) AS apple_told
    FROM parts GROUP BY 1, 2 HAVING sum(plays) > 0
)
SELECT day, (sum(spotify) FILTER (WHERE spotify_told > 0))::bigint, (sum(apple) FILTER (WHERE apple_told > 0))::bigint,
       (array_agg(import ORDER BY import DESC))[1:{IMPORTS_SHOWN}]
FROM told GROUP BY 1 ORDER BY 1
"""

_NOW, _THEN = "FILTER (WHERE p.day >= %(since)s)", "FILTER (WHERE p.day < %(since)s)"
_SINCE, _BEFORE = "FILTER (WHERE p.since >= %(since)s)", "FILTER (WHERE p.since < %(since)s)"
_GROUPS = {
    "track": "SELECT isrc AS name, id, a, b, c, d, e, f, g, h, imports FROM tracks",
    # A recording has a day once, so its days are its rows; an artist has those of the track that has most.
    "artist": "SELECT artist AS name, NULL AS id, sum(a) AS a, sum(b) AS b, max(c) AS c, max(d) AS d, sum(e) AS e, "
    "sum(f) AS f, max(g) AS g, max(h) AS h, string_agg(imports, ',') AS imports FROM tracks GROUP BY 1",
}
_BEST = f"""
WITH asked AS MATERIALIZED ({_OF}), told AS (
    SELECT p.recording, p.import, sum(p.spotify) {_NOW} AS a, sum(p.apple) {_NOW} AS b,
           count(p.spotify) {_NOW} AS c, count(p.apple) {_NOW} AS d, sum(p.spotify) {_THEN} AS e,
           sum(p.apple) {_THEN} AS f, count(p.spotify) {_THEN} AS g, count(p.apple) {_THEN} AS h
    FROM catalogue_plays p JOIN asked ON asked.number = p.recording
    WHERE p.workspace = %(workspace)s AND p.day BETWEEN %(before)s AND %(until)s
    GROUP BY 1, 2
), {{tracks}}
"""
# The same of all of a catalogue, from the sums of whole months and the days at their edges.
_ALL_BEST = f"""
WITH asked AS MATERIALIZED ({_OF}), parts AS (
    SELECT recording, import, day AS since, spotify, apple, (spotify IS NOT NULL)::integer AS spotify_told,
           (apple IS NOT NULL)::integer AS apple_told
    FROM catalogue_plays WHERE workspace = %(workspace)s AND day = ANY(%(days)s)
    UNION ALL
    SELECT recording, import, month, CASE WHEN spotify_told > 0 THEN spotify END,
           CASE WHEN apple_told > 0 THEN apple END, spotify_told, apple_told
    FROM catalogue_month_plays WHERE workspace = %(workspace)s AND month = ANY(%(months)s)
), told AS (
    SELECT p.recording, p.import, sum(p.spotify) {_SINCE} AS a, sum(p.apple) {_SINCE} AS b,
           coalesce(sum(p.spotify_told) {_SINCE}, 0) AS c, coalesce(sum(p.apple_told) {_SINCE}, 0) AS d,
           sum(p.spotify) {_BEFORE} AS e, sum(p.apple) {_BEFORE} AS f,
           coalesce(sum(p.spotify_told) {_BEFORE}, 0) AS g, coalesce(sum(p.apple_told) {_BEFORE}, 0) AS h
    FROM parts p GROUP BY 1, 2
), {{tracks}}
"""
_RANKED = """tracks AS (
    SELECT asked.isrc, asked.id, asked.artist, sum(a) AS a, sum(b) AS b, sum(c) AS c, sum(d) AS d, sum(e) AS e,
           sum(f) AS f, sum(g) AS g, sum(h) AS h, string_agg(import::text, ',') AS imports
    FROM told JOIN asked ON asked.number = told.recording GROUP BY 1, 2, 3
), best AS (
    SELECT * FROM ({grouped}) found ORDER BY coalesce(a, 0) + coalesce(b, 0) DESC, name LIMIT %(limit)s
)
SELECT name, body, a::bigint, b::bigint, c::bigint, d::bigint, e::bigint, f::bigint, g::bigint, h::bigint, imports
FROM best LEFT JOIN documents d ON d.projection = %(tracks)s AND d.version = %(version)s AND d.id = best.id
ORDER BY coalesce(a, 0) + coalesce(b, 0) DESC, name
"""

_IMPORTS = "SELECT number, import_id FROM catalogue_imports WHERE number = ANY(%s)"

_SNAPSHOTS = """
SELECT s.source, s.period_start, s.period_end, s.name, r.isrc, s.listeners, s.streams, s.saves,
       coalesce(i.import_id, ''), count(*) OVER ()
FROM catalogue_workspaces w
JOIN catalogue_snapshots s ON s.workspace = w.number AND s.replaced_by IS NULL
LEFT JOIN catalogue_recordings r ON r.number = s.recording
LEFT JOIN catalogue_imports i ON i.number = s.import
WHERE w.workspace_id = %(workspace_id)s
  AND (%(source)s::text IS NULL OR s.source = %(source)s) AND (%(isrc)s::text IS NULL OR r.isrc = %(isrc)s)
  AND (%(name)s::text IS NULL OR s.name = %(name)s)
ORDER BY s.period_end DESC, s.source, s.period_start NULLS FIRST, s.streams DESC NULLS LAST, s.name
LIMIT %(limit)s OFFSET %(offset)s
"""


class Plays:
    """Reads of plays over a stretch of days, of recordings that are in the catalogue."""

    def __init__(self, reads: Reads, books: Books) -> None:
        self._reads = reads
        self._books = books
        # The best of a year keep the database busy for seconds.
        self._places = asyncio.Semaphore(AT_ONCE)

    async def latest(self, workspace_id: str) -> date | None:
        """The last day that anything is known of."""
        return (await self._books.standing(workspace_id)).day

    async def days(
        self, workspace_id: str, before: date, until: date, *, isrc: str | None = None, artist: str | None = None
    ) -> list[DayPlayed]:
        """Every day that a file has told of, the oldest first."""
        asked = await self._asked(workspace_id, isrc, artist)
        if asked is None:
            return []
        query = _ALL_DAYS if isrc is None and artist is None else _DAYS
        async with self._places:
            rows = await self._reads.ask(query, {**asked, "before": before, "until": until})
        ids = await self._ids({each for row in rows for each in row[3]})
        return [DayPlayed(day, spotify, apple, _named(ids, of)) for day, spotify, apple, of in rows]

    async def best(
        self,
        workspace_id: str,
        by: str,
        before: date,
        since: date,
        until: date,
        *,
        isrc: str | None = None,
        artist: str | None = None,
        limit: int,
    ) -> list[Played]:
        """Tracks or artists by their plays from a day on, the best first, with those of the days before it."""
        asked = await self._asked(workspace_id, isrc, artist)
        if asked is None:
            return []
        period: dict[str, Any] = {"before": before, "since": since, "until": until}
        query = _BEST
        if isrc is None and artist is None:
            days, months = _parts(before, since)
            more_days, more_months = _parts(since, until + DAY)
            if months or more_months:
                query, period = _ALL_BEST, {"since": since, "days": days + more_days, "months": months + more_months}
        query = query.format(tracks=_RANKED.format(grouped=_GROUPS[by]))
        async with self._places:
            rows = await self._reads.ask(query, {**asked, **period, "limit": limit})
        of = [sorted(set(map(int, row[10].split(","))), reverse=True)[:IMPORTS_SHOWN] for row in rows]
        ids = await self._ids({each for numbers in of for each in numbers})
        return [
            Played(row[0], row[1], Counted(*row[2:6]), Counted(*row[6:10]), _named(ids, numbers))
            for row, numbers in zip(rows, of, strict=True)
        ]

    async def snapshots(
        self,
        workspace_id: str,
        *,
        source: str | None,
        isrc: str | None,
        name: str | None,
        limit: int,
        offset: int,
    ) -> list[Snapshot]:
        """What stores have said of stretches of time, the newest first."""
        asked = {"workspace_id": workspace_id, "source": source, "isrc": isrc, "name": name}
        rows = await self._reads.ask(_SNAPSHOTS, {**asked, "limit": limit, "offset": offset})
        return [Snapshot(*row) for row in rows]

    async def _asked(self, workspace_id: str, isrc: str | None, artist: str | None) -> dict[str, Any] | None:
        standing = await self._books.standing(workspace_id)
        if standing.workspace is None:
            return None
        return {
            "tracks": track_documents.name,
            "version": standing.version,
            "workspace": standing.workspace,
            "isrc": isrc,
            "artist": artist,
        }

    async def _ids(self, numbers: set[int]) -> dict[int, str]:
        return dict(await self._reads.ask(_IMPORTS, (list(numbers),))) if numbers else {}


def _parts(since: date, end: date) -> tuple[list[date], list[date]]:
    """The days from one to before another that are in no whole month, and the first days of the whole months."""
    days, months, day = [], [], since
    while day < end:
        following = (day.replace(day=1) + 31 * DAY).replace(day=1)
        if day.day == 1 and following <= end:
            months.append(day)
            day = following
        else:
            days.append(day)
            day += DAY
    return days, months


def _named(ids: dict[int, str], numbers: Sequence[int]) -> tuple[str, ...]:
    return tuple(ids[each] for each in numbers if each in ids)


@provides
def plays(reads: Reads, books: Books) -> Plays:
    """What the books say of plays."""
    return Plays(reads, books)
