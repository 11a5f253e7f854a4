"""A workspace's subscription, as the payment provider last told it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec.structs import replace

from domain.kernel import Category, Conflict, Event, State, Value, personal

Status = Literal[
    "none",
    "incomplete",
    "incomplete_expired",
    "trialing",
    "active",
    "past_due",
    "canceled",
    "unpaid",
    "paused",
]

#: The plan of a workspace that pays for none.
FREE = "free"

#: In these states a subscription gives what it promises; one that is past due keeps it until the provider gives up.
PAYING = ("trialing", "active", "past_due")

#: In these states a subscription is over for good and costs nothing any more.
OVER = ("canceled", "incomplete_expired")


class CustomerLinked(Event):
    """The payment provider knows the workspace as this customer."""

    workspace_id: str
    customer_id: str
    linked_at: datetime


class CheckoutBegun(Event):
    """Somebody wants to subscribe: the provider is asked for a page on which they can, with exactly this."""

    workspace_id: str
    attempt_id: str
    plan: str
    price_id: str
    success_url: Annotated[str, personal("workspace_id", address=True)]
    cancel_url: Annotated[str, personal("workspace_id", address=True)]
    begun_at: datetime


class CheckoutOpened(Event):
    """Somebody is about to subscribe: they are sent to a page of the provider."""

    workspace_id: str
    checkout_id: str
    plan: str
    opened_at: datetime
    #: What it was begun as; old ones do not say.
    attempt_id: str = ""


class CheckoutAbandoned(Event):
    """Nobody was sent to the page of the provider, and it is closed."""

    workspace_id: str
    attempt_id: str
    checkout_id: str
    abandoned_at: datetime


class CheckoutClosed(Event):
    """A page that somebody was sent to leads nowhere any more: another was asked for, or it was paid at."""

    workspace_id: str
    checkout_id: str
    closed_at: datetime


class SubscriptionObserved(Event):
    """This is how the subscription stood at the provider at a moment."""

    workspace_id: str
    subscription_id: str
    plan: str
    status: Status
    observed_at: datetime
    current_period_end: datetime | None = None
    cancel_at_period_end: bool = False


class OtherSubscriptionObserved(Event):
    """Another subscription than the one that counts stood like this at the provider, which changes nothing."""

    workspace_id: str
    subscription_id: str
    status: Status
    observed_at: datetime


class InvoicePaid(Event):
    """A bill was paid; the amount is in the smallest unit of its currency."""

    workspace_id: str
    invoice_id: str
    amount: int
    currency: str
    paid_at: datetime


class InvoicePaymentFailed(Event):
    """A bill could not be collected."""

    workspace_id: str
    invoice_id: str
    amount: int
    currency: str
    failed_at: datetime


class Checkout(Value):
    """A page of the provider at which somebody may pay, as far as is known; `id` once it is known."""

    begun_at: datetime
    id: str = ""
    attempt_id: str = ""
    plan: str = FREE
    price_id: str = ""
    success_url: str = ""
    cancel_url: str = ""


class Billing(State):
    """What rules need to know of a workspace's billing."""

    customer_id: str | None = None
    subscription_id: str | None = None
    plan: str = FREE
    status: Status = "none"
    #: How many observations have been written down: an answer to what was asked before the last of them may be older.
    observations: int = 0
    current_period_end: datetime | None = None
    cancel_at_period_end: bool = False
    checkouts: frozenset[str] = frozenset()
    #: Attempts at a checkout, and those of them of which it is known what came of them.
    begun: frozenset[str] = frozenset()
    settled: frozenset[str] = frozenset()
    #: Those that may be open, in the order in which they were begun.
    pages: tuple[Checkout, ...] = ()
    invoices: frozenset[str] = frozenset()
    failed_invoices: frozenset[str] = frozenset()


def evolve(billing: Billing, event: Event) -> Billing:  # noqa: PLR0911 - one for each event
    """Billing after one more event."""
    match event:
        case CustomerLinked():
            return replace(billing, customer_id=event.customer_id)
        case CheckoutBegun():
            page = Checkout(
                begun_at=event.begun_at,
                attempt_id=event.attempt_id,
                plan=event.plan,
                price_id=event.price_id,
                success_url=event.success_url,
                cancel_url=event.cancel_url,
            )
            return replace(billing, begun=billing.begun | {event.attempt_id}, pages=(*billing.pages, page))
        case CheckoutOpened():
            return replace(
                billing,
                checkouts=billing.checkouts | {event.checkout_id},
                settled=billing.settled | {event.attempt_id},
                pages=_opened(billing.pages, event),
            )
        case CheckoutAbandoned():
            left = tuple(page for page in billing.pages if page.attempt_id != event.attempt_id)
            return replace(billing, settled=billing.settled | {event.attempt_id}, pages=left)
        case CheckoutClosed():
            return replace(billing, pages=tuple(page for page in billing.pages if page.id != event.checkout_id))
        case SubscriptionObserved():
            return replace(
                billing,
                subscription_id=event.subscription_id,
                plan=event.plan if event.status in PAYING else FREE,
                status=event.status,
                observations=billing.observations + 1,
                current_period_end=event.current_period_end,
                cancel_at_period_end=event.cancel_at_period_end,
            )
        case OtherSubscriptionObserved():
            return replace(billing, observations=billing.observations + 1)
        case InvoicePaid():
            return replace(billing, invoices=billing.invoices | {event.invoice_id})
        case InvoicePaymentFailed():
            return replace(billing, failed_invoices=billing.failed_invoices | {event.invoice_id})
    return billing


def _opened(pages: tuple[Checkout, ...], event: CheckoutOpened) -> tuple[Checkout, ...]:
    if event.attempt_id and any(page.attempt_id == event.attempt_id for page in pages):
        return tuple(
            replace(page, id=event.checkout_id) if page.attempt_id == event.attempt_id else page for page in pages
        )
    return (*pages, Checkout(begun_at=event.opened_at, id=event.checkout_id, plan=event.plan))


class CustomerIsAnothers(Conflict):
    """The payment provider names a customer that belongs to another workspace. Ask whoever runs this server."""


class AlreadySubscribed(Conflict):
    """This workspace has a subscription. Change it in the portal."""


class Overtaken(Conflict):
    """Something else was observed of this subscription since the provider was asked. Ask it again."""


class NoCustomerYet(Conflict):
    """This workspace has never subscribed. Open a checkout first."""


billings = Category(name="billing", initial=Billing(), evolve=evolve)


class CustomerClaimed(Event):
    """A customer of the provider belongs to a workspace."""

    customer_id: str
    workspace_id: str
    claimed_at: datetime


class CustomerClaim(State):
    """Whose customer it is."""

    workspace_id: str | None = None


def evolve_claim(claim: CustomerClaim, event: Event) -> CustomerClaim:
    """A claim after one more event."""
    match event:
        case CustomerClaimed():
            return CustomerClaim(workspace_id=event.workspace_id)
    return claim


customers = Category(name="customer", initial=CustomerClaim(), evolve=evolve_claim)
