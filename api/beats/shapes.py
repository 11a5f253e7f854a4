"""Beats and versions as the contract shows them, and where their files are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from litestar import Request
from msgspec import Struct

from adapters.storage.uploads import AUDIO_ENDINGS
from api.auth import Asker
from api.beats.ports import Ports
from domain.beats.beats import FileKind, Stem, StoredFile
from projections.beats.beats import BeatDocument, Heard, VersionView


class Shape(Struct, rename="camel"):
    """Something that is written in the words of the contract."""


class AnalysisShown(Shape):
    """What our own ears found in a version, whatever whoever made it says; or why nothing."""

    bpm: float | None
    musical_key: str | None
    duration: float | None
    loudness_lufs: float | None
    problem: str | None


class VersionShown(Shape):
    """One version. What follows `updatedAt` says more than the contract asks for.

    `stage` is how far it has come while it is being made. `urlsExpireAt` is until when its provider keeps the files,
    and `urlsExpired` that it is too late. `waveformUrl` leads to the outline of the wave: heights from 0 to 1, as JSON.
    """

    id: str
    beat_id: str
    version_number: int
    source: str
    is_primary: bool
    status: str
    suno_audio_url: str | None
    suno_image_url: str | None
    suno_stream_url: str | None
    suno_audio_id: str | None
    suno_task_id: str | None
    file_url: str | None
    cover_art_path: str | None
    wav_url: str | None
    duration: float | None
    model_name: str | None
    bpm: int | None
    musical_key: str | None
    files_downloaded: bool
    wav_conversion_status: str
    created_at: datetime
    updated_at: datetime
    provider: str
    track: int
    stage: str | None
    failure_reason: str | None
    analysis: AnalysisShown | None
    waveform_url: str | None
    preview_url: str | None
    stems_status: str
    urls_expire_at: datetime | None
    urls_expired: bool
    download_problem: str | None
    wav_problem: str | None


class BeatListed(Shape):
    """A beat in a list."""

    id: str
    name: str
    genre: str
    style: str
    mood: str
    use_case: str
    tags: tuple[str, ...]
    description: str
    bpm: int | None
    musical_key: str | None
    duration: float | None
    model_name: str | None
    generation_status: str
    files_uploaded: bool
    created_at: datetime
    suno_audio_url: str | None
    suno_image_url: str | None
    suno_stream_url: str | None
    file_url: str
    cover_art_path: str | None
    wav_url: str | None
    wav_conversion_status: str


class BeatShown(Shape):
    """A beat with everything about it."""

    id: str
    template_id: str
    name: str
    genre: str
    style: str
    mood: str
    use_case: str
    tags: tuple[str, ...]
    description: str
    base_prompt: str
    normalized_prompt: str
    bpm: int | None
    musical_key: str | None
    duration: float | None
    model_name: str | None
    suno_audio_url: str | None
    suno_image_url: str | None
    suno_stream_url: str | None
    suno_audio_id: str | None
    suno_task_id: str | None
    file_url: str
    cover_art_path: str | None
    preview_path: str | None
    wav_url: str | None
    alternate_file_url: str | None
    alternate_suno_audio_url: str | None
    alternate_duration: float | None
    generation_status: str
    wav_conversion_status: str
    files_uploaded: bool
    created_at: datetime
    versions: list[VersionShown]


class BeatPending(Shape):
    """A beat of which nothing has been made so far."""

    id: str
    name: str
    genre: str
    style: str
    mood: str
    generation_status: str
    created_at: datetime


class Pagination(Shape):
    """Where in a list a page is."""

    page: int
    limit: int
    total: int
    total_pages: int


def pages(page: int, limit: int, total: int) -> Pagination:
    """The place of a page."""
    return Pagination(page=page, limit=limit, total=total, total_pages=-(-total // limit))


# --- files ------------------------------------------------------------------------------------------------------------


class NamedFile(NamedTuple):
    """What a path names: a file of a version of a beat."""

    beat_id: str
    number: int
    kind: FileKind


_FOLDERS: dict[str, FileKind] = {"beats": "audio", "beats-wav": "wav", "covers": "cover", "previews": "preview"}
_PATH = re.compile(
    r"(?P<folder>beats|beats-wav|covers|previews)/(?:\d{4}-\d\d/\d\d/)?"
    r"(?P<beat>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:_v(?P<number>[1-9]\d{0,3}))?\.[a-z0-9]{1,5}"
)


def file_named(path: str) -> NamedFile | None:
    """What a path below `output/` names."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    return NamedFile(found["beat"], int(found["number"] or 1), _FOLDERS[found["folder"]])


