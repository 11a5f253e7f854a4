"""What was given up is tried again when somebody who looks after the service asks, or let go of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from commands.webhooks.deliveries import ResumeDelivery, SkipDelivery
from commands.webhooks.ports import Ports
from commands.webhooks.reactions import deliver, end_abandoned_attempt
from commands.webhooks.sending import send
from domain.kernel import ERASED, Event, Refusal
from domain.ledger import Context, History, Recorded
from domain.webhooks.deliveries import (
    ATTEMPTS_MAX,
    DeliveryAttempted,
    DeliveryBegun,
    DeliveryGivenUp,
    DeliveryIsBeingForced,
    DeliveryIsNotGivenUp,
    DeliveryIsSkipped,
    DeliveryResumed,
    DeliverySkipped,
    EndpointIsDisabled,
    NoAttemptLeft,
    NobodyToSendTo,
    NoSuchDelivery,
    WhyGivenUp,
    deliveries,
)
from domain.webhooks.endpoints import (
    EndpointDisabled,
    EndpointEnabled,
    EndpointRemoved,
    NoSuchEndpoint,
    endpoint_books,
)
from tests.scene import NOON, WORKSPACE, Scene
from tests.webhooks.test_deliveries import ABOUT, BEGUN, BODY, URL, answer, attempted, begin, queued, shown, waiting

RESUME = ResumeDelivery(delivery_id="D")
SKIP = SkipDelivery(delivery_id="D")
SKIPPED = DeliverySkipped(delivery_id="D", **ABOUT, skipped_at=NOON)


def given_up(because: WhyGivenUp = "exhausted") -> DeliveryGivenUp:
    return DeliveryGivenUp(delivery_id="D", **ABOUT, reason="r", because=because, given_up_at=NOON)


def resumed(attempts: int) -> DeliveryResumed:
    return DeliveryResumed(delivery_id="D", **ABOUT, attempts=attempts, resumed_at=NOON)


async def exhausted(scene: Scene, last: Recorded) -> None:
    """Every attempt of a series fails; nobody waits."""
    while True:
        await scene.follows(deliver, last)
        if any(isinstance(event, DeliveryGivenUp) for event in scene.news):
            return
        last = scene.last(DeliveryAttempted)


# --- resuming -------------------------------------------------------------------------------------------------------


async def test_what_was_given_up_is_resumed_once() -> None:
    scene, _ = waiting(attempted(1), given_up())
    (await scene.when(RESUME)).then(resumed(1))
    (await scene.when(RESUME)).then()


async def test_it_is_written_down_in_the_name_of_its_workspace() -> None:
    scene, _ = waiting(given_up())
    scene.context = Context(correlation_id=scene.context.correlation_id, actor="operator")
    await scene.when(RESUME)
    assert (scene.last(DeliveryResumed).workspace_id, scene.last(DeliveryResumed).actor) == (WORKSPACE, "operator")
    scene.given(deliveries, "D", given_up())
    await scene.when(SKIP)
    assert scene.last(DeliverySkipped).workspace_id == WORKSPACE


async def test_it_has_all_its_attempts_anew_in_the_same_words_under_the_same_id() -> None:
    scene, last = waiting()
    scene.settings = {"webhook_retry_seconds": (1.0, 2.0)}
    scene.web.answers[URL] = [answer(500)]
    await exhausted(scene, last)
    await scene.later(hours=1).when(RESUME)
    await exhausted(scene, scene.last(DeliveryResumed))
    assert len(scene.web.sent) == 6
    waits = [
        None if each.event.next_attempt_at is None else (each.event.next_attempt_at - each.event.attempted_at).seconds
        for each in scene.log.all
        if isinstance(each.event, DeliveryAttempted)
    ]
    assert waits == [1, 2, None, 1, 2, None]
    assert {each.body for each in scene.web.sent} == {BODY.encode()}
    assert {each.headers["webhook-id"] for each in scene.web.sent} == {"msg_D"}
    await scene.when(RESUME)
    scene.web.answers[URL] = [answer(200)]
    await scene.follows(deliver, scene.last(DeliveryResumed))
    assert deliveries.fold((await scene.log.read("delivery-D")).events).delivered
    (await scene.when(RESUME)).then()


async def test_a_job_that_is_done_twice_resumes_once() -> None:
    scene, _ = waiting(attempted(1), given_up())
    scene.web.answers[URL] = [answer(500)]
    await scene.when(RESUME)
    again = scene.last(DeliveryResumed)
    await scene.follows(deliver, again)
    (await scene.follows(deliver, again)).then()
    assert len(scene.web.sent) == 1


async def test_what_is_on_its_way_or_has_arrived_is_not_resumed() -> None:
    for events in ((), (BEGUN,), (attempted(1, again=NOON),), (attempted(1), given_up(), attempted(2, success=True))):
        scene, _ = waiting(*events)
        (await scene.when(RESUME)).then()
    await Scene().refused(RESUME, NoSuchDelivery)


async def test_what_is_forced_at_this_moment_is_resumed_when_that_is_over() -> None:
    scene, _ = waiting(attempted(1), given_up())
    await scene.when(begin("a process that dies", 2, force=True))
    await scene.refused(RESUME, DeliveryIsBeingForced)
    scene.settings = {"webhook_retry_seconds": (1.0,)}
    await scene.later(minutes=1).follows(end_abandoned_attempt, scene.last(DeliveryBegun))
    (await scene.when(RESUME)).then(
        DeliveryResumed(delivery_id="D", **ABOUT, attempts=2, resumed_at=NOON + timedelta(minutes=1))
    )


async def test_an_attempt_forced_just_as_it_is_resumed_is_the_first_of_its_new_series(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever forces it has looked before, and would take the attempt for the last one."""
    scene, _ = waiting(*(attempted(n) for n in range(1, 11)), given_up())
    scene.web.answers[URL] = [answer(500)]
    looked = scene.log.read

    async def look_and_be_overtaken(stream: str) -> History:
        history = await looked(stream)
        monkeypatch.undo()
        await scene.when(RESUME)
        return history

    monkeypatch.setattr(scene.log, "read", look_and_be_overtaken)
    await send("D", await scene.ports(Ports), scene.context, sender="me", force=True)
    state = deliveries.fold((await looked("delivery-D")).events)
    assert (state.attempts, state.given_up) == (11, False)


