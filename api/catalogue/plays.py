"""Plays over a stretch of days: totals, growth, the best, what has not been reported; and what stores sum up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from msgspec import Meta, Struct

from adapters.catalogue.books import IMPORTS_SHOWN
from adapters.catalogue.charts import MEDIA, NOT_REPORTED, Bar, Line, Picture
from adapters.catalogue.plays import Counted, DayPlayed, Played
from api.answers import Answer
from api.auth import Asker
from api.catalogue.analytics import DAYS, PICTURES, Format, named
from api.catalogue.ports import Ports
from api.catalogue.tracks import LIMIT, LIMIT_MAX, READ, Limit, Offset, Pagination, pagination
from commands.catalogue.ports import track_id
from domain.catalogue.codes import BadIsrc, find_isrc
from domain.keeping import check_text
from domain.kernel import Invalid
from projections.catalogue.tracks import track_documents

PERIOD_DAYS_MAX = 366
EARLIEST = date(1901, 1, 1)

By = Literal["day", "month", "track", "artist", "store"]


AN_IMPORT = "9af166df-2fe2-4ea4-bec6-a4ce775f3b30"
Imports = Annotated[list[str], Meta(examples=[[AN_IMPORT]])]
Streams = Annotated[int | None, Meta(examples=[15420])]
Growth = Annotated[float | None, Meta(examples=[0.25])]


class BadPeriod(Invalid):
    """A period has {days_max} days at most, begins after 1900 and ends no sooner than it begins. Say other days."""

    days_max: int


class PeriodOfPlays(Struct):
    """A stretch of days; null is what no file has said. `days_reported` is on how many days any was told."""

    since: date
    until: date
    spotify_streams: Streams
    apple_streams: Annotated[int | None, Meta(examples=[1200])]
    streams: Annotated[int | None, Meta(examples=[16620])]
    days: Annotated[int, Meta(examples=[30])]
    days_reported: Annotated[int, Meta(examples=[28])]


class PlaysOf(Struct):
    """A day, a month, a track, an artist or a store, and the newest imports that its figures came from.

    `title` and `artist` are those of a track. `growth` is that against the days before, as a share: 0.25 is a quarter
    more plays on a reported day.
    """

    group: Annotated[str, Meta(examples=["USXXX1234567"])]
    spotify_streams: Streams
    apple_streams: Annotated[int | None, Meta(examples=[1200])]
    streams: Annotated[int | None, Meta(examples=[16620])]
    days_reported: Annotated[int, Meta(examples=[28])]
    growth: Growth
    imports: Imports
    title: Annotated[str | None, Meta(examples=["Song Name"])] = None
    artist: Annotated[str | None, Meta(examples=["Artist Name"])] = None


class PlaysAnswer(Struct):
    """Plays of a period beside those of as many days before it.

    Growth compares what was played on a reported day, each store by itself: a report that is late is no fall, and its
    days are in `not_reported`.
    """

    by: Annotated[str, Meta(examples=["track"])]
    totals: PeriodOfPlays
    previous: PeriodOfPlays
    growth: Growth
    not_reported: list[date]
    data: list[PlaysOf]


class SummedUp(Struct):
    """What a store has said of a song, an artist or a playlist over a stretch of time; it is added to nothing.

    The first day is null where the store has not told it.
    """

    source: Annotated[str, Meta(examples=["spotify.songs"])]
    period_start: date | None
    period_end: date
    name: Annotated[str, Meta(examples=["Song Name"])]
    isrc: Annotated[str | None, Meta(examples=["USXXX1234567"])]
    listeners: Annotated[int | None, Meta(examples=[900])]
    streams: Streams
    saves: Annotated[int | None, Meta(examples=[31])]
    import_id: Annotated[str, Meta(examples=[AN_IMPORT])]


class SummedUpList(Struct):
    """A page of figures over stretches of time, the newest first."""

    data: list[SummedUp]
    pagination: Pagination


Since = Annotated[date | None, QueryParameter(description="The first day; 30 days up to the last one otherwise")]
Until = Annotated[date | None, QueryParameter(description="The last day; the latest that is known otherwise")]
OneIsrc = Annotated[str | None, QueryParameter(max_length=64, description="Only those of one recording")]
OneArtist = Annotated[str | None, QueryParameter(max_length=500, description="Only those of one artist, as tracks say")]


@get(
    "/api/v1/analytics/plays",
    tags=["catalogue"],
    opt={**READ, **PICTURES, "statuses": ("404",)},
    responses={200: ResponseSpec(PlaysAnswer, generate_examples=False, description="Plays of a period.")},
)
async def list_plays(
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    by: Annotated[By, QueryParameter(description="What plays are told apart by")] = "day",
    isrc: OneIsrc = None,
    artist: OneArtist = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="Maximum number of tracks or artists")] = 10,
    format: Format = "json",  # noqa: A002 - the name that it has outside
) -> Response[Any]:
    """Read what was played in a period, beside as many days before it: totals, growth, and the best tracks and artists.

    Only recordings of the catalogue count. Every day of the period is there, with null for what no file has said; days
    and months come newest first, all else best first. Each figure says which imports it came from, the newest 20.
    """
    known = await _known(ports, asker, isrc)
    artist = None if artist is None else check_text(artist)
    first, last = await _period(ports, asker, since, until)
    before = first - (last - first) - timedelta(days=1)
    days = await ports.plays.days(asker.workspace_id, before, last, isrc=known, artist=artist)
    now, then = [each for each in days if each.day >= first], [each for each in days if each.day < first]
    total, earlier = _counted(now), _counted(then)
    if by in ("track", "artist"):
        best = await ports.plays.best(
            asker.workspace_id, by, before, first, last, isrc=known, artist=artist, limit=limit
        )
        rows = list(map(_best, best))
    else:
        rows = _ROWS[by](now, then, first, last)
    if format != "json":
        return Response(await _drawn(ports, asker, by, rows, format), media_type=MEDIA[format])
    told = {each.day for each in now}
    return Answer(
        PlaysAnswer(
            by,
            _totals(first, last, total),
            _totals(before, first - timedelta(days=1), earlier),
            total.grown(earlier),
            [each for each in _days(first, last) if each not in told],
            rows,
        )
    )


@get(
    "/api/v1/analytics/snapshots",
    tags=["catalogue"],
    opt={**READ, **PICTURES},
    responses={200: ResponseSpec(SummedUpList, generate_examples=False, description="Figures of stretches of time.")},
)
async def list_snapshots(
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    source: Annotated[str | None, QueryParameter(max_length=64, description="Only those of one kind of report")] = None,
    isrc: OneIsrc = None,
    name: Annotated[str | None, QueryParameter(max_length=500, description="Only those that are called so")] = None,
    limit: Limit = LIMIT,
    offset: Offset = 0,
    format: Format = "json",  # noqa: A002 - the name that it has outside
) -> Response[Any]:
    """List what stores have summed up over stretches of time, as Spotify's songs of a year: the newest first.

    Such a figure is never made of daily plays, nor they of it. A picture shows the streams of each song as they were
    told last, or, of one song (`name`, `isrc`), its streams and listeners by the last day.
    """
    known, [source, name] = _isrc(isrc), [each and check_text(each) for each in (source, name)]
    found = await ports.plays.snapshots(
        asker.workspace_id, source=source, isrc=known, name=name, limit=limit, offset=offset
    )
    if format == "json":
        page = pagination(found[0].of if found else 0, limit, offset, len(found))
        return Answer(SummedUpList([SummedUp(*each[:-1]) for each in found], page))
    title = name or known or source or "Stretches of time"
    if len({(each.source, each.name) for each in found}) > 1:
        # Songs beside each other have nothing between them; each is shown as it was told last.
        newest = {each.name: each for each in found[::-1]}
        best = sorted(newest.values(), key=lambda each: -(each.streams or 0))
        bars = {"streams": [_bar(each.name, each.streams) for each in best]}
        return Response(await ports.charts.bars(asker.workspace_id, title, bars, format), media_type=MEDIA[format])
    shown = found[::-1]
    lines = [Line("Streams", [each.streams for each in shown]), Line("Listeners", [each.listeners for each in shown])]
    drawn = await ports.charts.days(asker.workspace_id, title, [each.period_end for each in shown], lines, format)
    return Response(drawn, media_type=MEDIA[format])


def _isrc(text: str | None) -> str | None:
    if text is None:
        return None
    found = find_isrc(text)
    if found is None:
        raise BadIsrc(loc=("query", "isrc"))
    return found


async def _known(ports: Ports, asker: Asker, text: str | None) -> str | None:
    """The recording that is asked for, which is in the catalogue."""
    found = _isrc(text)
    if found is not None:
        await ports.views.get(track_documents, track_id(asker.workspace_id, found), asker.workspace_id)
    return found


async def _period(ports: Ports, asker: Asker, since: date | None, until: date | None) -> tuple[date, date]:
    """The first and the last day that are asked for."""
    if until is None:
        until = await ports.plays.latest(asker.workspace_id) or ports.now().date()
        if since is not None and since > until:
            until = since
    if since is None:
        since = max(EARLIEST, until - timedelta(days=DAYS - 1)) if until >= EARLIEST else until
    if since < EARLIEST or not 0 <= (until - since).days < PERIOD_DAYS_MAX:
        raise BadPeriod(days_max=PERIOD_DAYS_MAX, loc=("query", "since"))
    return since, until


def _days(first: date, last: date) -> Iterable[date]:
    return map(date.fromordinal, range(first.toordinal(), last.toordinal() + 1))


def _sum(values: Iterable[int | None]) -> tuple[int | None, int]:
    """The sum of what is known, and how much that is."""
    known = [each for each in values if each is not None]
    return (sum(known), len(known)) if known else (None, 0)


def _counted(days: Sequence[DayPlayed]) -> Counted:
    spotify, apple = _sum(each.spotify for each in days), _sum(each.apple for each in days)
    return Counted(spotify[0], apple[0], spotify[1], apple[1])


def _totals(first: date, last: date, counted: Counted) -> PeriodOfPlays:
    return PeriodOfPlays(
        first, last, counted.spotify, counted.apple, counted.streams, (last - first).days + 1, counted.days
    )


def _row(group: str, now: Counted, growth: float | None, imports: Iterable[str]) -> PlaysOf:
    newest = list(dict.fromkeys(imports))[:IMPORTS_SHOWN]
    return PlaysOf(group, now.spotify, now.apple, now.streams, now.days, growth, newest)


def _best(found: Played) -> PlaysOf:
    row = _row(found.name, found.now, found.now.grown(found.before), found.imports)
    if found.body is not None:
        track = named(found.body)
        row.title, row.artist = track.title, track.artist
    return row


def _by_day(now: Sequence[DayPlayed], then: Sequence[DayPlayed], first: date, last: date) -> list[PlaysOf]:
    told = {each.day: each for each in (*then, *now)}
    rows = []
    for day in _days(first, last):
        found, before = told.get(day), told.get(day - timedelta(days=1))
        counted = _counted([found] if found else [])
        growth = counted.grown(_counted([before] if before else []))
        rows.append(_row(day.isoformat(), counted, growth, found.imports if found else ()))
    return rows[::-1]


def _by_month(now: Sequence[DayPlayed], then: Sequence[DayPlayed], first: date, last: date) -> list[PlaysOf]:
    months: dict[str, list[DayPlayed]] = {f"{day:%Y-%m}": [] for day in _days(first, last)}
    for each in now:
        months[f"{each.day:%Y-%m}"].append(each)
    rows, before = [], _counted([each for each in then if f"{each.day:%Y-%m}" < min(months)])
    for month, days in months.items():
        counted = _counted(days)
        rows.append(_row(month, counted, counted.grown(before), (of for each in days[::-1] for of in each.imports)))
        before = counted
    return rows[::-1]


def _by_store(now: Sequence[DayPlayed], then: Sequence[DayPlayed], _: date, __: date) -> list[PlaysOf]:
    def spotify(day: DayPlayed) -> DayPlayed:
        return day._replace(apple=None)

    def apple(day: DayPlayed) -> DayPlayed:
        return day._replace(spotify=None)

    rows = []
    for store, only in (("Spotify", spotify), ("Apple Music", apple)):
        kept = list(map(only, now))
        counted = _counted(kept)
        told = (each for each in kept[::-1] if (each.spotify, each.apple) != (None, None))
        growth = counted.grown(_counted(list(map(only, then))))
        rows.append(_row(store, counted, growth, (of for each in told for of in each.imports)))
    return sorted(rows, key=lambda row: -(row.streams or 0))


_ROWS = {"day": _by_day, "month": _by_month, "store": _by_store}


async def _drawn(ports: Ports, asker: Asker, by: str, rows: Sequence[PlaysOf], form: Picture) -> bytes:
    """Lines over days; bars of whatever else, time from left to right."""
    if by == "day":
        shown = rows[::-1]
        lines = [
            Line("Spotify", [each.spotify_streams for each in shown]),
            Line("Apple Music", [each.apple_streams for each in shown]),
        ]
        return await ports.charts.days(
            asker.workspace_id, "Plays by day", [date.fromisoformat(each.group) for each in shown], lines, form
        )
    shown = rows[::-1] if by == "month" else rows
    bars = [_bar(each.title or each.group, each.streams) for each in shown]
    told = any(each.streams is not None for each in shown)
    return await ports.charts.bars(asker.workspace_id, f"Plays by {by}", {"plays": bars} if told else {}, form)


def _bar(name: str, value: int | None) -> Bar:
    return Bar(f"{name[:24]} {NOT_REPORTED}", None) if value is None else Bar(name, Decimal(value))
