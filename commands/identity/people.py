"""A person becomes known, with an address or by another service's word, says what they want, and may be forgotten."""

from __future__ import annotations

from datetime import datetime

from commands.identity.challenges import answer, send_code
from commands.kernel import Command, Transaction, decides, handles
from domain.identity.api_keys import ApiKeyIssued, ApiKeyRevoked, api_keys
from domain.identity.challenges import CodeIsWrong, challenges
from domain.identity.people import (
    AccountHasChanged,
    EmailClaimed,
    EmailIsTaken,
    EmailReleased,
    EmailVerified,
    IdentityLinked,
    NoSuchPerson,
    Person,
    PersonForgotten,
    PersonRegistered,
    Preferences,
    PreferencesChanged,
    WorkspaceJoined,
    email_claims,
    identities,
    people,
)
from domain.identity.workspaces import MemberAdded, Role, WorkspaceOpened, WorkspaceReclaimed, workspaces
from domain.kernel import Event
from domain.scopes import scopes


class RegisterPerson(Command):
    """Register under an address; `email_digest` is its keyed digest, which makes it unique."""

    person_id: str
    workspace_id: str
    api_key_id: str
    email: str
    email_digest: str
    key_prefix: str
    key_digest: str
    #: The code that proves the address, where that is asked for.
    challenge_id: str | None = None


@handles(RegisterPerson)
async def register(wish: RegisterPerson, transaction: Transaction) -> None:
    """An address belongs to one person; everything that comes with it comes at once or not at all."""
    claim = await transaction.expect_new(email_claims, wish.email_digest)
    if claim.person_id == wish.person_id:
        return
    if claim.person_id is not None:
        raise EmailIsTaken
    await enrol(
        transaction,
        wish.person_id,
        wish.workspace_id,
        wish.email,
        wish.email_digest,
        first_key_id=wish.api_key_id,
    )
    await transaction.expect_new(api_keys, wish.api_key_id)
    transaction.record(
        api_keys,
        wish.api_key_id,
        ApiKeyIssued(
            api_key_id=wish.api_key_id,
            workspace_id=wish.workspace_id,
            person_id=wish.person_id,
            name="First key",
            prefix=wish.key_prefix,
            digest=wish.key_digest,
            scopes=tuple(scopes()),
            issued_at=transaction.now,
        ),
    )
    if wish.challenge_id is not None:
        await send_code(transaction, wish.challenge_id, "verify_email", wish.email, wish.email_digest)


async def enrol(
    transaction: Transaction,
    person_id: str,
    workspace_id: str,
    email: str,
    email_digest: str | None,
    *,
    first_key_id: str | None = None,
) -> None:
    """Somebody new, with a workspace of their own; the address is claimed where there is a digest of it."""
    now = transaction.now
    await transaction.expect_new(people, person_id)
    if email_digest is not None:
        transaction.record(
            email_claims,
            email_digest,
            EmailClaimed(
                email_digest=email_digest,
                person_id=person_id,
                workspace_id=workspace_id,
                claimed_at=now,
                first_key_id=first_key_id,
            ),
        )
    transaction.record(people, person_id, PersonRegistered(person_id=person_id, email=email, registered_at=now))
    name = f"{email.split('@', maxsplit=1)[0]}'s workspace" if email else "My workspace"
    await found(transaction, person_id, workspace_id, name)


async def found(transaction: Transaction, person_id: str, workspace_id: str, name: str) -> None:
    """A workspace whose owner is this person."""
    now = transaction.now
    workspace = await transaction.expect_new(workspaces, workspace_id)
    if workspace.open or transaction.exists(workspaces, workspace_id):
        raise AccountHasChanged
    transaction.record(
        workspaces,
        workspace_id,
        WorkspaceOpened(workspace_id=workspace_id, name=name, opened_at=now),
    )
    join(transaction, workspace_id, person_id, "owner")


def join(transaction: Transaction, workspace_id: str, person_id: str, role: Role) -> None:
    """From now on the workspace knows its member, and the member the workspace."""
    now = transaction.now
    transaction.record(
        workspaces,
        workspace_id,
        MemberAdded(workspace_id=workspace_id, person_id=person_id, role=role, added_at=now),
        workspace_id=workspace_id,
    )
    transaction.record(
        people,
        person_id,
        WorkspaceJoined(person_id=person_id, workspace_id=workspace_id, joined_at=now),
        workspace_id=workspace_id,
    )


