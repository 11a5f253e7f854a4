"""The law of reactions: whatever follows from an event may follow twice, and then has happened once."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

import pytest

from adapters.storage.blobs import Listed
from adapters.vault import Vault
from commands.billing.subscriptions import LinkCustomer
from commands.identity.sessions import SignIn
from commands.identity.teams import ForgetWorkspace
from commands.kernel import HOUSEKEEPING, REACTIONS, Command, Reaction
from domain.discovery import modules
from domain.identity.workspaces import WorkspaceForgotten
from domain.ledger import Recorded
from tests.analyses.examples import SONG, uploaded
from tests.builds.examples import registered
from tests.catalogue.examples import profile
from tests.examples import Example, examples, further
from tests.identity.examples import ada, challenge, session
from tests.licensing.examples import issued
from tests.outside import Counted, Known, objects, outside
from tests.scene import Scene
from tests.spec import CONTEXT, NOW
from tests.studio.examples import project

modules("commands")


class Secrets(Vault):
    """Makes tokens of invitations whose ids are only words."""

    def invitation_token(self, workspace_id: str, invitation_id: str) -> str:
        return f"token of {workspace_id} {invitation_id}"


class Done(NamedTuple):
    """Everything that a reaction can have done."""

    events: int
    letters: int
    posts: int
    objects: tuple[Listed, ...]
    erased: frozenset[str]
    calls: Mapping[str, int]


class House:
    """A world in memory in which something has just been done."""

    def __init__(self) -> None:
        self.scene = Scene(now=NOW, context=CONTEXT, vault=Secrets(b"a secret of the tests" * 2))
        self.known = Known(self.scene.log)
        self.scene.more = outside(self.known)
        for name in ("ears", "artist", "band", "provider"):
            setattr(self.scene, name, Counted(getattr(self.scene, name), self.known.calls))
        self.scene.web.files[SONG] = (b"a song", "audio/mpeg")

    async def store(self, *keys: str) -> None:
        """Lay something into the object store."""
        for key in keys:
            await self.scene.blobs.put_bytes(key, b"{}", content_type="application/json")

    async def after(self, *wishes: Command) -> list[Recorded]:
        """What the last of these wishes has written down."""
        await self.store(*objects())
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
            tuple(sorted([each async for each in self.scene.blobs.list("")], key=lambda each: each.key)),
            frozenset(self.known.erased),
            dict(self.known.calls),
        )


#: The end of a workspace in which several contexts have something.
FORGOTTEN = Example(
    ForgetWorkspace(workspace_id="w1", by="ada"),
    [ada, uploaded, LinkCustomer(workspace_id="w1", customer_id="c"), project, issued],
)
#: The owner of an address comes to a workspace in which whoever gave it has set something up.
RECLAIMED = Example(
    SignIn(challenge_id="challenge-1", right=True, person_id="ada", workspace_id="w1", session=session),
    [ada, project, registered, profile, challenge],
)
CASES = (*examples().values(), *further(), FORGOTTEN, RECLAIMED)

#: The reactions that were seen to do something.
ACTED: set[str] = set()


async def twice(example: Example) -> None:
    house = House()
    for recorded in await house.after(*example.before, example.command):
        for reaction in REACTIONS.values():
            if reaction.concerns(recorded.event):
                if reaction.name.startswith(("forget-late", "drop-late")):
                    await house.store(*objects())  # what was on its way has come
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


async def test_nothing_of_a_forgotten_workspace_stays_in_the_object_store_whenever_it_came() -> None:
    house = House()
    theirs = [key for key in objects() if "/w1/" in key or key.startswith("analyses/an-1/")]
    others = [key.replace("w1", "w11").replace("an-1", "an-11") for key in theirs]
    assert len(theirs) > 6
    [recorded] = [
        each
        for each in await house.after(*FORGOTTEN.before, FORGOTTEN.command)
        if isinstance(each.event, WorkspaceForgotten)
    ]
    reactions = [each for each in REACTIONS.values() if each.concerns(recorded.event)]
    for comes_due in (False, True):
        await house.store(*theirs, *others)
        for reaction in reactions:
            if (reaction.due(recorded.event) is not None) is comes_due:
                await house.does(reaction, recorded)
        kept = {each.key for each in (await house.done()).objects}
        assert not kept & set(theirs)
        assert kept >= set(others)


#: What is outside: its answers may take as long as they like.
OUTSIDE = re.compile(r"\bports\.(payments|post|provider|web|workflows)\b")


@pytest.mark.parametrize("name", [name for name, each in REACTIONS.items() if each.queue is HOUSEKEEPING])
def test_nobody_outside_is_asked_where_everybody_s_work_is_done(name: str) -> None:
    """Messages to all endpoints are written there: whoever drips would make everybody's late."""
    assert not OUTSIDE.search(inspect.getsource(REACTIONS[name].handler))


#: What nobody waits for, and why it may be parked in the end, where an operator sees it. Everything else that follows
#: from an event gives up in the log, where its customer sees why; what is new is one or the other.
PARKED = {
    "whoever asked has had the answer already": {
        "drop-secret", "drop-tables-token", "forget-browser-profiles", "forget-cookies", "remove-runners",
        "resolve-title", "drop-project-webhooks",
    },
    "what is erased or thrown away": {
        "close-build", "delete-release-files", "delete-source", "drop-late-uploads", "drop-uploads",
        "forget-beats", "forget-builds", "forget-catalogue", "forget-late-beats",
        "forget-late-builds", "forget-late-catalogue", "forget-late-objects", "forget-licenses",
        "forget-objects", "forget-person", "forget-workspace",
    },
    "it is an end itself, and what keeps it from being written keeps another from it": {
        "close-checkout", "end-abandoned-attempt", "end-session", "end-subscriptions", "expire-files", "expire-license",
        "expire-object", "expire-upload", "lose-build", "release-build", "release-dead-machines", "time-out-build",
    },
    "it only asks for what gives up, and the next occasion asks again": {
        "ask-push", "keep-files", "push-at-first", "source-builds",
    },
    "its attempts are events, and the last one gives up": {"deliver", "queue-delivery", "queue-event"},
    "a letter that has not come is asked for again": {"mail-code", "mail-endpoint-disabled", "mail-invitation"},
}  # fmt: skip


def test_whatever_somebody_waits_for_gives_up_where_they_see_it() -> None:
    parked = [name for names in PARKED.values() for name in names]
    assert sorted(parked) == sorted(name for name, each in REACTIONS.items() if each.gives_up is None)