async def test_an_attempt_of_a_new_series_whose_sender_died_is_not_the_last_one() -> None:
    scene, _ = waiting(*(attempted(n) for n in range(1, 11)), given_up(), resumed(10))
    await scene.when(begin("a process that dies", 11, force=True))
    await scene.later(minutes=1).follows(end_abandoned_attempt, scene.last(DeliveryBegun))
    state = deliveries.fold((await scene.log.read("delivery-D")).events)
    assert (state.attempts, state.given_up) == (11, False)


async def test_a_forced_attempt_before_its_job_takes_the_place_of_it() -> None:
    scene, _ = waiting(attempted(1), given_up())
    scene.web.answers[URL] = [answer(500)]
    await scene.when(RESUME)
    again = scene.last(DeliveryResumed)
    await send("D", await scene.ports(Ports), scene.context, sender="me", force=True)
    (await scene.follows(deliver, again)).then()
    await scene.follows(deliver, scene.last(DeliveryAttempted))
    assert len(scene.web.sent) == 2


async def test_a_message_is_sent_so_many_times_and_no_more_however_often_it_is_resumed() -> None:
    scene, last = waiting()
    scene.settings = {"webhook_disable_hours": 1e6}
    scene.web.answers[URL] = [answer(500)]
    await exhausted(scene, last)
    for _ in range(4):
        await scene.when(RESUME)
        await exhausted(scene, scene.last(DeliveryResumed))
    assert len(scene.web.sent) == ATTEMPTS_MAX
    await scene.refused(RESUME, NoAttemptLeft)
    # A series that began late ends early.
    scene, _ = waiting(*(attempted(n) for n in range(1, 49)), given_up())
    scene.web.answers[URL] = [answer(500)]
    await scene.when(RESUME)
    await exhausted(scene, scene.last(DeliveryResumed))
    assert len(scene.web.sent) == 2


