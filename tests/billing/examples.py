"""One ordinary example of every command of billing."""

from __future__ import annotations

from commands.billing.subscriptions import (
    AbandonCheckout,
    BeginCheckout,
    CloseCheckout,
    LinkCustomer,
    NoteCheckout,
    NoteInvoice,
    ObserveSubscription,
)
from tests.examples import Example

begun = BeginCheckout(
    workspace_id="w1",
    attempt_id="attempt-1",
    plan="pro",
    price_id="price-1",
    success_url="https://example.com/yes",
    cancel_url="https://example.com/no",
)

EXAMPLES = (
    Example(begun),
    Example(AbandonCheckout(workspace_id="w1", attempt_id="attempt-1", checkout_id="check-1"), [begun]),
    Example(LinkCustomer(workspace_id="w1", customer_id="cus-1")),
    Example(NoteCheckout(workspace_id="w1", checkout_id="check-1", plan="pro")),
    Example(
        CloseCheckout(workspace_id="w1", checkout_id="check-1"),
        [NoteCheckout(workspace_id="w1", checkout_id="check-1", plan="pro")],
    ),
    Example(
        ObserveSubscription(
            workspace_id="w1",
            subscription_id="sub-1",
            plan="pro",
            status="active",
            after=0,
            current_period_end=None,
            cancel_at_period_end=False,
        )
    ),
    Example(NoteInvoice(workspace_id="w1", invoice_id="in-1", amount=900, currency="eur", paid=True)),
)
