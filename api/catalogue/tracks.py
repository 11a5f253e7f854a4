"""Tracks: listed, looked up by ISRC, added, changed, removed."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from litestar import Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType, json
from msgspec.structs import asdict

from api.answers import Answer
from api.auth import Asker, needs
from api.catalogue.ports import Ports
from api.past import looks_back
from commands.catalogue.ports import track_id
from commands.catalogue.tracks import AddTrack, Changes, ChangeTrack, LinkTrack, RemoveTrack
from commands.kernel import Command
from domain.analyses.findings import Waveform
from domain.beats.beats import VersionNotFound
from domain.catalogue.codes import BadIsrc, find_isrc
from domain.catalogue.tracks import Details
from domain.keeping import check_text
from projections.analyses.analyses import AnalysisV1, analyses
from projections.beats.beats import BeatDocument, beat_documents
from projections.catalogue.tracks import TrackDocument, track_counts, track_documents
from projections.kernel import Projection, Tally

READ = needs("catalogue:read", "viewer")
WRITE = needs("catalogue:write", "member")

LIMIT, LIMIT_MAX = 50, 100
Limit = Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="Maximum number of rows to return.")]
Offset = Annotated[int, QueryParameter(ge=0, le=2**31 - 1, description="Zero-based pagination offset.")]

Isrc = Annotated[str, Meta(max_length=64, description="International Standard Recording Code for the track.")]
Words = Annotated[str, Meta(min_length=1, max_length=500)]
Upc = Annotated[str, Meta(max_length=64, description="UPC of 12 or EAN of 13 digits, with its check digit")]
Link = Annotated[str, Meta(max_length=2048, pattern=r"^https?://[\x21-\x7e]+\Z")]
Milliseconds = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class NewTrack(Struct, forbid_unknown_fields=True):
    """A recording; an ISRC may have hyphens and small letters."""

    isrc: Isrc
    title: Words
    artist: Words
    album: Words | None = None
    upc: Upc | None = None
    release_date: date | None = None
    duration_ms: Milliseconds | None = None
    cover_url: Link | None = None
    spotify_track_url: Link | None = None
    label: Words | None = None
    copyright_c: Words | None = None
    copyright_p: Words | None = None
    full_tracking: bool = True
    metadata: dict[str, Any] = {}


class TrackChange(Struct, forbid_unknown_fields=True):
    """What is to be different; what is left out stays as it is, and null empties it."""

    title: Words | UnsetType = UNSET
    artist: Words | UnsetType = UNSET
    album: Words | UnsetType | None = UNSET
    upc: Upc | UnsetType | None = UNSET
    release_date: date | UnsetType | None = UNSET
    duration_ms: Milliseconds | UnsetType | None = UNSET
    cover_url: Link | UnsetType | None = UNSET
    spotify_track_url: Link | UnsetType | None = UNSET
    label: Words | UnsetType | None = UNSET
    copyright_c: Words | UnsetType | None = UNSET
    copyright_p: Words | UnsetType | None = UNSET
    full_tracking: bool | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class TrackRow(Struct):
    """A track in a list."""

    track_id: str
    isrc: str
    title: str
    artist: str
    album: str | None
    release_date: date | None
    cover_url: str | None
    spotify_track_url: str | None
    full_tracking: bool
    created_at: str


class Pagination(Struct):
    """Where in the list a page is."""

    total: int
    limit: int
    offset: int
    has_more: bool


def pagination(total: int, limit: int, offset: int, shown: int) -> Pagination:
    """What a list says of a page that shows so many."""
    return Pagination(total, limit, offset, has_more=offset + shown < total)


async def paged(
    ports: Ports,
    documents: Projection[Any],
    counts: Tally,
    workspace_id: str,
    limit: int,
    offset: int,
    parent: str | None = None,
) -> tuple[list[bytes], Pagination]:
    """A page of a workspace's documents, or of those of a parent, newest first, and where it is among all of them."""
    found = await ports.views.page(documents, workspace_id, limit=limit, offset=offset, parent=parent)
    key = workspace_id if parent is None else f"{workspace_id}/{parent}"
    total = (await ports.views.sums(counts, [key], workspace_id))[key]
    return [each.body for each in found], pagination(total, limit, offset, len(found))


def under_data(body: bytes, status: int = 200) -> Response[bytes]:
    """A document as it is stored, under `data`."""
    return Answer(b'{"data":%b}' % body, status_code=status, media_type="application/json")