def _name(beat: BeatDocument, number: int) -> str:
    return beat.id if number == 1 else f"{beat.id}_v{number}"


def audio_path(beat: BeatDocument, number: int, content_type: str = "audio/mpeg") -> str:
    """Where the audio of a version is, or is going to be."""
    ending = AUDIO_ENDINGS.get(content_type, "mp3")
    return f"output/beats/{beat.created_at:%Y-%m}/{beat.created_at:%d}/{_name(beat, number)}.{ending}"


def path_of(beat: BeatDocument, version: VersionView | None, kind: FileKind) -> str | None:
    """The path of a file that is here."""
    stored = None if version is None else version.file(kind)
    if version is None or stored is None:
        return None
    match kind:
        case "audio":
            return audio_path(beat, version.number, stored.content_type)
        case "cover":
            return f"output/covers/{_name(beat, version.number)}.png"
        case "preview":
            return f"output/previews/{_name(beat, version.number)}.mp3"
        case "wav":
            day = f"{beat.created_at:%Y-%m}/{beat.created_at:%d}"
            return f"output/beats-wav/{day}/{_name(beat, version.number)}.wav"
    return None


class _Sound(NamedTuple):
    """What a version sounds like, as far as that is known."""

    bpm: int | None
    musical_key: str | None
    duration: float | None
    model_name: str | None


def _sound(version: VersionView | None) -> _Sound:
    if version is None:
        return _Sound(None, None, None, None)
    return _Sound(version.bpm, version.musical_key, version.duration_seconds, version.model_name)


