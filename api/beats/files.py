"""The files of beats: fetched, converted, taken apart, played in a browser, and brought by their owners."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated, Any

from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect
from msgspec import Struct

from api.auth import Asker, needs
from api.beats.beats import beat_of
from api.beats.generation import optional
from api.beats.ports import Ports
from api.beats.shapes import Shape, Showing, VersionShown, audio_path, file_named, path_of
from api.uploads import form_body, needed_by_what_follows, receive
from commands.beats.files import RequestDownload, RequestStems, RequestWav, UploadVersion
from domain.beats import keys
from domain.beats.beats import (
    BeatNotFound,
    FileKind,
    GenerationNotCompleted,
    NoAudioToConvert,
    StoredFile,
    VersionNotFound,
)
from domain.kernel import NotFound
from projections.beats.beats import BeatDocument, VersionView

#: How long an answer waits for files to come; they come anyhow.
FETCH_SECONDS_MAX = 25.0
LOOK_SECONDS = 0.25
WAV_STARTED = "WAV conversion started. Use webhook or poll GET /beats/:id to check status."
WAV_DONE = "WAV conversion completed."

VersionNumber = Annotated[
    int | None,
    QueryParameter(name="versionNumber", ge=1, le=10_000, description="The primary where no version is named"),
]


class FileNotFound(NotFound):
    """File not found. The version does not have it, or does not have it yet."""


class Paths(Shape):
    """Where the files of a version are."""

    audio: str | None
    cover: str | None


class Downloaded(Shape):
    """The files of the primary, and of its sibling."""

    primary: Paths
    alternate: Paths | None


class VersionFiles(Shape):
    """Whether the files of a version are here."""

    version_number: int
    files_downloaded: bool


class Download(Shape):
    """What is here now."""

    success: bool
    beat_id: str
    files_downloaded: Downloaded
    versions: list[VersionFiles]


class WavWork(Shape):
    """How a conversion stands."""

    status: str
    task_id: str | None
    message: str


class WavStarted(Shape):
    """A conversion that was asked for."""

    success: bool
    beat_id: str
    wav_conversion: WavWork


class WavStatus(Shape):
    """How the conversion of the primary stands."""

    beat_id: str
    wav_conversion_status: str
    wav_url: str | None
    wav_task_id: str | None


class StemShown(Shape):
    """One part, and where to fetch it for a while: 32-bit WAV."""

    name: str
    url: str
    size: int


class Stems(Shape):
    """The parts of a version; `mix` is their sum, sample for sample, before it was mastered."""

    beat_id: str
    version_number: int
    status: str
    stems: list[StemShown]
    problem: str | None


class Uploaded(Shape):
    """A version that somebody has brought."""

    success: bool
    beat_id: str
    version: VersionShown


class WavAsked(Struct, rename="camel"):
    """Whether the other track of the primary's generation is wanted, too."""

    include_alternate: bool = False


def _chosen(beat: BeatDocument, number: int | None) -> VersionView:
    """The version of a number, or the primary."""
    version = beat.primary if number is None else beat.numbered(number)
    if version is None and number is not None:
        raise VersionNotFound(beat_id=beat.id, version_number=number)
    if version is None or version.status != "completed":
        raise GenerationNotCompleted(generation_status=beat.status if version is None else version.status)
    return version


@post("/api/beats/{beat_id:str}/download", status_code=200, tags=["beats"], opt=needs("beats:write", "member"))
async def download_files(
    beat_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    version_number: VersionNumber = None,
) -> Download:
    """Have files fetched that a provider keeps. What our own band has played is here already."""
    beat = await beat_of(ports, asker, beat_id)
    chosen = _chosen(beat, version_number)
    wish = RequestDownload(beat_id=beat_id, workspace_id=asker.workspace_id, version_number=version_number)
    await ports.execute(wish, asker.context)
    sibling = _sibling(beat, chosen) if version_number is None else None
    beat = await _when_fetched(ports, asker, beat_id, [each.id for each in (chosen, sibling) if each is not None])
    chosen = beat.version(chosen.id) or chosen
    sibling = beat.version(sibling.id) if sibling is not None else None
    found = [chosen] if sibling is None else [chosen, sibling]
    return Download(
        success=all(each.file("audio") is not None for each in found),
        beat_id=beat.id,
        files_downloaded=Downloaded(
            primary=_paths(beat, chosen), alternate=None if sibling is None else _paths(beat, sibling)
        ),
        versions=[
            VersionFiles(version_number=each.number, files_downloaded=each.file("audio") is not None) for each in found
        ],
    )


