"""A beat: what it is to sound like, and its versions, of which one is the primary. A generation makes two of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec.structs import replace

from domain.beats.settings import GenerationLimits
from domain.billing.quotas import Meter
from domain.kernel import Category, Conflict, Event, Exhausted, Invalid, NotFound, State, Value, personal
from domain.objects import Kept, keeps

#: Who makes the sound: our own band, or a service elsewhere that is paid for it.
Provider = Literal["band", "sunoapi"]
#: What the contract calls the origin of a version, whoever made it: the first one, a further one, a file of one's own.
Source = Literal["suno", "suno_retry", "upload"]
Stage = Literal["composing", "rendering", "mastering", "storing"]
FileKind = Literal["audio", "master", "preview", "cover", "midi", "score", "peaks", "wav"]
Work = Literal["not_started", "processing", "completed", "failed"]

#: Versions of one beat: all of them are in one stream.
VERSIONS_MAX = 100
SECONDS_MIN, SECONDS_MAX = 8.0, 600.0
BPM_MIN, BPM_MAX = 50, 200


class Brief(Value):
    """What is asked of whoever makes the sound; what is null is chosen by the seed."""

    genre: str
    style: str = ""
    mood: str = ""
    bpm: int | None = None
    #: Such as "C Minor".
    key: str | None = None
    seconds: float = 180.0
    seed: int = 0
    bpm_min: int | None = None
    bpm_max: int | None = None


class StoredFile(Value):
    """One file of a version, and where it is kept."""

    kind: FileKind
    object_key: str
    content_type: str
    size: int


class Stem(Value):
    """One part of the sound for itself, or the sum of all (`mix`)."""

    name: str
    object_key: str
    content_type: str
    size: int


class Remote(Value):
    """Where a provider keeps the files of a version, and until when."""

    audio_id: str
    audio_url: str
    image_url: str | None
    stream_url: str | None
    expires_at: datetime


class BeatCreated(Event):
    """Somebody wants a beat of a category. What people may have written themselves is sealed."""

    # But for the words that it is found by (genre, style, mood, tags), also where they are somebody's own.
    beat_id: str
    workspace_id: str
    template_id: str
    category: Annotated[str, personal("workspace_id")]
    name: Annotated[str, personal("workspace_id")]
    genre: str
    style: str
    mood: str
    use_case: Annotated[str, personal("workspace_id")]
    tags: tuple[str, ...]
    description: Annotated[str, personal("workspace_id")]
    base_prompt: Annotated[str, personal("workspace_id")]
    normalized_prompt: Annotated[str, personal("workspace_id")]
    brief: Brief
    created_at: datetime


class GenerationRequested(Event):
    """Two tracks are to be made; the first of them becomes this version."""

    beat_id: str
    workspace_id: str
    generation_id: str
    version_id: str
    version_number: int
    provider: Provider
    source: Source
    set_primary: bool
    brief: Brief
    requested_at: datetime


class GenerationStarted(Event):
    """Somebody is at it."""

    beat_id: str
    generation_id: str
    started_at: datetime


class GenerationAdvanced(Event):
    """The first or second track has come to its next stage."""

    beat_id: str
    generation_id: str
    track: int
    stage: Stage
    advanced_at: datetime


class VersionCompleted(Event):
    """A track is there: with its files here, or where its provider keeps them."""

    beat_id: str
    generation_id: str
    version_id: str
    version_number: int
    track: int
    source: Source
    model_name: str
    bpm: int | None
    musical_key: str | None
    duration_seconds: float | None
    files: tuple[StoredFile, ...]
    remote: Remote | None
    completed_at: datetime


class PrimaryChosen(Event):
    """This version stands for the beat from now on."""

    beat_id: str
    version_id: str
    chosen_at: datetime


class GenerationCompleted(Event):
    """Both tracks are there."""

    beat_id: str
    generation_id: str
    completed_at: datetime


class GenerationFailed(Event):
    """There will be nothing, or only the first track, and why."""

    beat_id: str
    generation_id: str
    reason: str
    failed_at: datetime


class GenerationCancelled(Event):
    """Nobody wants it any more."""

    beat_id: str
    generation_id: str
    cancelled_at: datetime


class SubmissionBegun(Event):
    """A generation is being handed to a provider, who may have taken it even if we never hear so."""

    beat_id: str
    generation_id: str
    begun_at: datetime


class SubmissionRefused(Event):
    """The provider has certainly not taken it, for a reason that may pass."""

    beat_id: str
    generation_id: str
    reason: str
    refused_at: datetime


class TaskAccepted(Event):
    """The provider has taken it, and this is what it is called there."""

    beat_id: str
    generation_id: str
    task_id: str
    accepted_at: datetime


class TaskHeard(Event):
    """The provider has told us that something has become of it: which is looked at, and not believed."""

    beat_id: str
    generation_id: str
    stage: Literal["complete", "error"]
    heard_at: datetime


class TaskAsked(Event):
    """We have asked how it stands, it was not over, and when we ask again."""

    beat_id: str
    generation_id: str
    asks: int
    asked_at: datetime
    next_at: datetime


class VersionUploaded(Event):
    """Somebody has brought a version of their own."""

    beat_id: str
    workspace_id: str
    version_id: str
    version_number: int
    file: StoredFile
    uploaded_at: datetime


class VersionHeard(Event):
    """This is what our own ears found in a version; `peaks` is the outline of its wave where there was none yet."""

    beat_id: str
    version_id: str
    bpm: float | None
    musical_key: str | None
    duration_seconds: float
    loudness_lufs: float | None
    peaks: StoredFile | None
    heard_at: datetime


class VersionNotHeard(Event):
    """Nothing could be heard in a version, and why; `unreadable` says that it is the file's fault."""

    action: ClassVar[str] = "version.not_heard"

    beat_id: str
    version_id: str
    reason: str
    unreadable: bool
    given_up_at: datetime


