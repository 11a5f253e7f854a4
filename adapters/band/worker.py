"""The child process in which the band plays, and in which foreign recordings become WAV: one job, and it ends.

It is started by `adapters.band.studio` and speaks as the ears' child does: one job in, any number of `Reached` or
`Piece` out, then exactly one of `Finished`, `Refused` or `Stumbled`. What plays may write into its folder only; what
decodes foreign bytes may write no file, and read the recording only.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import BinaryIO

import msgspec

import adapters
from adapters.ears.worker import PREFIX, allow, confine
from adapters.launcher import can_shut_in, restrict
from commands.beats.ports import PlayedFile, PlayedTrack
from domain.beats.beats import Brief, Stage

#: Ten minutes of 32-bit stereo, and more.
FILE_BYTES_MAX = 512 * 1024 * 1024
#: What of the system a program may need that is loaded in pieces: libraries, and where these are.
SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/null", "/dev/urandom")


class Play(msgspec.Struct, frozen=True, tag=True):
    """Make a track of a brief, in a folder."""

    brief: Brief
    track: int
    folder: str
    cpu_seconds: int


class PlayStems(msgspec.Struct, frozen=True, tag=True):
    """Play a score part by part, into a folder."""

    score: str
    folder: str
    cpu_seconds: int


class Convert(msgspec.Struct, frozen=True, tag=True):
    """Write a recording as WAV, piece by piece, into the pipe."""

    path: str
    cpu_seconds: int


Job = Play | PlayStems | Convert


class Reached(msgspec.Struct, frozen=True, tag=True):
    """The next stage has begun."""

    stage: Stage


class Piece(msgspec.Struct, frozen=True, tag=True):
    """The next bytes."""

    data: bytes


class Finished(msgspec.Struct, frozen=True, tag=True):
    """All is there; the track, or the names of the stems."""

    track: PlayedTrack | None = None
    stems: tuple[str, ...] = ()


class Refused(msgspec.Struct, frozen=True, tag=True):
    """It cannot be made, and this is why, in words for whoever asked."""

    sentence: str


class Stumbled(msgspec.Struct, frozen=True, tag=True):
    """Our own code failed, which is for us to mend."""

    trace: str


Message = Reached | Piece | Finished | Refused | Stumbled

TOO_MUCH_MEMORY = "This needs more memory than one track may use."
_FILES = (
    PlayedFile(kind="audio", name="audio.mp3", ending=".mp3", content_type="audio/mpeg"),
    PlayedFile(kind="master", name="master.flac", ending=".flac", content_type="audio/flac"),
    PlayedFile(kind="preview", name="preview.mp3", ending="-preview.mp3", content_type="audio/mpeg"),
    PlayedFile(kind="cover", name="cover.png", ending=".png", content_type="image/png"),
    PlayedFile(kind="midi", name="score.mid", ending=".mid", content_type="audio/midi"),
    PlayedFile(kind="score", name="score.json", ending="-score.json", content_type="application/json"),
    PlayedFile(kind="peaks", name="peaks.json", ending="-waveform.json", content_type="application/json"),
)


def do(job: Job, answers: BinaryIO) -> Message:
    """The outcome of a job; what comes before it is said meanwhile."""
    match job:
        case Play():
            return _play(job, answers)
        case PlayStems():
            return _stems(job)
        case Convert():
            return _convert(job, answers)


def _play(job: Play, answers: BinaryIO) -> Message:
    from adapters.band import score
    from adapters.band.compose import UnplayableBrief
    from adapters.band.engine import Wanted, make
    from adapters.band.genres import UnknownGenre
    from adapters.band.theory import UnknownKey

    folder = Path(job.folder)
    brief = msgspec.convert({**msgspec.to_builtins(job.brief), "take": job.track}, score.Brief)
    wanted = Wanted(
        mp3=folder / "audio.mp3",
        flac=folder / "master.flac",
        preview=folder / "preview.mp3",
        cover=folder / "cover.png",
        midi=folder / "score.mid",
        score=folder / "score.json",
        peaks=folder / "peaks.json",
    )
    reached: list[str] = []

    def tell(stage: str, _share: float) -> None:
        if reached[-1:] != [stage]:
            reached.append(stage)
            say(answers, Reached(stage))  # type: ignore[arg-type]  # the engine's stages are these

    try:
        made = make(brief, wanted, tell=tell)
    except (UnplayableBrief, UnknownGenre, UnknownKey) as problem:
        return Refused(str(problem))
    track = PlayedTrack(
        title=made.title,
        model_name=f"ledgerline-band-{made.engine}",
        bpm=made.bpm,
        musical_key=made.key,
        duration_seconds=made.duration_seconds,
        files=_FILES,
    )
    return Finished(track=track)


def _stems(job: PlayStems) -> Message:
    from adapters.band import files
    from adapters.band.render import Stem, mixed
    from adapters.band.score import from_json

    folder = Path(job.folder)
    try:
        score = from_json(Path(job.score).read_bytes())
    except msgspec.MsgspecError:
        return Refused("The score of this version cannot be read.")
    names: list[str] = []

    def keep(stem: Stem) -> None:
        files.write_float_wav(folder / f"{stem.name}.wav", stem.sound)
        names.append(stem.name)

    files.write_float_wav(folder / "mix.wav", mixed(score, keep))
    return Finished(stems=(*names, "mix"))


def _convert(job: Convert, answers: BinaryIO) -> Message:
    from adapters.band.convert import NotConvertible, to_wav

    try:
        for piece in to_wav(Path(job.path)):
            say(answers, Piece(piece))
    except NotConvertible as problem:
        return Refused(str(problem))
    return Finished()


def say(answers: BinaryIO, message: Message) -> None:
    """Write one message with its length before it."""
    body = msgspec.msgpack.encode(message)
    answers.write(PREFIX.pack(len(body)) + body)
    answers.flush()


def shut_in(job: Job) -> None:
    """Leave of all files only the program and those that a job is about, where the kernel can do that."""
    if not can_shut_in():
        return
    ours = Path(adapters.__file__).parent.parent
    program = [*SYSTEM, sys.prefix, sys.base_prefix, *(str(ours / each) for each in ("adapters", "commands", "domain"))]
    match job:
        case Convert(path=path):
            restrict([*program, path], [])
        case Play(folder=folder) | PlayStems(folder=folder):
            # Where whoever draws the cover keeps what it has found out about fonts.
            os.environ["MPLCONFIGDIR"] = os.environ["TMPDIR"] = folder
            restrict([*program, job.score] if isinstance(job, PlayStems) else program, [folder])


def serve(jobs: BinaryIO, answers: BinaryIO, memory_bytes: int) -> None:
    """Do the one job."""
    size = PREFIX.unpack(jobs.read(PREFIX.size))[0]
    job = msgspec.msgpack.decode(jobs.read(size), type=Job)
    confine(memory_bytes, 0 if isinstance(job, Convert) else FILE_BYTES_MAX)
    shut_in(job)
    allow(job.cpu_seconds)
    try:
        outcome = do(job, answers)
    except MemoryError:
        outcome = Refused(TOO_MUCH_MEMORY)
    except Exception:  # noqa: BLE001 - whatever went wrong, the parent must hear of it
        outcome = Stumbled(traceback.format_exc())
    say(answers, outcome)


def main() -> None:
    """Set up the pipes, then do the job."""
    # Codecs like to print; whatever they say must not end up between our messages.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(sys.stdin.buffer, answers, int(sys.argv[1]))


if __name__ == "__main__":
    main()
