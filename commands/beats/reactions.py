"""What follows when a beat is to be made, and when there is something to hear, to convert or to take apart."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar

import structlog
from msgspec import json

from commands.analyses.reactions import ANALYSES
from commands.beats.beats import (
    AdvanceGeneration,
    CompleteGeneration,
    CompleteTrack,
    FailGeneration,
    StartGeneration,
)
from commands.beats.files import (
    FailStems,
    FailWav,
    GiveUpFiles,
    NoteHeard,
    NoteNotHeard,
    RequestDownload,
    StoreFiles,
    StoreStems,
    StoreWav,
)
from commands.beats.ports import Declined, NotTaken, Outcome, PlayedTrack, Ports, Task, Unplayable
from commands.beats.settings import Generation
from commands.beats.tasks import AcceptTask, BeginSubmission, NoteAsked, NoteRefusal
from commands.kernel import Queue, derived_id, reacts_to
from commands.ports import pieces
from commands.sweeping import delete_below, once_more
from domain.analyses.findings import Detail, Unreadable
from domain.beats import keys
from domain.beats.beats import (
    Beat,
    BeatCreated,
    DownloadRequested,
    GenerationRequested,
    Remote,
    Stage,
    Stem,
    StemsRequested,
    StoredFile,
    TaskAccepted,
    TaskAsked,
    TaskHeard,
    Version,
    VersionCompleted,
    VersionUploaded,
    WavRequested,
    beats,
)
from domain.beats.beats import Generation as GenerationState
from domain.identity.workspaces import WorkspaceForgotten, is_forgotten, workspaces
from domain.kernel import Invalid, NotFound
from domain.ledger import Recorded
from domain.sections import Sections

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: How often whoever makes a beat asks whether anybody still wants it.
WANTED_SECONDS = 1.0
#: Ten minutes of the widest stem, and more.
FILE_BYTES_MAX = 512 * 1024 * 1024
WAV_BYTES_MAX = 2 * 1024**3
#: Points of the outline of a wave.
PEAKS = 1000


def _seconds_max(settings: Sections) -> float:
    """Two tracks, each with a start and an upload; each of them ends by itself, so this is for what hangs."""
    return 2 * settings[Generation].generation_wall_seconds_max + 300


def _places(settings: Sections) -> int:
    return settings[Generation].generation_processes


GENERATIONS = Queue("generations", concurrency=_places, timeout=_seconds_max, attempts=4, apart=True)


async def _state(beat_id: str, ports: Ports) -> Beat:
    return await ports.log.state(beats, beat_id)


async def _fail(recorded: Recorded, ports: Ports, problem: str) -> None:
    event = recorded.event
    assert isinstance(event, GenerationRequested)
    wish = FailGeneration(beat_id=event.beat_id, generation_id=event.generation_id, reason=problem)
    if await ports.execute(wish, recorded.context()):
        log.info(
            "generation.failed",
            beat_id=event.beat_id,
            generation_id=event.generation_id,
            workspace_id=recorded.workspace_id,
            problem=problem,
        )


def _is_ours(event: GenerationRequested) -> bool:
    return event.provider == "band"


@reacts_to(GenerationRequested, name="make-beat", only=_is_ours, queue=GENERATIONS, gives_up=_fail)
async def make_beat(recorded: Recorded, ports: Ports) -> None:
    """Both tracks, one after the other; what is there already from an attempt before is not made again."""
    event = recorded.event
    assert isinstance(event, GenerationRequested)
    began = ports.now()
    await ports.execute(StartGeneration(beat_id=event.beat_id, generation_id=event.generation_id), recorded.context())
    for track in (1, 2):
        beat = await _state(event.beat_id, ports)
        if beat.under_way(event.generation_id) is None or await _is_forgotten(recorded.workspace_id, ports):
            return
        there = beat.track(event.generation_id, track)
        if there is None or there.status != "completed":
            try:
                await _make_track(recorded, event, track, ports)
            except Unplayable as problem:
                await _fail(recorded, ports, str(problem))
                return
    done = CompleteGeneration(beat_id=event.beat_id, generation_id=event.generation_id)
    if await ports.execute(done, recorded.context()):
        log.info(
            "generation.completed",
            beat_id=event.beat_id,
            generation_id=event.generation_id,
            workspace_id=recorded.workspace_id,
            seconds=round((ports.now() - began).total_seconds(), 3),
        )


async def _make_track(recorded: Recorded, event: GenerationRequested, track: int, ports: Ports) -> None:
    version_id = event.version_id if track == 1 else derived_id(event.generation_id, "second track")

    async def tell(stage: Stage) -> None:
        wish = AdvanceGeneration(beat_id=event.beat_id, generation_id=event.generation_id, track=track, stage=stage)
        await ports.execute(wish, recorded.context())

    with tempfile.TemporaryDirectory(prefix="ledgerline-") as directory:
        folder = Path(directory)
        played = await _while_wanted(event, ports.band.play(event.brief, track, folder, tell), ports)
        if played is None:
            return
        files = await _store(event, version_id, played, folder, ports)
    wish = CompleteTrack(
        beat_id=event.beat_id,
        generation_id=event.generation_id,
        track=track,
        version_id=version_id,
        model_name=played.model_name,
        bpm=played.bpm,
        musical_key=played.musical_key,
        duration_seconds=played.duration_seconds,
        files=files,
    )
    await ports.execute(wish, recorded.context())
    there = (await _state(event.beat_id, ports)).version(version_id)
    if there is None or there.status != "completed" or await _is_forgotten(recorded.workspace_id, ports):
        # Cancelled, or forgotten with its workspace, at the last moment: nobody will ever ask for these.
        await delete_below(ports.blobs, keys.of_version(event.workspace_id, event.beat_id, version_id))


async def _while_wanted(
    event: GenerationRequested, work: Coroutine[Any, Any, PlayedTrack], ports: Ports
) -> PlayedTrack | None:
    """What comes of it; None as soon as the generation is over for another reason, so that nobody toils for nothing."""
    playing = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({playing}, timeout=WANTED_SECONDS))[0]:
            if (await _state(event.beat_id, ports)).under_way(event.generation_id) is None:
                return None
        return playing.result()
    finally:
        if not playing.done():
            playing.cancel()
            await asyncio.wait({playing})


async def _store(
    event: GenerationRequested, version_id: str, played: PlayedTrack, folder: Path, ports: Ports
) -> tuple[StoredFile, ...]:
    files = []
    for each in played.files:
        key = keys.file(event.workspace_id, event.beat_id, version_id, played.title, each.ending)
        stored = await ports.blobs.put_stream(
            key, pieces(folder / each.name), content_type=each.content_type, size_max=FILE_BYTES_MAX
        )
        files.append(StoredFile(kind=each.kind, object_key=key, content_type=each.content_type, size=stored.size))
    return tuple(files)


async def _is_forgotten(workspace_id: str, ports: Ports) -> bool:
    return is_forgotten((await ports.log.read(workspaces.stream(workspace_id))).events)


@reacts_to(WorkspaceForgotten, name="forget-beats")
async def forget_beats(recorded: Recorded, ports: Ports) -> None:
    """Delete every file of a forgotten workspace's beats. What is stored later looks for itself whether it may stay."""
    event = recorded.event
    assert isinstance(event, WorkspaceForgotten)
    await delete_below(ports.blobs, keys.of_workspace(event.workspace_id))


