"""What is done with versions that are there: heard, fetched, converted, taken apart; and versions of one's own."""

from __future__ import annotations

from datetime import datetime

from commands.kernel import Command, Transaction, decides, handles
from domain.beats.beats import (
    VERSIONS_MAX,
    Beat,
    BeatNotFound,
    DownloadRequested,
    FilesNotStored,
    FilesStored,
    GenerationNotCompleted,
    NoAudioToConvert,
    NoStems,
    PrimaryChosen,
    Stem,
    StemsFailed,
    StemsRequested,
    StemsStored,
    StoredFile,
    TooManyVersions,
    Version,
    VersionHeard,
    VersionNotFound,
    VersionNotHeard,
    VersionUploaded,
    WavFailed,
    WavRequested,
    WavStored,
    beats,
)
from domain.kernel import Event


class UploadVersion(Command):
    """Bring a version of one's own, which is stored already."""

    beat_id: str
    workspace_id: str
    version_id: str
    file: StoredFile
    set_primary: bool = False


@handles(UploadVersion)
async def upload(wish: UploadVersion, transaction: Transaction) -> None:
    """It comes once, with the next number; it stands for the beat if that is wished, or if nothing else is there."""
    beat = await transaction.load(beats, wish.beat_id)
    if beat.workspace_id != wish.workspace_id:
        raise BeatNotFound
    if beat.version(wish.version_id) is not None:
        return
    if beat.versions_to_come + 1 > VERSIONS_MAX:
        raise TooManyVersions(limit=VERSIONS_MAX)
    uploaded = VersionUploaded(
        beat_id=wish.beat_id,
        workspace_id=wish.workspace_id,
        version_id=wish.version_id,
        version_number=beat.next_number,
        file=wish.file,
        uploaded_at=transaction.now,
    )
    transaction.record(beats, wish.beat_id, uploaded)
    primary = beat.primary
    if primary is not None and (wish.set_primary or primary.status == "failed"):
        chosen = PrimaryChosen(beat_id=wish.beat_id, version_id=wish.version_id, chosen_at=transaction.now)
        transaction.record(beats, wish.beat_id, chosen)


class NoteHeard(Command):
    """Write down what was heard in a version."""

    beat_id: str
    version_id: str
    bpm: float | None
    musical_key: str | None
    duration_seconds: float
    loudness_lufs: float | None
    peaks: StoredFile | None = None


@decides(NoteHeard, beats)
def note_heard(wish: NoteHeard, beat: Beat, now: datetime) -> list[Event]:
    """A version is heard once."""
    if beat.unheard(wish.version_id) is None:
        return []
    return [
        VersionHeard(
            beat_id=wish.beat_id,
            version_id=wish.version_id,
            bpm=wish.bpm,
            musical_key=wish.musical_key,
            duration_seconds=wish.duration_seconds,
            loudness_lufs=wish.loudness_lufs,
            peaks=wish.peaks,
            heard_at=now,
        )
    ]


class NoteNotHeard(Command):
    """Write down why nothing was heard in a version."""

    beat_id: str
    version_id: str
    reason: str
    unreadable: bool = False


@decides(NoteNotHeard, beats)
def note_not_heard(wish: NoteNotHeard, beat: Beat, now: datetime) -> list[Event]:
    """It is said once. What somebody uploaded and is no audio does not stand for the beat while something else can."""
    version = beat.unheard(wish.version_id)
    if version is None:
        return []
    events: list[Event] = [
        VersionNotHeard(
            beat_id=wish.beat_id,
            version_id=wish.version_id,
            reason=wish.reason,
            unreadable=wish.unreadable,
            given_up_at=now,
        )
    ]
    if wish.unreadable and version.source == "upload" and beat.primary_id == version.version_id:
        other = beat.stand_in(version)
        if other is not None:
            events.append(PrimaryChosen(beat_id=wish.beat_id, version_id=other.version_id, chosen_at=now))
    return events


class RequestDownload(Command):
    """Have files fetched that a provider keeps: of the version of a number, or of the primary and its sibling."""

    beat_id: str
    workspace_id: str
    version_number: int | None = None


@decides(RequestDownload, beats)
def request_download(wish: RequestDownload, beat: Beat, now: datetime) -> list[Event]:
    """What is here, or on its way, is not asked for again."""
    if beat.workspace_id != wish.workspace_id:
        raise BeatNotFound
    wanted = _wanted(beat, wish.version_number)
    missing = tuple(
        each.version_id
        for each in wanted
        if each.file("audio") is None and not each.expired and each.download != "processing"
    )
    if not missing:
        return []
    return [
        DownloadRequested(beat_id=wish.beat_id, workspace_id=wish.workspace_id, version_ids=missing, requested_at=now)
    ]


def _wanted(beat: Beat, number: int | None) -> list[Version]:
    """The version of a number, or the primary and its sibling."""
    if number is not None:
        chosen = next((each for each in beat.versions if each.number == number), None)
        if chosen is None:
            raise VersionNotFound(version_number=number)
    else:
        chosen = beat.primary
    if chosen is None or chosen.status != "completed":
        raise GenerationNotCompleted
    return [chosen, *(siblings(beat, chosen) if number is None else ())]


def siblings(beat: Beat, version: Version) -> list[Version]:
    """The other tracks of the generation that a version comes from."""
    if not version.generation_id:
        return []
    return [
        each
        for each in beat.versions
        if each.generation_id == version.generation_id and each is not version and each.status == "completed"
    ]


