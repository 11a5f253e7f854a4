"""What follows in builds needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from commands.kernel import Execute, Log, Now
from commands.ports import Blobs
from domain.builds.settings import Builds
from domain.kernel import Value
from domain.studio.projects import Format, Platform


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
        formats: Mapping[Platform, Sequence[Format]],
        *,
        ready: bool,
    ) -> None:
        """Let a build wait on each platform, for a runner of these formats when ready, otherwise for a source."""

    async def claim(
        self, runner_id: str, workspace_id: str | None, platforms: Sequence[str], formats: Sequence[str], lease: float
    ) -> JobRow | None:
        """The next job that a runner can do, under a new fence: the oldest of the workspace whose turn it is."""

    async def assign(self, build_id: str, holder: str, fence: int) -> None:
        """Let somebody who is no runner have all jobs of a build that wait, for as long as it takes."""

    async def extend(self, build_id: str, platform: str, runner_id: str, fence: int, lease: float) -> datetime | None:
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

    async def unfinished(self, workspace_id: str) -> Sequence[str]:
        """The builds of a workspace of which a job is not over."""

    async def forget(self, workspace_id: str) -> None:
        """Remove all of a workspace's jobs."""


class NotNow(Exception):
    """GitHub does not do it for now; later it may. The text is for whoever asked."""

    transient = True


class NotDone(Exception):
    """GitHub will not do it, whoever asks again: what that is called, and a text for whoever asked."""

    def __init__(self, code: str, sentence: str) -> None:
        self.code = code
        super().__init__(sentence)


class Place(Value):
    """A repository, as an installation of our app sees it."""

    installation_id: int
    full_name: str


class FoundSource(Value):
    """What is to be built: the branch or tag to run a workflow on, its commit, and what that says of its version."""

    ref: str
    commit_sha: str
    tags: tuple[str, ...] = ()
    version_file: str | None = None


class RunPlace(Value):
    """A run, and where people see it."""

    run_id: int
    url: str


class RunLook(Value):
    """How a run stands: `step` and `progress` (percent) while it runs, GitHub's `conclusion` once it is over."""

    status: Literal["queued", "running", "success", "failed", "cancelled"]
    conclusion: str = ""
    step: str = ""
    progress: int = 0


class RunFailure(Value):
    """Why a run came to nothing, in a sentence, and what the job that failed has printed."""

    code: str
    sentence: str
    log: bytes = b""


class PlugIn(Value):
    """A plug-in that came out of a run, packed as it is kept."""

    platform: Platform
    format: Format
    file_name: str
    path: Path
    size: int
    sha256: str
    content_type: str


class Workflows(Protocol):
    """Workflows of repositories at GitHub. Everything raises NotNow, and NotDone where asking again is no use."""

    def repository(self, source_url: str) -> str | None:
        """The full name of a repository at GitHub; None for what is elsewhere."""

    async def source(self, place: Place, ref: str, commit_sha: str) -> FoundSource:
        """What a branch, a tag or a commit is; the repository's own branch where neither is given."""

    async def dispatch(self, place: Place, workflow: str, ref: str, inputs: Mapping[str, str]) -> RunPlace | None:
        """Run a workflow; None where GitHub does not say which run that has become."""

    async def find(self, place: Place, workflow: str, build_id: str) -> RunPlace | None:
        """The run that has the id of a build in its name, if there is one."""

    async def look(self, place: Place, run_id: int) -> RunLook:
        """How a run stands."""

    async def failure(self, place: Place, run_id: int, conclusion: str) -> RunFailure:
        """Why a run that is over has come to nothing."""

    async def cancel(self, place: Place, run_id: int) -> None:
        """End a run; nothing happens where it is over."""

    async def plug_ins(self, place: Place, run_id: int, folder: Path) -> Sequence[PlugIn]:
        """The plug-ins among the artifacts of a run, packed into a folder."""


@dataclass(frozen=True)
class Ports:
    """Commands, where jobs wait, where artifacts and logs are, and workflows at GitHub."""

    execute: Execute
    log: Log
    now: Now
    jobs: Jobs
    workflows: Workflows
    blobs: Blobs
    settings: Builds