forget_late_beats = once_more(forget_beats, "forget-late-beats")


# --- a provider elsewhere ---------------------------------------------------------------------------------------------

PROVIDERS = Queue("providers", concurrency=16, timeout=300.0, attempts=12)
#: Before they are thrown away, files that a provider keeps are fetched.
FETCHED_BEFORE = timedelta(days=2)
IN_DOUBT = (
    "It is not known whether the music provider took this: it did not answer, and has not told us since. Credits may "
    "have been used. Have the beat made again if it does not come."
)
TOO_LATE = "The music provider did not finish in time."
EXPIRED = "The music provider no longer keeps this file, and it had not been fetched."
_AUDIO_TYPES = {
    "audio/mpeg": ".mp3",
    "audio/mp3": ".mp3",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/flac": ".flac",
    "audio/ogg": ".ogg",
    "audio/aac": ".aac",
    "audio/mp4": ".m4a",
}
_IMAGE_TYPES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
IMAGE_BYTES_MAX = 20 * 1024 * 1024


class _InDoubt(NotTaken):
    """Nobody knows yet."""

    def __init__(self) -> None:
        super().__init__(IN_DOUBT)


def _is_provider_s(event: GenerationRequested) -> bool:
    return event.provider == "sunoapi"


@reacts_to(GenerationRequested, name="submit-generation", only=_is_provider_s, queue=PROVIDERS, gives_up=_fail)
async def submit_generation(recorded: Recorded, ports: Ports) -> None:
    """Hand it in once. Where nobody knows whether it was taken it is not handed in again: that may cost twice."""
    event = recorded.event
    assert isinstance(event, GenerationRequested)
    history = (await ports.log.read(beats.stream(event.beat_id))).events
    generation = beats.fold(history).under_way(event.generation_id)
    if generation is None or generation.task_id is not None:
        return
    if generation.in_doubt:
        raise _InDoubt
    about = {"beat_id": event.beat_id, "generation_id": event.generation_id}
    created = next(each for each in history if isinstance(each, BeatCreated))
    task = Task(
        **about,
        title=created.name,
        style=", ".join(filter(None, (event.brief.genre, event.brief.style, event.brief.mood, *created.tags))),
        prompt=created.base_prompt,
    )
    if not await ports.execute(BeginSubmission(**about), recorded.context()):
        return
    try:
        task_id = await ports.provider.submit(task)
    except Declined as problem:
        await _fail(recorded, ports, str(problem))
        return
    except NotTaken as problem:
        await ports.execute(NoteRefusal(**about, reason=str(problem)), recorded.context())
        raise
    await ports.execute(AcceptTask(**about, task_id=task_id), recorded.context())
    log.info("task.accepted", **about, task_id=task_id, workspace_id=recorded.workspace_id)


