"""Whoever dies between what a route of builds writes down and what it does then leaves nothing undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal, cast
from unittest.mock import AsyncMock

import pytest
from litestar import Request
from litestar.testing import RequestFactory
from msgspec import json
from msgspec.structs import replace

from adapters.builds.waiting import WaitingRunners
from adapters.github.app import GithubApp
from adapters.readmodels.followers import Followers
from api.auth import Asker
from api.builds.builds import cancel_build
from api.builds.github import hear_github
from api.builds.runners import RUNNER_PREFIX, Finish, Job, Stepping, Wanting, claim_job, finish_job, note_step
from commands.builds.builds import AskForBuild, CancelBuild, ClaimBuild
from commands.builds.ports import JobRow, Jobs
from commands.builds.reactions import BUILDS
from commands.kernel import REACTIONS, Command, Execute, execute
from domain.builds import keys
from domain.builds.builds import Build, BuildAsked, BuildCancelled, BuildStarted, builds
from domain.builds.settings import Builds
from domain.ledger import Context
from domain.repositories.connections import InstallationIsGone, connections
from domain.repositories.settings import Github
from domain.sections import Secret
from domain.studio.projects import BuildConfig, BuildRules, OnPush
from projections.repositories.repositories import RepositoryDocument
from tests.builds import examples
from tests.identity.examples import ada
from tests.scene import Scene
from tests.spec import CONTEXT, NOW

JOB = "build-1-linux"


@dataclass
class Rows:
    """What waits for runners, as `Jobs` keeps it; whoever calls what is in `deadly` dies of it, once."""

    deadly: set[str] = field(default_factory=set)
    states: dict[str, str] = field(default_factory=dict)
    fence: int = 0
    noted: list[str] = field(default_factory=list)

    def _reach(self, name: str) -> None:
        if name in self.deadly:
            self.deadly.remove(name)
            raise InterruptedError(name)

    async def put(self, build_id: str, *_: object, ready: bool) -> None:
        self.states.setdefault(build_id, "ready" if ready else "waiting")

    async def claim(self, runner_id: str, *_: object) -> JobRow | None:
        """Whoever died with a job has lost its lease by now."""
        build_id = next((each for each, state in self.states.items() if state in ("ready", "claimed")), None)
        if build_id is None:
            return None
        self.fence += 1
        self.states[build_id] = "claimed"
        return JobRow(
            build_id=build_id, platform="linux", workspace_id="w1", state="claimed", runner_id=runner_id,
            fence=self.fence, step="", progress=0, log_bytes=0,
        )  # fmt: skip

    async def note(self, build_id: str, platform: str, fence: int, step: str, progress: int) -> bool:
        self._reach("note")
        self.noted.append(step)
        return self.states[build_id] == "claimed" and fence == self.fence

    async def release(self, build_id: str, platform: str, fence: int) -> None:
        self._reach("release")
        if self.states[build_id] == "claimed" and fence == self.fence:
            self.states[build_id] = "ready"

    async def close(self, build_id: str, platform: str | None = None) -> None:
        self._reach("close")
        self.states[build_id] = "over"

    async def waiting_for_source(self, project_id: str) -> list[str]:
        return [each for each, state in self.states.items() if state == "waiting"]

    async def texts(self, *_: object) -> dict[str, str]:
        """The last thing that is asked for a job, of whoever keeps secrets."""
        self._reach("texts")
        return {}


class Workshop:
    """A workspace's project, its runner, and a process that dies where a test says."""

    def __init__(self, *deadly: str) -> None:
        self.rows = Rows(set(deadly))
        self.scene = Scene(now=NOW, context=CONTEXT, more={Jobs: self.rows})
        self.dies_of: Callable[[Command], bool] = lambda _: False
        self.asker = Asker(
            workspace_id="w1", person_id="ada", actor="ada", scopes=(), correlation_id=CONTEXT.correlation_id
        )
        nothing: Any = None
        followers = Followers(nothing, nothing, 16)
        self.ports: Any = SimpleNamespace(
            execute=self._execute,
            log=self.scene.log,
            jobs=self.rows,
            vault=self.scene.vault,
            now=lambda: NOW,
            settings=Builds(build_claim_seconds=0.05),
            service=SimpleNamespace(url="", public_url="https://ledger.example"),
            github=GithubApp(Github(github_webhook_secret=Secret("agreed"))),
            secrets=SimpleNamespace(texts=self.rows.texts),
            waiting=WaitingRunners(nothing, followers),
            plans=SimpleNamespace(monthly_limit=_no_limit),
            views=SimpleNamespace(search=_two_projects),
        )

    async def _execute(self, command: Command, context: Context) -> int:
        if self.dies_of(command):
            self.dies_of = lambda _: False
            raise InterruptedError
        return await execute(command, self.scene.log, self.scene.now, context)

    async def given(self, *wishes: Command) -> None:
        """These have happened, and what follows from them."""
        for wish in wishes:
            await self.scene.when(wish)
            await self.follows()

    async def follows(self, **later: float) -> None:
        """What follows from all that was written down so far, also what is due only then."""
        self.scene.later(**later)
        for recorded in self.scene.log.all:  # which grows
            for reaction in REACTIONS.values():
                if reaction.queue is BUILDS and reaction.concerns(recorded.event):
                    due = reaction.due(recorded.event)
                    if due is None or due < self.scene.now:
                        await reaction.handler(recorded, await self.scene.ports(reaction.ports))

    async def build(self) -> Build:
        """How the build is."""
        return await self.scene.log.state(builds, "build-1")

    async def claim(self) -> Job | None:
        """A runner claims what there is."""
        answer = await claim_job.fn(request=self.request(), data=Wanting(), ports=self.ports)
        return cast("Job | None", answer.content)

    def request(self) -> Request[Any, Any, Any]:
        """A request of a runner."""
        token = f"{RUNNER_PREFIX}runner-1.{self.scene.vault.token('runner', 'runner-1')}"
        request = RequestFactory().post("/", headers={"authorization": f"Bearer {token}"})
        request.receive = asyncio.Future  # its client stays
        return request


