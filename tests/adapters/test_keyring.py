"""Who loses access loses it when that is written, whatever is behind, asleep or away at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest

from adapters.identity import keyring as keyrings
from adapters.identity.directory import Directory
from adapters.identity.keyring import Keyring
from adapters.log.eventlog import EventLog, announce
from adapters.readmodels.views import Reads, ReadsUnavailable
from commands.identity.api_keys import IssueApiKey, RevokeApiKey
from commands.identity.people import RegisterPerson
from commands.identity.sessions import CloseSession, NewSession, OpenSession
from commands.identity.teams import AcceptInvitation, ChangeRole, ForgetWorkspace, InviteMember, RemoveMember
from commands.kernel import Command, execute
from domain.ledger import Context
from infra.container import load_everything
from infra.embedded.nats import EmbeddedNats
from infra.migrate import migrate
from projections.kernel import PROJECTIONS
from tests.conftest import Databases
from tests.core.conftest import House, eventually


def _migrated(url: str) -> None:
    migrate(url)


@pytest.fixture
def url(databases: Databases) -> Iterator[str]:
    made = databases.copy_of("core", _migrated)
    yield made
    databases.drop(made)


@pytest.fixture
async def house(url: str, nats_server: EmbeddedNats, nats_prefix: str) -> AsyncIterator[House]:
    load_everything()
    async with House(url, nats_server.url, nats_prefix) as made:
        yield made


class Home:
    """A workspace with an owner, a member who is signed in, and a key."""

    def __init__(self, house: House, ledger: EventLog | None = None) -> None:
        self.house = house
        self.ledger = ledger or house.ledger
        mark = uuid4().hex
        self.workspace_id, self.owner, self.member = (f"{name}-{mark}" for name in ("home", "owner", "member"))
        self.key, self.session = f"digest-of-key-{mark}", f"digest-of-session-{mark}"
        self.api_key_id, self.session_id = f"key-{mark}", f"session-{mark}"

    async def ask(self, *wishes: Command) -> None:
        for wish in wishes:
            context = Context(correlation_id=uuid4(), workspace_id=self.workspace_id)
            await execute(wish, self.ledger, datetime.now(UTC), context)

    async def furnish(self) -> Home:
        for who, where in ((self.owner, self.workspace_id), (self.member, f"elsewhere-{self.member}")):
            await self.ask(
                RegisterPerson(
                    person_id=who,
                    workspace_id=where,
                    api_key_id=f"first-key-of-{who}",
                    email=f"{who}@example.com",
                    email_digest=f"digest-of-{who}",
                    key_prefix="bz_",
                    key_digest=f"digest-of-first-key-of-{who}",
                )
            )
        await self.ask(
            InviteMember(
                workspace_id=self.workspace_id,
                invitation_id="letter",
                by=self.owner,
                email=f"{self.member}@example.com",
                email_digest=f"digest-of-{self.member}",
                role="viewer",
            ),
            AcceptInvitation(workspace_id=self.workspace_id, invitation_id="letter", person_id=self.member),
            OpenSession(
                person_id=self.member,
                workspace_id=self.workspace_id,
                session=NewSession(session_id=self.session_id, digest=self.session, lifetime=timedelta(hours=1)),
            ),
            IssueApiKey(
                api_key_id=self.api_key_id,
                workspace_id=self.workspace_id,
                person_id=self.owner,
                name="A key",
                prefix="bz_",
                digest=self.key,
                scopes=("usage:read",),
            ),
        )
        return self


@asynccontextmanager
async def projecting(house: House) -> AsyncIterator[None]:
    async with house.projecting(list(PROJECTIONS.values()), [], []):
        yield


@asynccontextmanager
async def ringing(house: House, *, wait_seconds_max: float = 2.0) -> AsyncIterator[Keyring]:
    """The keyring of one process."""
    bus = await house.new_bus()
    reads = Reads(house.ledger, house.pool, house.progress, wait_seconds_max=wait_seconds_max)
    keyring = Keyring(reads, Directory(reads, house.keys), bus)
    keyring.start()
    await asyncio.sleep(0)
    try:
        yield keyring
    finally:
        await keyring.close()


async def test_what_was_just_made_opens_at_once(house: House) -> None:
    async with projecting(house), ringing(house) as keyring:
        home = await Home(house).furnish()
        key, session = await keyring.find(home.key), await keyring.find(home.session)
        assert key is not None
        assert session is not None
        assert (key.role, key.credential.scopes) == (None, ("usage:read",))
        assert (session.role, session.credential.person_id) == ("viewer", home.member)
        assert await keyring.find("digest of nothing") is None


async def test_a_revocation_counts_while_the_projector_sleeps(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyrings, "REMEMBER_SECONDS", 0.0)
    async with projecting(house):
        homes = [await Home(house).furnish() for _ in range(3)]
        await house.caught_up("credentials", "workspaces", "people")
    # From here on nobody projects.
    async with ringing(house) as keyring:
        gone, removed, closed = homes
        for home in homes:
            assert await keyring.find(home.key)
            assert await keyring.find(home.session)
        await gone.ask(RevokeApiKey(api_key_id=gone.api_key_id, workspace_id=gone.workspace_id))
        await gone.ask(CloseSession(session_id=gone.session_id, reason="logout"))
        await removed.ask(RemoveMember(workspace_id=removed.workspace_id, person_id=removed.member, by=removed.owner))
        await closed.ask(ForgetWorkspace(workspace_id=closed.workspace_id, by=closed.owner))
        assert [bool(await keyring.find(digest)) for home in homes for digest in (home.key, home.session)] == [
            False,
            False,
            True,
            False,
            False,
            False,
        ]


async def test_a_change_of_role_counts_while_the_projector_sleeps(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyrings, "REMEMBER_SECONDS", 0.0)
    async with projecting(house):
        home = await Home(house).furnish()
        await house.caught_up("credentials", "workspaces", "people")
    async with ringing(house) as keyring:
        await home.ask(ChangeRole(workspace_id=home.workspace_id, person_id=home.member, by=home.owner, role="admin"))
        access = await keyring.find(home.session)
        assert access is not None
        assert access.role == "admin"


async def test_nobody_is_believed_unknown_while_the_projector_sleeps(house: House) -> None:
    async with projecting(house):
        home = await Home(house).furnish()
        await house.caught_up("credentials", "workspaces", "people")
    late = await Home(house).furnish()
    async with ringing(house, wait_seconds_max=0.1) as keyring:
        assert await keyring.find(home.key)
        with pytest.raises(ReadsUnavailable):
            await keyring.find(late.key)


async def test_the_bell_makes_every_process_look_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyrings, "REMEMBER_SECONDS", 3600.0)
    async with projecting(house), ringing(house) as one, ringing(house) as other:
        # A process that neither of them lives in, and whose bell is the only thing they hear of it.
        elsewhere = house.new_ledger(on_commit=partial(announce, house.bus))
        home = await Home(house, elsewhere).furnish()
        for digest, wish in (
            (home.key, RevokeApiKey(api_key_id=home.api_key_id, workspace_id=home.workspace_id)),
            (home.session, RemoveMember(workspace_id=home.workspace_id, person_id=home.member, by=home.owner)),
        ):

            async def forgotten(digest: str = digest) -> bool:
                return await one.find(digest) is None and await other.find(digest) is None

            assert not await forgotten()
            await home.ask(wish)
            await eventually(forgotten, within_seconds=5)


async def test_what_this_process_writes_counts_at_once_without_a_bell(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyrings, "REMEMBER_SECONDS", 3600.0)
    async with projecting(house), ringing(house) as keyring:
        home = await Home(house).furnish()
        for digest, wish in (
            (home.key, RevokeApiKey(api_key_id=home.api_key_id, workspace_id=home.workspace_id)),
            (home.session, CloseSession(session_id=home.session_id, reason="logout")),
        ):
            assert await keyring.find(digest)
            assert keyring.known(digest)
            await home.ask(wish)
            assert keyring.known(digest) is None
            assert await keyring.find(digest) is None


async def test_a_session_of_an_earlier_membership_stays_closed(house: House) -> None:
    async with projecting(house), ringing(house) as keyring:
        home = await Home(house).furnish()
        assert await keyring.find(home.session)
        await home.ask(
            RemoveMember(workspace_id=home.workspace_id, person_id=home.member, by=home.owner),
            InviteMember(
                workspace_id=home.workspace_id,
                invitation_id="second letter",
                by=home.owner,
                email=f"{home.member}@example.com",
                email_digest=f"digest-of-{home.member}",
                role="viewer",
            ),
            AcceptInvitation(workspace_id=home.workspace_id, invitation_id="second letter", person_id=home.member),
        )
        assert await keyring.find(home.session) is None
        anew = NewSession(session_id=f"again-{home.session_id}", digest=f"new-{home.session}", lifetime=timedelta(1))
        await home.ask(OpenSession(person_id=home.member, workspace_id=home.workspace_id, session=anew))
        assert await keyring.find(anew.digest)


async def test_without_a_bell_memory_is_short(house: House) -> None:
    async with projecting(house), ringing(house) as keyring:
        home = await Home(house, house.new_ledger()).furnish()
        assert await keyring.find(home.key)
        await home.ask(RevokeApiKey(api_key_id=home.api_key_id, workspace_id=home.workspace_id))
        revoked_at = asyncio.get_running_loop().time()

        async def refused() -> bool:
            return await keyring.find(home.key) is None

        await eventually(refused, within_seconds=5)
        assert asyncio.get_running_loop().time() - revoked_at < 1.0


async def test_an_answer_that_was_asked_for_before_a_revocation_is_not_remembered(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyrings, "REMEMBER_SECONDS", 3600.0)
    async with projecting(house), ringing(house) as keyring:
        home = await Home(house).furnish()
        await house.caught_up("credentials", "workspaces", "people")
        looked, told = asyncio.Event(), asyncio.Event()
        look = keyring._look

        async def slow(digest: str) -> object:
            found = await look(digest)
            looked.set()
            await told.wait()
            return found

        with monkeypatch.context() as patch:
            patch.setattr(keyring, "_look", slow)
            early = asyncio.ensure_future(keyring.find(home.key))
            await looked.wait()
        await home.ask(RevokeApiKey(api_key_id=home.api_key_id, workspace_id=home.workspace_id))
        # Nobody who comes now waits for the early answer, and nobody who comes later gets it.
        assert await keyring.find(home.key) is None
        told.set()
        assert await early
        assert await keyring.find(home.key) is None


async def test_many_who_ask_at_once_are_one_question(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with projecting(house), ringing(house) as keyring:
        home = await Home(house).furnish()
        await house.caught_up("credentials", "workspaces", "people")
        asked = 0
        look = keyring._look

        async def counted(digest: str) -> object:
            nonlocal asked
            asked += 1
            return await look(digest)

        monkeypatch.setattr(keyring, "_look", counted)
        found = await asyncio.gather(*(keyring.find(home.key) for _ in range(50)))
        assert all(found)
        assert asked == 1


async def test_what_has_changed_since_it_was_found_is_told_of_many_at_once(house: House) -> None:
    async with projecting(house), ringing(house) as keyring:
        homes = [await Home(house).furnish() for _ in range(2)]
        await house.caught_up("credentials", "workspaces", "people")
        found = [await keyring.find(home.key) for home in homes]
        known = [each for each in found if each is not None]
        assert len(known) == 2
        assert await keyring.outdated(known) == set()
        assert await keyring.outdated([]) == set()
        await homes[0].ask(RevokeApiKey(api_key_id=homes[0].api_key_id, workspace_id=homes[0].workspace_id))
        assert await keyring.outdated(known) == {homes[0].key}
        await homes[1].ask(ForgetWorkspace(workspace_id=homes[1].workspace_id, by=homes[1].owner))
        assert await keyring.outdated(known) == {home.key for home in homes}
