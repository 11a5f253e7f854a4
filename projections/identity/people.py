"""A person as the guard at the door knows them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from domain.identity.people import EmailVerified, NoSuchPerson, PersonRegistered
from domain.kernel import Event
from projections.kernel import Document, Projection, projection


class Person(Document):
    """Whether a person's address is proved."""

    person_id: str
    email: str
    verified: bool = False


def concerns(event: Event) -> str | None:
    """The person an event is about."""
    match event:
        case PersonRegistered() | EmailVerified():
            return event.person_id
    return None


def evolve(person: Person | None, event: Event) -> Person | None:
    """The person after one more event."""
    match person, event:
        case _, PersonRegistered():
            return Person(person_id=event.person_id, email=event.email)
        case Person(), EmailVerified():
            return replace(person, verified=True)
    return person


people: Projection[Any] = projection("people", Person, concerns=concerns, evolve=evolve, absent=NoSuchPerson)
