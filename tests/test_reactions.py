"""The law of reactions: whatever follows from an event may follow twice, and then has happened once."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from adapters.identity.vault import Vault
from commands.analyses.analyses import Item, RequestAnalyses
from commands.billing.ports import Order
from commands.billing.subscriptions import LinkCustomer
from commands.builds.builds import CancelBuild
from commands.builds.ports import FoundSource, Place, RunLook, RunPlace
from commands.catalogue.ports import Sent
from commands.identity.teams import ForgetWorkspace
from commands.kernel import HOUSEKEEPING, REACTIONS, Command, Reaction
from commands.webhooks.deliveries import RecordAttempt
from domain.builds.builds import BuildAsked
from domain.catalogue.imports import Counts, Report
from domain.discovery import modules
from domain.ledger import Recorded
from tests.analyses.examples import completed
from tests.beats.examples import created, elsewhere, far_away
from tests.builds import examples as building
from tests.examples import Example, examples
from tests.identity.examples import ada
from tests.licensing.examples import issued
from tests.spec import CONTEXT, NOW
from tests.studio.examples import project
from tests.webhooks.examples import begun, endpoint, queued
from tests.webhooks.scene import Scene

modules("commands")

REPORT = "imports/w1/import-1"
SONG = "https://example.com/a.mp3"


class Known:
    """What has been erased, and what of the log it takes to know that."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.erased: set[str] = set()

    def ids(self, kind: Any, field: str, owner: str, value: str) -> list[str]:
        events = [each.event for each in self._scene.log.all if isinstance(each.event, kind)]
        return [getattr(event, field) for event in events if getattr(event, owner) == value]

    async def erase(self, subject: str) -> None:
        self.erased.add(subject)


class Paid:
    """What is paid for until it is ended, and pages that are open until they are closed."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    async def create_customer(self, workspace_id: str) -> str:
        return f"cus-{workspace_id}"

    async def close_checkout(self, order: Order) -> tuple[str, bool]:
        return f"page-{order.attempt_id}", True

    async def end_subscriptions(self, customer_id: str) -> Sequence[str]:
        ended = [] if customer_id in self.ended else [customer_id]
        self.ended += ended
        return ended


class Imported:
    """Books of a workspace, which its reports are read into once."""

    def __init__(self, known: Known) -> None:
        self._known = known

    async def run(self, sent: Sent, path: Path, today: date) -> Report:
        return Report(source="own.daily", counts=Counts(), digest="")

    async def forget(self, workspace_id: str) -> None:
        self._known.erased.add(f"books of {workspace_id}")

    async def resolve(self, workspace_id: str, title_id: str, isrc: str) -> None:
        self._known.erased.add(f"{title_id} is {isrc}")


class Jars:
    """Cookies of one browser profile, until they are forgotten."""

    def __init__(self, known: Known) -> None:
        self._known = known

    async def of(self, workspace_id: str) -> Sequence[int]:
        return [] if f"cookies of {workspace_id}" in self._known.erased else [1001]

    async def forget(self, workspace_id: str, profile_id: int | None = None) -> None:
        self._known.erased.add(f"cookies of {workspace_id}")


class Bench:
    """Builds that wait for runners."""

    def __init__(self, known: Known) -> None:
        self._known = known

    async def put(self, build_id: str, project_id: str, *_: object, ready: bool) -> None:
        self._known.erased.add(f"{build_id} of {project_id} waits, {ready}")

    async def assign(self, build_id: str, holder: str, fence: int) -> None:
        self._known.erased.add(f"{build_id} is {holder}'s under {fence}")

    async def close(self, build_id: str, platform: str | None = None) -> None:
        self._known.erased.add(f"{build_id} on {platform} is closed")

    async def release(self, build_id: str, platform: str, fence: int) -> None:
        self._known.erased.add(f"{build_id} on {platform} is free of {fence}")

    async def waiting_for_source(self, project_id: str) -> Sequence[str]:
        return self._known.ids(BuildAsked, "build_id", "project_id", project_id)

    async def forget(self, workspace_id: str) -> Sequence[str]:
        self._known.erased.add(f"builds of {workspace_id}")
        return self._known.ids(BuildAsked, "build_id", "workspace_id", workspace_id)


class Elsewhere:
    """Workflows at GitHub: a run for each build, which waits until it is ended."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def repository(self, source_url: str) -> str | None:
        return source_url.removeprefix("https://github.com/")

    async def source(self, *_: object) -> FoundSource:
        return FoundSource(ref="main", commit_sha="c" * 40)

    async def find(self, place: Place, workflow: str, build_id: str) -> RunPlace | None:
        return RunPlace(run_id=1, url="u") if f"a run for {build_id}" in self._known.erased else None

    async def dispatch(self, place: Place, workflow: str, ref: str, inputs: dict[str, str]) -> RunPlace:
        assert f"a run for {inputs['build_id']}" not in self._known.erased, "it runs already"
        self._known.erased.add(f"a run for {inputs['build_id']}")
        return RunPlace(run_id=1, url="u")

    async def look(self, *_: object) -> RunLook:
        return RunLook(status="queued")

    async def cancel(self, _: Place, run_id: int) -> None:
        self._known.erased.add(f"the end of run {run_id}")