class DownloadRequested(Event):
    """Files that a provider keeps are to be fetched."""

    beat_id: str
    workspace_id: str
    version_ids: tuple[str, ...]
    requested_at: datetime


class FilesStored(Event):
    """The files of a version are here."""

    beat_id: str
    version_id: str
    files: tuple[StoredFile, ...]
    stored_at: datetime


class FilesNotStored(Event):
    """The files of a version could not be fetched, and why; `expired` says that they never will."""

    action: ClassVar[str] = "files.not_stored"

    beat_id: str
    version_id: str
    reason: str
    expired: bool
    failed_at: datetime


class WavRequested(Event):
    """Versions are wanted as WAV, 44.1 kHz and 16 bits."""

    beat_id: str
    workspace_id: str
    wav_task_id: str
    version_ids: tuple[str, ...]
    requested_at: datetime


class WavStored(Event):
    """A version is there as WAV."""

    beat_id: str
    wav_task_id: str
    version_id: str
    file: StoredFile
    stored_at: datetime


class WavFailed(Event):
    """A version could not be made a WAV, and why."""

    beat_id: str
    wav_task_id: str
    version_id: str
    reason: str
    failed_at: datetime


class StemsRequested(Event):
    """The parts of a version are wanted, each for itself."""

    beat_id: str
    workspace_id: str
    version_id: str
    requested_at: datetime


class StemsStored(Event):
    """The parts of a version are there."""

    beat_id: str
    version_id: str
    stems: tuple[Stem, ...]
    stored_at: datetime


class StemsFailed(Event):
    """The parts of a version could not be made, and why."""

    beat_id: str
    version_id: str
    reason: str
    failed_at: datetime


