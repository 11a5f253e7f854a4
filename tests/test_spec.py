"""The words that rules are specified in say no when they should."""

from __future__ import annotations

import pytest

from commands.identity.people import VerifyEmail
from domain.identity.people import EmailVerified, NoSuchPerson, PersonForgotten, PersonRegistered
from tests.spec import NOW, given

registered = PersonRegistered(person_id="ada", email="ada@example.com", registered_at=NOW)
verified = EmailVerified(person_id="ada", verified_at=NOW)
forgotten = PersonForgotten(person_id="ada", email_digest=None, address_digest=None, invited_to=(), forgotten_at=NOW)
verify = VerifyEmail(person_id="ada")


def test_what_follows_is_said_whole() -> None:
    given(registered).when(verify).then(verified)
    given(registered, verified).when(verify).then()
    with pytest.raises(AssertionError):
        given(registered).when(verify).then()
    with pytest.raises(AssertionError):
        given(registered, verified).when(verify).then(verified)


def test_a_refusal_is_named() -> None:
    given(registered, forgotten).when(verify).refused(NoSuchPerson)
    given().when(verify).refused(NoSuchPerson)
    with pytest.raises(AssertionError):
        given(registered).when(verify).refused(NoSuchPerson)
    with pytest.raises(AssertionError):
        given().when(verify).then()


def test_an_event_may_be_put_into_a_stream_by_name() -> None:
    given(("person-ada", registered)).when(verify).then(verified)
    given(("person-ben", registered)).when(verify).refused(NoSuchPerson)