async def prove(transaction: Transaction, person_id: str, email_digest: str, *, keeps: str | None) -> None:
    """Somebody has shown to read the mail of an address; the first time decides whose the account is.

    Anybody can register anybody's address and would keep a key to what its owner does there later. So the key that
    was given out before is revoked and the workspace begins anew, unless the holder of the key is the one who proves
    the address: `keeps` is their key. There are no other keys and no sessions: both take somebody who has signed in.
    """
    now = transaction.now
    if (await transaction.find(people, person_id)).verified:
        return
    transaction.record(people, person_id, EmailVerified(person_id=person_id, verified_at=now))
    claim = await transaction.find(email_claims, email_digest)
    first_key_id = claim.first_key_id
    if first_key_id is None or first_key_id == keeps:
        return
    if claim.workspace_id is not None and (await transaction.find(workspaces, claim.workspace_id)).open:
        transaction.record(
            workspaces,
            claim.workspace_id,
            WorkspaceReclaimed(workspace_id=claim.workspace_id, person_id=person_id, reclaimed_at=now),
        )
    key = await transaction.load(api_keys, first_key_id)
    if not key.revoked:
        transaction.record(
            api_keys, first_key_id, ApiKeyRevoked(api_key_id=first_key_id, digest=key.digest, revoked_at=now)
        )


class VerifyEmail(Command):
    """Give the code that was mailed at registration; whether it is right has been compared in constant time already.

    Registration named this challenge to whoever holds the first key: so the key stays.
    """

    challenge_id: str
    right: bool
    person_id: str


@handles(VerifyEmail)
async def verify(wish: VerifyEmail, transaction: Transaction) -> None:
    """The code is spent and what it proves is written in one step, so that no code is spent for nothing."""
    challenge = await transaction.load(challenges, wish.challenge_id)
    if challenge.purpose != "verify_email":
        raise CodeIsWrong
    verdict = answer(wish.challenge_id, challenge, wish.right, transaction.now)
    transaction.record(challenges, wish.challenge_id, verdict)
    if not wish.right:
        return
    claim = await transaction.find(email_claims, challenge.email_digest)
    if claim.person_id != wish.person_id:
        raise AccountHasChanged
    await prove(transaction, wish.person_id, challenge.email_digest, keeps=claim.first_key_id)


class LinkIdentity(Command):
    """Know somebody by the word of another service; `email_digest` is given where it vouches for their address.

    `person_id` is who they are here already, as far as can be seen, or a new id; likewise `workspace_id`.
    """

    identity_id: str
    person_id: str
    workspace_id: str
    email: str
    email_digest: str | None


@handles(LinkIdentity)
async def link(wish: LinkIdentity, transaction: Transaction) -> None:
    """An identity is linked once, to whom the address belongs or to somebody new, and anew after being forgotten."""
    now = transaction.now
    identity = await transaction.find(identities, wish.identity_id)
    if identity.person_id is not None:
        linked = await transaction.find(people, identity.person_id)
        if not linked.forgotten:
            if not linked.workspaces:
                await found(transaction, identity.person_id, wish.workspace_id, "My workspace")
            return
    known = None
    if wish.email_digest is not None:
        known = (await transaction.find(email_claims, wish.email_digest)).person_id
    if known is None:
        await enrol(transaction, wish.person_id, wish.workspace_id, wish.email, wish.email_digest)
    elif known != wish.person_id:
        raise AccountHasChanged
    if wish.email_digest is not None:
        await prove(transaction, wish.person_id, wish.email_digest, keeps=None)
    transaction.record(
        identities,
        wish.identity_id,
        IdentityLinked(identity_id=wish.identity_id, person_id=wish.person_id, linked_at=now),
    )


class ChangePreferences(Command):
    """Say what one wants mail about."""

    person_id: str
    preferences: Preferences


@decides(ChangePreferences, people)
def change_preferences(wish: ChangePreferences, person: Person, now: datetime) -> list[Event]:
    """Only a change is worth noting."""
    if person.forgotten:
        raise NoSuchPerson
    if person.preferences == wish.preferences:
        return []
    return [PreferencesChanged(person_id=wish.person_id, preferences=wish.preferences, changed_at=now)]


class ForgetPerson(Command):
    """Erase somebody; `email_digest` frees their address."""

    person_id: str
    email_digest: str | None


@handles(ForgetPerson)
async def forget(wish: ForgetPerson, transaction: Transaction) -> None:
    """The address is free again, they leave wherever they belong, and nobody can act in their name."""
    now = transaction.now
    person = await transaction.load(people, wish.person_id)
    if person.forgotten:
        return
    address_digest: str | None = None
    invited_to: tuple[str, ...] = ()
    if wish.email_digest is not None:
        claim = await transaction.find(email_claims, wish.email_digest)
        if claim.person_id == wish.person_id:
            address_digest, invited_to = claim.address_digest(wish.email_digest), claim.invited_to
            transaction.record(
                email_claims, wish.email_digest, EmailReleased(email_digest=wish.email_digest, released_at=now)
            )
    transaction.record(
        people,
        wish.person_id,
        PersonForgotten(
            person_id=wish.person_id,
            email_digest=wish.email_digest,
            address_digest=address_digest,
            invited_to=invited_to,
            forgotten_at=now,
        ),
    )