def _when_to_ask(event: TaskAccepted | TaskAsked) -> datetime | None:
    # The first time is in the settings, which an event does not know: so it is asked for at once, and waits there.
    return event.next_at if isinstance(event, TaskAsked) else None


async def _task_fails(recorded: Recorded, ports: Ports, problem: str) -> None:
    event = recorded.event
    assert isinstance(event, TaskAccepted | TaskAsked | TaskHeard)
    wish = FailGeneration(beat_id=event.beat_id, generation_id=event.generation_id, reason=problem)
    await ports.execute(wish, recorded.context())


@reacts_to(TaskAccepted, TaskAsked, name="follow-task", due=_when_to_ask, queue=PROVIDERS, gives_up=_task_fails)
async def follow_task(recorded: Recorded, ports: Ports) -> None:
    """Ask how it stands, less and less often: callbacks may never come."""
    event = recorded.event
    assert isinstance(event, TaskAccepted | TaskAsked)
    generation = (await _state(event.beat_id, ports)).under_way(event.generation_id)
    if generation is None:
        return
    # What has just been taken is not ready; whoever asks at once only annoys.
    if isinstance(event, TaskAsked) and await _is_settled(recorded, event.beat_id, generation, ports):
        return
    began, settings = generation.accepted_at, ports.provider_settings
    if began is not None and (ports.now() - began).total_seconds() > settings.suno_task_seconds_max:
        await _task_fails(recorded, ports, TOO_LATE)
        return
    asks = event.asks + 1 if isinstance(event, TaskAsked) else 1
    wait = timedelta(seconds=min(settings.suno_poll_seconds * 1.3 ** (asks - 1), 300.0))
    await ports.execute(
        NoteAsked(beat_id=event.beat_id, generation_id=event.generation_id, asks=asks, wait=wait), recorded.context()
    )


