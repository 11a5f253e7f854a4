"""Asking for builds, and writing down how far they are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

from msgspec import field

from commands.idempotency import Once, claim
from commands.kernel import Command, Transaction, decides, handles
from domain.billing.quotas import seconds_left
from domain.builds import versions
from domain.builds.builds import (
    ARTIFACTS_MAX,
    ArtifactLinked,
    BranchBuilt,
    Build,
    BuildAsked,
    BuildBegun,
    BuildCancelled,
    BuildClaimed,
    BuildCompleted,
    BuildCounted,
    BuildFailed,
    BuildIsOver,
    BuildLost,
    BuildNumbered,
    BuildQueued,
    BuildSourced,
    BuildStarted,
    BuildStored,
    BuildSucceeded,
    BuildVersioned,
    Flag,
    JobIsNotYours,
    NoSuchArtifact,
    QuotaExceeded,
    TooManyArtifacts,
    Trigger,
    Verdict,
    artifact_links,
    branch_id,
    build_branches,
    build_months,
    build_numbers,
    builds,
    month_id,
)
from domain.kernel import Event
from domain.repositories.repositories import repositories
from domain.studio.projects import Format, Platform, ReleaseType, check_targets, projects

#: How much longer than it may a build is let live, for its runner to end it and say why.
GRACE = timedelta(minutes=5)


class AskForBuild(Command):
    """Build a project. Without a ref what is linked counts; `monthly_limit` is null where the plan sets none.

    What somebody has pushed to a branch at `pushed_at` (epoch seconds) takes the place of what was pushed there before.
    """

    build_id: str
    workspace_id: str
    project_id: str
    platforms: tuple[Platform, ...]
    formats: tuple[Format, ...]
    release_type: ReleaseType = "patch"
    flags: Mapping[str, Flag] = field(default_factory=dict)
    clean_build: bool = False
    trigger: Trigger = "request"
    ref: str = ""
    commit_sha: str = ""
    pushed_at: int = 0
    monthly_limit: int | None = None
    once: Once | None = None


@handles(AskForBuild)
async def ask(wish: AskForBuild, transaction: Transaction) -> None:
    """A build has the next number of its project and is counted in its month, in the append that makes it."""
    check_targets(wish.platforms, wish.formats)
    project = await transaction.load(projects, wish.project_id)
    project.belongs_to(wish.workspace_id)
    if not await claim(transaction, wish.once, wish.build_id):
        return
    if (await transaction.expect_new(builds, wish.build_id)).status != "absent":
        return
    if wish.trigger == "push" and not await _is_newest(wish, transaction):
        return
    now = transaction.now
    await _count(transaction, wish.build_id, wish.workspace_id, now, more=1, limit=wish.monthly_limit)
    numbers = await transaction.find(build_numbers, wish.project_id)
    source = await transaction.find(repositories, wish.project_id)
    version = versions.following(numbers.version_number, wish.release_type)
    number = numbers.build_number + 1
    _number(transaction, wish.project_id, wish.build_id, number, version)
    asked = BuildAsked(
        build_id=wish.build_id,
        workspace_id=wish.workspace_id,
        project_id=wish.project_id,
        platforms=wish.platforms,
        formats=wish.formats,
        release_type=wish.release_type,
        version_number=version,
        build_number=number,
        asked_at=now,
        flags=wish.flags,
        clean_build=wish.clean_build,
        trigger=wish.trigger,
        source_url=source.source_repo_url,
        ref=wish.ref or source.branch,
        commit_sha=wish.commit_sha,
        workflow=project.workflow,
    )
    transaction.record(builds, wish.build_id, asked)


async def _is_newest(wish: AskForBuild, transaction: Transaction) -> bool:
    """Whether nothing newer was pushed to its branch; what was pushed there before it is built no more."""
    branch = branch_id(wish.project_id, wish.ref)
    before = await transaction.find(build_branches, branch)
    if wish.pushed_at < before.pushed_at:
        return False
    if before.build_id and not (await transaction.load(builds, before.build_id)).is_over:
        await _cancel(transaction, before.build_id, "superseded")
    built = BranchBuilt(
        branch_id=branch,
        project_id=wish.project_id,
        build_id=wish.build_id,
        pushed_at=wish.pushed_at,
        built_at=transaction.now,
    )
    transaction.record(build_branches, branch, built)
    return True


def _number(transaction: Transaction, project_id: str, build_id: str, number: int, version: str) -> None:
    numbered = BuildNumbered(
        project_id=project_id,
        build_id=build_id,
        build_number=number,
        version_number=version,
        numbered_at=transaction.now,
    )
    transaction.record(build_numbers, project_id, numbered)


async def _count(
    transaction: Transaction, build_id: str, workspace_id: str, asked_at: datetime, *, more: int, limit: int | None
) -> None:
    month = month_id(workspace_id, asked_at)
    used = max((await transaction.find(build_months, month)).used + more, 0)
    if limit is not None and used > limit:
        raise QuotaExceeded(limit=limit, retry_after_seconds=seconds_left(transaction.now))
    counted = BuildCounted(
        month_id=month, workspace_id=workspace_id, build_id=build_id, used=used, counted_at=transaction.now
    )
    transaction.record(build_months, month, counted)


class SourceBuild(Command):
    """Give a build that waits for its source what its project has been linked to meanwhile."""

    build_id: str


@handles(SourceBuild)
async def source(wish: SourceBuild, transaction: Transaction) -> None:
    """Only what waits for a source is given one."""
    build = await transaction.load(builds, wish.build_id)
    found = await transaction.find(repositories, build.project_id)
    if build.status != "pending" or build.source_url or not found.source_repo_url:
        return
    sourced = BuildSourced(
        build_id=wish.build_id,
        workspace_id=build.workspace_id,
        source_url=found.source_repo_url,
        ref=build.ref or found.branch,
        sourced_at=transaction.now,
    )
    transaction.record(builds, wish.build_id, sourced)


class QueueBuild(Command):
    """Let it wait for runners; they can see it."""

    build_id: str


@decides(QueueBuild, builds)
def queue(wish: QueueBuild, build: Build, now: datetime) -> list[Event]:
    """A build is queued once."""
    return [BuildQueued(build_id=wish.build_id, queued_at=now)] if build.status == "pending" else []


class ClaimBuild(Command):
    """Give one of its platforms to a runner, under a fence that is higher than all before."""

    build_id: str
    platform: Platform
    runner_id: str
    fence: int
    isolation: str
    begins_within: timedelta = timedelta(seconds=120)


@decides(ClaimBuild, builds)
def claim_for_runner(wish: ClaimBuild, build: Build, now: datetime) -> list[Event]:
    """What is over is not claimed, and an older fence never comes after a newer one."""
    run = build.run(wish.platform)
    if run.fence == wish.fence and run.runner_id == wish.runner_id:
        return []
    if build.is_over or run.completed or wish.platform not in build.platforms or wish.fence <= run.fence:
        raise JobIsNotYours
    queued: list[Event] = [BuildQueued(build_id=wish.build_id, queued_at=now)] if build.status == "pending" else []
    claimed = BuildClaimed(
        build_id=wish.build_id,
        platform=wish.platform,
        runner_id=wish.runner_id,
        fence=wish.fence,
        isolation=wish.isolation,
        claimed_at=now,
        begins_by=now + wish.begins_within,
    )
    return [*queued, claimed]


class LoseBuild(Command):
    """Take it from the runner that never began."""

    build_id: str
    platform: Platform
    fence: int


@decides(LoseBuild, builds)
def lose(wish: LoseBuild, build: Build, now: datetime) -> list[Event]:
    """Whoever has begun keeps it; so does whoever claimed it after. What GitHub makes, no runner is to have."""
    run = build.run(wish.platform)
    if build.workflow or build.is_over or run.started or run.completed or run.fence != wish.fence or not run.runner_id:
        return []
    return [BuildLost(build_id=wish.build_id, platform=wish.platform, fence=wish.fence, lost_at=now)]


class StartBuild(Command):
    """A runner has begun its first step."""

    build_id: str
    platform: Platform
    fence: int
    ends_within: timedelta = timedelta(seconds=7200)


@decides(StartBuild, builds)
def start(wish: StartBuild, build: Build, now: datetime) -> list[Event]:
    """Begun once by each runner that has it."""
    build.is_held(wish.platform, wish.fence)
    if build.run(wish.platform).started:
        return []
    # A runner ends a build that takes too long by itself; this is for when it does not.
    ends_by = now + wish.ends_within + GRACE
    begun = BuildBegun(build_id=wish.build_id, platform=wish.platform, fence=wish.fence, begun_at=now, ends_by=ends_by)
    if build.status == "running":
        return [begun]
    return [BuildStarted(build_id=wish.build_id, started_at=now), begun]


class NoteSource(Command):
    """The source is here: its commit, its tags, and what its file VERSION says."""

    build_id: str
    platform: Platform
    fence: int
    commit_sha: str
    tags: tuple[str, ...] = ()
    version_file: str | None = None


@handles(NoteSource)
async def note_source(wish: NoteSource, transaction: Transaction) -> None:
    """The source says which version it is, if it says one; all platforms of a build have the first one's answer."""
    build = await transaction.load(builds, wish.build_id)
    build.is_held(wish.platform, wish.fence)
    if build.is_versioned:
        return
    version = versions.of_source(wish.tags, wish.version_file, build.release_type, build.build_number)
    version = version or build.version_number
    versioned = BuildVersioned(
        build_id=wish.build_id, commit_sha=wish.commit_sha, version_number=version, versioned_at=transaction.now
    )
    transaction.record(builds, wish.build_id, versioned)
    numbers = await transaction.find(build_numbers, build.project_id)
    # What is asked for after this continues from what this one turned out to be.
    if numbers.build_number == build.build_number and numbers.version_number != version:
        _number(transaction, build.project_id, wish.build_id, numbers.build_number, version)


