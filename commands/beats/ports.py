"""What beats need of the outside to do what follows from events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from commands.analyses.ports import Ears
from commands.analyses.settings import Analyses
from commands.beats.settings import Generation
from commands.kernel import Execute, Log, Now
from commands.ports import Blobs, Web
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
    settings: Generation
    limits: Analyses