@reacts_to(TaskHeard, name="confirm-task", queue=PROVIDERS, gives_up=_task_fails)
async def confirm_task(recorded: Recorded, ports: Ports) -> None:
    """What we were told is looked up where it can be believed. If it is not so, whoever follows the task asks again."""
    event = recorded.event
    assert isinstance(event, TaskHeard)
    generation = (await _state(event.beat_id, ports)).under_way(event.generation_id)
    if generation is not None:
        await _is_settled(recorded, event.beat_id, generation, ports)


async def _is_settled(recorded: Recorded, beat_id: str, generation: GenerationState, ports: Ports) -> bool:
    """Ask the provider, and write down what has come of it; False while nothing has."""
    if generation.task_id is None:
        return False
    generation_id = generation.generation_id
    try:
        outcome = await ports.provider.look(generation.task_id)
    except Declined as problem:
        outcome = Outcome(status="failed", problem=str(problem))
    if outcome.status == "working":
        return False
    if outcome.status == "failed" or not outcome.tracks:
        reason = outcome.problem or "The music provider made nothing of it."
        failed = FailGeneration(beat_id=beat_id, generation_id=generation_id, reason=reason)
        await ports.execute(failed, recorded.context())
        return True
    expires_at = ports.now() + timedelta(days=ports.provider_settings.suno_files_days)
    for track, each in enumerate(outcome.tracks[:2], 1):
        first = track == 1
        wish = CompleteTrack(
            beat_id=beat_id,
            generation_id=generation_id,
            track=track,
            version_id=generation.version_id if first else derived_id(generation_id, "second track"),
            model_name=each.model_name,
            bpm=None,
            musical_key=None,
            duration_seconds=each.duration_seconds,
            remote=Remote(
                audio_id=each.audio_id,
                audio_url=each.audio_url,
                image_url=each.image_url,
                stream_url=each.stream_url,
                expires_at=expires_at,
            ),
        )
        await ports.execute(wish, recorded.context())
    await ports.execute(CompleteGeneration(beat_id=beat_id, generation_id=generation_id), recorded.context())
    return True


def _shortly_before(event: VersionCompleted) -> datetime | None:
    return event.remote.expires_at - FETCHED_BEFORE if event.remote is not None else None


def _at_the_end(event: VersionCompleted) -> datetime | None:
    return event.remote.expires_at if event.remote is not None else None


def _is_remote(event: VersionCompleted) -> bool:
    return event.remote is not None


@reacts_to(VersionCompleted, name="keep-files", due=_shortly_before, only=_is_remote, queue=PROVIDERS)
async def keep_files(recorded: Recorded, ports: Ports) -> None:
    """What nobody has fetched by then is fetched before it is thrown away."""
    event = recorded.event
    assert isinstance(event, VersionCompleted)
    version = (await _state(event.beat_id, ports)).version(event.version_id)
    if version is None or version.file("audio") is not None or await _is_forgotten(recorded.workspace_id, ports):
        return
    wish = RequestDownload(
        beat_id=event.beat_id, workspace_id=recorded.workspace_id, version_number=event.version_number
    )
    await ports.execute(wish, recorded.context())


@reacts_to(VersionCompleted, name="expire-files", due=_at_the_end, only=_is_remote, queue=PROVIDERS)
async def expire_files(recorded: Recorded, ports: Ports) -> None:
    """What was not fetched is gone, which is said."""
    event = recorded.event
    assert isinstance(event, VersionCompleted)
    wish = GiveUpFiles(beat_id=event.beat_id, version_id=event.version_id, reason=EXPIRED, expired=True)
    await ports.execute(wish, recorded.context())


async def _not_fetched(recorded: Recorded, ports: Ports, problem: str) -> None:
    event = recorded.event
    assert isinstance(event, DownloadRequested)
    for version_id in event.version_ids:
        await ports.execute(
            GiveUpFiles(beat_id=event.beat_id, version_id=version_id, reason=problem), recorded.context()
        )


