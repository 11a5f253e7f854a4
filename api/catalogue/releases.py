"""Releases: drafted, changed, looked over as a distributor would, and packed up for delivery."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream
from msgspec import UNSET, Meta, Struct, UnsetType, convert, json
from msgspec.structs import asdict

from adapters.catalogue.ern import Message, Party, Track, party_id, sequence, written
from adapters.catalogue.media import filenames
from api.auth import Asker, needs
from api.catalogue.ports import Ports
from api.catalogue.tracks import LIMIT, READ, Done, Limit, Offset, Pagination, in_path, listened, one, paged
from api.contract import file_of
from commands.catalogue.ports import track_id
from commands.catalogue.releases import (
    AssignRelease,
    ChangeRelease,
    DraftRelease,
    KeepReleaseArtwork,
    KeepReleaseAudio,
    ReleaseChanges,
    RemoveRelease,
)
from commands.kernel import Command
from domain.catalogue.releases import (
    TRACKS_MAX,
    VERSIONS_MAX,
    Explicit,
    NoSuchRelease,
    NothingToDeliver,
    Release,
    ReleaseDetails,
    ReleaseType,
    objects_of,
    releases,
)
from domain.catalogue.validation import RULES, Recording, validate
from domain.keeping import check_text
from projections.catalogue.releases import (
    ReleaseDocument,
    ReleaseVersionDocument,
    release_counts,
    release_documents,
    release_versions,
)
from projections.catalogue.tracks import TrackDocument, track_documents

WRITE = needs("distribution:write", "member")
VERSIONS, VERSIONS_PAGE_MAX = 50, 100

Words = Annotated[str, Meta(min_length=1, max_length=500)]
Code = Annotated[str, Meta(min_length=1, max_length=64)]
Language = Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}\Z", examples=["en"])]
Territory = Annotated[str, Meta(pattern=r"^(Worldwide|[A-Z]{2})\Z", examples=["Worldwide"])]


class NewCredit(Struct, forbid_unknown_fields=True):
    """Somebody who had a part in a recording: MainArtist, FeaturedArtist, Composer, Lyricist, Producer, Remixer, ..."""

    name: Words
    role: Annotated[str, Meta(min_length=1, max_length=64, examples=["Composer"])]


class NewReleaseTrack(Struct, forbid_unknown_fields=True):
    """A recording of the catalogue in its place; the order of the list is that of the tracks of a disc."""

    isrc: Annotated[str, Meta(min_length=1, max_length=64, examples=["USXXX1234567"])]
    disc: Annotated[int, Meta(ge=1, le=50)] = 1
    version: Words | None = None
    explicit: Explicit | None = None
    credits: Annotated[list[NewCredit], Meta(max_length=50)] = []


class NewRelease(Struct, forbid_unknown_fields=True):
    """A release; whatever is not known yet may be left out, and its validation says so."""

    title: Words
    artist: Words
    version: Words | None = None
    release_type: ReleaseType | None = None
    label: Words | None = None
    upc: Code | None = None
    catalog_number: Code | None = None
    genre: Words | None = None
    language: Language | None = None
    release_date: date | None = None
    original_release_date: date | None = None
    copyright_c: Words | None = None
    copyright_p: Words | None = None
    explicit: Explicit | None = None
    territories: Annotated[tuple[Territory, ...], Meta(max_length=250)] = ("Worldwide",)
    tracks: Annotated[list[NewReleaseTrack], Meta(max_length=TRACKS_MAX)] = []
    metadata: dict[str, Any] = {}


class ReleaseChange(Struct, forbid_unknown_fields=True):
    """What is to be different; what is left out stays as it is, and null empties it. Lists are replaced as a whole."""

    title: Words | UnsetType = UNSET
    artist: Words | UnsetType = UNSET
    version: Words | UnsetType | None = UNSET
    release_type: ReleaseType | UnsetType | None = UNSET
    label: Words | UnsetType | None = UNSET
    upc: Code | UnsetType | None = UNSET
    catalog_number: Code | UnsetType | None = UNSET
    genre: Words | UnsetType | None = UNSET
    language: Language | UnsetType | None = UNSET
    release_date: date | UnsetType | None = UNSET
    original_release_date: date | UnsetType | None = UNSET
    copyright_c: Words | UnsetType | None = UNSET
    copyright_p: Words | UnsetType | None = UNSET
    explicit: Explicit | UnsetType | None = UNSET
    territories: Annotated[list[Territory], Meta(max_length=250)] | UnsetType = UNSET
    tracks: Annotated[list[NewReleaseTrack], Meta(max_length=TRACKS_MAX)] | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class AssignedAccount(Struct, forbid_unknown_fields=True):
    """The distribution account; null: none in particular."""

    account_id: Annotated[str, Meta(min_length=1, max_length=64)] | None


class ReleaseAnswer(Struct):
    """One release."""

    data: ReleaseDocument


class ReleaseList(Struct):
    """A page of releases, newest first."""

    data: list[ReleaseDocument]
    pagination: Pagination


class ReleaseVersionList(Struct):
    """A page of versions, newest first."""

    data: list[ReleaseVersionDocument]


class Problem(Struct):
    """A rule that is broken: what it wants, where, and what to do there."""

    rule: str
    level: str
    where: str
    message: str
    explanation: str


class Validation(Struct):
    """Whether a release could be delivered, and what would keep it back (errors) or better be otherwise (warnings)."""

    release_id: str
    version_number: int
    ready: bool
    errors: int
    warnings: int
    problems: list[Problem]


class ValidationAnswer(Struct):
    """What a distributor would say."""

    data: Validation


_document = json.Decoder(ReleaseDocument).decode
_version = json.Decoder(ReleaseVersionDocument).decode
_track = json.Decoder(TrackDocument).decode
ONE = ResponseSpec(ReleaseAnswer, generate_examples=False, description="The release as it is kept.")
_FILE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_IMAGE = {"required": True, "content": {"image/jpeg": _FILE, "image/png": _FILE}}
_SOUND = {"required": True, "content": {"audio/wav": _FILE, "audio/flac": _FILE, "application/octet-stream": _FILE}}

PartyId = Annotated[
    str,
    QueryParameter(
        max_length=64,
        description="DDEX party id, with or without dashes",
        examples=[Example(value="PADPIDA2007061301U")],
    ),
]
PartyName = Annotated[str, QueryParameter(min_length=1, max_length=200, description="Name of the party")]


@post("/api/v1/releases", status_code=201, tags=["distribution"], opt=WRITE, responses={201: ONE})
async def draft_release(
    data: JSONBody[NewRelease], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Begin to prepare a release. Only its title and its artist are needed now; its validation says what is missing."""
    release_id = ports.vault.new_id()
    details = convert(asdict(data), ReleaseDetails, from_attributes=True)
    wish = DraftRelease(release_id=release_id, workspace_id=asker.workspace_id, details=details)
    return await _release(ports, asker, release_id, wish, status=201)


