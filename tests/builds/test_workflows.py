"""Builds that GitHub makes, against one that is played here: run once, followed, ended, and what they leave."""

from __future__ import annotations

import hashlib
import io
import stat
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec.structs import replace

from adapters.builds.bundles import RATIO_FROM_BYTES, Unpacking, plug_ins
from adapters.builds.workflows import GithubWorkflows
from adapters.github.app import GithubApp
from adapters.web.http import Outbound
from commands.builds.builds import CancelBuild
from commands.builds.ports import Chunk, JobRow, NotDone, NotNow, Workflows
from commands.builds.ports import Jobs as BuildJobs
from commands.builds.workflows import HearRun
from commands.kernel import REACTIONS, Command
from commands.repositories.connections import ConnectGithub, DisconnectGithub
from commands.repositories.repositories import LinkRepository
from commands.studio.projects import ChangeProject, CreateProject
from domain.builds.builds import Build, BuildFailed, BuildStored, NoSuchBuild, builds
from domain.builds.workflows import RunStatus, WorkflowRunTold
from domain.discovery import modules
from domain.ledger import Recorded
from domain.repositories.settings import Github
from projections.builds.builds import BuildDocument, build_documents
from tests.builds.examples import asked
from tests.builds.little_actions import INPUTS, Run, zipped
from tests.builds.little_github import LittleGithub
from tests.runner.test_parts import LIBRARY, PROGRAM
from tests.scene import NOON, Scene

modules("commands")

WINDOWS = b"MZ" + bytes(62)
MINE = ("queue-build", "source-builds", "dispatch-workflow", "follow-workflow", "cancel-workflow", "lose-build",
        "release-build", "time-out-build", "close-build")  # fmt: skip


