"""What follows in builds needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from commands.kernel import Execute, Log, Now
from commands.ports import Blobs
from domain.builds.settings import Builds
from domain.kernel import Value


class Chunk(Value):
    """A piece of a log: where in it, and where its bytes are."""

    start: int
    size: int
    object_key: str


class JobRow(Value):
    """One platform of a build as runners compete for it."""

    build_id: str
    platform: str
    workspace_id: str
    state: str
    runner_id: str
    fence: int
    step: str
    progress: int
    log_bytes: int


class Jobs(Protocol):
    """Where jobs wait for runners, with what changes too often to be an event: leases, progress, lengths of logs."""

    async def put(
        self,
        build_id: str,
        project_id: str,
        workspace_id: str,
        platforms: Sequence[str],
        formats: Sequence[str],
        *,
        ready: bool,
    ) -> None:
        """Let these platforms of a build wait: for a runner when ready, otherwise for a source."""

    async def claim(
        self, runner_id: str, workspace_id: str | None, platforms: Sequence[str], formats: Sequence[str], lease: float
    ) -> JobRow | None:
        """The next job that a runner can do, under a new fence: the oldest of the workspace whose turn it is."""

    async def extend(self, build_id: str, platform: str, fence: int, lease: float) -> datetime | None:
        """Keep a job for longer; None when somebody else has it, or it is over."""

    async def note(self, build_id: str, platform: str, fence: int, step: str, progress: int) -> bool:
        """Write down how far a job is; whether it is still whose fence this is."""

    async def release(self, build_id: str, platform: str, fence: int) -> None:
        """Let another runner have it."""

    async def close(self, build_id: str, platform: str | None = None) -> None:
        """Nobody is to have it any more."""

    async def of(self, build_id: str) -> Sequence[JobRow]:
        """The jobs of a build."""

    async def add_chunk(self, build_id: str, platform: str, fence: int, chunk: Chunk) -> int | None:
        """Append a piece to a log, if its end is where the piece begins; the log's length, None for a wrong fence."""

    async def chunks(self, build_id: str, platform: str, start: int) -> Sequence[Chunk]:
        """The pieces of a log from an offset on."""

    async def waiting_for_source(self, project_id: str) -> Sequence[str]:
        """The builds of a project that wait for a source."""

    async def forget(self, workspace_id: str) -> Sequence[str]:
        """Remove all of a workspace's jobs; the builds they were of."""


@dataclass(frozen=True)
class Ports:
    """Commands, where jobs wait, and where artifacts and logs are."""

    execute: Execute
    log: Log
    now: Now
    jobs: Jobs
    blobs: Blobs
    settings: Builds