async def _no_limit(*_: object) -> None:
    return None


async def _two_projects(*_: object, **__: object) -> tuple[list[Any], int]:
    found = [RepositoryDocument(project_id=each) for each in ("project-1", "project-2")]
    return [SimpleNamespace(body=json.encode(each)) for each in found], 2


WAITING = (ada, examples.project, examples.linked, examples.registered, examples.asked)
RUNNING = (*WAITING, examples.claimed, examples.started)


async def test_a_build_that_is_cancelled_by_whoever_dies_then_waits_for_no_runner() -> None:
    shop = Workshop("close")
    await shop.given(*WAITING)
    with pytest.raises(InterruptedError):
        await cancel_build.fn(build_id="build-1", ports=shop.ports, asker=shop.asker)
    assert ((await shop.build()).status, shop.rows.states) == ("cancelled", {"build-1": "ready"})

    await shop.follows()
    assert shop.rows.states == {"build-1": "over"}


@pytest.mark.parametrize("status", ["success", "failed"])
async def test_a_job_that_is_finished_in_front_of_whoever_dies_then_is_over(
    status: Literal["success", "failed"],
) -> None:
    shop = Workshop("close")
    await shop.given(*RUNNING, examples.stored)
    finish = partial(finish_job.fn, shop.request(), JOB, Finish(fence=1, status=status), shop.ports)
    with pytest.raises(InterruptedError):
        await finish()
    assert shop.rows.states == {"build-1": "ready"}

    await shop.follows()
    assert shop.rows.states == {"build-1": "over"}
    before = len(shop.scene.log.all)
    # Its runner was not answered, and says it again.
    assert (await finish()).status == (await shop.build()).status == status
    assert len(shop.scene.log.all) == before


async def test_what_a_runner_still_sends_by_the_link_it_was_given_does_not_stay_when_its_build_is_over() -> None:
    scene = Scene(now=NOW, context=CONTEXT)
    for wish in (*examples.running, CancelBuild(build_id="build-1", workspace_id="w1")):
        await scene.when(wish)
    cancelled = scene.last(BuildCancelled)
    ours, others = keys.upload("w1", "build-1", "artifact-1"), keys.upload("w1", "build-2", "artifact-1")
    await scene.blobs.put_bytes(others, b"of a build that goes on", content_type="application/zip")
    following = [each for each in REACTIONS.values() if each.concerns(cancelled.event) and "drop" in each.name]
    for reaction in sorted(following, key=lambda each: each.due(cancelled.event) or NOW):
        # It was on its way, or the link to the store is good for the rest of its hour.
        await scene.follows(reaction, cancelled)
        if (reaction.due(cancelled.event) or NOW) <= NOW + timedelta(hours=1):
            await scene.blobs.put_bytes(ours, b"late", content_type="application/zip")
    assert [each.key async for each in scene.blobs.list()] == [others]


async def test_a_step_that_was_said_to_whoever_died_then_is_said_again_and_begins_nothing_twice() -> None:
    shop = Workshop("note")
    await shop.given(*WAITING)
    assert await shop.claim() is not None
    step = partial(note_step.fn, shop.request(), JOB, Stepping(fence=1, current_step="configure"), shop.ports)
    with pytest.raises(InterruptedError):
        await step()

    assert not (await step()).cancel
    assert shop.rows.noted == ["configure"]
    assert sum(isinstance(each.event, BuildStarted) for each in shop.scene.log.all) == 1