class Jobs:
    """Where jobs wait, in memory."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], JobRow] = {}
        self.logs: list[Chunk] = []

    def _change(self, build_id: str, platform: str | None = None, **changed: Any) -> None:
        for key, row in self.rows.items():
            if key[0] == build_id and platform in (None, key[1]):
                self.rows[key] = replace(row, **changed)

    async def put(
        self, build_id: str, _: str, workspace_id: str, formats: Mapping[str, Sequence[str]], *, ready: bool
    ) -> None:
        for each in formats:
            row = JobRow(
                build_id=build_id, platform=each, workspace_id=workspace_id, state="ready" if ready else "waiting",
                runner_id="", fence=0, step="", progress=0, log_bytes=0,
            )  # fmt: skip
            self.rows.setdefault((build_id, each), row)

    async def assign(self, build_id: str, holder: str, fence: int) -> None:
        self._change(build_id, state="claimed", runner_id=holder, fence=fence)

    async def note(self, build_id: str, platform: str, fence: int, step: str, progress: int) -> bool:
        self._change(build_id, platform, step=step, progress=progress)
        return fence == 1

    async def close(self, build_id: str, platform: str | None = None) -> None:
        self._change(build_id, platform, state="over")

    async def release(self, build_id: str, platform: str, fence: int) -> None:
        self._change(build_id, platform, state="ready")

    async def of(self, build_id: str) -> Sequence[JobRow]:
        return [row for key, row in self.rows.items() if key[0] == build_id]

    async def add_chunk(self, build_id: str, platform: str, fence: int, chunk: Chunk) -> int:
        self._change(build_id, platform, log_bytes=chunk.size)
        self.logs.append(chunk)
        return chunk.size

    async def waiting_for_source(self, project_id: str) -> Sequence[str]:
        return [key[0] for key, row in self.rows.items() if row.state == "waiting"]


@dataclass
class Studio:
    """A service in memory whose one project GitHub builds, and its clock."""

    github: LittleGithub
    scene: Scene
    jobs: Jobs = field(default_factory=Jobs)
    waiting: list[tuple[datetime, str, Recorded]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _followed: int = 0

    async def settle(self) -> None:
        """Everything has followed that follows by now; what fails is tried again a little later."""
        while True:
            for recorded in self.scene.log.all[self._followed :]:
                for name in MINE:
                    if REACTIONS[name].concerns(recorded.event):
                        due = REACTIONS[name].due(recorded.event) or self.scene.now
                        self.waiting.append((due, name, recorded))
            self._followed = len(self.scene.log.all)
            due_now = [each for each in self.waiting if each[0] <= self.scene.now]
            if not due_now:
                return
            self.waiting.remove(due_now[0])
            await self._do(*due_now[0])

    async def _do(self, _: datetime, name: str, recorded: Recorded) -> None:
        reaction = REACTIONS[name]
        try:
            await reaction.handler(recorded, await self.scene.ports(reaction.ports))
        except NotNow as problem:
            self.problems.append(str(problem))
            self.waiting.append((self.scene.now + timedelta(seconds=1), name, recorded))

    async def later(self, seconds: float) -> None:
        """Time passes, and what has become due is done."""
        self.scene.later(seconds=seconds)
        await self.settle()

    async def wish(self, *wishes: Command) -> None:
        for each in wishes:
            await self.scene.when(each)
        await self.settle()

    async def hears(self, run: Run, status: RunStatus) -> None:
        """A webhook says so."""
        await self.wish(HearRun(build_id="build-1", workspace_id="w1", run_id=run.id, status=status))

    @property
    def build(self) -> Build:
        return builds.fold(
            [each.event for each in self.scene.log.all if getattr(each.event, "build_id", "") == "build-1"]
        )

    def status(self) -> str:
        return self.build.status

    @property
    def document(self) -> BuildDocument:
        found = build_documents.fold("build-1", [each.event for each in self.scene.log.all])
        assert found is not None
        return found

    @property
    def run(self) -> Run:
        return self.github.actions.run_of("build-1")

    async def kept(self, key: str) -> bytes:
        async with self.scene.blobs.fetch(key) as path:
            return path.read_bytes()

    def stored(self) -> dict[tuple[str, str], BuildStored]:
        events = [each.event for each in self.scene.log.all if isinstance(each.event, BuildStored)]
        return {(each.platform, each.file_name): each for each in events}

    @property
    def failure(self) -> tuple[str, str]:
        event = self.scene.last(BuildFailed).event
        assert isinstance(event, BuildFailed)
        return event.error_code, event.error_message


project = CreateProject(
    project_id="project-1",
    workspace_id="w1",
    name="Warm Tube",
    platforms=("linux", "windows"),
    workflow="build.yml",
)
linked = LinkRepository(
    project_id="project-1",
    workspace_id="w1",
    repo_full_name="ada/my-plugin",
    source_repo_url="https://github.com/ada/my-plugin",
)
connected = ConnectGithub(workspace_id="w1", installation_id=7, account_login="ada", account_type="User")
wanted = replace(asked, platforms=("linux", "windows"), formats=("vst3", "clap"), flags={"enableDebugMode": True})


@pytest.fixture(scope="module")
def github() -> Iterator[LittleGithub]:
    little = LittleGithub()
    yield little
    little.close()


@pytest.fixture
async def studio(github: LittleGithub) -> AsyncIterator[Studio]:
    """A project of ada's that GitHub builds, and nothing asked for yet."""
    github.forget_runs()
    settings = github.settings() | {"github_url": Github().github_url}

    def seconds() -> float:
        return (scene.now - NOON).total_seconds()

    app = GithubApp(Github(**settings), seconds)
    web = Outbound(allow=["127.0.0.1"])
    scene = Scene(context=replace(Scene().context, workspace_id="w1"), settings={"workflow_poll_seconds": 10.0})
    made = Studio(github, scene)
    scene.more = {BuildJobs: made.jobs, Workflows: GithubWorkflows(app, web, 1 << 24)}
    await made.wish(project, linked, connected)
    try:
        yield made
    finally:
        await app.close()
        await web.close()


#: What a run leaves that has built for Linux and Windows: folders without permissions, one that lost its own name.
LEFT = {
    "Tube.vst3": zipped({"Contents/x86_64-linux/Tube.so": LIBRARY, "Contents/Resources/moduleinfo.json": b"{}"}),
    "linux": zipped({"out/Tube.clap": LIBRARY, "out/Tube": PROGRAM, "out/notes.txt": b"words"}),
    "windows": zipped({"Tube.vst3": WINDOWS, "Tube.clap": WINDOWS, "Tube.exe": WINDOWS}),
}