async def one(
    ports: Ports,
    asker: Asker,
    documents: Projection[Any],
    identity: str,
    wish: Command | None = None,
    status: int = 200,
) -> Response[bytes]:
    """A document of a workspace as it is kept, when a wish has been fulfilled."""
    if wish is not None:
        await ports.execute(wish, asker.context)
    return under_data(await ports.views.get(documents, identity, asker.workspace_id), status)


class TrackList(Struct):
    """A page of tracks."""

    data: list[TrackRow]
    pagination: Pagination


class Listened(Struct):
    """What was heard in a recording: tempo in beats per minute, loudness in LUFS; null is what nobody can tell yet.

    `waveform` is its outline in 200 steps at most: the lowest and the highest sample of each, from -1 to 1.
    """

    id: str
    status: str
    bpm: float | None = None
    key: str | None = None
    key_notation: str | None = None
    time_signature: int | None = None
    loudness_lufs: float | None = None
    duration_seconds: float | None = None
    energy: float | None = None
    #: Where all that was heard is read.
    url: str = ""
    waveform: Waveform | None = None


class ShownTrack(TrackDocument):
    """A track, and what was heard in it where an analysis is linked."""

    analysis: Listened | UnsetType = UNSET


class TrackAnswer(Struct):
    """One track with all that is known of it."""

    data: ShownTrack


class TrackLink(Struct, forbid_unknown_fields=True):
    """The analysis that has listened to a recording; null unlinks it."""

    analysis_id: Annotated[str, Meta(min_length=1, max_length=64)] | None


class TrackFromBeat(Struct, forbid_unknown_fields=True):
    """A beat, which of its versions (its primary one, where none is named), and what it is as a recording."""

    beat_id: Annotated[str, Meta(min_length=1, max_length=64)]
    isrc: Isrc
    artist: Words
    version_number: Annotated[int, Meta(ge=1, le=100)] | None = None
    title: Words | None = None
    upc: Upc | None = None
    label: Words | None = None
    release_date: date | None = None


class Done(Struct):
    """It is done."""

    success: bool = True


#: A row is read straight from the stored document, whose other fields are passed over.
_rows = json.Decoder(TrackRow).decode
_linked = json.Decoder(TrackDocument).decode
_analysis = json.Decoder(AnalysisV1).decode
_beat = json.Decoder(BeatDocument).decode
ONE = {200: ResponseSpec(TrackAnswer, generate_examples=False, description="Detailed track metadata.")}


@get(
    "/api/v1/tracks",
    tags=["catalogue"],
    opt={
        **READ,
        "security_notes": (
            "Results are filtered by the authenticated workspace user_id before query execution.",
            "The response intentionally exposes only published catalogue fields and pagination metadata.",
        ),
    },
)
async def list_tracks(
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    limit: Limit = LIMIT,
    offset: Offset = 0,
) -> TrackList:
    """List the tracks of the catalogue in reverse creation order, with explicit pagination metadata."""
    found, page = await paged(ports, track_documents, track_counts, asker.workspace_id, limit, offset)
    return TrackList([_rows(each) for each in found], page)


