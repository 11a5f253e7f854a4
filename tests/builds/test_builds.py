"""Builds as rules: numbers, versions, fences, quotas and ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from adapters.github.app import GithubApp
from adapters.log.memory import MemoryLedger
from api.builds import runners as machines
from api.repositories.repos import Place, place_of
from commands.builds.builds import GRACE, CancelBuild, ClaimBuild, CompleteBuild, FailBuild, LoseBuild, StartBuild
from commands.builds.ports import Jobs
from commands.builds.reactions import forget_builds, queue_build, source_builds, time_out_build
from commands.builds.reclaiming import remove_runners
from commands.builds.runners import RemoveRunner
from commands.kernel import REACTIONS, Command, Execute, execute
from domain.builds.builds import (
    BuildAsked,
    BuildBegun,
    BuildCancelled,
    BuildClaimed,
    BuildCompleted,
    BuildCounted,
    BuildFailed,
    BuildIsOver,
    BuildLost,
    BuildQueued,
    BuildSourced,
    BuildStarted,
    BuildStored,
    BuildSucceeded,
    JobIsNotYours,
    JobIsOver,
    NoSuchBuild,
    QuotaExceeded,
    build_months,
    build_numbers,
    builds,
    month_id,
)
from domain.builds.runners import NoSuchRunner, NotARunner
from domain.builds.runners import runners as machine_streams
from domain.builds.versions import following, of_source
from domain.identity.workspaces import WorkspaceForgotten, workspaces
from domain.ledger import Context, Recorded
from domain.repositories.repositories import RepositoryLinked
from domain.repositories.settings import Github
from domain.studio.projects import AuNeedsMacos, NoSuchProject, ProjectCreated
from tests.builds import examples
from tests.identity import test_reclaiming as reclaiming
from tests.scene import Scene
from tests.spec import CONTEXT, NOW, given

asked = BuildAsked(
    build_id="B",
    workspace_id="w1",
    project_id="P",
    platforms=("linux", "macos"),
    formats=("clap",),
    release_type="patch",
    version_number="0.0.1",
    build_number=1,
    asked_at=NOW,
    source_url="https://github.com/a/b",
)
queued = BuildQueued(build_id="B", queued_at=NOW)
month = BuildCounted(month_id="w1-2026-03", workspace_id="w1", build_id="B", used=1, counted_at=NOW)
counted = ("build-month-w1-2026-03", month)


def claimed(fence: int = 1, runner: str = "R", platform: Any = "linux") -> BuildClaimed:
    return BuildClaimed(
        build_id="B",
        platform=platform,
        runner_id=runner,
        fence=fence,
        isolation="strong",
        claimed_at=NOW,
        begins_by=NOW + timedelta(seconds=120),
    )


def claim(fence: int = 1, runner: str = "R", platform: Any = "linux") -> ClaimBuild:
    return ClaimBuild(build_id="B", platform=platform, runner_id=runner, fence=fence, isolation="strong")


started = BuildStarted(build_id="B", started_at=NOW)


def begun(fence: int = 1, platform: Any = "linux") -> BuildBegun:
    ends_by = NOW + timedelta(seconds=7200) + GRACE
    return BuildBegun(build_id="B", platform=platform, fence=fence, begun_at=NOW, ends_by=ends_by)


def stored(platform: Any = "linux") -> BuildStored:
    return BuildStored(
        build_id="B",
        artifact_id=f"A-{platform}",
        platform=platform,
        format="clap",
        file_name="x.clap",
        file_size=1,
        checksum_sha256="0" * 64,
        content_type="application/octet-stream",
        object_key="k",
        is_signed=False,
        validation="passed",
        validation_detail="",
        stored_at=NOW,
    )


cancel = CancelBuild(build_id="B", workspace_id="w1")


def test_what_github_makes_is_never_given_to_a_runner() -> None:
    there = replace(asked, workflow="build.yml")
    lose = LoseBuild(build_id="B", platform="linux", fence=1)
    given(("build-B", there), ("build-B", queued), ("build-B", claimed())).when(lose).then()


def test_a_project_and_its_source_begin_together_and_once() -> None:
    link = examples.linked
    created = ProjectCreated(project_id=link.project_id, workspace_id="w1", name="Warm Tube", created_at=NOW)
    source = RepositoryLinked(
        project_id=link.project_id,
        workspace_id="w1",
        repo_full_name=link.repo_full_name,
        source_repo_url=link.source_repo_url,
        branch="main",
        linked_at=NOW,
    )
    wish = examples.created_with_source
    given().when(wish).then(created, source)
    given().when(wish, wish).then()


def test_a_runner_claims_under_a_higher_fence_than_all_before() -> None:
    given(asked, queued).when(claim(1)).then(claimed(1))
    given(asked, queued, claimed(1)).when(claim(1)).then()
    given(asked, queued, claimed(2)).when(claim(2, "other")).refused(JobIsNotYours)
    given(asked, queued, claimed(2)).when(claim(1, "other")).refused(JobIsNotYours)
    given(asked, queued, claimed(1)).when(claim(2, "other")).then(claimed(2, "other"))


def test_whoever_lost_its_claim_is_refused() -> None:
    late = StartBuild(build_id="B", platform="linux", fence=1)
    given(asked, queued, claimed(1), claimed(2, "other")).when(late).refused(JobIsNotYours)
    given(asked, queued).when(late).refused(JobIsNotYours)


def test_a_claim_and_a_build_have_the_time_that_the_settings_give_them() -> None:
    soon, late = NOW + timedelta(seconds=7), NOW + timedelta(seconds=11) + GRACE
    given(asked, queued).when(replace(claim(), begins_within=timedelta(seconds=7))).then(
        replace(claimed(), begins_by=soon)
    )
    start = StartBuild(build_id="B", platform="linux", fence=1, ends_within=timedelta(seconds=11))
    given(asked, queued, claimed()).when(start).then(started, replace(begun(), ends_by=late))
    assert REACTIONS["lose-build"].due(replace(claimed(), begins_by=soon)) == soon
    assert REACTIONS["time-out-build"].due(replace(begun(), ends_by=late)) == late


async def test_a_platform_that_waited_for_its_runner_has_all_its_time() -> None:
    scene = Scene(now=NOW, context=CONTEXT, more={Jobs: Queue()})
    linux = scene.given(builds, "B", asked, queued, claimed(), started, begun())
    done = BuildCompleted(build_id="B", platform="linux", completed_at=NOW)
    late = scene.given(builds, "B", stored(), done, claimed(1, platform="macos"), begun(1, platform="macos"))
    scene.given(builds, "B", claimed(2, platform="macos"))
    again = scene.given(builds, "B", begun(2, platform="macos"))

    # Done, and another runner's by now.
    for past in (linux, late):
        await scene.follows(time_out_build, past)
        assert not scene.news
    await scene.follows(time_out_build, again)
    [failed] = scene.news
    assert isinstance(failed, BuildFailed)
    assert (failed.error_code, failed.platform) == ("timeout", "macos")


async def test_one_end_for_all_platforms_is_kept_where_it_was_written_down() -> None:
    scene = Scene(now=NOW, context=CONTEXT, more={Jobs: Queue()})
    old = replace(started, ends_by=NOW + timedelta(hours=1))
    recorded = scene.given(builds, "B", asked, queued, claimed(), old)
    assert REACTIONS["time-out-build"].due(old) == old.ends_by
    assert not time_out_build.concerns(started)

    await scene.follows(time_out_build, recorded)
    assert [type(each) for each in scene.news] == [BuildFailed]


def test_a_build_starts_with_its_first_platform_and_only_once() -> None:
    start = StartBuild(build_id="B", platform="linux", fence=1)
    given(asked, queued, claimed()).when(start).then(started, begun())
    given(asked, queued, claimed(), started, begun()).when(start).then()
    second = StartBuild(build_id="B", platform="macos", fence=1)
    given(asked, queued, claimed(), started, begun(), claimed(platform="macos")).when(second).then(
        begun(platform="macos")
    )


def test_a_claim_that_never_began_is_lost_and_one_that_did_is_not() -> None:
    lose = LoseBuild(build_id="B", platform="linux", fence=1)
    given(asked, queued, claimed()).when(lose).then(BuildLost(build_id="B", platform="linux", fence=1, lost_at=NOW))
    given(asked, queued, claimed(), started, begun()).when(lose).then()
    given(asked, queued, claimed(), claimed(2, "other")).when(lose).then()


def test_the_last_platform_makes_the_build_succeed() -> None:
    past = (asked, queued, claimed(), started, begun(), stored())
    done = BuildCompleted(build_id="B", platform="linux", completed_at=NOW)
    given(*past).when(CompleteBuild(build_id="B", platform="linux", fence=1)).then(done)
    rest = (claimed(platform="macos"), begun(platform="macos"), stored("macos"))
    given(*past, done, *rest).when(CompleteBuild(build_id="B", platform="macos", fence=1)).then(
        BuildCompleted(build_id="B", platform="macos", completed_at=NOW), BuildSucceeded(build_id="B", succeeded_at=NOW)
    )


def test_success_without_an_artifact_is_none() -> None:
    past = (asked, queued, claimed(), started, begun())
    given(*past).when(CompleteBuild(build_id="B", platform="linux", fence=1)).then(
        BuildFailed(
            build_id="B",
            workspace_id="w1",
            error_code="no_artifacts",
            error_message="The runner finished without an artifact.",
            failed_at=NOW,
            platform="linux",
        )
    )


def test_cancelling_gives_back_what_no_runner_had_begun() -> None:
    cancelled = BuildCancelled(build_id="B", cancelled_at=NOW)
    back = replace(month, used=0)
    given(asked, queued, counted).when(cancel).then(cancelled, back)
    given(asked, queued, claimed(), counted).when(cancel).then(cancelled, back)
    given(asked, queued, claimed(), started, begun(), counted).when(cancel).then(cancelled)
    # Begun once, and claimed anew after its lease was over; and by one that said nothing of steps.
    given(asked, queued, claimed(), started, begun(), claimed(2), counted).when(cancel).then(cancelled)
    given(asked, queued, claimed(), stored(), claimed(2), counted).when(cancel).then(cancelled)


def test_what_fails_before_anybody_has_begun_is_given_back() -> None:
    fail = FailBuild(build_id="B", error_code="run_never_started", error_message="No machine.")
    failed = BuildFailed(
        build_id="B", workspace_id="w1", error_code="run_never_started", error_message="No machine.", failed_at=NOW
    )
    back = replace(month, used=0)
    given(asked, queued, claimed(), counted).when(fail).then(failed, back)
    given(asked, queued, claimed(), counted).when(replace(fail, platform="linux", fence=1)).then(
        replace(failed, platform="linux"), back
    )
    given(asked, queued, claimed(), counted).when(fail, fail).then()
    given(asked, queued, claimed(), started, begun(), counted).when(fail).then(failed)
    given(asked, queued, claimed(), stored(), counted).when(fail).then(failed)


def test_what_is_over_is_not_cancelled_claimed_or_failed() -> None:
    over = (asked, queued, claimed(), started, begun(), BuildSucceeded(build_id="B", succeeded_at=NOW))
    given(*over).when(cancel).refused(BuildIsOver)
    given(*over).when(claim(5)).refused(JobIsNotYours)
    fail = FailBuild(build_id="B", error_code="x", error_message="x", platform="linux", fence=1)
    given(*over).when(fail).refused(JobIsOver)
    given(*over).when(replace(fail, fence=None)).then()
    given(asked, BuildCancelled(build_id="B", cancelled_at=NOW)).when(cancel).then()


def test_another_workspaces_build_is_not_there() -> None:
    given(asked, queued).when(replace(cancel, workspace_id="w2")).refused(NoSuchBuild)
    given().when(cancel).refused(NoSuchBuild)


def test_a_build_needs_a_project_of_the_workspace_and_audio_units_need_macos() -> None:
    given().when(examples.asked).refused(NoSuchProject)
    given().when(examples.project, replace(examples.asked, workspace_id="w2")).refused(NoSuchProject)
    given().when(examples.project, replace(examples.asked, formats=("au",))).refused(AuNeedsMacos)


def test_the_month_has_an_end() -> None:
    first = replace(examples.asked, monthly_limit=1)
    given().when(examples.project, first, replace(first, build_id="build-2")).refused(QuotaExceeded, limit=1)


async def test_numbers_never_repeat_and_the_quota_holds_when_many_ask_at_once() -> None:
    ledger = MemoryLedger(lambda: NOW)
    await execute(examples.project, ledger, NOW, CONTEXT)

    async def ask(number: int) -> bool:
        wish = replace(examples.asked, build_id=f"build-{number}", monthly_limit=8)
        for _ in range(20):
            try:
                await execute(wish, ledger, NOW, Context(correlation_id=UUID(int=number), workspace_id="w1"))
            except QuotaExceeded:
                return False
            except Exception as busy:
                if type(busy).__name__ != "TooBusy":
                    raise
            else:
                return True
        raise AssertionError

    accepted = await asyncio.gather(*(ask(number) for number in range(12)))

    assert sum(accepted) == 8
    numbers = [(await ledger.state(builds, f"build-{n}")).build_number for n, done in enumerate(accepted) if done]
    assert sorted(numbers) == list(range(1, 9))
    assert (await ledger.state(build_numbers, "project-1")).build_number == 8
    assert (await ledger.state(build_months, month_id("w1", NOW))).used == 8


@pytest.mark.parametrize(
    ("last", "kind", "expected"),
    [
        ("", "patch", "0.0.1"),
        ("", "major", "1.0.0"),
        ("1.0.0", "patch", "1.0.1"),
        ("1.0.1", "minor", "1.1.0"),
        ("1.4.9", "major", "2.0.0"),
        ("1.0.0", "dev", "1.0.1-dev.1"),
        ("1.0.1-dev.1", "dev", "1.0.1-dev.2"),
        ("1.0.1-dev.2", "release", "1.0.1"),
        ("1.0.1", "release", "1.0.1"),
        ("1.0.1-dev.2", "patch", "1.0.1"),
    ],
)
def test_the_next_version_follows_from_the_last(last: str, kind: Any, expected: str) -> None:
    assert following(last, kind) == expected


def test_the_tag_comes_before_the_file_and_the_file_before_the_last_version() -> None:
    assert of_source(["v2.1.0"], "2.0.0", "patch", 7) == "2.1.0"
    assert of_source(["v1.9.0", "v1.10.0", "nightly", "v1.10.0-rc.1"], None, "patch", 7) == "1.10.0"
    assert of_source(["nightly"], "2.0.0\n", "patch", 7) == "2.0.0"
    assert of_source([], "2.0.0", "dev", 7) == "2.0.0-dev.7"
    assert of_source([], "soon", "patch", 7) is None
    assert of_source([], None, "patch", 7) is None


async def test_a_push_takes_the_place_of_the_one_before_it_in_the_same_append() -> None:
    first = replace(examples.asked, trigger="push", ref="main", pushed_at=5, monthly_limit=1)
    ledger = MemoryLedger(lambda: NOW)
    for wish in (examples.project, examples.linked, first):
        await execute(wish, ledger, NOW, CONTEXT)
    before = await ledger.head()

    # What is cancelled before it has begun counts no longer, so there is room for the new one.
    await execute(replace(first, build_id="build-2"), ledger, NOW, CONTEXT)

    names = [each.name for each in await ledger.page(before, 100) if isinstance(each, Recorded)]
    assert sorted(name.rpartition(".")[2] for name in names) == [
        "BranchBuilt", "BuildAsked", "BuildCancelled", "BuildCounted", "BuildCounted", "BuildNumbered",
    ]  # fmt: skip
    assert (await ledger.state(build_months, month_id("w1", NOW))).used == 1

    await execute(replace(first, build_id="build-3", pushed_at=4), ledger, NOW, CONTEXT)
    await execute(replace(first, build_id="build-4", ref="other", monthly_limit=2), ledger, NOW, CONTEXT)
    states = [(await ledger.state(builds, f"build-{number}")).status for number in (1, 2, 3, 4)]
    assert states == ["cancelled", "pending", "absent", "pending"]


class Queue:
    """Builds that wait for runners, of which none waits for a source yet."""

    async def put(self, *_: object, ready: bool) -> None:
        """Let one wait."""

    async def waiting_for_source(self, project_id: str) -> list[str]:
        """None."""
        del project_id
        return []


class Leaving(Queue):
    """What waits of a workspace that is forgotten, by a process that dies as often as it is told to."""

    def __init__(self, log: MemoryLedger, deaths: int) -> None:
        self._log, self._deaths, self.rows = log, deaths, ["B", "C"]

    async def unfinished(self, workspace_id: str) -> list[str]:
        """All of them."""
        assert workspace_id == "w1"
        return self.rows

    async def forget(self, workspace_id: str) -> None:
        """Whoever is killed after this has forgotten them."""
        self.rows = []
        if self._deaths:
            self._deaths -= 1
            raise InterruptedError


async def test_builds_of_a_workspace_that_is_forgotten_end_also_when_whoever_ends_them_is_killed() -> None:
    scene = Scene(now=NOW, context=CONTEXT)
    scene.more = {Jobs: Leaving(scene.log, deaths=1)}
    for name in ("B", "C"):
        scene.given(builds, name, replace(asked, build_id=name), claimed(), started, begun())
    recorded = scene.given(workspaces, "w1", WorkspaceForgotten(workspace_id="w1", forgotten_at=NOW))
    with pytest.raises(InterruptedError):
        await scene.follows(forget_builds, recorded)
    await scene.follows(forget_builds, recorded)
    assert [(await scene.log.state(builds, name)).status for name in ("B", "C")] == ["cancelled", "cancelled"]


async def test_a_build_whose_project_is_linked_before_it_waits_has_its_source() -> None:
    """Whoever follows the link has looked by then who waits for one."""
    scene = Scene(now=NOW, context=CONTEXT, more={Jobs: Queue()})
    for wish in (examples.project, examples.asked, examples.linked):
        await scene.when(wish)
    await scene.follows(source_builds, scene.last(RepositoryLinked))
    assert not scene.news

    await scene.follows(queue_build, scene.last(BuildAsked))
    assert [type(each) for each in scene.news] == [BuildSourced]
    await scene.follows(queue_build, scene.last(BuildSourced))
    assert [type(each) for each in scene.news] == [BuildQueued]


@pytest.mark.parametrize(
    "name",
    [
        "ada/warm-tube",
        "ada/warm-tube.git",
        "https://github.com/ada/warm-tube",
        "https://github.com/ada/warm-tube/",
        "https://github.com/ada/warm-tube.git",
        "https://GitHub.com/ada/warm-tube.git/",
    ],
)
def test_a_repository_at_github_is_called_there_as_its_pushes_call_it(name: str) -> None:
    ports: Any = SimpleNamespace(github=GithubApp(Github()))
    assert place_of(name, ports) == Place(full_name="ada/warm-tube", url="https://github.com/ada/warm-tube")


def test_a_removed_runner_is_removed_once_and_unknown_to_others() -> None:
    remove = RemoveRunner(runner_id="runner-1", workspace_id="w1")
    given().when(examples.registered, remove, remove).then()
    given().when(examples.registered, remove, replace(remove, workspace_id="w2")).refused(NoSuchRunner)
    given().when(examples.registered, replace(remove, workspace_id="w2")).refused(NoSuchRunner)
    given().when(examples.registered, remove, examples.registered).then()


def test_how_a_job_ended_may_be_said_twice() -> None:
    complete = CompleteBuild(build_id="B", platform="linux", fence=1)
    given(asked, queued, claimed(), started, begun(), stored()).when(complete, complete).then()
    given(asked, queued, claimed(), started, begun()).when(complete, complete).then()
    given(asked, queued, claimed(), started, begun(), stored()).when(complete, replace(complete, fence=2)).refused(
        JobIsNotYours
    )


@pytest.mark.parametrize(
    "meanwhile",
    [[RemoveRunner(runner_id="runner-1", workspace_id="w1")], [reclaiming.code, reclaiming.by_code]],
    ids=["it is removed", "the owner of its workspace comes"],
)
async def test_what_a_runner_asks_is_written_only_while_it_is_one(meanwhile: list[Command]) -> None:
    scene = Scene(now=NOW, context=CONTEXT)
    for wish in (reclaiming.register, *examples.running, examples.registered):
        await scene.when(wish)
    ports: Any = SimpleNamespace(log=scene.log)
    context = await machines._as_runner(ports, "w1", "runner-1")
    # What it has sent is copied and looked at meanwhile, which takes minutes.
    for command in meanwhile:
        await execute(command, scene.log, NOW, CONTEXT)
    with pytest.raises(NotARunner):
        await execute(examples.stored, scene.log, NOW, context)
    assert not (await scene.log.state(builds, "build-1")).artifacts


@pytest.mark.parametrize("then", ["pending", "claimed"])
async def test_a_build_that_cannot_be_shown_to_runners_fails_and_does_not_count(then: str) -> None:
    scene = Scene(now=NOW, context=CONTEXT)
    for wish in (examples.project, examples.linked, examples.asked):
        await scene.when(wish)
    recorded = scene.last(BuildAsked)
    if then == "claimed":
        await scene.when(examples.claimed)
    assert queue_build.gives_up is not None
    ports: Any = SimpleNamespace(log=scene.log, execute=Execute(scene.log, lambda: NOW))
    for _ in range(2):
        await queue_build.gives_up(recorded, ports, "It failed, and again.")
    build = await scene.log.state(builds, "build-1")
    used = (await scene.log.state(build_months, month_id("w1", NOW))).used
    assert (build.status, used) == (("failed", 0) if then == "pending" else ("queued", 1))


class Stubborn(Execute):
    """Fails to remove one of two runners."""

    async def __call__(self, command: Any, context: Context) -> int:
        if command.runner_id == "first":
            raise ValueError("it cannot be read")
        return await super().__call__(command, context)


async def test_a_machine_that_cannot_be_removed_keeps_no_other() -> None:
    scene = Scene(now=NOW, context=CONTEXT)
    for name in ("first", "second"):
        await scene.when(replace(examples.registered, runner_id=name))
    forgotten = WorkspaceForgotten(workspace_id="w1", forgotten_at=NOW)
    ports: Any = SimpleNamespace(log=scene.log, execute=Stubborn(scene.log, lambda: NOW))
    with pytest.raises(ValueError, match="cannot be read"):
        await remove_runners.handler(scene.given(workspaces, "w1", forgotten), ports)
    assert (await scene.log.state(machine_streams, "second")).removed
