"""What other systems are told of beats."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from domain.beats.beats import (
    BeatCreated,
    Brief,
    GenerationCompleted,
    GenerationFailed,
    GenerationRequested,
    StoredFile,
    VersionCompleted,
    WavRequested,
    WavStored,
)
from domain.kernel import Event, Value
from domain.webhooks.messages import Subject, message
from projections.beats.beats import BeatDocument, VersionView, beat_documents


class VersionTold(Value):
    """One version, without links: these are for whoever asks `GET /api/beats/{id}`."""

    version_id: str
    version_number: int
    is_primary: bool
    source: str
    provider: str
    status: str
    failure_reason: str | None
    model_name: str | None
    bpm: int | None
    musical_key: str | None
    duration_seconds: float | None
    files_downloaded: bool
    wav_status: str


class BeatTold(Value):
    """A beat, and the versions that the message is about."""

    beat_id: str
    name: str
    genre: str
    style: str
    mood: str
    tags: tuple[str, ...]
    generation_status: str
    versions: tuple[VersionTold, ...]


def _of_generation(subject: Subject, events: Sequence[Event]) -> BeatTold:
    """The versions of the generation that has just ended."""
    ended = events[-1]
    assert isinstance(ended, GenerationCompleted | GenerationFailed)
    beat = _beat(subject, events)
    return _told(beat, [each for each in beat.versions if each.generation_id == ended.generation_id])


def _of_version(subject: Subject, events: Sequence[Event]) -> BeatTold:
    """The version that is a WAV now."""
    stored = events[-1]
    assert isinstance(stored, WavStored)
    beat = _beat(subject, events)
    return _told(beat, [each for each in beat.versions if each.id == stored.version_id])


def _beat(subject: Subject, events: Sequence[Event]) -> BeatDocument:
    beat = beat_documents.fold(subject.id, events)
    assert beat is not None
    return beat


def _told(beat: BeatDocument, versions: Sequence[VersionView]) -> BeatTold:
    return BeatTold(
        beat_id=beat.id,
        name=beat.name,
        genre=beat.genre,
        style=beat.style,
        mood=beat.mood,
        tags=beat.tags,
        generation_status=beat.status,
        versions=tuple(
            VersionTold(
                version_id=each.id,
                version_number=each.number,
                is_primary=each.id == beat.primary_id,
                source=each.source,
                provider=each.provider,
                status=each.status,
                failure_reason=each.problem,
                model_name=each.model_name,
                bpm=each.bpm,
                musical_key=each.musical_key,
                duration_seconds=each.duration_seconds,
                files_downloaded=each.file("audio") is not None,
                wav_status=each.wav,
            )
            for each in versions
        ),
    )


_NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
_BEAT, _GENERATION, _VERSION = (
    "f81570f8-eaa0-4e28-8372-db417fd559d1",
    "0d7f0c1e-6c0e-4d0c-9a39-0b6f1d0a2f10",
    "b5a0b0d6-52f2-4a43-a3b1-3d7a4e0f6c21",
)
_WORKSPACE = "5f3c1f3e-8a55-4d9b-9b40-0d0f6a1c2d3e"
_BRIEF = Brief(genre="LoFi", style="Melodic", mood="Calm", seed=7)
_BEGUN = (
    BeatCreated(
        beat_id=_BEAT,
        workspace_id=_WORKSPACE,
        template_id="2f0c7a0c-54d4-5f0b-8a5a-0a1b2c3d4e5f",
        category="LoFi – Melodic/Calm",
        name="Summer Cruise Type Beat – Melodic Calm",
        genre="LoFi",
        style="Melodic",
        mood="Calm",
        use_case="Vlogs",
        tags=("lofi", "calm"),
        description="Melodic calm LoFi beat for vlogs.",
        base_prompt="A calm LoFi beat.",
        normalized_prompt="summer cruise melodic calm lofi",
        brief=_BRIEF,
        created_at=_NOON,
    ),
    GenerationRequested(
        beat_id=_BEAT,
        workspace_id=_WORKSPACE,
        generation_id=_GENERATION,
        version_id=_VERSION,
        version_number=1,
        provider="band",
        source="suno",
        set_primary=True,
        brief=_BRIEF,
        requested_at=_NOON,
    ),
)
_AUDIO = StoredFile(kind="audio", object_key="beats/a.mp3", content_type="audio/mpeg", size=7_200_000)
_MADE = VersionCompleted(
    beat_id=_BEAT,
    generation_id=_GENERATION,
    version_id=_VERSION,
    version_number=1,
    track=1,
    source="suno",
    model_name="ledgerline-band-1.0",
    bpm=85,
    musical_key="C Major",
    duration_seconds=180.5,
    files=(_AUDIO,),
    remote=None,
    completed_at=_NOON,
)

beat_generated = message(
    "beat.generated",
    "A generation has come to its end, and these are its versions.",
    on=GenerationCompleted,
    at="completed_at",
    body=_of_generation,
    schema=BeatTold,
    example=(*_BEGUN, _MADE, GenerationCompleted(beat_id=_BEAT, generation_id=_GENERATION, completed_at=_NOON)),
)

beat_generation_failed = message(
    "beat.generation_failed",
    "Nothing could be made of a beat, or not both tracks, and why.",
    on=GenerationFailed,
    at="failed_at",
    body=_of_generation,
    schema=BeatTold,
    example=(
        *_BEGUN,
        GenerationFailed(
            beat_id=_BEAT, generation_id=_GENERATION, reason="It took too long and was stopped.", failed_at=_NOON
        ),
    ),
)

beat_wav_converted = message(
    "beat.wav_converted",
    "A version of a beat is there as WAV.",
    on=WavStored,
    at="stored_at",
    body=_of_version,
    schema=BeatTold,
    example=(
        *_BEGUN,
        _MADE,
        WavRequested(
            beat_id=_BEAT,
            workspace_id=_WORKSPACE,
            wav_task_id="6f1d0a2f-52f2-4a43-a3b1-0b6f1d0a2f10",
            version_ids=(_VERSION,),
            requested_at=_NOON,
        ),
        WavStored(
            beat_id=_BEAT,
            wav_task_id="6f1d0a2f-52f2-4a43-a3b1-0b6f1d0a2f10",
            version_id=_VERSION,
            file=StoredFile(kind="wav", object_key="beats/a.wav", content_type="audio/wav", size=31_840_244),
            stored_at=_NOON,
        ),
    ),
)