class StoreArtifact(Command):
    """A plug-in has been stored and looked at."""

    build_id: str
    artifact_id: str
    platform: Platform
    fence: int
    format: Format
    file_name: str
    file_size: int
    checksum_sha256: str
    content_type: str
    object_key: str
    is_signed: bool = False
    validation: Verdict = "skipped"
    validation_detail: str = ""


@decides(StoreArtifact, builds)
def store(wish: StoreArtifact, build: Build, now: datetime) -> list[Event]:
    """Stored once; of two under one name on one platform the later one counts."""
    build.is_held(wish.platform, wish.fence)
    if wish.artifact_id in build.artifacts:
        return []
    if len(build.artifacts) >= ARTIFACTS_MAX:
        raise TooManyArtifacts(artifacts_max=ARTIFACTS_MAX)
    return [
        BuildStored(
            build_id=wish.build_id,
            artifact_id=wish.artifact_id,
            platform=wish.platform,
            format=wish.format,
            file_name=wish.file_name,
            file_size=wish.file_size,
            checksum_sha256=wish.checksum_sha256,
            content_type=wish.content_type,
            object_key=wish.object_key,
            is_signed=wish.is_signed,
            validation=wish.validation,
            validation_detail=wish.validation_detail,
            stored_at=now,
        )
    ]


