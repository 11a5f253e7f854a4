"""What follows when a beat is to be made, and when there is something to hear, to convert or to take apart."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

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
from commands.beats.files import FailStems, FailWav, NoteHeard, NoteNotHeard, StoreStems, StoreWav
from commands.beats.ports import PlayedTrack, Ports, Unplayable
from commands.beats.settings import Generation
from commands.kernel import Queue, derived_id, reacts_to
from domain.analyses.findings import Detail, Unreadable
from domain.beats import keys
from domain.beats.beats import (
    Beat,
    GenerationRequested,
    Stage,
    Stem,
    StemsRequested,
    StoredFile,
    Version,
    VersionCompleted,
    VersionUploaded,
    WavRequested,
    beats,
)
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
READ_BYTES = 1024 * 1024
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
        if not _is_wanted(beat, event.generation_id):
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


def _is_wanted(beat: Beat, generation_id: str) -> bool:
    generation = beat.generation(generation_id)
    return generation is not None and not generation.is_over


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
        await _delete_below(keys.of_version(event.workspace_id, event.beat_id, version_id), ports)


async def _while_wanted(
    event: GenerationRequested, work: Coroutine[Any, Any, PlayedTrack], ports: Ports
) -> PlayedTrack | None:
    """What comes of it; None as soon as the generation is over for another reason, so that nobody toils for nothing."""
    playing = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({playing}, timeout=WANTED_SECONDS))[0]:
            if not _is_wanted(await _state(event.beat_id, ports), event.generation_id):
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
            key, _chunks(folder / each.name), content_type=each.content_type, size_max=FILE_BYTES_MAX
        )
        files.append(StoredFile(kind=each.kind, object_key=key, content_type=each.content_type, size=stored.size))
    return tuple(files)


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    offset = 0
    while chunk := await asyncio.to_thread(_piece, path, offset):
        offset += len(chunk)
        yield chunk


def _piece(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(READ_BYTES)


async def _is_forgotten(workspace_id: str, ports: Ports) -> bool:
    return is_forgotten((await ports.log.read(workspaces.stream(workspace_id))).events)


async def _delete_below(prefix: str, ports: Ports) -> None:
    async for stored in ports.blobs.list(prefix):
        await ports.blobs.delete(stored.key)


@reacts_to(WorkspaceForgotten, name="forget-beats")
async def forget_beats(recorded: Recorded, ports: Ports) -> None:
    """Delete every file of a forgotten workspace's beats. What is stored later looks for itself whether it may stay."""
    event = recorded.event
    assert isinstance(event, WorkspaceForgotten)
    await _delete_below(keys.of_workspace(event.workspace_id), ports)


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
            size_max=ports.limits.upload_bytes_max,
            seconds_max=ports.limits.fetch_seconds_max,
        )
        yield path


# --- WAV and stems ----------------------------------------------------------------------------------------------------


async def _no_wav(recorded: Recorded, ports: Ports, problem: str) -> None:
    event = recorded.event
    assert isinstance(event, WavRequested)
    for version_id in event.version_ids:
        wish = FailWav(beat_id=event.beat_id, wav_task_id=event.wav_task_id, version_id=version_id, reason=problem)
        await ports.execute(wish, recorded.context())


@reacts_to(WavRequested, name="convert-to-wav", queue=GENERATIONS, gives_up=_no_wav)
async def convert_to_wav(recorded: Recorded, ports: Ports) -> None:
    """Each version that is wanted becomes a WAV: what our own band has played from its master, without a loss."""
    event = recorded.event
    assert isinstance(event, WavRequested)
    for version_id in event.version_ids:
        version = (await _state(event.beat_id, ports)).version(version_id)
        if version is None or version.wav != "processing" or await _is_forgotten(recorded.workspace_id, ports):
            continue
        key = keys.file(event.workspace_id, event.beat_id, version_id, _title_of(version), ".wav")
        try:
            async with _recording(version, ports) as path:
                stored = await ports.blobs.put_stream(
                    key, ports.band.to_wav(path), content_type="audio/wav", size_max=WAV_BYTES_MAX
                )
        except (Unplayable, NotFound, Invalid) as problem:
            wish = FailWav(
                beat_id=event.beat_id, wav_task_id=event.wav_task_id, version_id=version_id, reason=str(problem)
            )
            await ports.execute(wish, recorded.context())
            continue
        file = StoredFile(kind="wav", object_key=key, content_type="audio/wav", size=stored.size)
        done = StoreWav(beat_id=event.beat_id, wav_task_id=event.wav_task_id, version_id=version_id, file=file)
        await ports.execute(done, recorded.context())
        if await _is_forgotten(recorded.workspace_id, ports):
            await ports.blobs.delete(key)


def _title_of(version: Version) -> str:
    """What the files of a version are called."""
    stored = version.file("audio")
    return stored.object_key.rpartition("/")[2].partition(".")[0] if stored is not None else "beat"


async def _no_stems(recorded: Recorded, ports: Ports, problem: str) -> None:
    event = recorded.event
    assert isinstance(event, StemsRequested)
    wish = FailStems(beat_id=event.beat_id, version_id=event.version_id, reason=problem)
    await ports.execute(wish, recorded.context())


@reacts_to(StemsRequested, name="render-stems", queue=GENERATIONS, gives_up=_no_stems)
async def render_stems(recorded: Recorded, ports: Ports) -> None:
    """The score is played again, each part for itself, and the sum of them all beside."""
    event = recorded.event
    assert isinstance(event, StemsRequested)
    version = (await _state(event.beat_id, ports)).version(event.version_id)
    score = None if version is None else version.file("score")
    if version is None or score is None or version.stems != "processing":
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
                key, _chunks(folder / f"{name}.wav"), content_type="audio/wav", size_max=FILE_BYTES_MAX
            )
            stems.append(Stem(name=name, object_key=key, content_type="audio/wav", size=stored.size))
    done = StoreStems(beat_id=event.beat_id, version_id=event.version_id, stems=tuple(stems))
    await ports.execute(done, recorded.context())
    if await _is_forgotten(recorded.workspace_id, ports):
        await _delete_below(keys.of_version(event.workspace_id, event.beat_id, event.version_id), ports)