async def test_nobody_is_promised_what_would_be_given_up_again_at_once() -> None:
    off = EndpointDisabled(endpoint_id="E", workspace_id=WORKSPACE, because="failing", disabled_at=NOON)
    gone = EndpointRemoved(endpoint_id="E", workspace_id=WORKSPACE, removed_at=NOON)
    for end, refusal in ((off, EndpointIsDisabled), (gone, NoSuchEndpoint)):
        scene, _ = waiting(given_up("gone"))
        scene.given(endpoint_books, WORKSPACE, end)
        assert (await scene.refused(RESUME, refusal)).sentence
        if refusal is EndpointIsDisabled:
            scene.given(
                endpoint_books, WORKSPACE, EndpointEnabled(endpoint_id="E", workspace_id=WORKSPACE, enabled_at=NOON)
            )
            (await scene.when(RESUME)).then(resumed(0))


@pytest.mark.parametrize(
    ("facts", "because"),
    [
        ({"endpoint_id": None}, "removed"),
        ({"endpoint_id": None, "url": ERASED}, "exhausted"),
        ({"body": ERASED}, "exhausted"),
    ],
)
async def test_nobody_is_left_to_be_told(facts: dict[str, Any], because: WhyGivenUp) -> None:
    scene, _ = waiting(given_up(because), **facts)
    await scene.refused(RESUME, NobodyToSendTo)


async def test_what_went_to_an_address_of_its_own_is_resumed_as_well() -> None:
    scene, _ = waiting(given_up(), endpoint_id=None)
    (await scene.when(RESUME)).then(resumed(0))


# --- skipping -------------------------------------------------------------------------------------------------------


async def test_what_was_given_up_is_skipped_once_and_then_not_resumed() -> None:
    scene, _ = waiting(given_up())
    (await scene.when(SKIP)).then(SKIPPED)
    (await scene.when(SKIP)).then()
    await scene.refused(RESUME, DeliveryIsSkipped)


@pytest.mark.parametrize(
    "events", [(), (given_up(), resumed(0)), (attempted(1), given_up(), attempted(2, success=True))]
)
async def test_only_what_was_given_up_is_skipped(events: tuple[Event, ...]) -> None:
    scene, _ = waiting(*events)
    await scene.refused(SKIP, DeliveryIsNotGivenUp)


async def test_what_was_skipped_may_be_forced_and_is_then_as_before() -> None:
    scene, _ = waiting(attempted(1), given_up(), SKIPPED)
    scene.settings = {"webhook_retry_seconds": (1.0,)}
    scene.web.answers[URL] = [answer(500)]
    assert await send("D", await scene.ports(Ports), scene.context, sender="me", force=True) == "failed"
    assert isinstance(scene.last(DeliveryGivenUp).event, DeliveryGivenUp)
    await scene.when(RESUME)
    assert isinstance(scene.news[0], DeliveryResumed)


def test_every_refusal_says_what_is_so() -> None:
    said = (DeliveryIsBeingForced, DeliveryIsNotGivenUp, DeliveryIsSkipped, EndpointIsDisabled, NobodyToSendTo)
    assert len({each().sentence for each in said} - {Refusal().sentence}) == len(said)


# --- the view -------------------------------------------------------------------------------------------------------


def test_what_is_resumed_is_shown_as_pending_again() -> None:
    log = shown(queued(), BEGUN, attempted(1), given_up(), resumed(1))
    assert (log.status, log.reason, log.next_attempt_at) == ("pending", None, "2026-11-22T12:00:00Z")
    assert log.attempt_count == 1
