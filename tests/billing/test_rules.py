"""What a workspace pays for, as rules."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from commands.billing.subscriptions import NoteInvoice, ObserveSubscription, note_invoice, observe
from domain.billing.subscriptions import (
    FREE,
    CheckoutOpened,
    InvoicePaid,
    InvoicePaymentFailed,
    OtherSubscriptionObserved,
    Overtaken,
    Status,
    SubscriptionObserved,
    billings,
)
from domain.kernel import Event
from tests.spec import NOW, Given, given


def answered(
    status: Status = "active", *, after: int = 0, subscription_id: str = "sub_1", plan: str = "pro"
) -> ObserveSubscription:
    """What the provider answered, which was asked after so many observations."""
    return ObserveSubscription(
        workspace_id="w",
        subscription_id=subscription_id,
        plan=plan,
        status=status,
        after=after,
        current_period_end=NOW + timedelta(days=30),
        cancel_at_period_end=False,
    )


def observed(
    status: Status = "active", *, at: datetime = NOW, subscription_id: str = "sub_1", plan: str = "pro"
) -> SubscriptionObserved:
    return SubscriptionObserved(
        workspace_id="w",
        subscription_id=subscription_id,
        plan=plan,
        status=status,
        observed_at=at,
        current_period_end=NOW + timedelta(days=30),
    )


def past(*events: Event) -> Given:
    """What has happened to a workspace's billing."""
    return given(*((billings.stream("w"), event) for event in events))


def plan_after(*answers: ObserveSubscription) -> str:
    """The plan after answers that were each asked for after the one before had been written down."""
    events: list[Event] = []
    for answer in answers:
        billing = billings.fold(events)
        events += observe(replace(answer, after=billing.observations), billing, NOW)
    return billings.fold(events).plan


def test_an_active_subscription_gives_its_plan() -> None:
    given().when(answered()).then(observed())
    assert plan_after(answered()) == "pro"


def test_the_same_answer_is_written_down_once() -> None:
    given().when(answered(), answered()).refused(Overtaken)


def test_what_is_asked_again_is_written_down_though_it_changes_nothing() -> None:
    past(observed()).when(answered(after=1)).then(observed())


@pytest.mark.parametrize("since", ["canceled", "active"])
def test_an_answer_from_before_the_last_observation_is_not_news(since: Status) -> None:
    waited_long_for = answered("past_due", after=1)

    past(observed(), observed(since)).when(waited_long_for).refused(Overtaken)


def test_an_end_counts_that_is_seen_after_a_clock_was_ahead_for_a_while() -> None:
    ahead = observed(at=NOW + timedelta(hours=2))

    past(ahead).when(answered("canceled", after=1), now=NOW).then(observed("canceled"))


def test_pages_and_bills_do_not_make_an_answer_old() -> None:
    opened = CheckoutOpened(workspace_id="w", checkout_id="cs_1", plan="pro", opened_at=NOW)
    paid = InvoicePaid(workspace_id="w", invoice_id="in_1", amount=900, currency="eur", paid_at=NOW)

    past(observed(), opened, paid).when(answered("canceled", after=1), now=NOW).then(observed("canceled"))


def test_a_subscription_that_is_past_due_keeps_its_plan_and_one_that_is_unpaid_loses_it() -> None:
    assert plan_after(answered(), answered("past_due")) == "pro"
    assert plan_after(answered(), answered("past_due"), answered("unpaid")) == FREE


def test_the_end_of_a_replaced_subscription_does_not_end_the_new_one() -> None:
    assert plan_after(answered(), answered(subscription_id="sub_2"), answered("canceled")) == "pro"


@pytest.mark.parametrize("status", ["incomplete", "unpaid", "paused", "incomplete_expired"])
def test_a_second_subscription_that_gives_nothing_does_not_take_the_place_of_a_paid_one(status: Status) -> None:
    assert plan_after(answered(), answered(status, subscription_id="sub_2")) == "pro"


def other(status: Status) -> OtherSubscriptionObserved:
    return OtherSubscriptionObserved(workspace_id="w", subscription_id="sub_2", status=status, observed_at=NOW)


@pytest.mark.parametrize(("before", "status"), [("canceled", "canceled"), ("active", "canceled"), ("active", "unpaid")])
def test_what_says_nothing_of_the_subscription_that_counts_makes_older_answers_old_too(
    before: Status, status: Status
) -> None:
    """A second one that began and was over before anybody saw it was brought back by an answer from in between."""
    waited_long_for = answered(after=1, subscription_id="sub_2")

    past(observed(before)).when(answered(status, after=1, subscription_id="sub_2")).then(other(status))
    past(observed(before), other(status)).when(waited_long_for).refused(Overtaken)


def test_a_subscription_takes_the_place_of_one_that_is_over() -> None:
    second = answered("incomplete", subscription_id="sub_2")
    paid = answered(subscription_id="sub_2", plan="studio")

    assert plan_after(answered("canceled"), second, paid) == "studio"


def test_a_bill_is_paid_once_and_a_late_failure_does_not_matter_then() -> None:
    paid = NoteInvoice(workspace_id="w", invoice_id="in_1", amount=900, currency="eur", paid=True)
    failed = NoteInvoice(workspace_id="w", invoice_id="in_1", amount=900, currency="eur", paid=False)
    first = note_invoice(failed, billings.initial, NOW)
    then = note_invoice(paid, billings.fold(first), NOW)

    assert isinstance(first[0], InvoicePaymentFailed)
    assert isinstance(then[0], InvoicePaid)
    assert note_invoice(failed, billings.fold(first), NOW) == []
    assert note_invoice(paid, billings.fold([*first, *then]), NOW) == []
    assert note_invoice(failed, billings.fold([*first, *then]), NOW) == []