async def test_a_job_that_was_given_to_nobody_because_whoever_gave_it_died_is_free_again() -> None:
    shop = Workshop("texts")
    await shop.given(*WAITING)
    with pytest.raises(InterruptedError):
        await shop.claim()
    assert ((await shop.build()).run("linux").runner_id, shop.rows.states) == ("runner-1", {"build-1": "claimed"})

    await shop.follows(hours=1)
    assert ((await shop.build()).run("linux").runner_id, shop.rows.states) == ("", {"build-1": "ready"})


async def test_a_job_that_nobody_wrote_down_is_given_away_again_once_its_lease_is_over() -> None:
    shop = Workshop()
    await shop.given(*WAITING)
    shop.dies_of = lambda command: isinstance(command, ClaimBuild)
    with pytest.raises(InterruptedError):
        await shop.claim()
    assert (await shop.build()).run("linux").runner_id == ""

    job = await shop.claim()
    assert job is not None
    assert (job.fence, (await shop.build()).run("linux").fence) == (2, 2)


async def test_a_job_that_is_over_is_taken_away_also_by_whoever_comes_after_one_that_died_of_it() -> None:
    shop = Workshop("close")
    await shop.given(*WAITING)
    await shop.scene.when(CancelBuild(build_id="build-1", workspace_id="w1"))
    with pytest.raises(InterruptedError):
        await shop.claim()
    assert shop.rows.states == {"build-1": "claimed"}

    assert await shop.claim() is None
    assert shop.rows.states == {"build-1": "over"}


async def test_a_push_that_whoever_heard_it_died_of_builds_each_project_once_when_it_is_told_again() -> None:
    shop = Workshop()
    rules = BuildRules(push=OnPush(build_config=BuildConfig(platforms=("linux",), formats=("vst3",))))
    for name in ("project-1", "project-2"):
        await shop.given(replace(examples.project, project_id=name, rules=rules))
    await shop.given(examples.connected)
    body = json.encode(
        {
            "ref": "refs/heads/main",
            "after": "c" * 40,
            "repository": {"full_name": "ada/warm-tube", "pushed_at": 1},
            "installation": {"id": 7},
        }
    )
    request: Any = SimpleNamespace(body=AsyncMock(return_value=body))
    hear = partial(hear_github.fn, request, shop.ports, "push", shop.ports.github.signed(body))
    shop.dies_of = lambda command: isinstance(command, AskForBuild) and command.project_id == "project-2"
    with pytest.raises(InterruptedError):
        await hear()
    assert [each.project_id for each in _asked(shop)] == ["project-1"]

    assert len((await hear()).builds) == 2
    assert [each.project_id for each in _asked(shop)] == ["project-1", "project-2"]


async def test_an_installation_that_is_gone_takes_no_other_with_it_and_is_connected_by_nobody() -> None:
    scene = Scene(now=NOW, context=CONTEXT)
    await scene.when(examples.connected)
    another = replace(examples.connected, installation_id=8)

    async def write(command: Command, context: Context) -> int:
        await execute(another, scene.log, NOW, context)
        return await execute(command, scene.log, NOW, context)

    vault = SimpleNamespace(same=lambda *_: True)
    github = GithubApp(Github(github_webhook_secret=Secret("secret")))
    ports: Any = SimpleNamespace(log=scene.log, execute=write, github=github, vault=vault)

    async def hear_gone(installation_id: int) -> None:
        body = json.encode({"action": "deleted", "installation": {"id": installation_id}})
        request: Any = SimpleNamespace(body=AsyncMock(return_value=body))
        await hear_github.fn(request, ports, "installation", github.signed(body))

    # In this moment the workspace is connected with another one.
    await hear_gone(7)
    assert (await scene.log.state(connections, "w1")).installation_id == 8
    ports.execute = Execute(scene.log, lambda: NOW)
    # GitHub has shown it to somebody, who has taken it out again before they confirmed.
    for _ in "twice":
        await hear_gone(9)
    await scene.refused(replace(another, installation_id=9), InstallationIsGone)
    await hear_gone(8)
    assert (await scene.log.state(connections, "w1")).installation_id is None
    await scene.refused(another, InstallationIsGone)
    await scene.when(replace(another, gone=1))
    assert (await scene.log.state(connections, "w1")).installation_id == 8


def _asked(shop: Workshop) -> list[BuildAsked]:
    return [each.event for each in shop.scene.log.all if isinstance(each.event, BuildAsked)]
