"""What follows from builds: they wait for runners, stop waiting, and end when nothing comes of them."""

from __future__ import annotations

from datetime import timedelta

from commands.builds.builds import CancelBuild, FailBuild, LoseBuild, QueueBuild, SourceBuild
from commands.builds.ports import Ports
from commands.kernel import Queue, reacts_to
from domain.builds import keys
from domain.builds.builds import (
    BuildAsked,
    BuildCancelled,
    BuildClaimed,
    BuildCompleted,
    BuildFailed,
    BuildIsOver,
    BuildLost,
    BuildSourced,
    BuildStarted,
    BuildSucceeded,
    builds,
)
from domain.builds.secrets import SecretRemoved, SecretSet
from domain.identity.workspaces import WorkspaceForgotten
from domain.ledger import Recorded
from domain.repositories.repositories import RepositoryLinked

BUILDS = Queue("builds", concurrency=16, timeout=120.0)
#: What holds for claims and beginnings that do not say until when.
START, TOTAL = timedelta(seconds=120), timedelta(seconds=7500)


@reacts_to(BuildAsked, BuildSourced, name="queue-build", queue=BUILDS)
async def queue_build(recorded: Recorded, ports: Ports) -> None:
    """Runners can see a build that has a source; without one it waits until its project is linked to one."""
    event = recorded.event
    assert isinstance(event, BuildAsked | BuildSourced)
    build = await ports.log.state(builds, event.build_id)
    if build.is_over:
        return
    ready = bool(build.source_url)
    await ports.jobs.put(
        event.build_id, build.project_id, build.workspace_id, build.platforms, build.formats, ready=ready
    )
    if ready:
        await ports.execute(QueueBuild(build_id=event.build_id), recorded.context())
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


@reacts_to(
    BuildStarted,
    name="time-out-build",
    due=lambda event: event.ends_by or event.started_at + TOTAL,
    queue=BUILDS,
)
async def time_out_build(recorded: Recorded, ports: Ports) -> None:
    """A build has an end, whatever became of its runners."""
    event = recorded.event
    assert isinstance(event, BuildStarted)
    why = "The build took longer than it may, and its runner says nothing."
    await ports.execute(FailBuild(build_id=event.build_id, error_code="timeout", error_message=why), recorded.context())


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
    """What runs is stopped, and what lies in the object store goes."""
    event = recorded.event
    assert isinstance(event, WorkspaceForgotten)
    for build_id in await ports.jobs.forget(event.workspace_id):
        try:
            wish = CancelBuild(build_id=build_id, workspace_id=event.workspace_id, because="forgotten")
            await ports.execute(wish, recorded.context())
        except BuildIsOver:
            continue
    async for stored in ports.blobs.list(keys.of_workspace(event.workspace_id)):
        await ports.blobs.delete(stored.key)
