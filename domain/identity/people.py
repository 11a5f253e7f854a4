"""A person, known by an e-mail address that nobody else has."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec.structs import replace

from domain.kernel import Category, Conflict, Event, NotFound, State, personal


class PersonRegistered(Event):
    """Somebody has given an address and is known from now on."""

    person_id: str
    email: Annotated[str, personal("person_id")]
    registered_at: datetime


class EmailVerified(Event):
    """The person has shown that mail to the address reaches them."""

    person_id: str
    verified_at: datetime


class Person(State):
    """What rules need to know of a person."""

    registered: bool = False
    verified: bool = False


def evolve(person: Person, event: Event) -> Person:
    """A person after one more event."""
    match event:
        case PersonRegistered():
            return replace(person, registered=True)
        case EmailVerified():
            return replace(person, verified=True)
    return person


class NoSuchPerson(NotFound):
    """There is no such person."""


people = Category(name="person", initial=Person(), evolve=evolve, absent=NoSuchPerson)


class EmailClaimed(Event):
    """An address, known only by its keyed digest, belongs to a person."""

    email_digest: str
    person_id: str
    workspace_id: str
    claimed_at: datetime


class EmailReleased(Event):
    """An address is free again."""

    email_digest: str
    released_at: datetime


class EmailClaim(State):
    """Whose address it is."""

    person_id: str | None = None
    workspace_id: str | None = None


def evolve_claim(claim: EmailClaim, event: Event) -> EmailClaim:
    """A claim after one more event."""
    match event:
        case EmailClaimed():
            return EmailClaim(person_id=event.person_id, workspace_id=event.workspace_id)
        case EmailReleased():
            return EmailClaim()
    return claim


class EmailIsTaken(Conflict):
    """An account with this e-mail address exists already. Sign in instead."""


email_claims = Category(name="email", initial=EmailClaim(), evolve=evolve_claim)
