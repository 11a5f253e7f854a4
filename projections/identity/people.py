"""A person as the guard of the routes and the account pages know them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from domain.identity.people import (
    EmailVerified,
    NoSuchPerson,
    PersonForgotten,
    PersonRegistered,
    Preferences,
    PreferencesChanged,
    WorkspaceJoined,
    WorkspaceLeft,
)
from domain.kernel import Event
from projections.kernel import Document, Projection, projection


class Person(Document):
    """Who somebody is, where they belong, and what they want mail about."""

    person_id: str
    email: str
    verified: bool = False
    preferences: Preferences = Preferences()
    workspaces: tuple[str, ...] = ()
    forgotten: bool = False


def evolve(person: Person | None, event: Event) -> Person | None:  # noqa: PLR0911 - one for each event
    """The person after one more event."""
    match person, event:
        case _, PersonRegistered():
            return Person(person_id=event.person_id, email=event.email)
        case Person(), EmailVerified():
            return replace(person, verified=True)
        case Person(), PreferencesChanged():
            return replace(person, preferences=event.preferences)
        case Person(), WorkspaceJoined():
            return replace(person, workspaces=(*person.workspaces, event.workspace_id))
        case Person(), WorkspaceLeft():
            return replace(person, workspaces=tuple(each for each in person.workspaces if each != event.workspace_id))
        case Person(), PersonForgotten():
            return Person(person_id=person.person_id, email="", forgotten=True)
    return person


people: Projection[Any] = projection(
    "people",
    Person,
    on={
        PersonRegistered: "person_id",
        EmailVerified: "person_id",
        PreferencesChanged: "person_id",
        WorkspaceJoined: "person_id",
        WorkspaceLeft: "person_id",
        PersonForgotten: "person_id",
    },
    evolve=evolve,
    begins=(PersonRegistered,),
    absent=NoSuchPerson,
    stream="person",
    version=2,
    outlives_workspaces=True,
)