@reacts_to(DownloadRequested, name="fetch-files", queue=PROVIDERS, gives_up=_not_fetched)
async def fetch_files(recorded: Recorded, ports: Ports) -> None:
    """Audio and cover of each version are fetched into our own store; without a cover it is complete, too."""
    event = recorded.event
    assert isinstance(event, DownloadRequested)
    for version_id in event.version_ids:
        version = (await _state(event.beat_id, ports)).version(version_id)
        if version is None or version.remote is None or version.file("audio") is not None:
            continue
        if await _is_forgotten(recorded.workspace_id, ports):
            return
        try:
            files = await _fetched(event, version, version.remote, ports)
        except Exception as problem:
            # What another attempt cannot change is the answer; the rest is tried again.
            if getattr(problem, "transient", True):
                raise
            wish = GiveUpFiles(
                beat_id=event.beat_id,
                version_id=version_id,
                reason=str(problem),
                expired=ports.now() >= version.remote.expires_at,
            )
            await ports.execute(wish, recorded.context())
            continue
        done = StoreFiles(beat_id=event.beat_id, version_id=version_id, files=files)
        await ports.execute(done, recorded.context())
        if await _is_forgotten(recorded.workspace_id, ports):
            await delete_below(ports.blobs, keys.of_version(event.workspace_id, event.beat_id, version_id))


async def _fetched(event: DownloadRequested, version: Version, remote: Remote, ports: Ports) -> tuple[StoredFile, ...]:
    limit = ports.files.upload_bytes_max
    found = [await _copied(event, version, "audio", remote.audio_url, limit, ports)]
    if remote.image_url is not None:
        try:
            found.append(await _copied(event, version, "cover", remote.image_url, IMAGE_BYTES_MAX, ports))
        except Exception as problem:
            if not hasattr(problem, "transient"):
                raise
            log.info("cover.not_fetched", beat_id=event.beat_id, version_id=version.version_id, problem=str(problem))
    return tuple(found)


async def _copied(
    event: DownloadRequested, version: Version, kind: Literal["audio", "cover"], url: str, size_max: int, ports: Ports
) -> StoredFile:
    with tempfile.TemporaryDirectory(prefix="ledgerline-") as directory:
        path = Path(directory) / "file"
        fetched = await ports.web.fetch(url, path, size_max=size_max, seconds_max=ports.files.fetch_seconds_max)
        # Nothing is stored as what it says it is, but as what we take it for: a page would otherwise be shown as one.
        known, usual = (_AUDIO_TYPES, "audio/mpeg") if kind == "audio" else (_IMAGE_TYPES, "image/png")
        said = fetched.content_type.partition(";")[0].strip().lower()
        content_type = said if said in known else usual
        key = keys.file(
            event.workspace_id, event.beat_id, version.version_id, f"beat-{version.number}", known[content_type]
        )
        stored = await ports.blobs.put_stream(key, pieces(path), content_type=content_type, size_max=size_max)
    return StoredFile(kind=kind, object_key=key, content_type=content_type, size=stored.size)


# --- hearing ----------------------------------------------------------------------------------------------------------


def _with_audio(event: VersionCompleted | VersionUploaded) -> bool:
    return isinstance(event, VersionUploaded) or bool(event.files or event.remote)


async def _not_heard(recorded: Recorded, ports: Ports, problem: str) -> None:
    event = recorded.event
    assert isinstance(event, VersionCompleted | VersionUploaded)
    await ports.execute(
        NoteNotHeard(beat_id=event.beat_id, version_id=event.version_id, reason=problem), recorded.context()
    )


