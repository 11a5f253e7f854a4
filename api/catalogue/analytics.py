"""Plays: a recording day by day, a catalogue at a glance."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter
from msgspec import Struct, json

from adapters.catalogue.charts import MEDIA, Line
from api.answers import Answer
from api.auth import Asker
from api.catalogue.ports import Ports
from api.catalogue.tracks import READ, in_path
from commands.catalogue.ports import track_id
from domain.kernel import Invalid
from projections.catalogue.tracks import track_documents

DAYS, DAYS_MAX = 30, 365


Format = Annotated[
    Literal["json", "png", "svg"], QueryParameter(description="png and svg are a chart of the same figures")
]


#: What is answered besides JSON.
PICTURES = {"also": tuple(MEDIA.values())}


class NotADay(Invalid):
    """A day is written as YYYY-MM-DD."""


class DayOfPlays(Struct):
    """One day; null is what no file has said, and 0 only what one has."""

    date: date
    spotify_streams: int | None
    apple_streams: int | None


class History(Struct):
    """The newest days of a recording, the newest first."""

    isrc: str
    historical_data: list[DayOfPlays]


class HistoryAnswer(Struct):
    """Recent daily analytics rows for the requested ISRC."""

    data: History


class Stats(Struct):
    """How much there is."""

    total_inner_catalogue_tracks: int
    has_stream_data: bool
    days_tracked: int


class BestTrack(Struct):
    """A track and what it was played on that day, on Spotify and Apple Music together."""

    isrc: str
    title: str
    artist: str
    streams: int


class BestArtist(Struct):
    """An artist and what all their tracks were played on that day."""

    artist: str
    streams: int


class OverviewData(Struct):
    """A day of a whole catalogue."""

    stats: Stats
    best_tracks: list[BestTrack]
    best_artists: list[BestArtist]


class OverviewAnswer(Struct):
    """Overview stats and top performers for the requested or latest day."""

    success: bool
    data: OverviewData


class Named(Struct):
    """What a track is called."""

    isrc: str
    title: str
    artist: str


named = json.Decoder(Named).decode


@get(
    "/api/v1/analytics/spotify/{isrc:str}",
    tags=["catalogue"],
    opt={
        **READ,
        **PICTURES,
        "security_notes": (
            "The handler verifies the ISRC belongs to the authenticated workspace before reading analytics rows.",
            "days is validated to a bounded 1-365 window to avoid unbounded response generation.",
        ),
    },
    responses={
        200: ResponseSpec(
            HistoryAnswer, generate_examples=False, description="Recent daily analytics rows for the requested ISRC."
        )
    },
)
async def get_daily_plays(
    isrc: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    days: Annotated[
        int, QueryParameter(ge=1, le=DAYS_MAX, description="How many most-recent daily rows to return.")
    ] = DAYS,
    format: Format = "json",  # noqa: A002 - the name that it has outside
) -> Response[Any]:
    """Read the latest daily rows of a recording in the catalogue, the newest first, Spotify beside Apple Music."""
    known = in_path(isrc)
    track = await ports.views.get(track_documents, track_id(asker.workspace_id, known), asker.workspace_id)
    found = await ports.books.series(asker.workspace_id, known, days)
    if format == "json":
        return Answer(HistoryAnswer(History(known, [DayOfPlays(*each[:3]) for each in found])))
    shown, told = named(track), {each.date: each for each in found}
    # Days that no file has told of are gaps in a line, not a way from one day to another.
    dates = (
        list(map(date.fromordinal, range(found[-1].date.toordinal(), found[0].date.toordinal() + 1))) if found else []
    )
    lines = [
        Line("Spotify", [told[day].spotify_streams if day in told else None for day in dates]),
        Line("Apple Music", [told[day].apple_streams if day in told else None for day in dates]),
    ]
    drawn = await ports.charts.days(
        asker.workspace_id, f"{shown.artist} - {shown.title} ({known})", dates, lines, format
    )
    return Response(drawn, media_type=MEDIA[format])


@get(
    "/api/v1/catalogue/overview",
    tags=["catalogue"],
    opt={
        **READ,
        "security_notes": (
            "All aggregate queries are parameterized with the authenticated workspace user_id.",
            "The route exposes a compact summary payload rather than raw internal table structures.",
        ),
    },
)
async def get_overview(
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    day: Annotated[
        str | None,
        QueryParameter(
            name="date",
            max_length=32,
            description="Optional historical day in YYYY-MM-DD format. Defaults to the latest available day.",
        ),
    ] = None,
) -> OverviewAnswer:
    """Sum up a day: how much there is, the best tracks and the best artists, ten of each at most."""
    found = await ports.books.overview(asker.workspace_id, None if day is None else _day(day))
    best = [(named(body), streams) for body, streams in found.best_tracks]
    return OverviewAnswer(
        success=True,
        data=OverviewData(
            Stats(found.tracks, bool(found.best_tracks), found.days),
            [BestTrack(each.isrc, each.title, each.artist, streams) for each, streams in best],
            [BestArtist(artist, streams) for artist, streams in found.best_artists],
        ),
    )


def _day(text: str) -> date:
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise NotADay(loc=("query", "date"))
