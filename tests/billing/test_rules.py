"""What a workspace pays for, as rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from commands.billing.subscriptions import NoteInvoice, ObserveSubscription, note_invoice, observe
from domain.billing.subscriptions import (
    FREE,
    InvoicePaid,
    InvoicePaymentFailed,
    Status,
    SubscriptionObserved,
    billings,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def asked(
    status: Status = "active", *, at: datetime = NOW, subscription_id: str = "sub_1", plan: str = "pro"
) -> ObserveSubscription:
    return ObserveSubscription(
        workspace_id="w",
        subscription_id=subscription_id,
        plan=plan,
        status=status,
        observed_at=at,
        current_period_end=NOW + timedelta(days=30),
        cancel_at_period_end=False,
    )


def observed(*wishes: ObserveSubscription) -> list[SubscriptionObserved]:
    """The events that follow from observations in this order."""
    events: list[SubscriptionObserved] = []
    for wish in wishes:
        for event in observe(wish, billings.fold(events), NOW):
            assert isinstance(event, SubscriptionObserved)
            events.append(event)
    return events


def test_an_active_subscription_gives_its_plan() -> None:
    assert billings.fold(observed(asked())).plan == "pro"


def test_the_same_observation_is_written_down_once() -> None:
    assert len(observed(asked(), asked(), asked())) == 1


def test_an_answer_from_before_an_observation_that_changed_nothing_is_not_news() -> None:
    confirmed = asked("active", at=NOW + timedelta(minutes=10))
    waited_long_for = asked("past_due", at=NOW + timedelta(minutes=5))

    assert [event.status for event in observed(asked("active"), confirmed, waited_long_for)] == ["active", "active"]
    assert [event.status for event in observed(asked("active"), waited_long_for, confirmed)][-1] == "active"


def test_an_older_observation_never_overwrites_a_newer_one() -> None:
    late = asked("active", at=NOW - timedelta(minutes=1))

    assert [event.status for event in observed(asked("canceled"), late)] == ["canceled"]


def test_a_subscription_that_is_past_due_keeps_its_plan_and_one_that_is_unpaid_loses_it() -> None:
    past_due = asked("past_due", at=NOW + timedelta(days=1))
    unpaid = asked("unpaid", at=NOW + timedelta(days=9))

    assert billings.fold(observed(asked(), past_due)).plan == "pro"
    assert billings.fold(observed(asked(), past_due, unpaid)).plan == FREE


def test_the_end_of_a_replaced_subscription_does_not_end_the_new_one() -> None:
    new = asked(subscription_id="sub_2", at=NOW + timedelta(minutes=1))
    end = asked("canceled", at=NOW + timedelta(minutes=2))

    assert billings.fold(observed(asked(), new, end)).plan == "pro"


@pytest.mark.parametrize("status", ["incomplete", "unpaid", "paused", "incomplete_expired"])
def test_a_second_subscription_that_gives_nothing_does_not_take_the_place_of_a_paid_one(status: Status) -> None:
    second = asked(status, subscription_id="sub_2", at=NOW + timedelta(minutes=1))

    assert billings.fold(observed(asked(), second)).plan == "pro"


def test_a_subscription_takes_the_place_of_one_that_is_over() -> None:
    second = asked("incomplete", subscription_id="sub_2", at=NOW + timedelta(minutes=1))
    paid = asked(subscription_id="sub_2", at=NOW + timedelta(minutes=2), plan="studio")

    assert billings.fold(observed(asked("canceled"), second, paid)).plan == "studio"


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
