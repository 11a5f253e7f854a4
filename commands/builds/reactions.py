"""What follows from builds: they wait for runners, stop waiting, and end when nothing comes of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from msgspec import json
from msgspec.structs import replace

from commands.builds.builds import (
    CancelBuild,
    ClaimBuild,
    CompleteBuild,
    FailBuild,
    LoseBuild,
    NoteSource,
    QueueBuild,
    SourceBuild,
    StartBuild,
    StoreArtifact,
)
from commands.builds.ports import Chunk, NotDone, NotNow, Place, PlugIn, Ports, RunLook
from commands.builds.workflows import NoteDispatch, NoteRun, NoteRunAsked
from commands.kernel import Queue, derived_id, reacts_to
from commands.ports import pieces
from commands.sweeping import delete_below, once_more
from domain.builds import keys
from domain.builds.builds import (
    Build,
    BuildAsked,
    BuildBegun,
    BuildCancelled,
    BuildClaimed,
    BuildCompleted,
    BuildFailed,
    BuildIsOver,
    BuildLost,
    BuildSourced,
    BuildStarted,
    BuildSucceeded,
    JobIsNotYours,
    JobIsOver,
    builds,
)
from domain.builds.secrets import SecretRemoved, SecretSet
from domain.builds.workflows import WorkflowDispatched, WorkflowRunAsked, WorkflowRunTold
from domain.identity.workspaces import WorkspaceForgotten
from domain.ledger import Context, Recorded
from domain.repositories.connections import connections
from domain.repositories.repositories import RepositoryLinked
from domain.studio.projects import Format, Platform

log = structlog.get_logger(__name__)

BUILDS = Queue("builds", concurrency=16, timeout=120.0)
NOT_QUEUED = "The build could not be shown to runners. It does not count; ask for it again."
#: When nothing comes any more by the links that runners are given to upload with, which are good for an hour.
LINKS = timedelta(hours=2)
#: What holds for claims and beginnings that do not say until when.
START, TOTAL = timedelta(seconds=120), timedelta(seconds=7500)


async def _not_queued(recorded: Recorded, ports: Ports, problem: str) -> None:
    event = recorded.event
    assert isinstance(event, BuildAsked | BuildSourced)
    # What a runner has been given meanwhile goes on.
    if (await ports.log.state(builds, event.build_id)).status == "pending":
        wish = FailBuild(build_id=event.build_id, error_code="not_queued", error_message=f"{NOT_QUEUED} {problem}")
        await ports.execute(wish, recorded.context())


@reacts_to(BuildAsked, BuildSourced, name="queue-build", queue=BUILDS, gives_up=_not_queued)
async def queue_build(recorded: Recorded, ports: Ports) -> None:
    """Runners can see a build that has a source; without one it waits until its project is linked to one.

    What GitHub makes waits for a source like all others, and then for no runner.
    """
    event = recorded.event
    assert isinstance(event, BuildAsked | BuildSourced)
    build = await ports.log.state(builds, event.build_id)
    if build.is_over:
        return
    ready = bool(build.source_url)
    if ready and build.workflow:
        return
    await ports.jobs.put(event.build_id, build.project_id, build.workspace_id, build.wanted, ready=ready)
    # Without a source its project may have been linked between the look and the waiting.
    wish = QueueBuild(build_id=event.build_id) if ready else SourceBuild(build_id=event.build_id)
    await ports.execute(wish, recorded.context())
    # It may have been cancelled between the look and the waiting.
    if (await ports.log.state(builds, event.build_id)).is_over:
        await ports.jobs.close(event.build_id)


@reacts_to(RepositoryLinked, name="source-builds", queue=BUILDS)
async def source_builds(recorded: Recorded, ports: Ports) -> None:
    """Builds that waited for a source have one now."""
    event = recorded.event
    assert isinstance(event, RepositoryLinked)
    for build_id in await ports.jobs.waiting_for_source(event.project_id):
        await ports.execute(SourceBuild(build_id=build_id), recorded.context())


@reacts_to(BuildSucceeded, BuildFailed, BuildCancelled, BuildCompleted, name="close-build", queue=BUILDS)
async def close_build(recorded: Recorded, ports: Ports) -> None:
    """Its runners hear at their next heartbeat that nobody waits for them any more."""
    event = recorded.event
    assert isinstance(event, BuildSucceeded | BuildFailed | BuildCancelled | BuildCompleted)
    await ports.jobs.close(event.build_id, event.platform if isinstance(event, BuildCompleted) else None)


@reacts_to(BuildSucceeded, BuildFailed, BuildCancelled, name="drop-uploads", queue=BUILDS)
async def drop_uploads(recorded: Recorded, ports: Ports) -> None:
    """What runners have sent is of no use any more: what counts of it lies elsewhere."""
    event = recorded.event
    assert isinstance(event, BuildSucceeded | BuildFailed | BuildCancelled)
    build = await ports.log.state(builds, event.build_id)
    await delete_below(ports.blobs, keys.uploads(build.workspace_id, event.build_id))


def _links_have_ended(event: BuildSucceeded | BuildFailed | BuildCancelled) -> datetime:
    match event:
        case BuildSucceeded():
            return event.succeeded_at + LINKS
        case BuildFailed():
            return event.failed_at + LINKS
    return event.cancelled_at + LINKS


#: The store takes what its link was given for, whatever has become of the build, and an upload may have been under way.
drop_late_uploads = reacts_to(
    BuildSucceeded, BuildFailed, BuildCancelled, name="drop-late-uploads", due=_links_have_ended, queue=BUILDS
)(drop_uploads.handler)


@reacts_to(
    BuildClaimed,
    name="lose-build",
    due=lambda event: event.begins_by or event.claimed_at + START,
    queue=BUILDS,
)
async def lose_build(recorded: Recorded, ports: Ports) -> None:
    """Whoever claims a build and does not begin loses it."""
    event = recorded.event
    assert isinstance(event, BuildClaimed)
    wish = LoseBuild(build_id=event.build_id, platform=event.platform, fence=event.fence)
    await ports.execute(wish, recorded.context())


@reacts_to(BuildLost, name="release-build", queue=BUILDS)
async def release_build(recorded: Recorded, ports: Ports) -> None:
    """Another runner may have it."""
    event = recorded.event
    assert isinstance(event, BuildLost)
    await ports.jobs.release(event.build_id, event.platform, event.fence)


def _has_an_end(event: BuildStarted | BuildBegun) -> bool:
    return isinstance(event, BuildBegun) or event.ends_by is not None


def _end_of(event: BuildStarted | BuildBegun) -> datetime:
    return event.ends_by or (event.begun_at if isinstance(event, BuildBegun) else event.started_at) + TOTAL


@reacts_to(BuildStarted, BuildBegun, name="time-out-build", only=_has_an_end, due=_end_of, queue=BUILDS)
async def time_out_build(recorded: Recorded, ports: Ports) -> None:
    """Each platform has an end, whatever became of its runner; one that waited for a runner has all its time."""
    event = recorded.event
    assert isinstance(event, BuildStarted | BuildBegun)
    wish = FailBuild(
        build_id=event.build_id,
        error_code="timeout",
        error_message="The build took longer than it may, and its runner says nothing.",
    )
    if isinstance(event, BuildBegun):
        wish = replace(wish, platform=event.platform, fence=event.fence)
    try:
        await ports.execute(wish, recorded.context())
    except (JobIsNotYours, JobIsOver):
        return


@reacts_to(SecretSet, SecretRemoved, name="drop-secret", queue=BUILDS)
async def drop_secret(recorded: Recorded, ports: Ports) -> None:
    """What has been replaced or removed lies nowhere any more."""
    event = recorded.event
    assert isinstance(event, SecretSet | SecretRemoved)
    gone = event.secret_id if isinstance(event, SecretRemoved) else event.replaces
    if gone is not None:
        await ports.blobs.delete(keys.secret(event.workspace_id, gone))


@reacts_to(WorkspaceForgotten, name="forget-builds", queue=BUILDS)
async def forget_builds(recorded: Recorded, ports: Ports) -> None:
    """What runs is stopped, and what lies in the object store goes; what says which builds those were goes last."""
    event = recorded.event
    assert isinstance(event, WorkspaceForgotten)
    for build_id in await ports.jobs.unfinished(event.workspace_id):
        try:
            wish = CancelBuild(build_id=build_id, workspace_id=event.workspace_id, because="forgotten")
            await ports.execute(wish, recorded.context())
        except BuildIsOver:
            continue
    await delete_below(ports.blobs, keys.of_workspace(event.workspace_id))
    await ports.jobs.forget(event.workspace_id)


forget_late_builds = once_more(forget_builds, "forget-late-builds")


# --- builds that GitHub makes -----------------------------------------------------------------------------------------

#: An hour and more of attempts, because so long may a limit of GitHub's last; downloads take a while too.
WORKFLOWS = Queue("workflows", concurrency=8, timeout=1800.0, attempts=14)
#: Who has all jobs of such a build, from its beginning to its end.
GITHUB, FENCE = "github", 1
#: Looked at more and more seldom, for webhooks tell sooner.
WAIT_FACTOR, WAIT_MAX = 1.5, timedelta(seconds=60)
LOG_BYTES_MAX = 8 << 20
FOUND_INSTEAD_MAX = 8
NOT_CONNECTED = "GitHub is not connected any more, or the source is not there. Connect it and ask for the build again."
NEVER_STARTED = (
    "GitHub took the workflow, but no machine there has begun it. Look whether its jobs name machines that exist, "
    "whether they wait for somebody's approval, and whether the account has minutes left."
)


def _is_github_s(event: BuildAsked | BuildSourced) -> bool:
    return isinstance(event, BuildSourced) or bool(event.workflow)


async def _give_up_workflow(recorded: Recorded, ports: Ports, problem: str) -> None:
    build_id: str = getattr(recorded.event, "build_id")  # noqa: B009 - every event of a build has it
    wish = FailBuild(build_id=build_id, error_code="github_unavailable", error_message=problem)
    await ports.execute(wish, recorded.context())


@reacts_to(
    BuildAsked, BuildSourced, name="dispatch-workflow", only=_is_github_s, queue=WORKFLOWS, gives_up=_give_up_workflow
)
async def dispatch_workflow(recorded: Recorded, ports: Ports) -> None:
    """Have the workflow run once: it is looked for by the id of the build before it is asked for again."""
    event = recorded.event
    assert isinstance(event, BuildAsked | BuildSourced)
    build_id, context = event.build_id, recorded.context()
    build = await ports.log.state(builds, build_id)
    if not build.workflow or not build.source_url or build.is_over or build.workflow_run is not None:
        return
    place = await _place(build, ports)
    if place is None:
        await ports.execute(
            FailBuild(build_id=build_id, error_code="github_not_connected", error_message=NOT_CONNECTED), context
        )
        return
    await ports.jobs.put(build_id, build.project_id, build.workspace_id, build.wanted, ready=False)
    await ports.jobs.assign(build_id, GITHUB, FENCE)
    within = timedelta(seconds=ports.settings.workflow_start_seconds)
    try:
        for platform in build.platforms:
            claim = ClaimBuild(
                build_id=build_id,
                platform=platform,
                runner_id=GITHUB,
                fence=FENCE,
                isolation=GITHUB,
                begins_within=within,
            )
            await ports.execute(claim, context)
        source = await ports.workflows.source(place, build.ref, build.commit_sha)
        noted = NoteSource(
            build_id=build_id,
            platform=build.platforms[0],
            fence=FENCE,
            commit_sha=source.commit_sha,
            tags=source.tags,
            version_file=source.version_file,
        )
        await ports.execute(noted, context)
        build = await ports.log.state(builds, build_id)
        run = await ports.workflows.find(place, build.workflow, build_id) or await ports.workflows.dispatch(
            place, build.workflow, source.ref, inputs(build_id, build)
        )
    except (JobIsNotYours, JobIsOver):
        return
    except NotDone as no:
        await ports.execute(FailBuild(build_id=build_id, error_code=no.code, error_message=str(no)), context)
        return
    await ports.execute(NoteDispatch(build_id=build_id, begins_within=within), context)
    if run is not None:
        await ports.execute(NoteRun(build_id=build_id, run_id=run.run_id, run_url=run.url), context)


def inputs(build_id: str, build: Build) -> dict[str, str]:
    """What a workflow is told of a build: nine inputs, because GitHub has long taken ten."""
    return {
        "build_id": build_id,
        "commit_sha": build.commit_sha,
        "version_number": build.version_number,
        "build_number": str(build.build_number),
        "platforms": ",".join(build.platforms),
        "formats": ",".join(build.formats),
        "release_type": build.release_type,
        "flags": json.encode(build.flags).decode(),
        "clean_build": "true" if build.clean_build else "false",
    }


async def _place(build: Build, ports: Ports) -> Place | None:
    """Where the source of a build is at GitHub; None where it is not, or nobody lets us in any more."""
    full_name = ports.workflows.repository(build.source_url)
    connection = await ports.log.state(connections, build.workspace_id)
    if full_name is None or connection.installation_id is None:
        return None
    return Place(installation_id=connection.installation_id, full_name=full_name)


def _when_to_look(event: WorkflowDispatched | WorkflowRunTold | WorkflowRunAsked) -> datetime | None:
    return event.next_at if isinstance(event, WorkflowRunAsked) else None


@reacts_to(
    WorkflowDispatched,
    WorkflowRunTold,
    WorkflowRunAsked,
    name="follow-workflow",
    due=_when_to_look,
    queue=WORKFLOWS,
    gives_up=_give_up_workflow,
)
async def follow_workflow(recorded: Recorded, ports: Ports) -> None:
    """Ask GitHub how the run stands, also when a webhook says so: what is believed is what GitHub answers."""
    event = recorded.event
    assert isinstance(event, WorkflowDispatched | WorkflowRunTold | WorkflowRunAsked)
    build_id, context = event.build_id, recorded.context()
    build = await ports.log.state(builds, build_id)
    if build.is_over:
        # It may have been cancelled while GitHub was being asked.
        if isinstance(event, WorkflowDispatched):
            await _end_run(build_id, build, ports)
        return
    try:
        if await _follow(build_id, build, ports, context):
            return
    except (JobIsNotYours, JobIsOver, BuildIsOver):
        return
    except NotDone as no:
        await ports.execute(FailBuild(build_id=build_id, error_code=no.code, error_message=str(no)), context)
        return
    if not isinstance(event, WorkflowRunTold):
        asks = event.asks + 1 if isinstance(event, WorkflowRunAsked) else 1
        wait = timedelta(seconds=ports.settings.workflow_poll_seconds * WAIT_FACTOR ** min(asks - 1, 30))
        await ports.execute(NoteRunAsked(build_id=build_id, asks=asks, wait=min(wait, WAIT_MAX)), context)


async def _follow(build_id: str, build: Build, ports: Ports, context: Context) -> bool:
    """Write down how the run of a build stands, and whether it is over; raises NotDone where it came to nothing."""
    place, run = await _place(build, ports), build.workflow_run
    if place is None or run is None:
        raise NotDone("github_not_connected", NOT_CONNECTED)
    run_id = run.run_id or await _found(build_id, build, place, ports, context)
    look = await ports.workflows.look(place, run_id) if run_id else RunLook(status="queued")
    if look.status in ("running", "success"):
        await _begin(build_id, build, ports, context)
    match look.status:
        case "queued":
            if ports.now() >= run.begins_by:
                raise NotDone("run_never_started", NEVER_STARTED)
        case "running":
            for platform in build.platforms:
                await ports.jobs.note(build_id, platform, FENCE, look.step, look.progress)
        case "success":
            await _take_plug_ins(build_id, build, place, run_id, ports, context)
        case "cancelled":
            await ports.execute(CancelBuild(build_id=build_id, workspace_id=build.workspace_id), context)
        case "failed":
            failure = await ports.workflows.failure(place, run_id, look.conclusion)
            await _keep_log(build_id, build, failure.log, ports)
            raise NotDone(failure.code, failure.sentence)
    return look.status not in ("queued", "running")


async def _found(build_id: str, build: Build, place: Place, ports: Ports, context: Context) -> int:
    """The run of a build whose dispatch did not say which it has become; 0 while it is not to be seen."""
    run = await ports.workflows.find(place, build.workflow, build_id)
    if run is None:
        return 0
    await ports.execute(NoteRun(build_id=build_id, run_id=run.run_id, run_url=run.url), context)
    return run.run_id


async def _begin(build_id: str, build: Build, ports: Ports, context: Context) -> None:
    within = timedelta(seconds=ports.settings.build_seconds_max)
    for platform in build.platforms:
        if not build.run(platform).started:
            wish = StartBuild(build_id=build_id, platform=platform, fence=FENCE, ends_within=within)
            await ports.execute(wish, context)


async def _keep_log(build_id: str, build: Build, printed: bytes, ports: Ports) -> None:
    """What the job that failed has printed is the log of the build, once."""
    platform = build.platforms[0]
    if not printed or any(row.log_bytes for row in await ports.jobs.of(build_id)):
        return
    kept = printed[: min(LOG_BYTES_MAX, ports.settings.build_log_bytes_max)]
    key = keys.log_chunk(build.workspace_id, build_id, platform, FENCE, 0, kept)
    await ports.blobs.put_bytes(key, kept, content_type="text/plain")
    await ports.jobs.add_chunk(build_id, platform, FENCE, Chunk(start=0, size=len(kept), object_key=key))


async def _take_plug_ins(
    build_id: str, build: Build, place: Place, run_id: int, ports: Ports, context: Context
) -> None:
    """What a run has left counts as if a runner had sent it: every plug-in, or the build has failed."""
    with tempfile.TemporaryDirectory(prefix="ledgerline-") as directory:
        found = await ports.workflows.plug_ins(place, run_id, Path(directory))
        wanted = build.wanted
        taken = [each for each in found if each.platform in wanted and _is_wanted(each, wanted[each.platform])]
        for platform, formats in wanted.items():
            there = {each.format for each in taken if each.platform == platform}
            if missing := [each for each in formats if each not in there]:
                raise _nothing_came(platform, ", ".join(missing), found)
            if not there:
                raise _nothing_came(platform, "any that is known", found)
        for each in taken:
            await _store(build_id, build, each, ports, context)
    for platform in build.platforms:
        await ports.execute(CompleteBuild(build_id=build_id, platform=platform, fence=FENCE), context)


def _is_wanted(plug_in: PlugIn, formats: tuple[Format, ...]) -> bool:
    return not formats or plug_in.format in formats


def _nothing_came(platform: Platform, formats: str, found: Sequence[PlugIn]) -> NotDone:
    instead = sorted({f"{each.file_name} ({each.format}, {each.platform})" for each in found})[:FOUND_INSTEAD_MAX]
    said = f"Found instead: {', '.join(instead)}." if instead else "No plug-in was found in any of them."
    return NotDone(
        "no_artifacts", f"No artifact of the run has anything for {platform} in the format {formats}. {said}"
    )


async def _store(build_id: str, build: Build, plug_in: PlugIn, ports: Ports, context: Context) -> None:
    artifact_id = derived_id("artifact", build_id, plug_in.platform, str(FENCE), plug_in.file_name, plug_in.sha256)
    key = keys.artifact(build.workspace_id, build_id, artifact_id, plug_in.file_name)
    if artifact_id in build.artifacts:
        return
    await ports.blobs.put_stream(key, pieces(plug_in.path), content_type=plug_in.content_type, size_max=plug_in.size)
    stored = StoreArtifact(
        build_id=build_id,
        artifact_id=artifact_id,
        platform=plug_in.platform,
        fence=FENCE,
        format=plug_in.format,
        file_name=plug_in.file_name,
        file_size=plug_in.size,
        checksum_sha256=plug_in.sha256,
        content_type=plug_in.content_type,
        object_key=key,
        validation_detail="what comes from GitHub is not loaded here",
    )
    await ports.execute(stored, context)


async def _run_goes_on(recorded: Recorded, ports: Ports, problem: str) -> None:
    del ports
    build_id = getattr(recorded.event, "build_id")  # noqa: B009 - every event of a build has it
    log.warning("workflow.not_cancelled", build_id=build_id, problem=problem)


@reacts_to(BuildCancelled, BuildFailed, name="cancel-workflow", queue=WORKFLOWS, gives_up=_run_goes_on)
async def cancel_workflow(recorded: Recorded, ports: Ports) -> None:
    """What nobody waits for any more is ended at GitHub."""
    event = recorded.event
    assert isinstance(event, BuildCancelled | BuildFailed)
    await _end_run(event.build_id, await ports.log.state(builds, event.build_id), ports)


async def _end_run(build_id: str, build: Build, ports: Ports) -> None:
    place = await _place(build, ports) if build.workflow_run is not None else None
    if place is None or build.workflow_run is None:
        return
    try:
        run_id = build.workflow_run.run_id
        if not run_id:
            found = await ports.workflows.find(place, build.workflow, build_id)
            if found is None:
                raise NotNow("GitHub does not show the run yet.")
            run_id = found.run_id
        await ports.workflows.cancel(place, run_id)
    except NotDone:
        return
