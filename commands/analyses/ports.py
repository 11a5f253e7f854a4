"""What analyses need of the outside to do what follows from events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from commands.kernel import Execute, Log, Now
from commands.ports import Blobs, Web
from commands.settings import Files
from domain.analyses.findings import Analysis, Findings


class Ears(Protocol):
    """What listens to recordings."""

    async def listen(self, path: Path) -> Analysis:
        """Everything there is to hear in a file; raises findings.Unreadable."""


class Artist(Protocol):
    """What draws."""

    async def draw(self, findings: Findings, detail: bytes) -> Mapping[str, bytes]:
        """What was heard: the name of each picture and its PNG."""


@dataclass(frozen=True)
class Ports:
    """What reactions of analyses reach for."""

    log: Log
    execute: Execute
    now: Now
    blobs: Blobs
    web: Web
    ears: Ears
    artist: Artist
    files: Files