@reacts_to(
    VersionCompleted, VersionUploaded, name="hear-version", only=_with_audio, queue=ANALYSES, gives_up=_not_heard
)
async def hear_version(recorded: Recorded, ports: Ports) -> None:
    """Every version is listened to, whoever made it: tempo, key, loudness, length and the outline of its wave."""
    event = recorded.event
    assert isinstance(event, VersionCompleted | VersionUploaded)
    version = (await _state(event.beat_id, ports)).version(event.version_id)
    if version is None or version.heard or await _is_forgotten(recorded.workspace_id, ports):
        return
    about = (event.beat_id, event.version_id)
    try:
        async with _recording(version, ports) as path:
            heard = await ports.ears.listen(path)
    except (Unreadable, NotFound) as problem:
        wish = NoteNotHeard(beat_id=about[0], version_id=about[1], reason=str(problem), unreadable=True)
        await ports.execute(wish, recorded.context())
        return
    peaks = None
    if version.file("peaks") is None:
        key = keys.file(recorded.workspace_id, *about, "waveform", ".json")
        data = json.encode(_outline(heard.detail))
        await ports.blobs.put_bytes(key, data, content_type="application/json")
        peaks = StoredFile(kind="peaks", object_key=key, content_type="application/json", size=len(data))
    found = heard.findings
    wish_heard = NoteHeard(
        beat_id=event.beat_id,
        version_id=event.version_id,
        bpm=found.bpm,
        musical_key=f"{found.key} {found.scale.capitalize()}" if found.key and found.scale else None,
        duration_seconds=found.duration_seconds,
        loudness_lufs=found.loudness_lufs,
        peaks=peaks,
    )
    await ports.execute(wish_heard, recorded.context())


def _outline(detail: Detail) -> list[float]:
    """The height of the wave in at most so many stretches, 0 to 1."""
    heights = [max(high, -low) for low, high in zip(detail.waveform.lows, detail.waveform.highs, strict=True)]
    count = min(PEAKS, len(heights))
    edges = [round(place * len(heights) / count) for place in range(count + 1)] if count else []
    return [round(min(1.0, max(heights[begin:end])), 3) for begin, end in pairwise(edges) if end > begin]


@asynccontextmanager
async def _recording(version: Version, ports: Ports) -> AsyncIterator[Path]:
    """The best there is of a version, as a local file; NotFound where there is nothing."""
    stored = version.file("master") or version.file("audio")
    if stored is not None:
        async with ports.blobs.fetch(stored.object_key, size_max=FILE_BYTES_MAX) as path:
            yield path
        return
    if version.remote is None:
        raise NotFound
    with tempfile.TemporaryDirectory(prefix="ledgerline-") as directory:
        path = Path(directory) / "audio"
        await ports.web.fetch(
            version.remote.audio_url,
            path,
            size_max=ports.files.upload_bytes_max,
            seconds_max=ports.files.fetch_seconds_max,
        )
        yield path


# --- WAV and stems ----------------------------------------------------------------------------------------------------


async def _no_wav(recorded: Recorded, ports: Ports, problem: str) -> None:
    event = recorded.event
    assert isinstance(event, WavRequested)
    for version_id in event.version_ids:
        await ports.execute(_wav_fails(event, version_id, problem), recorded.context())


def _wav_fails(event: WavRequested, version_id: str, problem: str) -> FailWav:
    return FailWav(
        beat_id=event.beat_id,
        wav_task_id=event.wav_task_id,
        version_id=version_id,
        asked_at=event.requested_at,
        reason=problem,
    )


@reacts_to(WavRequested, name="convert-to-wav", queue=GENERATIONS, gives_up=_no_wav)
async def convert_to_wav(recorded: Recorded, ports: Ports) -> None:
    """Each version that is wanted becomes a WAV: what our own band has played from its master, without a loss."""
    event = recorded.event
    assert isinstance(event, WavRequested)
    for version_id in event.version_ids:
        beat = await _state(event.beat_id, ports)
        version = beat.version(version_id)
        wanted = beat.is_converting(version_id, event.requested_at)
        if version is None or not wanted or await _is_forgotten(recorded.workspace_id, ports):
            continue
        key = keys.file(event.workspace_id, event.beat_id, version_id, _title_of(version), ".wav")
        try:
            async with _for_wav(beat, version, ports) as path:
                stored = await ports.blobs.put_stream(
                    key, ports.band.to_wav(path), content_type="audio/wav", size_max=WAV_BYTES_MAX
                )
        except (Unplayable, NotFound, Invalid) as problem:
            await ports.execute(_wav_fails(event, version_id, str(problem)), recorded.context())
            continue
        file = StoredFile(kind="wav", object_key=key, content_type="audio/wav", size=stored.size)
        done = StoreWav(
            beat_id=event.beat_id,
            wav_task_id=event.wav_task_id,
            version_id=version_id,
            asked_at=event.requested_at,
            file=file,
        )
        await ports.execute(done, recorded.context())
        if await _is_forgotten(recorded.workspace_id, ports):
            await ports.blobs.delete(key)


