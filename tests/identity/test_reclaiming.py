"""Whoever proves an address begins anew in its workspace: what a stranger was given there before is void."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest
from msgspec.structs import replace

from adapters.log.memory import MemoryLedger
from adapters.vault import Vault
from api.builds import external
from api.builds.external import NotTheSecret
from commands.builds.reclaiming import remove_runners
from commands.catalogue.ports import CookieJars
from commands.catalogue.reactions import forget_browser_profiles
from commands.identity.challenges import IssueChallenge
from commands.identity.people import LinkIdentity, RegisterPerson
from commands.identity.sessions import NewSession, SignIn
from commands.identity.teams import ForgetWorkspace
from commands.kernel import Command, execute
from commands.repositories.connections import ConnectGithub
from commands.studio.projects import ChangeProject
from commands.studio.reactions import drop_webhooks
from commands.subscribing.consumers import MakeConsumer
from commands.webhooks.endpoints import RegisterEndpoint
from commands.webhooks.secrets import RotateSigningSecret
from domain.builds.builds import BuildAsked
from domain.builds.runners import runners
from domain.catalogue.browser_profiles import NoSuchBrowserProfile, browser_profiles
from domain.catalogue.tables import tables_of
from domain.identity.api_keys import ApiKeyRevoked, api_keys
from domain.identity.people import EmailVerified
from domain.identity.workspaces import WorkspaceReclaimed, workspaces
from domain.ledger import Change, Context
from domain.repositories.connections import connections, installations
from domain.studio.projects import projects
from domain.subscribing.consumers import consumer_books
from domain.webhooks.endpoints import endpoint_books
from domain.webhooks.messages import Subject
from domain.webhooks.secrets import signing_secrets
from projections.builds.messages import project_now, webhook_of_project
from tests.builds.examples import asked, registered
from tests.catalogue.examples import connected as tables_connected
from tests.catalogue.examples import profile
from tests.catalogue.test_browser_profiles import use
from tests.scene import Scene
from tests.spec import NOW
from tests.studio.examples import project

register = RegisterPerson(
    person_id="ada",
    workspace_id="w1",
    api_key_id="key-1",
    email="ada@example.com",
    email_digest="digest-of-ada",
    key_prefix="bz_",
    key_digest="digest-of-key",
)
squatted = (
    register,
    RotateSigningSecret(workspace_id="w1", secret_id="seen"),
    RegisterEndpoint(endpoint_id="tap", workspace_id="w1", url="https://stranger.example/tap", secret_id="s1"),
    RegisterEndpoint(endpoint_id="spy", workspace_id="w1", url="https://stranger.example/spy", secret_id="s2"),
)
code = IssueChallenge(challenge_id="c1", purpose="sign_in", email="ada@example.com", email_digest="digest-of-ada")
session = NewSession(session_id="session-1", digest="digest-of-token", lifetime=timedelta(days=1))
by_code = SignIn(challenge_id="c1", right=True, person_id="ada", workspace_id="w1", session=session)
by_provider = LinkIdentity(
    identity_id="google-1", person_id="ada", workspace_id="w1", email="ada@example.com", email_digest="digest-of-ada"
)


class Killed(BaseException):
    """The process is no more."""


class Mortal(MemoryLedger):
    """A ledger whose process dies right after its `lives`-th append from now."""

    lives: int | None = None

    async def append(self, changes: Sequence[Change], context: Context) -> int:
        """Write all or none, and die when the time has come."""
        position = await super().append(changes, context)
        if self.lives is not None:
            self.lives -= 1
            if self.lives == 0:
                raise Killed
        return position


async def _ask(ledger: MemoryLedger, *wishes: Command) -> None:
    for wish in wishes:
        await execute(wish, ledger, NOW, Context(correlation_id=uuid4(), workspace_id="w1"))


@pytest.mark.parametrize("proof", [by_code, by_provider], ids=["by a code", "by another service's word"])
def test_all_that_was_handed_out_is_void_even_if_the_process_dies_right_after_the_first_write(proof: Command) -> None:
    ledger = Mortal(lambda: NOW)
    asyncio.run(_ask(ledger, *squatted, code))
    before = len(ledger.all)
    ledger.lives = 1
    with pytest.raises(Killed):
        asyncio.run(_ask(ledger, proof))
    new = [each.event for each in ledger.all[before:]]
    assert EmailVerified(person_id="ada", verified_at=NOW) in new
    assert ApiKeyRevoked(api_key_id="key-1", digest="digest-of-key", revoked_at=NOW) in new
    assert WorkspaceReclaimed(workspace_id="w1", person_id="ada", reclaimed_at=NOW) in new
    assert not endpoint_books.fold(each.event for each in ledger.all if each.stream == "endpoints-w1").endpoints
    secrets = signing_secrets.fold(each.event for each in ledger.all if each.stream == "signingsecret-w1")
    # Neither the one that was rotated to, nor the one that signs for another day beside it.
    assert not {"seen", "w1"} & set(secrets.valid("w1", NOW))
    assert len(secrets.valid("w1", NOW)) == 1
    assert workspaces.fold(each.event for each in ledger.all if each.stream == "workspace-w1").tenancy == 1


def test_whoever_holds_the_first_key_keeps_what_they_have_set_up() -> None:
    ledger = MemoryLedger(lambda: NOW)
    holder = SignIn(
        challenge_id="c1", right=True, person_id="ada", workspace_id="w1", session=session, first_key_id="key-1"
    )
    asyncio.run(_ask(ledger, *squatted, code, holder))
    assert len(endpoint_books.fold(each.event for each in ledger.all if each.stream == "endpoints-w1").endpoints) == 2
    assert not api_keys.fold(each.event for each in ledger.all if each.stream == "apikey-key-1").revoked


def test_the_second_sign_in_begins_nothing_anew() -> None:
    ledger = MemoryLedger(lambda: NOW)
    again = IssueChallenge(challenge_id="c2", purpose="sign_in", email="ada@example.com", email_digest="digest-of-ada")
    later = NewSession(session_id="session-2", digest="digest-of-another", lifetime=timedelta(days=1))
    theirs = RegisterEndpoint(endpoint_id="own", workspace_id="w1", url="https://ada.example/hook", secret_id="s3")
    second = SignIn(challenge_id="c2", right=True, person_id="ada", workspace_id="w1", session=later)
    asyncio.run(_ask(ledger, *squatted, code, by_code, theirs, again, second))
    assert list(endpoint_books.fold(each.event for each in ledger.all if each.stream == "endpoints-w1").endpoints) == [
        "own"
    ]


@pytest.mark.parametrize("proof", [by_code, by_provider], ids=["by a code", "by another service's word"])
async def test_machines_installations_tables_and_addresses_of_a_stranger_are_void_too(proof: Command) -> None:
    scene = Scene()
    another = replace(registered, workspace_id="w2", runner_id="runner-of-another")
    theirs = (
        registered,
        ConnectGithub(workspace_id="w1", installation_id=7, account_login="stranger", account_type="User"),
        tables_connected,
        project,
        MakeConsumer(consumer_id="theirs", workspace_id="w1", name="Stranger"),
        profile,
        use,
        asked,
    )
    vault = Vault(b"a secret of the tests")
    ports: Any = SimpleNamespace(log=scene.log, vault=vault, limits=SimpleNamespace(take_failure=AsyncMock()))
    subject = Subject(kind="build", id="build-1", workspace_id="w1")
    secret = vault.signing_secret(project.webhook_secret_id)
    shown: Any = SimpleNamespace(headers={"x-webhook-secret": secret}, client=None)
    scene.context = Context(correlation_id=uuid4(), workspace_id="w2")
    await scene.when(another)
    scene.context = Context(correlation_id=uuid4(), workspace_id="w1")
    for command in (register, *theirs):
        await scene.when(command)
    asked_event = scene.last(BuildAsked).event
    assert await external._project(shown, ports, "project-1", b"")
    assert await webhook_of_project(subject, [asked_event], scene.log.state)
    for last in (code, proof):
        await scene.when(last)
    assert (await scene.log.state(connections, "w1")).installation_id is None, "in the same moment"
    assert (await scene.log.state(installations, "7")).workspace_id == ""
    assert (await scene.log.state(tables_of, "w1")).connection_id == ""
    assert not (await scene.log.state(consumer_books, "w1")).consumer_ids
    # What has no list is void by what it was made under, long before anything takes it away.
    workspace = await scene.log.state(workspaces, "w1")
    assert not (await scene.log.state(runners, "runner-1")).serves(workspace)
    assert await project_now(subject, scene.log.state, NOW) is None
    assert await webhook_of_project(subject, [asked_event], scene.log.state) is None
    with pytest.raises(NotTheSecret):
        await external._project(shown, ports, "project-1", b"")
    with pytest.raises(NoSuchBrowserProfile):
        await scene.when(replace(use, use_id="use-2"))

    reclaimed = scene.last(WorkspaceReclaimed)
    for _ in "twice":
        for reaction in (remove_runners, drop_webhooks):
            await scene.follows(reaction, reclaimed)
    assert (await scene.log.state(runners, "runner-1")).removed
    assert not (await scene.log.state(runners, "runner-of-another")).removed
    assert (await scene.log.state(projects, "project-1")).webhook_url is None


class Jars:
    """Whose cookies there are."""

    def __init__(self, *profile_ids: int) -> None:
        self.kept = list(profile_ids)

    async def of(self, workspace_id: str) -> list[int]:
        del workspace_id
        return list(self.kept)

    async def forget(self, workspace_id: str, profile_id: int) -> None:
        del workspace_id
        if profile_id in self.kept:
            self.kept.remove(profile_id)


async def test_what_its_owner_sets_up_stays_when_the_takings_away_come_late_or_twice() -> None:
    jars = Jars(profile.profile_id, 1002, 1003)
    scene = Scene(more={CookieJars: jars})
    scene.context = Context(correlation_id=uuid4(), workspace_id="w1")
    other_project = replace(project, project_id="project-2", webhook_url=None, webhook_secret_id="")
    for command in (register, registered, profile, project, other_project, code, by_code):
        await scene.when(command)
    reclaimed = scene.last(WorkspaceReclaimed)
    # Long before whoever reacts was there again. Cookies are kept before their profile is written down.
    webhook = ChangeProject(
        project_id="project-2", workspace_id="w1", webhook_url="https://ada.example", webhook_secret_id="s9"
    )
    for own in (
        replace(registered, runner_id="runner-2", tenancy=1),
        replace(profile, profile_id=1002),
        webhook,
    ):
        await scene.when(own)

    for _ in "twice":
        for reaction in (remove_runners, drop_webhooks, forget_browser_profiles):
            await scene.follows(reaction, reclaimed)
    assert (await scene.log.state(runners, "runner-1")).removed
    assert not (await scene.log.state(runners, "runner-2")).removed
    assert (await scene.log.state(projects, "project-1")).webhook_url is None
    assert (await scene.log.state(projects, "project-2")).webhook_url == webhook.webhook_url
    assert (await scene.log.state(browser_profiles, "1001")).removed
    assert not (await scene.log.state(browser_profiles, "1002")).removed
    assert jars.kept == [1002, 1003]


async def test_an_installation_of_a_workspace_that_is_forgotten_is_free_for_another() -> None:
    scene = Scene()
    mine = ConnectGithub(workspace_id="w1", installation_id=7, account_login="ada", account_type="User")
    for command in (register, mine, ForgetWorkspace(workspace_id="w1", by="ada")):
        await scene.when(command)

    await scene.when(replace(mine, workspace_id="w2"))
    assert (await scene.log.state(installations, "7")).workspace_id == "w2"
