"""Contexts say what of theirs can be given up, under words that nothing else goes by."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from commands.kernel import HANDLERS, Command
from commands.parking import _PARKINGS, can_be_parked, parkings
from infra.container import load_everything
from projections.kernel import PROJECTIONS
from projections.parking import GivenUp, listed_under


class Retry(Command):
    thing_id: str


class TwoFields(Command):
    thing_id: str
    number: int


@pytest.fixture(autouse=True)
def declared() -> Iterator[None]:
    """What is declared here is not there afterwards."""
    before = dict(parkings())
    yield
    _PARKINGS.clear()
    _PARKINGS.update(before)


def test_what_is_declared_is_read_where_it_says_and_has_its_commands() -> None:
    load_everything()
    assert set(parkings()) == {"delivery"}
    for each in parkings().values():
        read = PROJECTIONS[each.read_model]
        assert read.document is GivenUp
        assert read.parent is listed_under
        assert each.owners is None or each.owners in PROJECTIONS
        assert {each.retry, each.skip} <= set(HANDLERS)


@pytest.mark.parametrize(
    ("kind", "plural"),
    [("delivery", "others"), ("other", "deliveries"), ("job", "others"), ("other", "streams"), ("refused", "others")],
)
def test_no_two_kinds_go_by_one_word(kind: str, plural: str) -> None:
    with pytest.raises(AssertionError, match="something else"):
        can_be_parked(kind, plural, read_model="r", retry=Retry, skip=Retry)


def test_a_command_that_takes_more_than_an_id_is_none_for_it() -> None:
    with pytest.raises(AssertionError, match="TwoFields"):
        can_be_parked("other", "others", read_model="r", retry=Retry, skip=TwoFields)