async def test_a_workflow_is_run_followed_and_what_it_leaves_is_kept(studio: Studio) -> None:
    await studio.wish(wanted)

    run, build = studio.run, studio.build
    assert (build.status, run.ref) == ("queued", "main")
    assert run.inputs == {
        "build_id": "build-1",
        "commit_sha": "a" * 40,
        "version_number": "0.0.1",
        "build_number": "1",
        "platforms": "linux,windows",
        "formats": "vst3,clap",
        "release_type": "patch",
        "flags": '{"enableDebugMode":true}',
        "clean_build": "false",
    }
    assert studio.document.github_run_url == run.url
    assert studio.document.isolation == {"linux": "github", "windows": "github"}

    run.runs("linux", ("Set up job", "completed"), ("Build", "in_progress"), ("Upload", "queued"))
    await studio.later(10)
    assert studio.status() == "running"
    assert {(row.step, row.progress) for row in studio.jobs.rows.values()} == {("linux: Build", 33)}

    run.succeeds(**LEFT)
    await studio.later(15)
    assert studio.status() == "success", studio.failure
    stored = studio.stored()
    assert set(stored) == {
        ("linux", "Tube.vst3"), ("linux", "Tube.clap"), ("windows", "Tube.vst3"), ("windows", "Tube.clap"),
    }  # fmt: skip
    for each in stored.values():
        data = await studio.kept(each.object_key)
        assert (len(data), each.checksum_sha256) == (each.file_size, hashlib.sha256(data).hexdigest())
    bundle = await studio.kept(stored["linux", "Tube.vst3"].object_key)
    with zipfile.ZipFile(io.BytesIO(bundle)) as opened:
        modes = {each.filename: stat.filemode(each.external_attr >> 16) for each in opened.infolist()}
    assert modes["Tube.vst3/Contents/x86_64-linux/Tube.so"] == "-rwxr-xr-x"
    assert {row.state for row in studio.jobs.rows.values()} == {"over"}
    before = len(studio.scene.log.all)
    await studio.later(3600)
    assert len(studio.scene.log.all) == before, "nobody is asked any more"


async def test_what_comes_out_is_all_that_was_asked_for_or_the_build_has_failed(studio: Studio) -> None:
    await studio.wish(wanted)
    studio.run.succeeds(linux=LEFT["linux"], windows=LEFT["windows"])
    await studio.later(10)
    code, why = studio.failure
    assert code == "no_artifacts"
    assert why == (
        "No artifact of the run has anything for linux in the format vst3. Found instead: Tube (standalone, linux), "
        "Tube.clap (clap, linux), Tube.clap (clap, windows), Tube.exe (standalone, windows), Tube.vst3 (vst3, windows)."
    )
    assert studio.stored() == {}


@pytest.mark.parametrize(("named", "old"), [(True, 422), (True, 400), (False, 422)])
async def test_a_server_that_does_not_say_which_run_it_is_is_asked_for_the_one_of_this_name(
    studio: Studio, named: bool, old: int
) -> None:
    studio.github.actions.old, studio.github.actions.named = old, named
    await studio.wish(wanted)
    assert studio.document.github_run_id == (studio.run.id if named else None)
    studio.run.succeeds(**LEFT)
    await studio.later(10)
    if named:
        assert studio.status() == "success"
        return
    # Nothing in its name says whose it is: nobody can know that it is the run of this build.
    for _ in range(70):
        await studio.later(60)
    assert studio.failure[0] == "run_never_started"


