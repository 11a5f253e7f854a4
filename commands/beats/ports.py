"""What beats need of the outside to do what follows from events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from commands.analyses.ports import Ears
from commands.beats.settings import Generation, Provider
from commands.kernel import Execute, Log, Now
from commands.ports import Blobs, Web
from commands.settings import Files
from domain.beats.beats import Brief, FileKind, Stage
from domain.kernel import Value


class Unplayable(Exception):
    """A track that cannot be made, whoever tries again; the text is for whoever asked."""


class PlayedFile(Value):
    """A file that the band has left in its folder."""

    kind: FileKind
    name: str
    #: What its name is to end in where it is stored.
    ending: str
    content_type: str


class PlayedTrack(Value):
    """What the band has played."""

    title: str
    model_name: str
    bpm: int
    musical_key: str
    duration_seconds: float
    files: tuple[PlayedFile, ...]


#: Hears of each stage when it begins.
Tell = Callable[[Stage], Awaitable[None]]


class Band(Protocol):
    """What makes music, and works on files of it; all of it apart from this process, and within limits."""

    async def play(self, brief: Brief, track: int, folder: Path, tell: Tell) -> PlayedTrack:
        """Make the first or second track of a brief in a folder; raises Unplayable."""

    async def stems(self, score: Path, folder: Path) -> Sequence[str]:
        """Play a score again, part by part, into WAV files whose names are returned; raises Unplayable."""

    def to_wav(self, path: Path) -> AsyncIterator[bytes]:
        """A recording as WAV, 44.1 kHz and 16 bits, piece by piece; raises Unplayable."""


class Declined(Exception):
    """The provider will not do it, whoever asks again; the text is for whoever asked."""


class NotTaken(Exception):
    """The provider has not taken it for now; later it may. The text is for whoever asked."""

    transient = True


class Task(Value):
    """What a provider is asked for; `beat_id` and `generation_id` are how it tells us of it."""

    beat_id: str
    generation_id: str
    title: str
    style: str
    prompt: str


class RemoteTrack(Value):
    """A track as the provider describes it."""

    audio_id: str
    audio_url: str
    image_url: str | None
    stream_url: str | None
    model_name: str
    duration_seconds: float | None


class Outcome(Value):
    """How a task stands; `problem` says why there is nothing."""

    status: Literal["working", "done", "failed"]
    tracks: tuple[RemoteTrack, ...] = ()
    problem: str = ""


class MusicProvider(Protocol):
    """A service elsewhere that makes music."""

    async def submit(self, task: Task) -> str:
        """Hand a task in, and return what it is called there.

        Raises Declined or NotTaken; anything else leaves open whether it was taken.
        """

    async def look(self, task_id: str) -> Outcome:
        """How a task stands; raises Declined, or NotTaken when it cannot be told."""

    async def wav(self, task_id: str, audio_id: str) -> str:
        """The address of a track as WAV, made there; raises Declined or NotTaken."""


@dataclass(frozen=True)
class Ports:
    """What reactions of beats reach for."""

    log: Log
    execute: Execute
    now: Now
    blobs: Blobs
    web: Web
    band: Band
    ears: Ears
    provider: MusicProvider
    settings: Generation
    provider_settings: Provider
    files: Files