class CompleteBuild(Command):
    """One platform is done; with the last one the build is."""

    build_id: str
    platform: Platform
    fence: int


@handles(CompleteBuild)
async def complete(wish: CompleteBuild, transaction: Transaction) -> None:
    """Nothing made of a platform is no success."""
    build = await transaction.load(builds, wish.build_id)
    run, now = build.run(wish.platform), transaction.now
    if (run.completed or run.failed) and run.fence == wish.fence:
        return
    build.is_held(wish.platform, wish.fence)
    if not any(each.platform == wish.platform for each in build.artifacts.values()):
        why = "The runner finished without an artifact."
        await _fail(transaction, wish.build_id, "no_artifacts", why, wish.platform)
        return
    done: list[Event] = [BuildCompleted(build_id=wish.build_id, platform=wish.platform, completed_at=now)]
    if all(build.run(each).completed or each == wish.platform for each in build.platforms):
        done.append(BuildSucceeded(build_id=wish.build_id, succeeded_at=now))
    transaction.record(builds, wish.build_id, *done)


class FailBuild(Command):
    """It comes to nothing. A runner says under which fence; without one it is the service that gives up."""

    build_id: str
    error_code: str
    error_message: str
    platform: Platform | None = None
    fence: int | None = None


@handles(FailBuild)
async def fail(wish: FailBuild, transaction: Transaction) -> None:
    """A build fails once; what is over stays as it is."""
    build = await transaction.load(builds, wish.build_id)
    if wish.fence is None and build.is_over:
        return
    if wish.fence is not None and wish.platform is not None:
        if build.status == "failed" and build.run(wish.platform).fence == wish.fence:
            return
        build.is_held(wish.platform, wish.fence)
    await _fail(transaction, wish.build_id, wish.error_code, wish.error_message, wish.platform)


