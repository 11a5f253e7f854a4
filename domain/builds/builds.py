"""A build: asked for, queued, run by runners on each of its platforms, and ended in one of three ways."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field
from msgspec.structs import replace

from domain.builds.workflows import (
    WorkflowDispatched,
    WorkflowRun,
    WorkflowRunAsked,
    WorkflowRunFound,
    WorkflowRunTold,
    follow,
)
from domain.kernel import Category, Conflict, Event, Exhausted, NotFound, State, Value, personal
from domain.objects import Kept, keeps
from domain.studio.projects import Format, Platform, ReleaseType

Status = Literal["pending", "queued", "running", "success", "failed", "cancelled"]
STATUSES: tuple[Status, ...] = ("pending", "queued", "running", "success", "failed", "cancelled")
Trigger = Literal["request", "external", "push", "tag", "release"]
Verdict = Literal["passed", "failed", "skipped"]
Flag = bool | int | str
ARTIFACTS_MAX = 500


class BuildAsked(Event):
    """Somebody wants a plug-in built: this version of it, under this number. Without a source it waits for one."""

    build_id: str
    workspace_id: str
    project_id: str
    platforms: tuple[Platform, ...]
    formats: tuple[Format, ...]
    release_type: ReleaseType
    version_number: str
    build_number: int
    asked_at: datetime
    flags: Mapping[str, Flag] = field(default_factory=dict)
    clean_build: bool = False
    trigger: Trigger = "request"
    source_url: Annotated[str, personal("workspace_id", address=True)] = ""
    ref: str = ""
    commit_sha: str = ""
    #: The workflow at GitHub that makes it; empty: runners do.
    workflow: str = ""


class BuildSourced(Event):
    """It has a source now."""

    build_id: str
    workspace_id: str
    source_url: Annotated[str, personal("workspace_id", address=True)]
    ref: str
    sourced_at: datetime


class BuildQueued(Event):
    """It waits for runners."""

    build_id: str
    queued_at: datetime


class BuildClaimed(Event):
    """A runner has it for one platform. What comes under an older fence than this is too late."""

    build_id: str
    platform: Platform
    runner_id: str
    fence: int
    isolation: str
    claimed_at: datetime
    #: When it is another runner's unless it has begun.
    begins_by: datetime | None = None


class BuildLost(Event):
    """The runner that had claimed it never began; another one may."""

    build_id: str
    platform: Platform
    fence: int
    lost_at: datetime


class BuildStarted(Event):
    """The first step has begun, on the first of its platforms."""

    build_id: str
    started_at: datetime
    #: When it has failed unless it is over; written down until each platform had an end of its own.
    ends_by: datetime | None = None


class BuildBegun(Event):
    """The first step has begun on one of its platforms, by whoever has claimed it under this fence."""

    build_id: str
    platform: Platform
    fence: int
    begun_at: datetime
    #: When it has failed unless this platform is done.
    ends_by: datetime | None = None


class BuildVersioned(Event):
    """The source is here: it is this commit, and this is what its version is."""

    build_id: str
    commit_sha: str
    version_number: str
    versioned_at: datetime


class BuildStored(Event):
    """One plug-in in one format is in the object store, and this is what the server itself found there."""

    build_id: str
    artifact_id: str
    platform: Platform
    format: Format
    file_name: str
    file_size: int
    checksum_sha256: str
    content_type: str
    object_key: str
    is_signed: bool
    validation: Verdict
    validation_detail: str
    stored_at: datetime


class BuildCompleted(Event):
    """One platform is done."""

    build_id: str
    platform: Platform
    completed_at: datetime


class BuildSucceeded(Event):
    """Every platform is done."""

    build_id: str
    succeeded_at: datetime


class BuildFailed(Event):
    """It came to nothing, and why."""

    build_id: str
    workspace_id: str
    error_code: str
    error_message: Annotated[str, personal("workspace_id")]
    failed_at: datetime
    platform: Platform | None = None


class BuildCancelled(Event):
    """Nobody wants it any more."""

    build_id: str
    cancelled_at: datetime
    because: Literal["asked", "superseded", "forgotten"] = "asked"


class ArtifactLinked(Event):
    """Somebody was given a link to download an artifact."""

    link_id: str
    artifact_id: str
    build_id: str
    linked_at: datetime


class Stored(Value):
    """An artifact that is there."""

    platform: Platform
    format: Format
    file_name: str
    object_key: str


class Run(Value):
    """How far one platform is."""

    fence: int = 0
    runner_id: str = ""
    started: bool = False
    completed: bool = False
    failed: bool = False


class Build(State):
    """What rules know of a build."""

    status: Status | Literal["absent"] = "absent"
    workspace_id: str = ""
    project_id: str = ""
    platforms: tuple[Platform, ...] = ()
    formats: tuple[Format, ...] = ()
    release_type: ReleaseType = "patch"
    version_number: str = ""
    build_number: int = 0
    flags: Mapping[str, Flag] = field(default_factory=dict)
    clean_build: bool = False
    source_url: str = ""
    ref: str = ""
    commit_sha: str = ""
    workflow: str = ""
    is_versioned: bool = False
    asked_at: datetime | None = None
    runs: Mapping[str, Run] = field(default_factory=dict)
    artifacts: Mapping[str, Stored] = field(default_factory=dict)
    #: Whether a runner has ever begun it, so that it counts, also when another has it by now.
    left_the_queue: bool = False
    workflow_run: WorkflowRun | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.status in ("success", "failed", "cancelled")

    @property
    def wanted(self) -> Mapping[Platform, tuple[Format, ...]]:
        """The formats that are wanted of each platform: Audio Units of macOS alone; none are all that it has."""
        return {
            platform: tuple(each for each in self.formats if each != "au" or platform == "macos")
            for platform in self.platforms
        }

    def run(self, platform: str) -> Run:
        """How far a platform is."""
        return self.runs.get(platform, Run())

    def belongs_to(self, workspace_id: str) -> None:
        """Refuse it to everybody but its workspace."""
        if self.workspace_id != workspace_id:
            raise NoSuchBuild

    def is_held(self, platform: str, fence: int) -> None:
        """Refuse whoever claimed it before somebody else did, and everybody once it is over."""
        run = self.run(platform)
        if platform not in self.platforms or run.fence != fence or not fence:
            raise JobIsNotYours
        if self.is_over or run.completed:
            raise JobIsOver

    def with_run(self, platform: str, **changed: object) -> Build:
        """The build with one platform further on."""
        return replace(self, runs={**self.runs, platform: replace(self.run(platform), **changed)})


def evolve(build: Build, event: Event) -> Build:  # noqa: C901, PLR0911, PLR0912 - one for each event
    """A build after one more event."""
    match event:
        case BuildAsked():
            return Build(
                status="pending",
                workspace_id=event.workspace_id,
                project_id=event.project_id,
                platforms=event.platforms,
                formats=event.formats,
                release_type=event.release_type,
                version_number=event.version_number,
                build_number=event.build_number,
                flags=event.flags,
                clean_build=event.clean_build,
                source_url=event.source_url,
                ref=event.ref,
                commit_sha=event.commit_sha,
                workflow=event.workflow,
                asked_at=event.asked_at,
            )
        case WorkflowDispatched() | WorkflowRunFound() | WorkflowRunTold() | WorkflowRunAsked():
            return replace(build, workflow_run=follow(build.workflow_run, event))
        case BuildSourced():
            return replace(build, source_url=event.source_url, ref=event.ref)
        case BuildQueued():
            return replace(build, status="queued")
        case BuildClaimed():
            return build.with_run(event.platform, fence=event.fence, runner_id=event.runner_id, started=False)
        case BuildLost():
            return build.with_run(event.platform, fence=event.fence, runner_id="", started=False)
        case BuildStarted():
            return replace(build, status="running", left_the_queue=True)
        case BuildBegun():
            return build.with_run(event.platform, started=True)
        case BuildVersioned():
            return replace(build, commit_sha=event.commit_sha, version_number=event.version_number, is_versioned=True)
        case BuildStored():
            stored = Stored(
                platform=event.platform, format=event.format, file_name=event.file_name, object_key=event.object_key
            )
            return replace(build, artifacts={**build.artifacts, event.artifact_id: stored}, left_the_queue=True)
        case BuildCompleted():
            return build.with_run(event.platform, completed=True)
        case BuildSucceeded():
            return replace(build, status="success")
        case BuildFailed():
            failed = build.with_run(event.platform, failed=True) if event.platform else build
            return replace(failed, status="failed")
        case BuildCancelled():
            return replace(build, status="cancelled")
    return build


class NoSuchBuild(NotFound):
    """There is no build with this id."""


class NoSuchArtifact(NotFound):
    """There is no artifact with this id."""


class BuildIsOver(Conflict):
    """This build has ended already. Nothing is left to cancel."""


class JobIsNotYours(Conflict):
    """Another runner has this job by now. Give it up."""


class JobIsOver(Conflict):
    """This job has ended. Nothing more is taken of it."""


class TooManyArtifacts(Conflict):
    """A build has {artifacts_max} artifacts at most."""


builds = Category(name="build", initial=Build(), evolve=evolve, absent=NoSuchBuild)


# --- numbers: of the builds of one project ----------------------------------------------------------------------------


class BuildNumbered(Event):
    """A build of a project has the next number. With the version, so that the last event tells all."""

    target: ClassVar[str] = "project"

    project_id: str
    build_id: str
    build_number: int
    version_number: str
    numbered_at: datetime


class Numbers(State):
    """The last number and version of a project's builds."""

    build_number: int = 0
    version_number: str = ""