@dataclass(frozen=True)
class Showing:
    """Writes beats for one request, whose sender the links are for."""

    request: Request[Any, Any, Any]
    ports: Ports
    asker: Asker

    async def link(self, stored: StoredFile | Stem | None) -> str | None:
        """A link to a file that works in a browser for a while."""
        if stored is None:
            return None
        seconds = self.ports.links.store.presigned_seconds
        return await self.ports.links.to_read(
            self.request, self.asker, stored.object_key, seconds, content_type=stored.content_type
        )

    async def _audio_url(self, version: VersionView | None) -> str | None:
        """Where to listen: at the provider's as long as it keeps the file, or else here, if it was fetched."""
        if version is None:
            return None
        if version.remote is None or self._is_over(version):
            return await self.link(version.file("audio"))
        return version.remote.audio_url

    async def _image_url(self, version: VersionView | None) -> str | None:
        if version is None:
            return None
        if version.remote is None or self._is_over(version):
            return await self.link(version.file("cover"))
        return version.remote.image_url

    async def _stream_url(self, version: VersionView | None) -> str | None:
        if version is None or version.remote is None or self._is_over(version):
            return await self._audio_url(version)
        return version.remote.stream_url

    def _is_over(self, version: VersionView) -> bool:
        """Whether its provider keeps its files no more."""
        return version.expired or (version.remote is not None and version.remote.expires_at <= self.ports.now())

    async def version(self, beat: BeatDocument, version: VersionView) -> VersionShown:
        """A version."""
        return VersionShown(
            id=version.id,
            beat_id=beat.id,
            version_number=version.number,
            source=version.source,
            is_primary=version.id == beat.primary_id,
            status=version.status,
            suno_audio_url=await self._audio_url(version),
            suno_image_url=await self._image_url(version),
            suno_stream_url=await self._stream_url(version),
            suno_audio_id=audio_id(version),
            suno_task_id=task_id(version),
            file_url=path_of(beat, version, "audio"),
            cover_art_path=path_of(beat, version, "cover"),
            wav_url=path_of(beat, version, "wav"),
            duration=version.duration_seconds,
            model_name=version.model_name,
            bpm=version.bpm,
            musical_key=version.musical_key,
            files_downloaded=version.file("audio") is not None,
            wav_conversion_status=version.wav,
            created_at=version.created_at,
            updated_at=version.updated_at,
            provider=version.provider,
            track=version.track,
            stage=version.stage,
            failure_reason=version.problem,
            analysis=_analysis(version.heard),
            waveform_url=await self.link(version.file("peaks")),
            preview_url=await self.link(version.file("preview")),
            stems_status=version.stems_work,
            urls_expire_at=version.remote.expires_at if version.remote is not None else None,
            urls_expired=version.remote is not None and self._is_over(version),
            download_problem=version.download_problem,
            wav_problem=version.wav_problem,
        )

    async def listed(self, beat: BeatDocument) -> BeatListed:
        """A beat as lists have it."""
        primary = beat.primary
        sound = _sound(primary)
        return BeatListed(
            id=beat.id,
            name=beat.name,
            genre=beat.genre,
            style=beat.style,
            mood=beat.mood,
            use_case=beat.use_case,
            tags=beat.tags,
            description=beat.description,
            bpm=sound.bpm,
            musical_key=sound.musical_key,
            duration=sound.duration,
            model_name=sound.model_name,
            generation_status=beat.status,
            files_uploaded=files_uploaded(beat),
            created_at=beat.created_at,
            suno_audio_url=await self._audio_url(primary),
            suno_image_url=await self._image_url(primary),
            suno_stream_url=await self._stream_url(primary),
            file_url=planned_path(beat),
            cover_art_path=path_of(beat, primary, "cover"),
            wav_url=path_of(beat, primary, "wav"),
            wav_conversion_status=wav_status(primary),
        )

    async def beat(self, beat: BeatDocument) -> BeatShown:
        """A beat with everything about it."""
        primary, alternate = beat.primary, beat.alternate
        sound = _sound(primary)
        return BeatShown(
            id=beat.id,
            template_id=beat.template_id,
            name=beat.name,
            genre=beat.genre,
            style=beat.style,
            mood=beat.mood,
            use_case=beat.use_case,
            tags=beat.tags,
            description=beat.description,
            base_prompt=beat.base_prompt,
            normalized_prompt=beat.normalized_prompt,
            bpm=sound.bpm,
            musical_key=sound.musical_key,
            duration=sound.duration,
            model_name=sound.model_name,
            suno_audio_url=await self._audio_url(primary),
            suno_image_url=await self._image_url(primary),
            suno_stream_url=await self._stream_url(primary),
            suno_audio_id=None if primary is None else audio_id(primary),
            suno_task_id=None if primary is None else task_id(primary),
            file_url=planned_path(beat),
            cover_art_path=path_of(beat, primary, "cover"),
            preview_path=path_of(beat, primary, "preview"),
            wav_url=path_of(beat, primary, "wav"),
            alternate_file_url=path_of(beat, alternate, "audio"),
            alternate_suno_audio_url=await self._audio_url(alternate),
            alternate_duration=_sound(alternate).duration,
            generation_status=beat.status,
            wav_conversion_status=wav_status(primary),
            files_uploaded=files_uploaded(beat),
            created_at=beat.created_at,
            versions=[await self.version(beat, each) for each in beat.versions],
        )


def wav_status(version: VersionView | None) -> str:
    """How the conversion of a version stands."""
    return "not_started" if version is None else version.wav


def _analysis(heard: Heard | None) -> AnalysisShown | None:
    if heard is None:
        return None
    return AnalysisShown(
        bpm=heard.bpm,
        musical_key=heard.musical_key,
        duration=heard.duration_seconds,
        loudness_lufs=heard.loudness_lufs,
        problem=heard.problem,
    )


def planned_path(beat: BeatDocument) -> str:
    """Where the audio of a beat is or will be: there is a path before there is a file."""
    primary = beat.primary
    return path_of(beat, primary, "audio") or audio_path(beat, primary.number if primary is not None else 1)


def audio_id(version: VersionView) -> str | None:
    """What its provider calls the track."""
    return version.remote.audio_id if version.remote is not None else None


def task_id(version: VersionView) -> str | None:
    """What the task is called, at the provider if it has one there; the second track has none of its own."""
    if version.track != 1 or version.provider == "upload":
        return None
    return version.task_id or version.generation_id


def files_uploaded(beat: BeatDocument) -> bool:
    """Whether the beat has a file of its owner's own."""
    return any(each.source == "upload" and each.status == "completed" for each in beat.versions)


def pending(beat: BeatDocument) -> BeatPending:
    """A beat as the list of those has it of which nothing has been made."""
    return BeatPending(
        id=beat.id,
        name=beat.name,
        genre=beat.genre,
        style=beat.style,
        mood=beat.mood,
        generation_status=beat.status,
        created_at=beat.created_at,
    )
