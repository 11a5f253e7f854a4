"""A person registers: with an address of their own come a workspace of their own and a first API key."""

from __future__ import annotations

from datetime import datetime

from commands.kernel import Command, Transaction, decides, handles
from domain.identity.api_keys import SCOPES, ApiKeyIssued, api_keys
from domain.identity.people import (
    EmailClaimed,
    EmailIsTaken,
    EmailVerified,
    Person,
    PersonRegistered,
    email_claims,
    people,
)
from domain.identity.workspaces import MemberAdded, WorkspaceOpened, workspaces
from domain.kernel import Event


class RegisterPerson(Command):
    """Register under an address; `email_digest` is its keyed digest, which makes it unique."""

    person_id: str
    workspace_id: str
    api_key_id: str
    email: str
    email_digest: str
    key_prefix: str
    key_digest: str


@handles(RegisterPerson)
async def register(wish: RegisterPerson, transaction: Transaction) -> None:
    """An address belongs to one person; everything that comes with it comes at once or not at all."""
    now = transaction.now
    claim = await transaction.presume_new(email_claims, wish.email_digest)
    if claim.person_id == wish.person_id:
        return
    if claim.person_id is not None:
        raise EmailIsTaken
    await transaction.presume_new(people, wish.person_id)
    await transaction.presume_new(workspaces, wish.workspace_id)
    await transaction.presume_new(api_keys, wish.api_key_id)
    transaction.record(
        email_claims,
        wish.email_digest,
        EmailClaimed(
            email_digest=wish.email_digest,
            person_id=wish.person_id,
            workspace_id=wish.workspace_id,
            claimed_at=now,
        ),
    )
    transaction.record(
        people, wish.person_id, PersonRegistered(person_id=wish.person_id, email=wish.email, registered_at=now)
    )
    name = f"{wish.email.split('@')[0]}'s workspace"
    transaction.record(
        workspaces,
        wish.workspace_id,
        WorkspaceOpened(workspace_id=wish.workspace_id, name=name, opened_at=now),
        MemberAdded(workspace_id=wish.workspace_id, person_id=wish.person_id, role="owner", added_at=now),
    )
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
            scopes=SCOPES,
            issued_at=now,
        ),
    )


class VerifyEmail(Command):
    """Note that mail to a person's address reaches them."""

    person_id: str


@decides(VerifyEmail, people)
def verify(wish: VerifyEmail, person: Person, now: datetime) -> list[Event]:
    """Once is enough."""
    if person.verified:
        return []
    return [EmailVerified(person_id=wish.person_id, verified_at=now)]