async def test_a_run_is_asked_for_once_also_when_nobody_lives_to_write_it_down(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatch = studio.scene.more[Workflows].dispatch

    async def and_die(*asked: Any) -> None:
        await dispatch(*asked)
        raise NotNow("Nobody is left to write down what became of it.")

    with monkeypatch.context() as patch:
        patch.setattr(studio.scene.more[Workflows], "dispatch", and_die)
        await studio.wish(wanted)
    assert studio.build.workflow_run is None
    await studio.later(1)
    [run] = studio.github.actions.runs
    assert studio.document.github_run_id == run.id


async def test_a_run_that_never_starts_is_given_up_and_ended(studio: Studio) -> None:
    await studio.wish(wanted)
    for _ in range(59):
        await studio.later(60)
    assert studio.status() == "queued"
    asks = [each for each in studio.github.asked if each[1].endswith(f"/runs/{studio.run.id}")]
    assert 60 <= len(asks) <= 75, "ever more seldom, down to once a minute"
    await studio.later(120)
    assert studio.failure[0] == "run_never_started"
    assert "no machine there has begun it" in studio.failure[1]
    assert (studio.run.status, studio.run.conclusion) == ("completed", "cancelled")


async def test_what_a_webhook_says_is_looked_up_once_and_only_forwards(studio: Studio) -> None:
    await studio.wish(wanted)
    run = studio.run
    # What it says is not believed: GitHub still says that it waits.
    await studio.hears(run, "completed")
    assert studio.status() == "queued"
    for late in ("requested", "in_progress", "completed"):
        await studio.hears(run, late)
    assert len([each for each in studio.scene.log.all if isinstance(each.event, WorkflowRunTold)]) == 1
    run.succeeds(**LEFT)
    await studio.later(10)
    assert studio.status() == "success"
    await studio.hears(run, "completed")
    other = HearRun(build_id="build-1", workspace_id="w2", run_id=run.id, status="completed")
    await studio.scene.refused(other, NoSuchBuild)


async def test_a_webhook_brings_what_would_otherwise_be_asked_for_later(studio: Studio) -> None:
    await studio.wish(wanted)
    await studio.wish(HearRun(build_id="build-1", workspace_id="w1", run_id=1, status="completed"))
    assert not [each for each in studio.scene.log.all if isinstance(each.event, WorkflowRunTold)], "of another run"
    studio.run.runs("linux", ("Build", "in_progress"))
    await studio.hears(studio.run, "in_progress")
    assert studio.status() == "running"
    studio.run.succeeds(**LEFT)
    await studio.hears(studio.run, "completed")
    assert studio.status() == "success"


async def test_a_build_that_is_cancelled_ends_at_github_and_the_other_way_round(studio: Studio) -> None:
    cancel = CancelBuild(build_id="build-1", workspace_id="w1")
    await studio.wish(replace(wanted, build_id="build-0"), replace(cancel, build_id="build-0"))
    assert studio.github.actions.runs == [], "nobody wanted it any more"
    await studio.wish(wanted)
    await studio.wish(cancel)
    assert (studio.run.status, studio.run.conclusion) == ("completed", "cancelled")
    await studio.wish(replace(wanted, build_id="build-2"))
    run = studio.github.actions.run_of("build-2")
    run.status, run.conclusion = "completed", "cancelled"
    await studio.later(10)
    state = await studio.scene.log.state(builds, "build-2")
    assert state.status == "cancelled"


@pytest.mark.parametrize("old", [True, False])
async def test_a_build_that_is_cancelled_while_github_is_asked_for_it_is_ended_there(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    studio.github.actions.old = 422 * old
    dispatch = studio.scene.more[Workflows].dispatch
    # Whoever follows the cancelling was quicker, and found nothing that was running.
    monkeypatch.setattr(sys.modules[__name__], "MINE", tuple(each for each in MINE if each != "cancel-workflow"))

    async def meanwhile(*asked: Any) -> Any:
        await studio.scene.when(CancelBuild(build_id="build-1", workspace_id="w1"))
        return await dispatch(*asked)

    monkeypatch.setattr(studio.scene.more[Workflows], "dispatch", meanwhile)
    await studio.wish(wanted)
    assert (studio.status(), studio.run.conclusion) == ("cancelled", "cancelled")


@pytest.mark.parametrize(
    "conclusion", ["failure", "timed_out", "startup_failure", "skipped", "action_required", "stale"]
)
async def test_a_failure_is_told_in_words_that_people_understand(studio: Studio, conclusion: str) -> None:
    await studio.wish(wanted)
    moments = ("2026-11-22T12:00:01.1234567Z ", "2026-11-22T12:00:02.1234567Z ")
    printed = f"{moments[0]}Run cmake\n{moments[1]}src/gain.cpp:12:3: error: no member named 'x'"
    if conclusion in ("failure", "timed_out"):
        studio.run.fails("linux", "Build", printed)
    studio.run.status, studio.run.conclusion = "completed", conclusion
    await studio.later(10)
    code, why = studio.failure
    assert code == f"run_{conclusion}"
    expected = {
        "failure": "src/gain.cpp:12:3: error: no member named 'x' (the step “Build” of the job “linux”)",
        "timed_out": "src/gain.cpp:12:3: error: no member named 'x' (the step “Build” of the job “linux”)",
        "startup_failure": "GitHub could not start the run: look for mistakes in the workflow's file.",
        "skipped": "GitHub has skipped the run: the conditions of its workflow let no job run.",
        "action_required": "The run needs an approval at GitHub before it may go on.",
        "stale": "GitHub has given the run up, because nothing was heard of it for too long.",
    }
    assert why == expected[conclusion]
    if conclusion == "failure":
        [chunk] = studio.jobs.logs
        assert (
            await studio.kept(chunk.object_key)
        ).decode() == "Run cmake\nsrc/gain.cpp:12:3: error: no member named 'x'"


async def test_what_github_refuses_fails_the_build_with_what_to_do(studio: Studio) -> None:
    actions = studio.github.actions
    actions.workflows = {"build.yml": frozenset({"build_id"})}
    await studio.wish(wanted)
    assert studio.failure[0] == "workflow_refused"
    assert 'Unexpected inputs provided: ["build_number"' in studio.failure[1]

    async def refused(number: int, **changed: Any) -> tuple[str, str]:
        await studio.wish(replace(wanted, build_id=f"build-{number}", **changed))
        return studio.failure

    actions.workflows = {}
    assert await refused(2) == (
        "workflow_not_found", "There is no workflow build.yml in ada/my-plugin that our app may see."
    )  # fmt: skip
    assert await refused(3, ref="gone") == (
        "not_at_github", "GitHub shows our app no branch or tag gone in ada/my-plugin."
    )  # fmt: skip
    actions.workflows = {"build.yml": INPUTS}
    for number, said in enumerate(
        (
            "Workflow does not have 'workflow_dispatch' trigger",
            "Cannot trigger a 'workflow_dispatch' on a disabled workflow",
        ),
        5,
    ):
        actions.not_dispatched = {"build.yml": said}
        assert await refused(number) == ("workflow_refused", f"GitHub does not run build.yml like that: {said}.")
    actions.not_dispatched, actions.moved = {}, True
    assert await refused(7) == (
        "not_at_github", "ada/my-plugin is called otherwise at GitHub by now. Link the repository again."
    )  # fmt: skip
    actions.moved = False
    await studio.wish(DisconnectGithub(workspace_id="w1"))
    assert (await refused(4))[0] == "github_not_connected"
    assert actions.runs == []


async def test_an_app_that_may_not_run_workflows_is_told_which_permission_it_lacks(studio: Studio) -> None:
    studio.github.actions.granted = False
    await studio.wish(wanted)
    code, why = studio.failure
    assert (code, "Actions, read and write" in why) == ("workflow_not_allowed", True)


async def test_an_app_that_github_does_not_know_is_its_operators_and_the_build_waits(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = rsa.generate_private_key(65537, 2048)
    with monkeypatch.context() as patch:
        patch.setattr(studio.github, "key", other)
        await studio.wish(wanted)
        assert studio.status() == "queued"
    assert studio.problems == [
        "GitHub does not accept this service's app. Its operator has to mend the app's id or its private key."
    ]
    await studio.later(1)
    assert studio.run.status == "queued"


SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."


@pytest.mark.parametrize(
    ("status", "message", "headers", "seconds"),
    [
        (403, SECONDARY, {"X-RateLimit-Remaining": "4983"}, 60),
        (429, SECONDARY, {}, 60),
        (403, SECONDARY, {"Retry-After": "90"}, 90),
        (429, "Too many", {"Retry-After": "soon"}, 60),
        (403, "API rate limit exceeded", {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "32503680000"}, 3600),
    ],
    ids=["in-words", "429", "retry-after", "nonsense", "in-the-year-3000"],
)
async def test_github_is_not_asked_again_while_its_limit_holds(
    studio: Studio, status: int, message: str, headers: dict[str, str], seconds: int
) -> None:
    actions = studio.github.actions
    actions.busy, actions.busy_says = 1, (status, message, headers)
    await studio.wish(wanted)

    def questions() -> int:
        return sum(path.startswith("/repos/") for _, path, _ in studio.github.asked)

    asked_before = questions()
    await studio.later(seconds - 1)
    assert (questions(), actions.runs) == (asked_before, [])
    await studio.later(2)
    assert studio.run.status == "queued"
    assert {each[:40] for each in studio.problems} == {"GitHub takes no more questions of our ap"}


async def test_who_asks_too_often_waits(studio: Studio) -> None:
    studio.github.actions.busy = 3
    await studio.wish(wanted)
    assert studio.status() == "queued"
    for _ in range(3):
        await studio.later(1)
    assert [each.startswith("GitHub takes no more questions") for each in studio.problems] == [True] * 3
    [run] = studio.github.actions.runs
    studio.github.actions.busy = 1
    run.succeeds(**LEFT)
    await studio.later(10)
    await studio.later(1)
    assert studio.status() == "success"


async def test_files_that_are_no_zip_files_are_taken_and_what_github_has_thrown_away_is_not(studio: Studio) -> None:
    await studio.wish(replace(wanted, platforms=("linux",), formats=("clap",)))
    studio.run.succeeds(**{"Tube.clap": LIBRARY, "notes.txt": b"words", "old": b"gone"})
    studio.run.unzipped, studio.run.expired = {"Tube.clap", "notes.txt"}, {"old"}
    await studio.later(10)
    assert studio.status() == "success"
    [kept] = studio.stored().values()
    assert (kept.file_name, await studio.kept(kept.object_key)) == ("Tube.clap", LIBRARY)


async def test_the_job_that_failed_is_found_among_hundreds(studio: Studio) -> None:
    await studio.wish(wanted)
    studio.run.fails("the last one", "Build", "src/gain.cpp:12:3: error: no member named 'x'")
    fine = [
        {"id": n, "name": f"job {n}", "status": "completed", "conclusion": "success", "steps": []} for n in range(120)
    ]
    studio.run.jobs = [*fine, *studio.run.jobs]
    await studio.later(10)
    assert "“the last one”" in studio.failure[1]


async def test_the_version_of_a_source_at_github_is_that_of_its_tag_or_file(studio: Studio) -> None:
    actions = studio.github.actions
    actions.version_file = "2.5.0\n" + "what changed\n" * 100
    await studio.wish(wanted)
    assert studio.run.inputs["version_number"] == "2.5.0"
    actions.tags = {"v3.0.0": "b" * 40, "nightly": "b" * 40}
    await studio.wish(replace(wanted, build_id="build-2", ref="next"))
    run = actions.run_of("build-2")
    assert (run.ref, run.inputs["commit_sha"], run.inputs["version_number"]) == ("next", "b" * 40, "3.0.0")
    await studio.wish(replace(wanted, build_id="build-3", ref="refs/tags/v3.0.0"))
    assert actions.run_of("build-3").ref == "v3.0.0"
    await studio.wish(replace(wanted, build_id="build-4", ref="d" * 40))
    run = actions.run_of("build-4")
    assert (run.ref, run.inputs["commit_sha"]) == ("main", "d" * 40)


async def test_a_project_chooses_who_builds_it(studio: Studio) -> None:
    await studio.wish(ChangeProject(project_id="project-1", workspace_id="w1", workflow=""), wanted)
    assert studio.github.actions.runs == []
    assert {row.state for row in studio.jobs.rows.values()} == {"ready"}


async def test_a_build_that_waits_for_its_source_is_run_once_that_is_linked(studio: Studio) -> None:
    await studio.wish(
        replace(project, project_id="project-2"), replace(wanted, project_id="project-2", build_id="build-1")
    )
    assert (studio.status(), studio.github.actions.runs) == ("pending", [])
    await studio.wish(replace(linked, project_id="project-2"))
    assert studio.status() == "queued"
    studio.run.succeeds(**LEFT)
    await studio.later(10)
    assert studio.status() == "success"


async def test_a_source_elsewhere_is_not_built_at_github(studio: Studio) -> None:
    await studio.wish(replace(linked, source_repo_url="https://git.example.org/ada/x"), wanted)
    assert studio.failure[0] == "github_not_connected"


# --- what a run leaves ------------------------------------------------------------------------------------------------


def unpacked(tmp_path: Path, data: bytes, bytes_max: int = 1 << 24) -> Path:
    archive, root = tmp_path / "artifact.zip", tmp_path / "unpacked"
    root.mkdir()
    archive.write_bytes(data)
    Unpacking(root, bytes_max).unpack(archive, "thing")
    return root


def linked_to(target: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        entry = zipfile.ZipInfo("x.vst3/link")
        entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, target)
    return made.getvalue()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"no zip file", "no zip file that can be read"),
        (zipped({"a": b"x" * 99})[:60], "no zip file that can be read"),
        (zipped({"../../escaped": LIBRARY}), "cannot be used"),
        (zipped({"/etc/cron.d/x": LIBRARY}), "cannot be used"),
        (zipped({"C:\\x": LIBRARY}), "cannot be used"),
        (zipped({"a" * 201: LIBRARY}), "cannot be used"),
        (zipped({"/".join("a" * 40): LIBRARY}), "cannot be used"),
        (zipped({"a": b"1", "a/b": b"2"}), "no zip file that can be read"),
        (linked_to("/etc/passwd"), "is a link"),
        (zipped({"zeros": bytes(2 * RATIO_FROM_BYTES)}), "more than 200 times"),
        (zipped({"inner.zip": zipped({"zeros": bytes(2 * RATIO_FROM_BYTES)})}), "more than 200 times"),
    ],
    ids=[
        "no zip", "torn", "climbing", "absolute", "drive", "long", "deep", "file and folder", "link", "bomb",
        "inner bomb",
    ],
)  # fmt: skip
def test_an_artifact_that_is_not_as_it_should_be_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(NotDone, match=why) as refusal:
        unpacked(tmp_path, data)
    assert refusal.value.code == "artifact_refused"
    assert not (tmp_path / "escaped").exists()


