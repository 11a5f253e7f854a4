"""Becoming a customer, subscribing, and noting what the payment provider says."""

from __future__ import annotations

from datetime import datetime

from commands.kernel import Command, Transaction, decides, handles
from domain.billing.subscriptions import (
    OVER,
    PAYING,
    AlreadySubscribed,
    Billing,
    CheckoutAbandoned,
    CheckoutBegun,
    CheckoutClosed,
    CheckoutOpened,
    CustomerClaimed,
    CustomerLinked,
    InvoicePaid,
    InvoicePaymentFailed,
    OtherSubscriptionObserved,
    Overtaken,
    Status,
    SubscriptionObserved,
    billings,
    customers,
)
from domain.kernel import Event


class LinkCustomer(Command):
    """Note which customer of the provider a workspace is."""

    workspace_id: str
    customer_id: str


@handles(LinkCustomer)
async def link(wish: LinkCustomer, transaction: Transaction) -> None:
    """A workspace is one customer and a customer one workspace, whoever says so first."""
    billing = await transaction.find(billings, wish.workspace_id)
    if billing.customer_id is not None:
        return
    claim = await transaction.find(customers, wish.customer_id)
    if claim.workspace_id not in (None, wish.workspace_id):
        return
    now = transaction.now
    transaction.record(
        billings,
        wish.workspace_id,
        CustomerLinked(workspace_id=wish.workspace_id, customer_id=wish.customer_id, linked_at=now),
    )
    transaction.record(
        customers,
        wish.customer_id,
        CustomerClaimed(customer_id=wish.customer_id, workspace_id=wish.workspace_id, claimed_at=now),
    )


class BeginCheckout(Command):
    """Write down what the provider is going to be asked for, before it is asked."""

    workspace_id: str
    attempt_id: str
    plan: str
    price_id: str
    success_url: str
    cancel_url: str


@decides(BeginCheckout, billings, creates=True)
def begin_checkout(wish: BeginCheckout, billing: Billing, now: datetime) -> list[Event]:
    """Nobody subscribes who pays already."""
    if wish.attempt_id in billing.begun:
        return []
    if billing.status in PAYING:
        raise AlreadySubscribed
    return [
        CheckoutBegun(
            workspace_id=wish.workspace_id,
            attempt_id=wish.attempt_id,
            plan=wish.plan,
            price_id=wish.price_id,
            success_url=wish.success_url,
            cancel_url=wish.cancel_url,
            begun_at=now,
        )
    ]


class NoteCheckout(Command):
    """Note that somebody is about to subscribe."""

    workspace_id: str
    checkout_id: str
    plan: str
    attempt_id: str = ""


@decides(NoteCheckout, billings, creates=True)
def note_checkout(wish: NoteCheckout, billing: Billing, now: datetime) -> list[Event]:
    """Each checkout is noted once, and not at all when it has been closed by then for another one."""
    if wish.checkout_id in billing.checkouts or (wish.attempt_id and wish.attempt_id in billing.settled):
        return []
    return [
        CheckoutOpened(
            workspace_id=wish.workspace_id,
            checkout_id=wish.checkout_id,
            plan=wish.plan,
            opened_at=now,
            attempt_id=wish.attempt_id,
        )
    ]


class AbandonCheckout(Command):
    """Note that a page of the provider is closed to which nobody was sent."""

    workspace_id: str
    attempt_id: str
    checkout_id: str


@decides(AbandonCheckout, billings)
def abandon_checkout(wish: AbandonCheckout, billing: Billing, now: datetime) -> list[Event]:
    """What was opened or abandoned before is not abandoned now."""
    if wish.attempt_id in billing.settled:
        return []
    return [
        CheckoutAbandoned(
            workspace_id=wish.workspace_id,
            attempt_id=wish.attempt_id,
            checkout_id=wish.checkout_id,
            abandoned_at=now,
        )
    ]


class CloseCheckout(Command):
    """Note that nobody can subscribe any more at a page that somebody was sent to."""

    workspace_id: str
    checkout_id: str


@decides(CloseCheckout, billings)
def note_closed(wish: CloseCheckout, billing: Billing, now: datetime) -> list[Event]:
    """Only what may be open is closed."""
    if all(page.id != wish.checkout_id for page in billing.pages):
        return []
    return [CheckoutClosed(workspace_id=wish.workspace_id, checkout_id=wish.checkout_id, closed_at=now)]


class ObserveSubscription(Command):
    """Note how a subscription stood at the provider; `after`: how many observations were known when it was asked."""

    workspace_id: str
    subscription_id: str
    plan: str
    status: Status
    after: int
    current_period_end: datetime | None
    cancel_at_period_end: bool


@decides(ObserveSubscription, billings, creates=True)
def observe(wish: ObserveSubscription, billing: Billing, now: datetime) -> list[Event]:
    """An answer to what was asked before the last observation may be older than that one, and is never written down.

    Which of two answers is newer no clock can say: those of processes differ, and one that was ahead for a while would
    keep out whatever is seen until it was right. So one that changes nothing is written down too: without it, an answer
    that another process has waited long for could not be told from news, and would bring back a state that had been
    over before this one was seen. Also where it is of another subscription: it may be over before anybody saw it begin.
    """
    if wish.after != billing.observations:
        raise Overtaken
    # Another subscription's end says nothing about the one that has taken its place, and one that gives nothing (yet)
    # does not take the place of one that is paid for.
    if billing.subscription_id not in (None, wish.subscription_id) and (
        wish.status in OVER or (wish.status not in PAYING and billing.status in PAYING)
    ):
        return [
            OtherSubscriptionObserved(
                workspace_id=wish.workspace_id,
                subscription_id=wish.subscription_id,
                status=wish.status,
                observed_at=now,
            )
        ]
    return [
        SubscriptionObserved(
            workspace_id=wish.workspace_id,
            subscription_id=wish.subscription_id,
            plan=wish.plan,
            status=wish.status,
            observed_at=now,
            current_period_end=wish.current_period_end,
            cancel_at_period_end=wish.cancel_at_period_end,
        )
    ]


class NoteInvoice(Command):
    """Note that a bill was paid, or could not be collected."""

    workspace_id: str
    invoice_id: str
    amount: int
    currency: str
    paid: bool


@decides(NoteInvoice, billings, creates=True)
def note_invoice(wish: NoteInvoice, billing: Billing, now: datetime) -> list[Event]:
    """A bill is paid once, and whatever failed before or is told later about it does not matter then."""
    if wish.invoice_id in billing.invoices:
        return []
    if wish.paid:
        return [
            InvoicePaid(
                workspace_id=wish.workspace_id,
                invoice_id=wish.invoice_id,
                amount=wish.amount,
                currency=wish.currency,
                paid_at=now,
            )
        ]
    if wish.invoice_id in billing.failed_invoices:
        return []
    return [
        InvoicePaymentFailed(
            workspace_id=wish.workspace_id,
            invoice_id=wish.invoice_id,
            amount=wish.amount,
            currency=wish.currency,
            failed_at=now,
        )
    ]