def _sibling(beat: BeatDocument, version: VersionView) -> VersionView | None:
    siblings = (each for each in beat.versions if version.generation_id and each.id != version.id)
    return next(
        (each for each in siblings if each.generation_id == version.generation_id and each.status == "completed"), None
    )


def _paths(beat: BeatDocument, version: VersionView) -> Paths:
    return Paths(audio=path_of(beat, version, "audio"), cover=path_of(beat, version, "cover"))


async def _when_fetched(ports: Ports, asker: Asker, beat_id: str, version_ids: list[str]) -> BeatDocument:
    """The beat once the files of some versions are here, or will not come, or it takes too long to wait for."""
    deadline = ports.now() + timedelta(seconds=FETCH_SECONDS_MAX)
    while True:
        beat = await beat_of(ports, asker, beat_id)
        found = [each for each in beat.versions if each.id in version_ids]
        settled = all(each.file("audio") is not None or each.expired or each.download_problem for each in found)
        if settled or ports.now() >= deadline:
            return beat
        await asyncio.sleep(LOOK_SECONDS)


_INCLUDE_ALTERNATE = {
    "required": False,
    "content": {
        "application/json": {"schema": {"type": "object", "properties": {"includeAlternate": {"type": "boolean"}}}}
    },
}


@post(
    "/api/beats/{beat_id:str}/convert-to-wav",
    status_code=200,
    tags=["beats"],
    opt={**needs("beats:write", "member"), "request_body": _INCLUDE_ALTERNATE},
)
async def convert_to_wav(
    request: Request[Any, Any, Any],
    beat_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> WavStarted:
    """Have the primary, and with `includeAlternate` its sibling, converted to WAV: 44.1 kHz, 16 bits."""
    asked = await optional(request, WavAsked)
    wish = RequestWav(
        beat_id=beat_id,
        workspace_id=asker.workspace_id,
        wav_task_id=ports.vault.new_id(),
        include_alternate=asked.include_alternate,
    )
    try:
        await ports.execute(wish, asker.context)
    except BeatNotFound:
        raise BeatNotFound(beat_id=beat_id) from None
    except NoAudioToConvert:
        raise NoAudioToConvert(beat_id=beat_id) from None
    beat = await beat_of(ports, asker, beat_id)
    primary = beat.primary
    assert primary is not None
    done = primary.wav == "completed"
    return WavStarted(
        success=True,
        beat_id=beat.id,
        wav_conversion=WavWork(
            status=primary.wav, task_id=primary.wav_task_id, message=WAV_DONE if done else WAV_STARTED
        ),
    )


@get("/api/beats/{beat_id:str}/wav-status", tags=["beats"], opt=needs("beats:read", "viewer"))
async def get_wav_status(
    beat_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> WavStatus:
    """Read how the conversion of the primary stands."""
    beat = await beat_of(ports, asker, beat_id)
    primary = beat.primary
    return WavStatus(
        beat_id=beat.id,
        wav_conversion_status="not_started" if primary is None else primary.wav,
        wav_url=path_of(beat, primary, "wav"),
        wav_task_id=None if primary is None else primary.wav_task_id,
    )


@post("/api/beats/{beat_id:str}/stems", status_code=200, tags=["beats"], opt=needs("beats:write", "member"))
async def render_stems(
    request: Request[Any, Any, Any],
    beat_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Stems:
    """Have the primary played part by part: drums, bass, chords, melody, effects, and their sum."""
    beat = await beat_of(ports, asker, beat_id)
    _chosen(beat, None)
    await ports.execute(RequestStems(beat_id=beat_id, workspace_id=asker.workspace_id), asker.context)
    return await _stems(Showing(request, ports, asker), await beat_of(ports, asker, beat_id), None)


@get("/api/beats/{beat_id:str}/stems", tags=["beats"], opt=needs("beats:read", "viewer"))
async def get_stems(
    request: Request[Any, Any, Any],
    beat_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    version_number: VersionNumber = None,
) -> Stems:
    """Read whether there are stems, and where. They are made when they are asked for by POST."""
    return await _stems(Showing(request, ports, asker), await beat_of(ports, asker, beat_id), version_number)


async def _stems(showing: Showing, beat: BeatDocument, number: int | None) -> Stems:
    version = _chosen(beat, number)
    found = []
    for each in version.stems:
        url = await showing.link(each)
        assert url is not None
        found.append(StemShown(name=each.name, url=url, size=each.size))
    return Stems(
        beat_id=beat.id,
        version_number=version.number,
        status=version.stems_work,
        stems=found,
        problem=version.stems_problem,
    )


# --- files in a browser -----------------------------------------------------------------------------------------------

_LEADS = {**needs("beats:read", "viewer"), "statuses": ("302", "404")}


async def _lead(showing: Showing, version: VersionView | None, kind: FileKind) -> Redirect:
    url = None if version is None else await showing.link(version.file(kind))
    if url is None:
        raise FileNotFound
    return Redirect(url, status_code=302)


@get("/api/beats/{beat_id:str}/midi", tags=["beats"], opt=_LEADS, status_code=302)
async def get_midi(
    request: Request[Any, Any, Any],
    beat_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    version_number: VersionNumber = None,
) -> Redirect:
    """Fetch a Standard MIDI File of what is played: tempo, key, sections as markers, named tracks."""
    version = _chosen(await beat_of(ports, asker, beat_id), version_number)
    return await _lead(Showing(request, ports, asker), version, "midi")


@get("/api/beats/{beat_id:str}/score", tags=["beats"], opt=_LEADS, status_code=302)
async def get_score(
    request: Request[Any, Any, Any],
    beat_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    version_number: VersionNumber = None,
) -> Redirect:
    """Fetch the score as JSON: sections, chords, every note and stroke."""
    version = _chosen(await beat_of(ports, asker, beat_id), version_number)
    return await _lead(Showing(request, ports, asker), version, "score")


@get("/api/beats/{beat_id:str}/waveform", tags=["beats"], opt=_LEADS, status_code=302)
async def get_waveform(
    request: Request[Any, Any, Any],
    beat_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    version_number: VersionNumber = None,
) -> Redirect:
    """Fetch the outline of the wave: a JSON array of heights from 0 to 1."""
    version = _chosen(await beat_of(ports, asker, beat_id), version_number)
    return await _lead(Showing(request, ports, asker), version, "peaks")


@get("/output/{file:path}", tags=["beats"], opt=_LEADS, status_code=302)
async def get_file(
    request: Request[Any, Any, Any],
    file: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Redirect:
    """Fetch what `fileUrl`, `coverArtPath`, `previewPath` or `wavUrl` names; a redirect leads to it, with `Range`."""
    named = file_named(file.lstrip("/"))
    if named is None:
        raise FileNotFound
    try:
        beat = await beat_of(ports, asker, named.beat_id)
    except BeatNotFound:
        raise FileNotFound from None
    version = beat.numbered(named.number)
    if version is not None and named.kind == "audio":
        stored = version.file("audio")
        # A path names its form, too.
        if stored is None or f"output/{file.lstrip('/')}" != audio_path(beat, version.number, stored.content_type):
            raise FileNotFound
    return await _lead(Showing(request, ports, asker), version, named.kind)


# --- a version of one's own -------------------------------------------------------------------------------------------

_UPLOAD_BODY = form_body("MP3, WAV, FLAC, OGG, AAC, M4A, AIFF", setPrimary="`true`: it is to stand for the beat.")


@post(
    "/api/beats/{beat_id:str}/upload",
    status_code=200,
    tags=["beats"],
    opt={**needs("beats:write", "member"), "request_body": _UPLOAD_BODY},
    request_max_body_size=None,
)
async def upload_version(
    request: Request[Any, Any, Any],
    beat_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Uploaded:
    """Bring a version of one's own: multipart/form-data with `file`. It is analysed like any other."""
    beat = await beat_of(ports, asker, beat_id)
    version_id = ports.vault.new_id()
    key = keys.file(asker.workspace_id, beat.id, version_id, beat.name.partition(" Type Beat")[0], "")
    received = await receive(request, ports.uploads, key, asker.workspace_id)
    found = await ports.blobs.stat(key)
    wish = UploadVersion(
        beat_id=beat.id,
        workspace_id=asker.workspace_id,
        version_id=version_id,
        file=StoredFile(kind="audio", object_key=key, content_type=found.content_type, size=received.stored.size),
        set_primary=received.fields.get("setPrimary", "").strip().lower() in ("true", "1", "yes", "on"),
    )
    async with needed_by_what_follows(ports.blobs, key):
        await ports.execute(wish, asker.context)
    beat = await beat_of(ports, asker, beat_id)
    version = beat.version(version_id)
    assert version is not None
    return Uploaded(success=True, beat_id=beat.id, version=await Showing(request, ports, asker).version(beat, version))