class Version(Value):
    """What rules know of a version."""

    version_id: str
    number: int
    generation_id: str
    source: Source
    status: Literal["pending", "processing", "completed", "failed"] = "pending"
    track: int = 1
    files: tuple[StoredFile, ...] = ()
    remote: Remote | None = None
    expired: bool = False
    heard: bool = False
    wav: Work = "not_started"
    wav_task_id: str | None = None
    #: When it, and the parts, were asked for the last time.
    wav_asked_at: datetime | None = None
    stems: Work = "not_started"
    stems_asked_at: datetime | None = None
    download: Work = "not_started"

    def file(self, kind: FileKind) -> StoredFile | None:
        """The file of a kind, if it is here."""
        return next((each for each in self.files if each.kind == kind), None)


class Generation(Value):
    """What rules know of a generation."""

    generation_id: str
    version_id: str
    provider: Provider
    source: Source
    set_primary: bool
    brief: Brief
    status: Literal["requested", "started", "completed", "failed", "cancelled"] = "requested"
    #: How far it has come: the track, and its stage.
    reached: tuple[int, Stage] | None = None
    #: Whether it is being handed to a provider, and nobody knows whether it was taken.
    in_doubt: bool = False
    #: What its provider calls it, when it was taken, what was heard of it, and how often we have asked.
    task_id: str | None = None
    accepted_at: datetime | None = None
    heard: tuple[str, ...] = ()
    asks: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in ("completed", "failed", "cancelled")


class Beat(State):
    """What rules know of a beat."""

    workspace_id: str = ""
    brief: Brief | None = None
    versions: tuple[Version, ...] = ()
    generations: tuple[Generation, ...] = ()
    primary_id: str | None = None

    def version(self, version_id: str | None) -> Version | None:
        """The version with an id."""
        return next((each for each in self.versions if each.version_id == version_id), None)

    def generation(self, generation_id: str) -> Generation | None:
        """The generation with an id."""
        return next((each for each in self.generations if each.generation_id == generation_id), None)

    def unheard(self, version_id: str) -> Version | None:
        """The version with an id, until somebody has listened to it."""
        version = self.version(version_id)
        return None if version is None or version.heard else version

    def is_converting(self, version_id: str, asked_at: datetime) -> bool:
        """Whether a version is being made the WAV that was asked for then, and not a later one."""
        version = self.version(version_id)
        return version is not None and (version.wav, version.wav_asked_at) == ("processing", asked_at)

    def is_taken_apart(self, version_id: str, asked_at: datetime) -> bool:
        """Whether the parts of a version are being made that were asked for then, and not later ones."""
        version = self.version(version_id)
        return version is not None and (version.stems, version.stems_asked_at) == ("processing", asked_at)

    def under_way(self, generation_id: str) -> Generation | None:
        """The generation with an id, while something may come of it."""
        generation = self.generation(generation_id)
        return None if generation is None or generation.is_over else generation

    def track(self, generation_id: str, track: int) -> Version | None:
        """The version that a track of a generation has become."""
        made = (each for each in self.versions if (each.generation_id, each.track) == (generation_id, track))
        return next(made, None)

    @property
    def primary(self) -> Version | None:
        """The version that stands for the beat."""
        return self.version(self.primary_id)

    def stand_in(self, but: Version) -> Version | None:
        """A version that is there and could stand for the beat in place of another."""
        return next((each for each in self.versions if each.status == "completed" and each is not but), None)

    @property
    def next_number(self) -> int:
        """The number of the next version."""
        return max((each.number for each in self.versions), default=0) + 1

    @property
    def versions_to_come(self) -> int:
        """How many versions there will be when all that is under way is there: a generation brings a second one."""
        coming = [each for each in self.generations if not each.is_over and self.track(each.generation_id, 2) is None]
        return self.next_number - 1 + len(coming)

    @property
    def is_in_flight(self) -> bool:
        """Whether something is being made."""
        return any(not each.is_over for each in self.generations)


def _changed_version(beat: Beat, of: Callable[[Version], bool], **changes: Any) -> Beat:
    return replace(beat, versions=tuple(replace(each, **changes) if of(each) else each for each in beat.versions))