class Secrets(Vault):
    """Makes tokens of invitations whose ids are only words."""

    def invitation_token(self, workspace_id: str, invitation_id: str) -> str:
        return f"token of {workspace_id} {invitation_id}"


class Done(NamedTuple):
    """Everything that a reaction can have done."""

    events: int
    letters: int
    posts: int
    objects: tuple[str, ...]
    erased: frozenset[str]
    ended: tuple[str, ...]


class House:
    """A world in memory in which something has just been done."""

    def __init__(self) -> None:
        self.scene = Scene(now=NOW, context=CONTEXT, vault=Secrets(b"a secret of the tests" * 2))
        self.known, self.paid = Known(self.scene), Paid()
        self.scene.eraser, self.scene.payments = self.known, self.paid
        self.scene.importing = Imported(self.known)
        self.scene.cookies = Jars(self.known)
        self.scene.build_jobs = Bench(self.known)
        self.scene.workflows = Elsewhere(self.known)
        self.scene.web.files[SONG] = (b"a song", "audio/mpeg")

    async def after(self, *wishes: Command) -> list[Recorded]:
        """What the last of these wishes has written down."""
        beat = "beats/w1/beat-1/1/a"
        for key in (
            "details/an-1", "uploads/w1/an-1", "storage/w1/obj-1", "analyses/an-1/detail.json", REPORT, f"{beat}.mp3",
            f"{beat}.json", "releases/w1/release-1/artwork/ab",
            "builds/w1/secrets/secret-1", "builds/w1/secrets/secret-2",
        ):  # fmt: skip
            await self.scene.blobs.put_bytes(key, b"{}", content_type="application/json")
        for wish in wishes:
            await self.scene.when(wish)
        return self.scene.log.all[len(self.scene.log.all) - len(self.scene.news) :]

    async def does(self, reaction: Reaction, recorded: Recorded) -> Done:
        """Everything that was done so far, this too."""
        await reaction.handler(recorded, await self.scene.ports(reaction.ports))
        return await self.done()

    async def done(self) -> Done:
        """Everything that was done so far."""
        return Done(
            len(self.scene.log.all),
            len(self.scene.letters.sent),
            len(self.scene.web.sent),
            tuple(sorted([each.key async for each in self.scene.blobs.list("")])),
            frozenset(self.known.erased),
            tuple(self.paid.ended),
        )


_upload = RequestAnalyses(
    subject_id="an-1",
    workspace_id="w1",
    items=(Item(analysis_id="an-1", origin="upload", source_url="a.wav", object_key="uploads/w1/an-1"),),
)
_told = RequestAnalyses(
    subject_id="an-1",
    workspace_id="w1",
    items=(Item(analysis_id="an-1", origin="url", source_url=SONG, webhook_url="https://example.com/hook"),),
)
_queued = replace(queued, endpoint_id="end-1")
#: Histories after which reactions have something to do that find nothing to do after the examples.
FURTHER = (
    Example(elsewhere),
    Example(far_away, [created]),
    Example(completed, [_upload]),
    Example(completed, [_told]),
    Example(
        ForgetWorkspace(workspace_id="w1", by="ada"),
        [ada, _upload, LinkCustomer(workspace_id="w1", customer_id="c"), project, issued],
    ),
    Example(replace(begun, force=True), [queued]),
    Example(building.asked, [building.by_github, building.linked, building.connected]),
    Example(CancelBuild(build_id="build-1", workspace_id="w1"), [*building.at_github, building.found]),
    Example(
        RecordAttempt(
            delivery_id="del-1",
            attempt=1,
            success=False,
            status_code=410,
            error_detail="gone",
            signature=None,
            duration_seconds=0.1,
            next_attempt_at=None,
            gives_up="gone",
        ),
        [ada, endpoint, _queued, begun],
    ),
)
CASES = (*examples().values(), *FURTHER)

#: The reactions that were seen to do something.
ACTED: set[str] = set()


async def twice(example: Example) -> None:
    house = House()
    for recorded in await house.after(*example.before, example.command):
        for reaction in REACTIONS.values():
            if reaction.concerns(recorded.event):
                before = await house.done()
                due = reaction.due(recorded.event)
                house.scene.now = max(NOW, due + timedelta(seconds=1)) if due else NOW
                once = await house.does(reaction, recorded)
                assert await house.does(reaction, recorded) == once, f"{reaction.name} acted again"
                if once != before:
                    ACTED.add(reaction.name)


@pytest.mark.parametrize("example", CASES, ids=lambda example: type(example.command).__name__)
def test_what_follows_from_a_command_twice_has_happened_once(example: Example) -> None:
    asyncio.run(twice(example))


def test_the_law_was_put_to_every_reaction() -> None:
    for example in CASES:
        asyncio.run(twice(example))
    assert set(REACTIONS) == ACTED


#: What is outside: its answers may take as long as they like.
OUTSIDE = re.compile(r"\bports\.(payments|post|provider|web|workflows)\b")


@pytest.mark.parametrize("name", [name for name, each in REACTIONS.items() if each.queue is HOUSEKEEPING])
def test_nobody_outside_is_asked_where_everybody_s_work_is_done(name: str) -> None:
    """Messages to all endpoints are written there: whoever drips would make everybody's late."""
    assert not OUTSIDE.search(inspect.getsource(REACTIONS[name].handler))
