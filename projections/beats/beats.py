"""A beat with its versions; routes write it in the words of the contract."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from msgspec.structs import replace

from domain.beats.beats import (
    BeatCreated,
    BeatNotFound,
    DownloadRequested,
    FileKind,
    FilesNotStored,
    FilesStored,
    GenerationAdvanced,
    GenerationCancelled,
    GenerationCompleted,
    GenerationFailed,
    GenerationRequested,
    GenerationStarted,
    PrimaryChosen,
    Provider,
    Remote,
    Source,
    Stage,
    Stem,
    StemsFailed,
    StemsRequested,
    StemsStored,
    StoredFile,
    TaskAccepted,
    VersionCompleted,
    VersionHeard,
    VersionNotHeard,
    VersionUploaded,
    WavFailed,
    WavRequested,
    WavStored,
    Work,
)
from domain.kernel import Event, Value
from projections.kernel import Document, Projection, projection

Status = Literal["pending", "processing", "completed", "failed"]


class Heard(Value):
    """What our own ears found in a version, or why nothing."""

    bpm: float | None = None
    musical_key: str | None = None
    duration_seconds: float | None = None
    loudness_lufs: float | None = None
    problem: str | None = None


class VersionView(Value):
    """One version."""

    id: str
    number: int
    generation_id: str
    track: int
    source: Source
    provider: Provider | Literal["upload"]
    status: Status
    created_at: datetime
    updated_at: datetime
    #: How far it has come, while it is being made.
    stage: Stage | None = None
    problem: str | None = None
    model_name: str | None = None
    bpm: int | None = None
    musical_key: str | None = None
    duration_seconds: float | None = None
    files: tuple[StoredFile, ...] = ()
    remote: Remote | None = None
    #: What its provider calls the generation.
    task_id: str | None = None
    #: Whether its provider has thrown away what it kept, and nobody had fetched it.
    expired: bool = False
    download_problem: str | None = None
    heard: Heard | None = None
    wav: Work = "not_started"
    wav_task_id: str | None = None
    wav_problem: str | None = None
    stems_work: Work = "not_started"
    stems: tuple[Stem, ...] = ()
    stems_problem: str | None = None

    def file(self, kind: FileKind) -> StoredFile | None:
        """The file of a kind, if it is here."""
        return next((each for each in self.files if each.kind == kind), None)


class BeatDocument(Document):
    """One beat. `facets` are what lists are filtered by: a name, a colon, and the value in small letters."""

    id: str
    template_id: str
    category: str
    name: str
    genre: str
    style: str
    mood: str
    use_case: str
    tags: tuple[str, ...]
    description: str
    base_prompt: str
    normalized_prompt: str
    created_at: datetime
    primary_id: str | None = None
    versions: tuple[VersionView, ...] = ()
    facets: tuple[str, ...] = ()

    def version(self, version_id: str | None) -> VersionView | None:
        """The version with an id."""
        return next((each for each in self.versions if each.id == version_id), None)

    def numbered(self, number: int) -> VersionView | None:
        """The version with a number."""
        return next((each for each in self.versions if each.number == number), None)

    @property
    def primary(self) -> VersionView | None:
        """The version that stands for the beat."""
        return self.version(self.primary_id)

    @property
    def alternate(self) -> VersionView | None:
        """The other track of the generation that the primary comes from."""
        primary = self.primary
        if primary is None or primary.status != "completed":
            return None
        siblings = (each for each in self.versions if each.generation_id == primary.generation_id)
        return next((each for each in siblings if each.id != primary.id and each.status == "completed"), None)

    @property
    def status(self) -> Status:
        """How the beat stands: completed as soon as one version is."""
        found = {each.status for each in self.versions}
        if "completed" in found:
            return "completed"
        if found & {"pending", "processing"}:
            return "processing"
        # What was cancelled is as if it had never been asked for.
        return "failed" if any(each.status == "failed" and each.problem for each in self.versions) else "pending"


def facet(name: str, value: str) -> str:
    """What a list is filtered by, as it is compared: without regard to capitals and spaces around."""
    return f"{name}:{' '.join(value.casefold().split())}"


def _indexed(beat: BeatDocument) -> BeatDocument:
    primary = beat.primary
    found = [
        facet("genre", beat.genre),
        facet("style", beat.style),
        facet("mood", beat.mood),
        facet("status", beat.status),
        *(facet("tag", tag) for tag in beat.tags),
    ]
    if primary is not None and primary.musical_key is not None:
        found.append(facet("key", primary.musical_key))
    return replace(beat, facets=tuple(dict.fromkeys(found)))


def _changed(beat: BeatDocument, of: Callable[[VersionView], bool], **changes: Any) -> BeatDocument:
    return replace(beat, versions=tuple(replace(each, **changes) if of(each) else each for each in beat.versions))


def _open(generation_id: str) -> Callable[[VersionView], bool]:
    """The version of a generation that is not there yet."""
    return lambda each: each.generation_id == generation_id and each.status in ("pending", "processing")


def evolve(beat: BeatDocument | None, event: Event) -> BeatDocument | None:
    """A beat after one more event."""
    match beat, event:
        case None, BeatCreated():
            return _indexed(_begun(event))
        case BeatDocument(), _:
            return _indexed(_after(beat, event))
    return beat


def _begun(event: BeatCreated) -> BeatDocument:
    return BeatDocument(
        id=event.beat_id,
        template_id=event.template_id,
        category=event.category,
        name=event.name,
        genre=event.genre,
        style=event.style,
        mood=event.mood,
        use_case=event.use_case,
        tags=event.tags,
        description=event.description,
        base_prompt=event.base_prompt,
        normalized_prompt=event.normalized_prompt,
        created_at=event.created_at,
    )


def _after(beat: BeatDocument, event: Event) -> BeatDocument:  # noqa: PLR0911 - one for each event
    match event:
        case GenerationRequested():
            return _requested(beat, event)
        case GenerationStarted():
            return _changed(beat, _open(event.generation_id), status="processing", updated_at=event.started_at)
        case TaskAccepted():
            return _changed(
                beat,
                _open(event.generation_id),
                status="processing",
                task_id=event.task_id,
                updated_at=event.accepted_at,
            )
        case GenerationAdvanced():
            # While the second track is made, it is the first one's version that shows it if that is not there yet.
            return _changed(beat, _open(event.generation_id), stage=event.stage, updated_at=event.advanced_at)
        case VersionCompleted():
            return _completed(beat, event)
        case PrimaryChosen():
            return replace(beat, primary_id=event.version_id)
        case GenerationFailed():
            return _changed(
                beat,
                _open(event.generation_id),
                status="failed",
                stage=None,
                problem=event.reason,
                updated_at=event.failed_at,
            )
        case GenerationCancelled():
            return _changed(
                beat, _open(event.generation_id), status="failed", stage=None, updated_at=event.cancelled_at
            )
    return _with_files(beat, event)


def _with_files(beat: BeatDocument, event: Event) -> BeatDocument:  # noqa: PLR0911 - one for each event
    match event:
        case VersionUploaded():
            return _uploaded(beat, event)
        case VersionHeard():
            return _heard(beat, event)
        case VersionNotHeard():
            spoilt = event.unreadable and _is_upload(beat, event.version_id)
            problem: dict[str, Any] = {"status": "failed", "problem": event.reason} if spoilt else {}
            heard = Heard(problem=event.reason)
            return _changed(beat, _named(event.version_id), heard=heard, updated_at=event.given_up_at, **problem)
        case DownloadRequested():
            asked = event.version_ids
            return _changed(beat, lambda each: each.id in asked, download_problem=None)
        case FilesStored():
            files = _merged(beat, event.version_id, event.files)
            return _changed(
                beat, _named(event.version_id), files=files, download_problem=None, updated_at=event.stored_at
            )
        case FilesNotStored():
            return _changed(
                beat,
                _named(event.version_id),
                download_problem=event.reason,
                expired=event.expired,
                updated_at=event.failed_at,
            )
    return _with_forms(beat, event)


def _with_forms(beat: BeatDocument, event: Event) -> BeatDocument:  # noqa: PLR0911 - one for each event
    match event:
        case WavRequested():
            wanted, task = event.version_ids, event.wav_task_id
            return _changed(
                beat,
                lambda each: each.id in wanted,
                wav="processing",
                wav_task_id=task,
                wav_problem=None,
                updated_at=event.requested_at,
            )
        case WavStored():
            files = _merged(beat, event.version_id, (event.file,))
            return _changed(beat, _named(event.version_id), wav="completed", files=files, updated_at=event.stored_at)
        case WavFailed():
            return _changed(
                beat, _named(event.version_id), wav="failed", wav_problem=event.reason, updated_at=event.failed_at
            )
        case StemsRequested():
            return _changed(beat, _named(event.version_id), stems_work="processing", stems_problem=None)
        case StemsStored():
            return _changed(beat, _named(event.version_id), stems_work="completed", stems=event.stems)
        case StemsFailed():
            return _changed(beat, _named(event.version_id), stems_work="failed", stems_problem=event.reason)
    return beat


def _named(version_id: str) -> Callable[[VersionView], bool]:
    return lambda each: each.id == version_id


def _is_upload(beat: BeatDocument, version_id: str) -> bool:
    version = beat.version(version_id)
    return version is not None and version.source == "upload"


def _merged(beat: BeatDocument, version_id: str, more: tuple[StoredFile, ...]) -> tuple[StoredFile, ...]:
    """The files of a version with more of them, which take the place of those of their kind."""
    version = beat.version(version_id)
    kinds = {each.kind for each in more}
    return (*(each for each in (version.files if version is not None else ()) if each.kind not in kinds), *more)


def _uploaded(beat: BeatDocument, event: VersionUploaded) -> BeatDocument:
    version = VersionView(
        id=event.version_id,
        number=event.version_number,
        generation_id="",
        track=1,
        source="upload",
        provider="upload",
        status="completed",
        created_at=event.uploaded_at,
        updated_at=event.uploaded_at,
        files=(event.file,),
    )
    return replace(beat, versions=(*beat.versions, version), primary_id=beat.primary_id or event.version_id)


def _heard(beat: BeatDocument, event: VersionHeard) -> BeatDocument:
    version = beat.version(event.version_id)
    if version is None:
        return beat
    heard = Heard(
        bpm=event.bpm,
        musical_key=event.musical_key,
        duration_seconds=event.duration_seconds,
        loudness_lufs=event.loudness_lufs,
    )
    return _changed(
        beat,
        _named(event.version_id),
        heard=heard,
        # What whoever made it says of it is what it is; what they do not say, we have heard.
        bpm=version.bpm if version.bpm is not None or event.bpm is None else round(event.bpm),
        musical_key=version.musical_key or event.musical_key,
        duration_seconds=version.duration_seconds or event.duration_seconds,
        files=version.files if event.peaks is None else _merged(beat, event.version_id, (event.peaks,)),
        updated_at=event.heard_at,
    )


def _requested(beat: BeatDocument, event: GenerationRequested) -> BeatDocument:
    version = VersionView(
        id=event.version_id,
        number=event.version_number,
        generation_id=event.generation_id,
        track=1,
        source=event.source,
        provider=event.provider,
        status="pending",
        created_at=event.requested_at,
        updated_at=event.requested_at,
    )
    return replace(beat, versions=(*beat.versions, version), primary_id=beat.primary_id or event.version_id)


def _completed(beat: BeatDocument, event: VersionCompleted) -> BeatDocument:
    siblings = [each for each in beat.versions if each.generation_id == event.generation_id]
    there = beat.version(event.version_id)
    done = VersionView(
        id=event.version_id,
        number=event.version_number,
        generation_id=event.generation_id,
        track=event.track,
        source=event.source,
        provider=siblings[0].provider if siblings else "band",
        status="completed",
        task_id=None if there is None else there.task_id,
        created_at=event.completed_at if there is None else there.created_at,
        updated_at=event.completed_at,
        model_name=event.model_name,
        bpm=event.bpm,
        musical_key=event.musical_key,
        duration_seconds=event.duration_seconds,
        files=event.files,
        remote=event.remote,
    )
    others = tuple(each for each in beat.versions if each.id != event.version_id)
    versions = tuple(sorted((*others, done), key=lambda each: each.number))
    return replace(beat, versions=versions, primary_id=beat.primary_id or event.version_id)


beat_documents: Projection[BeatDocument] = projection(
    "beats",
    BeatDocument,
    on={
        BeatCreated: "beat_id",
        GenerationRequested: "beat_id",
        GenerationStarted: "beat_id",
        GenerationAdvanced: "beat_id",
        VersionCompleted: "beat_id",
        PrimaryChosen: "beat_id",
        GenerationCompleted: "beat_id",
        GenerationFailed: "beat_id",
        GenerationCancelled: "beat_id",
        TaskAccepted: "beat_id",
        VersionUploaded: "beat_id",
        VersionHeard: "beat_id",
        VersionNotHeard: "beat_id",
        DownloadRequested: "beat_id",
        FilesStored: "beat_id",
        FilesNotStored: "beat_id",
        WavRequested: "beat_id",
        WavStored: "beat_id",
        WavFailed: "beat_id",
        StemsRequested: "beat_id",
        StemsStored: "beat_id",
        StemsFailed: "beat_id",
    },
    evolve=evolve,
    begins=(BeatCreated,),
    absent=BeatNotFound,
    stream="beat",
)
