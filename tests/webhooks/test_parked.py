"""Deliveries that were given up, as operators see them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from domain.kernel import Event
from domain.webhooks.deliveries import DeliveryAttempted, DeliveryGivenUp
from projections.parking import GivenUp, listed_under
from projections.webhooks.parked import parked_deliveries
from tests.scene import NOON
from tests.webhooks.test_deliveries import ABOUT, BEGUN, attempted, queued
from tests.webhooks.test_resuming import SKIPPED, given_up, resumed


def failed(attempt: int, problem: str) -> DeliveryAttempted:
    return replace(attempted(attempt), error_detail=problem)


def shown(*events: Event) -> GivenUp | None:
    """The delivery of these events, unless there is no more to it."""
    found: GivenUp | None = parked_deliveries.fold("D", events)
    return found


def seen(*events: Event) -> bool:
    """Whether an operator sees it."""
    found = shown(*events)
    return found is not None and listed_under(found) is not None


def test_it_is_seen_while_it_is_given_up_with_its_attempts_and_the_last_problem() -> None:
    found = shown(queued(), BEGUN, failed(1, "No answer came."), failed(2, "The receiver answered 500."), given_up())
    assert found == GivenUp(
        name="E",
        about="analysis.completed",
        stream="delivery-D",
        state="given up",
        owner="E",
        attempts=2,
        problem="r: The receiver answered 500.",
        since=NOON,
    )
    assert listed_under(found) == "given up"


def test_it_is_not_seen_before_and_after() -> None:
    gone = (queued(), failed(1, "p"), given_up())
    assert seen(*gone)
    for events in (gone[:1], gone[:2], (*gone, resumed(1)), (*gone, SKIPPED), (*gone, attempted(2, again=NOON))):
        assert not seen(*events)
    assert shown(*gone, attempted(2, success=True)) is None
    assert seen(*gone, resumed(1), failed(2, "q"), given_up())
    assert seen(*gone, SKIPPED, failed(2, "forced"), given_up()), (
        "its workspace has asked for it, and there it is again"
    )


def test_what_an_earlier_series_came_to_is_not_told_of_a_later_one() -> None:
    found = shown(queued(), failed(1, "p"), given_up(), resumed(1), given_up("disabled"))
    assert found is not None
    assert (found.problem, found.attempts) == ("r", 1)


def test_what_has_nobody_to_arrive_at_any_more_is_nothing_to_see_to() -> None:
    assert shown(queued(), failed(1, "p"), given_up("removed")) is None


def test_a_failed_ping_is_seen_by_whoever_sent_it() -> None:
    ping = {"subject_kind": "endpoint", "subject_id": "E"}
    about = {**ABOUT, **ping}
    end = DeliveryGivenUp(delivery_id="D", **about, reason="r", given_up_at=NOON)
    assert shown(queued(message_type="webhook.ping", **ping), replace(attempted(1), **ping), end) is None


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://ada:secret@example.com:8443/hook?key=secret", "example.com"),
        ("[erased]", ""),
        ("http://[", ""),
    ],
)
def test_an_address_that_was_left_with_a_job_goes_by_its_host(url: str, name: str) -> None:
    facts: dict[str, Any] = {"endpoint_id": None, "url": url}
    found = shown(queued(**facts), given_up())
    assert found is not None
    assert (found.name, found.owner) == (name, None)