async def _fail(transaction: Transaction, build_id: str, code: str, message: str, platform: Platform | None) -> None:
    build = await transaction.load(builds, build_id)
    failed = BuildFailed(
        build_id=build_id,
        workspace_id=build.workspace_id,
        error_code=code,
        error_message=message,
        failed_at=transaction.now,
        platform=platform,
    )
    transaction.record(builds, build_id, failed)
    await _give_back(transaction, build_id)


async def _give_back(transaction: Transaction, build_id: str) -> None:
    """What nobody had begun does not count."""
    build = await transaction.load(builds, build_id)
    if not build.left_the_queue:
        assert build.asked_at is not None
        await _count(transaction, build_id, build.workspace_id, build.asked_at, more=-1, limit=None)


Because = Literal["asked", "superseded", "forgotten"]


class CancelBuild(Command):
    """Nobody wants it any more."""

    build_id: str
    workspace_id: str
    because: Because = "asked"


@handles(CancelBuild)
async def cancel(wish: CancelBuild, transaction: Transaction) -> None:
    """A build is cancelled once, and given back to the month when no runner had begun it."""
    build = await transaction.load(builds, wish.build_id)
    build.belongs_to(wish.workspace_id)
    if build.status == "cancelled":
        return
    if build.is_over:
        raise BuildIsOver
    await _cancel(transaction, wish.build_id, wish.because)


async def _cancel(transaction: Transaction, build_id: str, because: Because) -> None:
    await transaction.load(builds, build_id)
    cancelled = BuildCancelled(build_id=build_id, cancelled_at=transaction.now, because=because)
    transaction.record(builds, build_id, cancelled)
    await _give_back(transaction, build_id)


class LinkArtifact(Command):
    """Give somebody a link to download an artifact."""

    link_id: str
    artifact_id: str
    build_id: str
    workspace_id: str


@handles(LinkArtifact)
async def link(wish: LinkArtifact, transaction: Transaction) -> None:
    """Every link is counted, once."""
    build = await transaction.load(builds, wish.build_id)
    build.belongs_to(wish.workspace_id)
    if wish.artifact_id not in build.artifacts:
        raise NoSuchArtifact
    await transaction.expect_new(artifact_links, wish.link_id)
    if transaction.exists(artifact_links, wish.link_id):
        return
    linked = ArtifactLinked(
        link_id=wish.link_id, artifact_id=wish.artifact_id, build_id=wish.build_id, linked_at=transaction.now
    )
    transaction.record(artifact_links, wish.link_id, linked)