class StoreFiles(Command):
    """Write down that the files of a version are here now."""

    beat_id: str
    version_id: str
    files: tuple[StoredFile, ...]


@decides(StoreFiles, beats)
def store_files(wish: StoreFiles, beat: Beat, now: datetime) -> list[Event]:
    """They come once."""
    version = beat.version(wish.version_id)
    if version is None or version.file("audio") is not None:
        return []
    return [FilesStored(beat_id=wish.beat_id, version_id=wish.version_id, files=wish.files, stored_at=now)]


class GiveUpFiles(Command):
    """Write down why the files of a version did not come."""

    beat_id: str
    version_id: str
    reason: str
    expired: bool = False


@decides(GiveUpFiles, beats)
def give_up_files(wish: GiveUpFiles, beat: Beat, now: datetime) -> list[Event]:
    """What is here has come, and what has expired has expired once."""
    version = beat.version(wish.version_id)
    if version is None or version.file("audio") is not None or version.expired:
        return []
    if not wish.expired and version.download == "failed":
        return []
    return [
        FilesNotStored(
            beat_id=wish.beat_id, version_id=wish.version_id, reason=wish.reason, expired=wish.expired, failed_at=now
        )
    ]


class RequestWav(Command):
    """Want the primary as WAV; with the alternate, its sibling, too."""

    beat_id: str
    workspace_id: str
    wav_task_id: str
    include_alternate: bool = False


@decides(RequestWav, beats)
def request_wav(wish: RequestWav, beat: Beat, now: datetime) -> list[Event]:
    """What is a WAV, or is being made one, is not made one again; what failed may be tried again."""
    if beat.workspace_id != wish.workspace_id:
        raise BeatNotFound
    primary = beat.primary
    if primary is None or primary.status != "completed":
        raise NoAudioToConvert
    wanted = [primary, *(siblings(beat, primary) if wish.include_alternate else ())]
    missing = tuple(each.version_id for each in wanted if each.wav not in ("processing", "completed"))
    if not missing:
        return []
    # Who asks for the primary again is told its task, and so is who asks for the rest of it.
    task_id = primary.wav_task_id if primary.wav != "failed" and primary.wav_task_id else wish.wav_task_id
    return [
        WavRequested(
            beat_id=wish.beat_id,
            workspace_id=wish.workspace_id,
            wav_task_id=task_id,
            version_ids=missing,
            requested_at=now,
        )
    ]


class StoreWav(Command):
    """Write down that a version is there as the WAV that was asked for then."""

    beat_id: str
    wav_task_id: str
    version_id: str
    asked_at: datetime
    file: StoredFile


@decides(StoreWav, beats)
def store_wav(wish: StoreWav, beat: Beat, now: datetime) -> list[Event]:
    """It comes once."""
    if not beat.is_converting(wish.version_id, wish.asked_at):
        return []
    return [
        WavStored(
            beat_id=wish.beat_id,
            wav_task_id=wish.wav_task_id,
            version_id=wish.version_id,
            file=wish.file,
            stored_at=now,
        )
    ]


class FailWav(Command):
    """Write down why a version does not become the WAV that was asked for then."""

    beat_id: str
    wav_task_id: str
    version_id: str
    asked_at: datetime
    reason: str


@decides(FailWav, beats)
def fail_wav(wish: FailWav, beat: Beat, now: datetime) -> list[Event]:
    """It is said once, and of what was asked for anew since, nothing."""
    if not beat.is_converting(wish.version_id, wish.asked_at):
        return []
    return [
        WavFailed(
            beat_id=wish.beat_id,
            wav_task_id=wish.wav_task_id,
            version_id=wish.version_id,
            reason=wish.reason,
            failed_at=now,
        )
    ]


class RequestStems(Command):
    """Want the parts of the primary, each for itself."""

    beat_id: str
    workspace_id: str


@decides(RequestStems, beats)
def request_stems(wish: RequestStems, beat: Beat, now: datetime) -> list[Event]:
    """Only what was played from a score comes in parts; they are made once, and tried again when they failed."""
    if beat.workspace_id != wish.workspace_id:
        raise BeatNotFound
    primary = beat.primary
    if primary is None or primary.status != "completed":
        raise GenerationNotCompleted
    if primary.file("score") is None:
        raise NoStems
    if primary.stems in ("processing", "completed"):
        return []
    return [
        StemsRequested(
            beat_id=wish.beat_id,
            workspace_id=wish.workspace_id,
            version_id=primary.version_id,
            requested_at=now,
        )
    ]


class StoreStems(Command):
    """Write down that the parts of a version are there that were asked for then."""

    beat_id: str
    version_id: str
    asked_at: datetime
    stems: tuple[Stem, ...]


@decides(StoreStems, beats)
def store_stems(wish: StoreStems, beat: Beat, now: datetime) -> list[Event]:
    """They come once."""
    if not beat.is_taken_apart(wish.version_id, wish.asked_at):
        return []
    return [StemsStored(beat_id=wish.beat_id, version_id=wish.version_id, stems=wish.stems, stored_at=now)]


class FailStems(Command):
    """Write down why there are no parts that were asked for then."""

    beat_id: str
    version_id: str
    asked_at: datetime
    reason: str


@decides(FailStems, beats)
def fail_stems(wish: FailStems, beat: Beat, now: datetime) -> list[Event]:
    """It is said once, and of what was asked for anew since, nothing."""
    if not beat.is_taken_apart(wish.version_id, wish.asked_at):
        return []
    return [StemsFailed(beat_id=wish.beat_id, version_id=wish.version_id, reason=wish.reason, failed_at=now)]