def count(numbers: Numbers, event: Event) -> Numbers:
    """The numbers after one more event."""
    return last_number(event) or numbers


def last_number(event: Event) -> Numbers | None:
    """What the newest event says of all of them."""
    match event:
        case BuildNumbered():
            return Numbers(build_number=event.build_number, version_number=event.version_number)
    return None


build_numbers = Category(name="build-numbers", initial=Numbers(), evolve=count, snapshot=last_number)


# --- branches: which build of a branch is the newest ------------------------------------------------------------------


class BranchBuilt(Event):
    """What was pushed to a branch is built; `pushed_at` (epoch seconds): when, as its place says."""

    target: ClassVar[str] = "project"

    branch_id: str
    project_id: str
    build_id: str
    pushed_at: int
    built_at: datetime


class Branch(State):
    """The newest build of a branch."""

    build_id: str = ""
    pushed_at: int = 0


def push(branch: Branch, event: Event) -> Branch:
    """A branch after one more event."""
    return newest_of(event) or branch


def newest_of(event: Event) -> Branch | None:
    """What the newest event says of a branch."""
    match event:
        case BranchBuilt():
            return Branch(build_id=event.build_id, pushed_at=event.pushed_at)
    return None


def branch_id(project_id: str, name: str) -> str:
    """A branch of a project, by a digest: what it is called is nobody's business but theirs."""
    return f"{project_id}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:32]}"