@get("/api/v1/releases", tags=["distribution"], opt=READ)
async def list_releases(
    ports: NamedDependency[Ports], asker: NamedDependency[Asker], limit: Limit = LIMIT, offset: Offset = 0
) -> ReleaseList:
    """List the releases of the workspace, newest first."""
    found, page = await paged(ports, release_documents, release_counts, asker.workspace_id, limit, offset)
    return ReleaseList([_document(each) for each in found], page)


@get("/api/v1/releases/{release_id:str}", tags=["distribution"], opt=READ, responses={200: ONE})
async def get_release(
    release_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read a release in its newest version, with its artwork and the audio of its tracks."""
    return await _release(ports, asker, release_id)


@patch("/api/v1/releases/{release_id:str}", tags=["distribution"], opt={**WRITE, "statuses": ("409",)},
       responses={200: ONE})  # fmt: skip
async def change_release(
    release_id: FromPath[str],
    data: JSONBody[ReleaseChange],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[bytes]:
    """Change what is said about a release: a version of its own, which stays. The same once more is none."""
    said = {name: value for name, value in asdict(data).items() if value is not UNSET}
    changes = convert(said, ReleaseChanges, from_attributes=True)
    wish = ChangeRelease(release_id=release_id, workspace_id=asker.workspace_id, changes=changes)
    return await _release(ports, asker, release_id, wish)


@put(
    "/api/v1/releases/{release_id:str}/account",
    status_code=200,
    tags=["distribution"],
    opt=WRITE,
    responses={200: ONE},
)
async def assign_release(
    release_id: FromPath[str],
    data: JSONBody[AssignedAccount],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[bytes]:
    """Say under which distribution account a release is handed in; null: under none in particular."""
    account_id = None if data.account_id is None else check_text(data.account_id)
    wish = AssignRelease(release_id=release_id, workspace_id=asker.workspace_id, account_id=account_id)
    return await _release(ports, asker, release_id, wish)


@delete("/api/v1/releases/{release_id:str}", status_code=200, tags=["distribution"], opt=WRITE)
async def remove_release(
    release_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Done:
    """Take a release out, with its artwork and its audio. The recordings stay in the catalogue."""
    await ports.execute(RemoveRelease(release_id=release_id, workspace_id=asker.workspace_id), asker.context)
    return Done()


@get("/api/v1/releases/{release_id:str}/versions", tags=["distribution"], opt=READ)
async def list_release_versions(
    release_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    limit: Annotated[int, QueryParameter(ge=1, le=VERSIONS_PAGE_MAX, description="Maximum number of rows")] = VERSIONS,
    offset: Annotated[int, QueryParameter(ge=0, le=VERSIONS_MAX, description="Zero-based pagination offset.")] = 0,
) -> ReleaseVersionList:
    """List what was said about a release, every version as it was, newest first."""
    await ports.views.get(release_documents, release_id, asker.workspace_id)
    found = await ports.views.page(release_versions, asker.workspace_id, limit=limit, offset=offset, parent=release_id)
    return ReleaseVersionList([_version(each.body) for each in found])


@get("/api/v1/releases/{release_id:str}/validation", tags=["distribution"], opt=READ)
async def validate_release(
    release_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> ValidationAnswer:
    """Look a release over as a distributor would: every rule that is broken, what it wants, where, and what to do.

    An error would keep it back; a warning would not. Without errors it is `ready`, and can be packed up.
    """
    release = await _known(ports, asker, release_id)
    details = _details(release)
    found = validate(
        details, await _recordings(ports, asker, details), release.artwork, release.audio, ports.now().date()
    )
    errors = sum(each.level == "error" for each in found)
    problems = [
        Problem(each.rule, each.level, each.where, each.message, RULES[each.rule].explanation) for each in found
    ]
    return ValidationAnswer(Validation(release_id, release.version, errors == 0, errors, len(found) - errors, problems))


@put(
    "/api/v1/releases/{release_id:str}/artwork",
    status_code=200,
    tags=["distribution"],
    opt={**WRITE, "request_body": _IMAGE, "statuses": ("413", "503")},
    request_max_body_size=None,
    responses={200: ONE},
)
async def put_release_artwork(
    release_id: FromPath[str],
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[bytes]:
    """Send the front cover, JPEG or PNG, as the body. It replaces the one before."""
    await _known(ports, asker, release_id)
    prefix = objects_of(asker.workspace_id, release_id)
    artwork = await ports.media.keep_artwork(request.stream(), asker.workspace_id, prefix)
    wish = KeepReleaseArtwork(release_id=release_id, workspace_id=asker.workspace_id, artwork=artwork)
    return await _release(ports, asker, release_id, wish)


@put(
    "/api/v1/releases/{release_id:str}/tracks/{isrc:str}/audio",
    status_code=200,
    tags=["distribution"],
    opt={**WRITE, "request_body": _SOUND, "statuses": ("413", "503")},
    request_max_body_size=None,
    responses={200: ONE},
)
async def put_release_audio(
    release_id: FromPath[str],
    isrc: FromPath[str],
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[bytes]:
    """Send the audio of a track as the body: WAV, FLAC or AIFF where it is to be delivered."""
    known = in_path(isrc)
    # Before the first byte is kept; what is said about a release meanwhile is seen when it is decided.
    (await _known(ports, asker, release_id)).demand_track(known)
    prefix = objects_of(asker.workspace_id, release_id)
    audio = await ports.media.keep_audio(request.stream(), asker.workspace_id, prefix)
    wish = KeepReleaseAudio(release_id=release_id, workspace_id=asker.workspace_id, isrc=known, audio=audio)
    return await _release(ports, asker, release_id, wish)


@get(
    "/api/v1/releases/{release_id:str}/ern",
    tags=["distribution"],
    opt={**READ, "answers": {"200": file_of("application/xml")}, "statuses": ("409",)},
)
async def get_release_ern(
    release_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    sender_id: PartyId,
    sender_name: PartyName,
    recipient_id: PartyId,
    recipient_name: PartyName,
) -> Response[bytes]:
    """Read a release as a DDEX ERN 4.3 NewReleaseMessage. It must be `ready` but for its files.

    Sending such messages needs DDEX's implementation licence, which is free, and party ids of one's own.
    """
    parties = Party(party_id=sender_id, name=sender_name), Party(party_id=recipient_id, name=recipient_name)
    message = await _message(ports, asker, release_id, *parties, with_files=False)
    return Response(written(message), media_type="application/xml; charset=utf-8")


@get(
    "/api/v1/releases/{release_id:str}/package",
    tags=["distribution"],
    opt={**READ, "answers": {"200": file_of("application/zip")}, "statuses": ("409",)},
)
async def get_release_package(
    release_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    sender_id: PartyId,
    sender_name: PartyName,
    recipient_id: PartyId,
    recipient_name: PartyName,
) -> Stream:
    """Download a release packed up for a distributor: its audio, artwork, metadata as CSV, and its DDEX message.

    Only what is `ready` is packed; anything else is a 409 that names the first error.
    """
    parties = Party(party_id=sender_id, name=sender_name), Party(party_id=recipient_id, name=recipient_name)
    message = await _message(ports, asker, release_id, *parties, with_files=True)
    folder = re.sub(r"[^0-9A-Za-z-]", "", message.details.upc or "") or release_id
    return Stream(
        await ports.media.package(message, folder),
        media_type="application/zip",
        headers={"content-disposition": f'attachment; filename="{folder}.zip"'},
    )


async def deliverable(
    ports: Ports, asker: Asker, release_id: str, *, with_files: bool = True
) -> tuple[Release, dict[str, Recording]]:
    """A release that a distributor would take, with its recordings; raises NothingToDeliver."""
    release = await _known(ports, asker, release_id)
    details = _details(release)
    recordings = await _recordings(ports, asker, details)
    found = validate(details, recordings, release.artwork, release.audio, ports.now().date())
    files = ("artwork_", "audio_")
    broken = [each for each in found if each.level == "error" and (with_files or not each.rule.startswith(files))]
    if broken:
        raise NothingToDeliver(problem=f"{broken[0].where}: {broken[0].message}")
    return release, recordings


async def _message(
    ports: Ports, asker: Asker, release_id: str, sender: Party, recipient: Party, *, with_files: bool
) -> Message:
    """What there is to deliver; raises NothingToDeliver."""
    for each in (sender, recipient):
        party_id(each.party_id)
    release, recordings = await deliverable(ports, asker, release_id, with_files=with_files)
    details = _details(release)
    tracks = sequence(details.tracks)
    audio = [release.audio.get(each.isrc) for each in tracks]
    names = filenames([each.isrc for each in tracks], [None if each is None else each.format for each in audio])
    assert details.release_date is not None  # or it would be broken
    return Message(
        message_id=f"{release_id}-{release.version}",
        thread_id=release_id,
        created_at=ports.now(),
        sender=sender,
        recipient=recipient,
        details=details,
        tracks=tuple(
            Track(said=said, recording=recordings[said.isrc], audio=sound, filename=name)
            for said, sound, name in zip(tracks, audio, names, strict=True)
        ),
        artwork=release.artwork,
        artwork_filename=f"resources/cover.{release.artwork.format}" if release.artwork else "",
        release_date=details.release_date,
        namespace=ports.releases.ern_namespace,
        avs_version=ports.releases.ern_avs_version,
    )


async def _known(ports: Ports, asker: Asker, release_id: str) -> Release:
    """A release as rules know it, to whoever has it."""
    release = await ports.reading.log.state(releases, release_id)
    if release.workspace_id != asker.workspace_id or release.details is None:
        raise NoSuchRelease
    return release


def _details(release: Release) -> ReleaseDetails:
    assert release.details is not None  # or it would not be known
    return release.details


async def _recordings(ports: Ports, asker: Asker, details: ReleaseDetails) -> dict[str, Recording]:
    """What the catalogue knows of the tracks of a release, by ISRC."""
    found = {}
    for isrc in {each.isrc for each in details.tracks}:
        body = await ports.views.find(track_documents, track_id(asker.workspace_id, isrc), asker.workspace_id)
        if body is not None:
            track = _track(body)
            heard = None if track.analysis_id is UNSET else await listened(ports, asker, track.analysis_id)
            seconds = None if heard is None else heard.duration_seconds
            found[isrc] = Recording(
                title=track.title,
                artist=track.artist,
                duration_ms=track.duration_ms or (None if seconds is None else round(seconds * 1000)),
                loudness_lufs=None if heard is None else heard.loudness_lufs,
            )
    return found


async def _release(
    ports: Ports, asker: Asker, release_id: str, wish: Command | None = None, status: int = 200
) -> Response[bytes]:
    return await one(ports, asker, release_documents, release_id, wish, status=status)