def _changed_generation(beat: Beat, generation_id: str, **changes: Any) -> Beat:
    changed = tuple(
        replace(each, **changes) if each.generation_id == generation_id else each for each in beat.generations
    )
    return replace(beat, generations=changed)


def evolve(beat: Beat, event: Event) -> Beat:  # noqa: PLR0911 - one for each event
    """A beat after one more event."""
    match event:
        case BeatCreated():
            return replace(beat, workspace_id=event.workspace_id, brief=event.brief)
        case GenerationRequested():
            return _requested(beat, event)
        case GenerationStarted():
            begun = _changed_generation(beat, event.generation_id, status="started")
            return _changed_version(begun, _open(event.generation_id), status="processing")
        case GenerationAdvanced():
            return _changed_generation(beat, event.generation_id, reached=(event.track, event.stage))
        case VersionCompleted():
            return _completed(beat, event)
        case PrimaryChosen():
            return replace(beat, primary_id=event.version_id)
        case GenerationCompleted():
            return _changed_generation(beat, event.generation_id, status="completed")
        case GenerationFailed() | GenerationCancelled():
            status = "failed" if isinstance(event, GenerationFailed) else "cancelled"
            ended = _changed_generation(beat, event.generation_id, status=status)
            return _changed_version(ended, _open(event.generation_id), status="failed")
    return _with_task(beat, event)


def _with_task(beat: Beat, event: Event) -> Beat:
    """A beat after something has happened at a provider."""
    match event:
        case SubmissionBegun():
            return _changed_generation(beat, event.generation_id, in_doubt=True)
        case SubmissionRefused():
            return _changed_generation(beat, event.generation_id, in_doubt=False)
        case TaskAccepted():
            begun = _changed_version(beat, _open(event.generation_id), status="processing")
            return _changed_generation(
                begun,
                event.generation_id,
                status="started",
                in_doubt=False,
                task_id=event.task_id,
                accepted_at=event.accepted_at,
            )
        case TaskHeard():
            known = beat.generation(event.generation_id)
            heard = () if known is None else known.heard
            return _changed_generation(beat, event.generation_id, heard=(*heard, event.stage))
        case TaskAsked():
            return _changed_generation(beat, event.generation_id, asks=event.asks)
    return _with_files(beat, event)


def _with_files(beat: Beat, event: Event) -> Beat:  # noqa: PLR0911 - one for each event
    """A beat after something has happened to what is there."""
    match event:
        case VersionUploaded():
            return _uploaded(beat, event)
        case VersionHeard():
            return _changed_version(beat, _named(event.version_id), heard=True)
        case VersionNotHeard():
            heard = _changed_version(beat, _named(event.version_id), heard=True)
            return _changed_version(heard, _spoilt(event), status="failed")
        case DownloadRequested():
            return _changed_version(beat, lambda each: each.version_id in event.version_ids, download="processing")
        case FilesStored():
            return _changed_version(beat, _named(event.version_id), files=event.files, download="completed")
        case FilesNotStored():
            return _changed_version(beat, _named(event.version_id), download="failed", expired=event.expired)
    return _with_forms(beat, event)


def _with_forms(beat: Beat, event: Event) -> Beat:  # noqa: PLR0911 - one for each event
    """A beat after something has happened to the other forms of what is there: WAV and stems."""
    match event:
        case WavRequested():
            asked = {"wav": "processing", "wav_task_id": event.wav_task_id, "wav_asked_at": event.requested_at}
            return _changed_version(beat, lambda each: each.version_id in event.version_ids, **asked)
        case WavStored():
            return _changed_version(beat, _named(event.version_id), wav="completed")
        case WavFailed():
            return _changed_version(beat, _named(event.version_id), wav="failed")
        case StemsRequested():
            asked_at = event.requested_at
            return _changed_version(beat, _named(event.version_id), stems="processing", stems_asked_at=asked_at)
        case StemsStored():
            return _changed_version(beat, _named(event.version_id), stems="completed")
        case StemsFailed():
            return _changed_version(beat, _named(event.version_id), stems="failed")
    return beat


