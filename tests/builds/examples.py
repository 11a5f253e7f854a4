"""One ordinary example of every command of builds, runners and repositories."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from commands.builds.builds import (
    AskForBuild,
    CancelBuild,
    ClaimBuild,
    CompleteBuild,
    FailBuild,
    LinkArtifact,
    LoseBuild,
    NoteSource,
    QueueBuild,
    SourceBuild,
    StartBuild,
    StoreArtifact,
)
from commands.builds.runners import RegisterRunner, RemoveRunner
from commands.builds.secrets import RemoveSecret, SetSecret
from commands.builds.workflows import HearRun, NoteDispatch, NoteRun, NoteRunAsked
from commands.repositories.connections import ConnectGithub, DisconnectGithub, NoteInstallationGone
from commands.repositories.repositories import CreateLinkedProject, LinkRepository, UnlinkRepository
from commands.studio.projects import CreateProject
from tests.examples import Example

project = CreateProject(project_id="project-1", workspace_id="w1", name="Warm Tube")
linked = LinkRepository(
    project_id="project-1",
    workspace_id="w1",
    repo_full_name="ada/warm-tube",
    source_repo_url="https://github.com/ada/warm-tube",
    branch="main",
)
created_with_source = CreateLinkedProject(
    project_id="project-1",
    workspace_id="w1",
    name="Warm Tube",
    repo_full_name=linked.repo_full_name,
    source_repo_url=linked.source_repo_url,
    branch="main",
)
asked = AskForBuild(
    build_id="build-1",
    workspace_id="w1",
    project_id="project-1",
    platforms=("linux",),
    formats=("vst3", "clap"),
    flags={"enableActivationKeys": True},
)
queued = QueueBuild(build_id="build-1")
claimed = ClaimBuild(build_id="build-1", platform="linux", runner_id="runner-1", fence=1, isolation="strong")
started = StartBuild(build_id="build-1", platform="linux", fence=1)
sourced = NoteSource(
    build_id="build-1", platform="linux", fence=1, commit_sha="c" * 40, tags=("v2.0.0",), version_file="2.0.0"
)
stored = StoreArtifact(
    build_id="build-1",
    artifact_id="artifact-1",
    platform="linux",
    fence=1,
    format="clap",
    file_name="Warm Tube.clap",
    file_size=5_242_880,
    checksum_sha256="ab" * 32,
    content_type="application/octet-stream",
    object_key="builds/w1/build-1/artifact-1/Warm Tube.clap",
)
completed = CompleteBuild(build_id="build-1", platform="linux", fence=1)
running = [project, linked, asked, queued, claimed, started]
registered = RegisterRunner(
    runner_id="runner-1",
    workspace_id="w1",
    name="bench",
    platforms=("linux",),
    formats=("vst3", "clap"),
    isolation="strong",
)

secret = SetSecret(project_id="project-1", workspace_id="w1", name="SIGNING_PASSWORD", secret_id="secret-2")
connected = ConnectGithub(workspace_id="w1", installation_id=7, account_login="ada", account_type="User")
by_github = replace(project, workflow="build.yml")
dispatched = NoteDispatch(build_id="build-1", begins_within=timedelta(hours=1))
found = NoteRun(build_id="build-1", run_id=30433642, run_url="https://github.com/ada/warm-tube/actions/runs/30433642")
at_github = [by_github, linked, connected, asked, replace(claimed, runner_id="github", isolation="github"), dispatched]

EXAMPLES = (
    Example(created_with_source),
    Example(connected),
    Example(DisconnectGithub(workspace_id="w1"), [connected]),
    Example(NoteInstallationGone(installation_id="7"), [connected]),
    # Linked while a build waits for it.
    Example(linked, [project, asked]),
    Example(UnlinkRepository(project_id="project-1", workspace_id="w1"), [project, linked]),
    # A push, which takes the place of the one before it.
    Example(
        replace(asked, build_id="build-2", trigger="push", ref="main", pushed_at=2),
        [project, linked, replace(asked, trigger="push", ref="main", pushed_at=1)],
    ),
    Example(SourceBuild(build_id="build-1"), [project, asked, linked]),
    Example(queued, [project, linked, asked]),
    Example(claimed, [project, linked, asked, queued]),
    Example(LoseBuild(build_id="build-1", platform="linux", fence=1), [project, linked, asked, queued, claimed]),
    Example(started, [project, linked, asked, queued, claimed]),
    Example(sourced, running),
    Example(stored, running),
    Example(completed, [*running, stored]),
    Example(FailBuild(build_id="build-1", error_code="step_failed", error_message="gain.cpp:1:1: error: x"), running),
    Example(CancelBuild(build_id="build-1", workspace_id="w1"), [project, linked, asked, queued]),
    Example(
        LinkArtifact(link_id="link-1", artifact_id="artifact-1", build_id="build-1", workspace_id="w1"),
        [*running, stored],
    ),
    # While GitHub runs it.
    Example(dispatched, at_github[:-1]),
    Example(found, at_github),
    Example(HearRun(build_id="build-1", workspace_id="w1", run_id=30433642, status="completed"), [*at_github, found]),
    Example(NoteRunAsked(build_id="build-1", asks=1, wait=timedelta(seconds=10)), [*at_github, found]),
    # In place of another, which goes.
    Example(secret, [project, replace(secret, secret_id="secret-1")]),
    Example(RemoveSecret(project_id="project-1", workspace_id="w1", name="SIGNING_PASSWORD"), [project, secret]),
    Example(registered),
    Example(RemoveRunner(runner_id="runner-1", workspace_id="w1"), [registered]),
)

#: What reactions have more to do after.
FURTHER = (
    Example(asked, [by_github, linked, connected]),
    Example(CancelBuild(build_id="build-1", workspace_id="w1"), [*at_github, found]),
)
