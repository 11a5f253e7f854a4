"""The words that rules are specified in say no when they should."""

from __future__ import annotations

import pytest

from commands.identity.people import ChangePreferences
from domain.identity.people import NoSuchPerson, PersonForgotten, PersonRegistered, Preferences, PreferencesChanged
from tests.spec import NOW, given

registered = PersonRegistered(person_id="ada", email="ada@example.com", registered_at=NOW)
quiet = Preferences(billing_updates=False)
changed = PreferencesChanged(person_id="ada", preferences=quiet, changed_at=NOW)
forgotten = PersonForgotten(person_id="ada", email_digest=None, address_digest=None, invited_to=(), forgotten_at=NOW)
change = ChangePreferences(person_id="ada", preferences=quiet)


def test_what_follows_is_said_whole() -> None:
    given(registered).when(change).then(changed)
    given(registered, changed).when(change).then()
    with pytest.raises(AssertionError):
        given(registered).when(change).then()
    with pytest.raises(AssertionError):
        given(registered, changed).when(change).then(changed)


def test_a_refusal_is_named() -> None:
    given(registered, forgotten).when(change).refused(NoSuchPerson)
    given().when(change).refused(NoSuchPerson)
    with pytest.raises(AssertionError):
        given(registered).when(change).refused(NoSuchPerson)
    with pytest.raises(AssertionError):
        given().when(change).then()


def test_an_event_may_be_put_into_a_stream_by_name() -> None:
    given(("person-ada", registered)).when(change).then(changed)
    given(("person-ben", registered)).when(change).refused(NoSuchPerson)