def _named(version_id: str) -> Callable[[Version], bool]:
    return lambda each: each.version_id == version_id


def _spoilt(event: VersionNotHeard) -> Callable[[Version], bool]:
    """What somebody has uploaded and is no audio."""
    return lambda each: event.unreadable and each.source == "upload" and each.version_id == event.version_id


def _uploaded(beat: Beat, event: VersionUploaded) -> Beat:
    version = Version(
        version_id=event.version_id,
        number=event.version_number,
        generation_id="",
        source="upload",
        status="completed",
        files=(event.file,),
    )
    return replace(beat, versions=(*beat.versions, version), primary_id=beat.primary_id or event.version_id)


def _open(generation_id: str) -> Callable[[Version], bool]:
    """The version of a generation that is not there yet."""
    return lambda each: each.generation_id == generation_id and each.status in ("pending", "processing")


def _requested(beat: Beat, event: GenerationRequested) -> Beat:
    version = Version(
        version_id=event.version_id,
        number=event.version_number,
        generation_id=event.generation_id,
        source=event.source,
    )
    generation = Generation(
        generation_id=event.generation_id,
        version_id=event.version_id,
        provider=event.provider,
        source=event.source,
        set_primary=event.set_primary,
        brief=event.brief,
    )
    return replace(
        beat,
        versions=(*beat.versions, version),
        generations=(*beat.generations, generation),
        primary_id=beat.primary_id or event.version_id,
    )


def _completed(beat: Beat, event: VersionCompleted) -> Beat:
    there = beat.version(event.version_id) or Version(
        version_id=event.version_id,
        number=event.version_number,
        generation_id=event.generation_id,
        source=event.source,
    )
    done = replace(there, status="completed", track=event.track, files=event.files, remote=event.remote)
    others = tuple(each for each in beat.versions if each.version_id != event.version_id)
    versions = tuple(sorted((*others, done), key=lambda each: each.number))
    return replace(beat, versions=versions, primary_id=beat.primary_id or event.version_id)


class BeatNotFound(NotFound):
    """Beat not found."""


class VersionNotFound(NotFound):
    """Version not found."""


class BeatHasAudio(Conflict):
    """Beat already has audio. Use POST /beats/:id/versions to create a new version."""


class TooManyVersions(Exhausted):
    """Too many versions. A beat has {limit} at most; create another beat."""


class NothingToCancel(Conflict):
    """Nothing to cancel. No generation of this beat is under way."""


class GenerationNotCompleted(Conflict):
    """Beat generation not completed. Wait until it is, or have it made first."""


class NoAudioToConvert(Conflict):
    """No audio files available for conversion. Wait until there are some, or have the beat made first."""


class NoStems(Conflict):
    """No stems available. Only what our own band has played comes in parts."""


class ProviderNotAvailable(Invalid):
    """Provider not available. {provider} is not set up here; leave it out, or ask whoever runs this service."""


class BriefIsUnplayable(Invalid):
    """Brief cannot be played. {problem}"""


beats = Category(name="beat", initial=Beat(), evolve=evolve, absent=BeatNotFound)

GENERATIONS = Meter(
    kind="generations",
    on={GenerationRequested: "requested_at"},
    limits=lambda settings: settings[GenerationLimits].monthly_generation_limits,
)


def _kept(*files: StoredFile | Stem | None) -> list[Kept]:
    return [Kept(key=each.object_key, size=each.size) for each in files if each is not None]


keeps(VersionCompleted, lambda event: _kept(*event.files))
keeps(VersionUploaded, lambda event: _kept(event.file))
keeps(VersionHeard, lambda event: _kept(event.peaks))
keeps(FilesStored, lambda event: _kept(*event.files))
keeps(WavStored, lambda event: _kept(event.file))
keeps(StemsStored, lambda event: _kept(*event.stems))
