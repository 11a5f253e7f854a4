"""A person, known by an e-mail address that nobody else has, and the workspaces they belong to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import field
from msgspec.structs import replace

from domain.kernel import Category, Conflict, Event, NotFound, State, Value, personal


class PersonRegistered(Event):
    """Somebody is known from now on; one who came with another service's token may have told us no address."""

    person_id: str
    email: Annotated[str, personal("person_id")]
    registered_at: datetime


class EmailVerified(Event):
    """The person has shown that mail to the address reaches them."""

    person_id: str
    verified_at: datetime


class Preferences(Value):
    """What a person wants mail about."""

    analysis_complete: bool = True
    billing_updates: bool = True
    product_updates: bool = True


class PreferencesChanged(Event):
    """The person has said what they want mail about."""

    person_id: str
    preferences: Preferences
    changed_at: datetime


class WorkspaceJoined(Event):
    """The person belongs to a workspace; the workspace says in what role."""

    person_id: str
    workspace_id: str
    joined_at: datetime


class WorkspaceLeft(Event):
    """The person does not belong to a workspace any more."""

    person_id: str
    workspace_id: str
    left_at: datetime


class PersonForgotten(Event):
    """The person is erased: what was personal can no longer be read, and nobody can act in their name."""

    person_id: str
    email_digest: str | None
    #: The subject whose data key sealed letters and invitations to the address.
    address_digest: str | None
    #: The workspaces that may hold the address in an invitation.
    invited_to: tuple[str, ...]
    forgotten_at: datetime


class Person(State):
    """What rules need to know of a person."""

    registered: bool = False
    verified: bool = False
    forgotten: bool = False
    preferences: Preferences = Preferences()
    workspaces: tuple[str, ...] = ()


def evolve(person: Person, event: Event) -> Person:  # noqa: PLR0911 - one for each event
    """A person after one more event."""
    match event:
        case PersonRegistered():
            return replace(person, registered=True)
        case EmailVerified():
            return replace(person, verified=True)
        case PreferencesChanged():
            return replace(person, preferences=event.preferences)
        case WorkspaceJoined():
            return replace(person, workspaces=(*person.workspaces, event.workspace_id))
        case WorkspaceLeft():
            left = event.workspace_id
            return replace(person, workspaces=tuple(each for each in person.workspaces if each != left))
        case PersonForgotten():
            return replace(person, forgotten=True)
    return person


class NoSuchPerson(NotFound):
    """There is no such person."""


people = Category(name="person", initial=Person(), evolve=evolve, absent=NoSuchPerson, remembered=True)


class EmailClaimed(Event):
    """An address, known only by its keyed digest, belongs to a person."""

    email_digest: str
    person_id: str
    workspace_id: str
    claimed_at: datetime
    #: The key that was given to whoever named the address, before anybody proved to read its mail.
    first_key_id: str | None = None


class EmailReleased(Event):
    """An address is free again."""

    email_digest: str
    released_at: datetime


class CodeSent(Event):
    """The newest code for an address that was asked for from a source; those before it work no longer."""

    email_digest: str
    challenge_id: str
    sent_at: datetime
    #: A digest of where it was asked for from, which goes with the address; old ones do not say.
    source: Annotated[str | None, personal("address_digest")] = None
    address_digest: str = ""


class AddressInvited(Event):
    """Somebody who reads mail at the address has been invited to a workspace."""

    email_digest: str
    workspace_id: str
    invitation_id: str
    invited_at: datetime


class InvitationEnded(Event):
    """An invitation of the address has been answered or withdrawn, or is over."""

    email_digest: str
    workspace_id: str
    invitation_id: str
    ended_at: datetime


#: Sources whose codes are remembered: more than may ask for any while a code works.
SOURCES_MAX = 100


class EmailClaim(State):
    """Whose address it is, which codes for it are the newest, and where it has been invited to."""

    person_id: str | None = None
    workspace_id: str | None = None
    first_key_id: str | None = None
    #: The newest code of each source, the newest last.
    codes: dict[str, str] = field(default_factory=dict)
    #: Open invitations: (workspace, invitation).
    invitations: tuple[tuple[str, str], ...] = ()
    #: Every workspace it was ever invited to since it was last forgotten.
    invited_to: tuple[str, ...] = ()
    generation: int = 0

    def address_digest(self, email_digest: str) -> str:
        """The subject that seals what is written to this address, another one each time it has been forgotten."""
        return f"{email_digest}.{self.generation}"


def evolve_claim(claim: EmailClaim, event: Event) -> EmailClaim:
    """A claim after one more event."""
    match event:
        case EmailClaimed():
            return replace(
                claim,
                person_id=event.person_id,
                workspace_id=event.workspace_id,
                first_key_id=event.first_key_id,
            )
        case EmailReleased():
            return EmailClaim(generation=claim.generation + 1)
        case CodeSent():
            source = event.source or ""
            others = {where: code for where, code in claim.codes.items() if where != source}
            return replace(claim, codes=dict([*others.items(), (source, event.challenge_id)][-SOURCES_MAX:]))
        case AddressInvited():
            place = (event.workspace_id, event.invitation_id)
            where = event.workspace_id
            return replace(
                claim,
                invitations=(*claim.invitations, place),
                invited_to=claim.invited_to if where in claim.invited_to else (*claim.invited_to, where),
            )
        case InvitationEnded():
            gone = (event.workspace_id, event.invitation_id)
            return replace(claim, invitations=tuple(each for each in claim.invitations if each != gone))
    return claim


class EmailIsTaken(Conflict):
    """An account with this e-mail address exists already. Sign in instead."""


class AccountHasChanged(Conflict):
    """The account has changed while you signed in. Try again."""


email_claims = Category(name="email", initial=EmailClaim(), evolve=evolve_claim)


class IdentityLinked(Event):
    """An identity of another service, known by the digest of its issuer and subject, is a person of ours."""

    identity_id: str
    person_id: str
    linked_at: datetime


class Identity(State):
    """Who an identity of another service is here."""

    person_id: str | None = None


def evolve_identity(identity: Identity, event: Event) -> Identity:
    """An identity after one more event."""
    match event:
        case IdentityLinked():
            return Identity(person_id=event.person_id)
    return identity


identities = Category(name="identity", initial=Identity(), evolve=evolve_identity, remembered=True)
