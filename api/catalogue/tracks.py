"""Tracks: listed, looked up by ISRC, added, changed, removed."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType, json
from msgspec.structs import asdict

from api.answers import Answer
from api.auth import Asker, needs
from api.catalogue.ports import Ports
from commands.catalogue.ports import track_id
from commands.catalogue.tracks import AddTrack, Changes, ChangeTrack, RemoveTrack
from domain.catalogue.codes import BadIsrc, find_isrc
from domain.catalogue.tracks import Details
from projections.catalogue.tracks import TrackDocument, track_counts, track_documents

READ = needs("catalogue:read", "viewer")
WRITE = needs("catalogue:write", "member")

LIMIT, LIMIT_MAX = 50, 100
Limit = Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="Maximum number of rows to return.")]
Offset = Annotated[int, QueryParameter(ge=0, le=2**31 - 1, description="Zero-based pagination offset.")]

Isrc = Annotated[str, Meta(max_length=64, description="International Standard Recording Code for the track.")]
Words = Annotated[str, Meta(min_length=1, max_length=500)]
Upc = Annotated[str, Meta(max_length=64, description="UPC of 12 or EAN of 13 digits, with its check digit")]
Link = Annotated[str, Meta(max_length=2048, pattern=r"^https?://[\x21-\x7e]+$")]
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


class TrackList(Struct):
    """A page of tracks."""

    data: list[TrackRow]
    pagination: Pagination


class TrackAnswer(Struct):
    """One track with all that is known of it."""

    data: TrackDocument


class Done(Struct):
    """It is done."""

    success: bool = True


#: A row is read straight from the stored document, whose other fields are passed over.
_rows = json.Decoder(TrackRow).decode
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
    workspace_id = asker.workspace_id
    found = await ports.views.page(track_documents, workspace_id, limit=limit, offset=offset)
    total = (await ports.views.sums(track_counts, [workspace_id], workspace_id))[workspace_id]
    rows = [_rows(each.body) for each in found]
    return TrackList(rows, Pagination(total, limit, offset, has_more=offset + len(rows) < total))


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
    return Answer(b'{"data":%b}' % body, status_code=status, media_type="application/json")