@get(
    "/api/v1/tracks/{isrc:str}",
    tags=["catalogue"],
    opt={
        **READ,
        "security_notes": (
            "The route first authenticates the API key and then queries only the matching workspace row.",
            "ISRC matching is case-insensitive because the handler normalizes the path parameter to uppercase.",
        ),
    },
    responses=ONE,
)
async def get_track(
    isrc: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read the canonical record of one ISRC, including stored metadata and label data."""
    return await _track(ports, asker, in_path(isrc))


@post(
    "/api/v1/tracks",
    status_code=201,
    tags=["catalogue"],
    opt={**WRITE, "statuses": ("409",)},
    responses={201: ResponseSpec(TrackAnswer, generate_examples=False, description="The track as it is kept.")},
)
async def add_track(
    data: JSONBody[NewTrack], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Put a recording into the catalogue. The same once more changes nothing; another one under its ISRC is a 409."""
    isrc = find_isrc(data.isrc)
    if isrc is None:
        raise BadIsrc(loc=("body", "isrc"))
    said = asdict(data)
    del said["isrc"]
    await ports.execute(
        AddTrack(
            track_id=track_id(asker.workspace_id, isrc),
            workspace_id=asker.workspace_id,
            isrc=isrc,
            details=Details(**said),
        ),
        asker.context,
    )
    return await _track(ports, asker, isrc, 201)


@patch("/api/v1/tracks/{isrc:str}", tags=["catalogue"], opt=WRITE, responses=ONE)
async def change_track(
    isrc: FromPath[str],
    data: JSONBody[TrackChange],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[bytes]:
    """Change what is said about a recording. Its ISRC is what it is known by: remove it to correct that."""
    known = in_path(isrc)
    await ports.execute(
        ChangeTrack(
            track_id=track_id(asker.workspace_id, known),
            workspace_id=asker.workspace_id,
            changes=Changes(**asdict(data)),
        ),
        asker.context,
    )
    return await _track(ports, asker, known)


@put("/api/v1/tracks/{isrc:str}/analysis", status_code=200, tags=["catalogue"], opt=WRITE, responses=ONE)
async def link_track(
    isrc: FromPath[str], data: JSONBody[TrackLink], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Say which analysis of the workspace has listened to a recording: its answers have what was heard then."""
    known = in_path(isrc)
    if data.analysis_id is not None:
        await ports.views.get(analyses, check_text(data.analysis_id), asker.workspace_id)
    wish = LinkTrack(
        track_id=track_id(asker.workspace_id, known), workspace_id=asker.workspace_id, analysis_id=data.analysis_id
    )
    await ports.execute(wish, asker.context)
    return await _track(ports, asker, known)


@post(
    "/api/v1/tracks/from-beat",
    status_code=201,
    tags=["catalogue"],
    opt={**WRITE, "statuses": ("404", "409")},
    responses={201: ResponseSpec(TrackAnswer, generate_examples=False, description="The track as it is kept.")},
)
async def add_track_from_beat(
    data: JSONBody[TrackFromBeat], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Put a version of a beat of the workspace into the catalogue, by its name and with its length."""
    isrc = find_isrc(data.isrc)
    if isrc is None:
        raise BadIsrc(loc=("body", "isrc"))
    beat = _beat(await ports.views.get(beat_documents, check_text(data.beat_id), asker.workspace_id))
    version = beat.primary if data.version_number is None else beat.numbered(data.version_number)
    if version is None:
        raise VersionNotFound
    seconds = version.duration_seconds
    details = Details(
        title=data.title or beat.name,
        artist=data.artist,
        upc=data.upc,
        label=data.label,
        release_date=data.release_date,
        duration_ms=None if seconds is None else round(seconds * 1000),
        metadata={"beat_id": beat.id, "beat_version": version.number},
    )
    wish = AddTrack(
        track_id=track_id(asker.workspace_id, isrc), workspace_id=asker.workspace_id, isrc=isrc, details=details
    )
    await ports.execute(wish, asker.context)
    return await _track(ports, asker, isrc, 201)


@delete("/api/v1/tracks/{isrc:str}", status_code=200, tags=["catalogue"], opt=WRITE)
async def remove_track(isrc: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Done:
    """Take a recording out of the catalogue. What it was played and has earned stays in the books."""
    wish = RemoveTrack(track_id=track_id(asker.workspace_id, in_path(isrc)), workspace_id=asker.workspace_id)
    await ports.execute(wish, asker.context)
    return Done()


def in_path(text: str) -> str:
    """The ISRC in a path, in its normal form; raises BadIsrc."""
    found = find_isrc(text)
    if found is None:
        raise BadIsrc(loc=("path", "isrc"))
    return found


async def _track(ports: Ports, asker: Asker, isrc: str, status: int = 200) -> Response[bytes]:
    body = await ports.views.get(track_documents, track_id(asker.workspace_id, isrc), asker.workspace_id)
    if b'"analysis_id"' in body and (analysis_id := _linked(body).analysis_id) is not UNSET:
        heard = await listened(ports, asker, analysis_id)
        if heard is not None:
            # Objects are as they are now.
            if heard.status == "completed" and not looks_back():
                heard.waveform = await ports.outlines.of(analysis_id)
            body = body[:-1] + b',"analysis":%b}' % json.encode(heard)
    return under_data(body, status)


async def listened(ports: Ports, asker: Asker, analysis_id: str) -> Listened | None:
    """What an analysis of the workspace has heard so far; None when there is none."""
    body = await ports.views.find(analyses, analysis_id, asker.workspace_id)
    if body is None:
        return None
    found = _analysis(body)
    heard = found.result
    url = f"/v1/analysis/{analysis_id}"
    if heard is None:
        return Listened(analysis_id, found.status, url=url)
    return Listened(
        analysis_id,
        found.status,
        heard.bpm,
        heard.key,
        heard.key_notation,
        heard.time_signature,
        heard.loudness_lufs,
        heard.duration_seconds,
        heard.energy,
        url,
    )