@asynccontextmanager
async def _for_wav(beat: Beat, version: Version, ports: Ports) -> AsyncIterator[Path]:
    """What a WAV is made of: the provider's own, where it makes one, or else the best that there is."""
    generation = beat.generation(version.generation_id)
    task_id = generation.task_id if generation is not None else None
    if version.remote is not None and task_id is not None and ports.provider_settings.is_on:
        with tempfile.TemporaryDirectory(prefix="ledgerline-") as directory:
            path = Path(directory) / "audio.wav"
            try:
                url = await ports.provider.wav(task_id, version.remote.audio_id)
                await ports.web.fetch(url, path, size_max=WAV_BYTES_MAX, seconds_max=4 * ports.files.fetch_seconds_max)
            except Exception as problem:
                # Whatever it cannot or will not do, we can, from what it has given us.
                if not hasattr(problem, "transient") and not isinstance(problem, Declined):
                    raise
                log.info("wav.made_here", version_id=version.version_id, problem=str(problem))
            else:
                yield path
                return
    async with _recording(version, ports) as path:
        yield path


def _title_of(version: Version) -> str:
    """What the files of a version are called."""
    stored = version.file("audio")
    return stored.object_key.rpartition("/")[2].partition(".")[0] if stored is not None else "beat"


async def _no_stems(recorded: Recorded, ports: Ports, problem: str) -> None:
    event = recorded.event
    assert isinstance(event, StemsRequested)
    wish = FailStems(beat_id=event.beat_id, version_id=event.version_id, asked_at=event.requested_at, reason=problem)
    await ports.execute(wish, recorded.context())


@reacts_to(StemsRequested, name="render-stems", queue=GENERATIONS, gives_up=_no_stems)
async def render_stems(recorded: Recorded, ports: Ports) -> None:
    """The score is played again, each part for itself, and the sum of them all beside."""
    event = recorded.event
    assert isinstance(event, StemsRequested)
    beat = await _state(event.beat_id, ports)
    version = beat.version(event.version_id)
    score = None if version is None else version.file("score")
    if version is None or score is None or not beat.is_taken_apart(event.version_id, event.requested_at):
        return
    if await _is_forgotten(recorded.workspace_id, ports):
        return
    stems = []
    with tempfile.TemporaryDirectory(prefix="ledgerline-") as directory:
        folder = Path(directory)
        try:
            async with ports.blobs.fetch(score.object_key, size_max=FILE_BYTES_MAX) as path:
                names = await ports.band.stems(path, folder)
        except (Unplayable, NotFound) as problem:
            await _no_stems(recorded, ports, str(problem))
            return
        for name in names:
            title = f"{_title_of(version)}-{name}"
            key = keys.file(event.workspace_id, event.beat_id, event.version_id, title, ".wav")
            stored = await ports.blobs.put_stream(
                key, pieces(folder / f"{name}.wav"), content_type="audio/wav", size_max=FILE_BYTES_MAX
            )
            stems.append(Stem(name=name, object_key=key, content_type="audio/wav", size=stored.size))
    done = StoreStems(
        beat_id=event.beat_id, version_id=event.version_id, asked_at=event.requested_at, stems=tuple(stems)
    )
    await ports.execute(done, recorded.context())
    if await _is_forgotten(recorded.workspace_id, ports):
        await delete_below(ports.blobs, keys.of_version(event.workspace_id, event.beat_id, event.version_id))