build_branches = Category(name="build-branch", initial=Branch(), evolve=push, snapshot=newest_of)


# --- the month: how many builds a workspace has had -------------------------------------------------------------------


class BuildCounted(Event):
    """One more build in a month, or one less: those that never left the queue do not count."""

    month_id: str
    workspace_id: str
    build_id: str
    used: Annotated[int, Meta(ge=0)]
    counted_at: datetime


class Month(State):
    """How many builds there were."""

    used: int = 0


def add(month: Month, event: Event) -> Month:
    """A month after one more event."""
    return used_of(event) or month


def used_of(event: Event) -> Month | None:
    """What the newest event says of the whole month."""
    match event:
        case BuildCounted():
            return Month(used=event.used)
    return None


def month_id(workspace_id: str, moment: datetime) -> str:
    """The month of a moment (UTC)."""
    return f"{workspace_id}-{moment:%Y-%m}"


class QuotaExceeded(Exhausted):
    """All {limit} builds of this month are used. The next month begins in {retry_after_seconds} s."""


build_months = Category(name="build-month", initial=Month(), evolve=add, snapshot=used_of)

#: One stream for each link, so that nobody waits for anybody to be counted.
artifact_links = Category(name="artifact-link", initial=State(), evolve=lambda state, _: state)

keeps(BuildStored, lambda event: [Kept(key=event.object_key, size=event.file_size, sha256=event.checksum_sha256)])