def test_artifacts_are_bounded_together(tmp_path: Path) -> None:
    noise = hashlib.shake_128(b"noise").digest(300_000)
    (tmp_path / "root").mkdir()
    (tmp_path / "file").write_bytes(noise)
    unpacking = Unpacking(tmp_path / "root", 500_000)
    unpacking.take(tmp_path / "file", "one", "application/octet-stream")
    with pytest.raises(NotDone, match="more than 500000 bytes"):
        unpacking.take(tmp_path / "file", "two", "application/octet-stream")
    (tmp_path / "file").write_bytes(zipped({"a": b"x" * 99})[:60])
    for kind in ("application/zip", "application/octet-stream"):
        with pytest.raises(NotDone, match="no zip file that can be read"):
            Unpacking(tmp_path / "root", 500_000).take(tmp_path / "file", f"torn as {kind[-3:]}", kind)
    with pytest.raises(NotDone, match="more than 500000 bytes"):
        unpacked(tmp_path, zipped({"a": noise, "b": noise}), bytes_max=500_000)


def test_plug_ins_of_every_platform_are_found_in_what_a_run_leaves(tmp_path: Path) -> None:
    both = {"Both.vst3/Contents/x86_64-linux/Both.so": LIBRARY, "Both.vst3/Contents/x86_64-win/Both.vst3": WINDOWS}
    mac = b"\xcf\xfa\xed\xfe" + bytes(60)
    root = unpacked(
        tmp_path,
        zipped(
            {
                **both,
                "release.zip": zipped({"Tube.clap": LIBRARY}),
                "mac/Tube.component/Contents/MacOS/Tube": mac,
                "mac/Tube.component/Contents/Info.plist": b"<plist/>",
                "words/README.md": b"# Tube",
            }
        ),
    )
    packed = tmp_path / "packed"
    packed.mkdir()
    found = {(each.platform, each.format, each.file_name) for each in plug_ins(root, packed)}
    assert found == {
        ("linux", "vst3", "Both.vst3"), ("windows", "vst3", "Both.vst3"), ("linux", "clap", "Tube.clap"),
        ("macos", "au", "Tube.component"),
    }  # fmt: skip
