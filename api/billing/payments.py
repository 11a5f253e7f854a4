"""Subscribing: the plan, a checkout, the portal, and what the payment provider tells us."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from itertools import takewhile
from typing import Annotated, Any, cast, get_args
from uuid import uuid4

import structlog
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, JSONBody
from msgspec import Meta, Struct

from adapters.payments.stripe import About, Payments, Subscription
from api.auth import Asker, needs
from api.billing.ports import Ports
from api.kernel import Url
from commands.billing import settings
from commands.billing.ports import Order
from commands.billing.subscriptions import (
    AbandonCheckout,
    BeginCheckout,
    CloseCheckout,
    LinkCustomer,
    NoteCheckout,
    NoteInvoice,
    ObserveSubscription,
)
from commands.kernel import ATTEMPTS_MAX, TooBusy
from domain.analyses.analyses import ANALYSES
from domain.billing.subscriptions import (
    FREE,
    PAYING,
    AlreadySubscribed,
    Billing,
    CustomerIsAnothers,
    NoCustomerYet,
    Overtaken,
    Status,
    billings,
    customers,
)
from domain.kernel import Invalid, Unavailable
from domain.ledger import Context
from projections.billing.usage import usage
from projections.kernel import seconds

log = structlog.get_logger(__name__)

#: How long a page of the provider is open, and how long the provider knows an order again.
PAGE_LIFETIME = timedelta(hours=24)


class BillingNotConfigured(Unavailable):
    """Billing is not configured on this server."""


class NoSuchPlan(Invalid):
    """There is no plan of this name to subscribe to."""


class BadReturnUrl(Invalid):
    """A return URL begins with http:// or https://."""


class Checkout(Struct):
    """What to subscribe to, and where to come back to; all of it has defaults."""

    plan: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    success_url: Url | None = None
    cancel_url: Url | None = None


class Page(Struct):
    """A page of the payment provider to send the person to."""

    id: str
    url: str


class BillingStatus(Struct):
    """The plan of a workspace; the balance is what is left of this month, 0 where the plan has no limit."""

    local_credit_balance: int
    plan: str
    status: str
    workspace_id: str
    unlimited: bool
    current_period_end: str | None
    cancel_at_period_end: bool


class Heard(Struct):
    """A webhook was understood."""

    accepted: bool
    event_type: str


def _payments(ports: Ports) -> Payments:
    if ports.payments is None:
        raise BillingNotConfigured
    return ports.payments


@get("/v1/billing/status", tags=["platform"], opt=needs("usage:read", "viewer"))
async def get_billing_status(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> BillingStatus:
    """Read the plan of this workspace and what is left of the month."""
    found = await ports.plans.of(asker.workspace_id)
    limit = await ports.plans.monthly_limit(asker.workspace_id, ANALYSES)
    key = ANALYSES.used_in(asker.workspace_id, ports.now())
    used = (await ports.views.sums(usage, [key], asker.workspace_id))[key]
    return BillingStatus(
        local_credit_balance=0 if limit is None else max(0, limit - used),
        plan=found.plan,
        status=found.status,
        workspace_id=asker.workspace_id,
        unlimited=limit is None,
        current_period_end=seconds(found.current_period_end) if found.current_period_end else None,
        cancel_at_period_end=found.cancel_at_period_end,
    )


@post("/v1/billing/checkout-sessions", status_code=200, tags=["platform"], opt=needs(None, "admin"))
async def open_checkout(data: JSONBody[Checkout], ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Page:
    """Open a page on which this workspace subscribes to a plan. A page that was opened before is closed.

    There is one at a time, since at two of them somebody could pay for two subscriptions.
    """
    payments = _payments(ports)
    prices = ports.plans.settings[settings.Plans].stripe_prices
    plan = data.plan or next(iter(prices), "")
    if plan not in prices:
        raise NoSuchPlan(loc=("body", "plan"))
    for name in ("success_url", "cancel_url"):
        url = getattr(data, name)
        if url is not None and not url.startswith(("http://", "https://")):
            raise BadReturnUrl(loc=("body", name))
    # Written down before anything is asked of the provider: whatever happens from here on, somebody looks after it.
    attempt_id = ports.vault.new_id()
    begun = BeginCheckout(
        workspace_id=asker.workspace_id,
        attempt_id=attempt_id,
        plan=plan,
        price_id=prices[plan],
        success_url=data.success_url or f"{ports.service.url}/docs?checkout=success",
        cancel_url=data.cancel_url or f"{ports.service.url}/docs?checkout=cancelled",
    )
    await ports.execute(begun, asker.context)
    customer_id = await _customer(ports, payments, asker)
    await _close_earlier(ports, payments, asker, customer_id, attempt_id)
    opened = await payments.open_checkout(
        Order(
            attempt_id=attempt_id,
            workspace_id=asker.workspace_id,
            customer_id=customer_id,
            price_id=begun.price_id,
            success_url=begun.success_url,
            cancel_url=begun.cancel_url,
        )
    )
    noted = NoteCheckout(workspace_id=asker.workspace_id, checkout_id=opened.id, plan=plan, attempt_id=attempt_id)
    await ports.execute(noted, asker.context)
    return Page(id=opened.id, url=opened.url)


async def _close_earlier(ports: Ports, payments: Payments, asker: Asker, customer_id: str, attempt_id: str) -> None:
    """Close every page that was begun before this attempt and may be open; raises AlreadySubscribed.

    The log says which was first. One that somebody else is still about to open is ordered here, under its own key,
    and closed: so they are given a page that is closed, however late they come. Whoever has been closed like that
    closes nobody: those who did are later, and close all that was before them.
    """
    workspace_id = asker.workspace_id
    pages = (await ports.log.state(billings, workspace_id)).pages
    is_overtaken = all(page.attempt_id != attempt_id for page in pages)
    for page in () if is_overtaken else takewhile(lambda page: page.attempt_id != attempt_id, pages):
        checkout_id = page.id
        # The provider ends pages by itself after a day, and forgets what orders were.
        is_old = page.begun_at < ports.now() - PAGE_LIFETIME
        if is_old and not checkout_id:
            continue
        if not is_old:
            if not checkout_id:
                order = Order(
                    attempt_id=page.attempt_id,
                    workspace_id=workspace_id,
                    customer_id=customer_id,
                    price_id=page.price_id,
                    success_url=page.success_url,
                    cancel_url=page.cancel_url,
                )
                checkout_id = (await payments.open_checkout(order)).id
            closed = await payments.close_page(checkout_id)
            if closed.subscription_id is not None:
                # It may be over by now, and what a webhook says of it may be on its way.
                await _observe(ports, payments, closed.subscription_id, workspace_id)
        if not page.id:
            abandoned = AbandonCheckout(workspace_id=workspace_id, attempt_id=page.attempt_id, checkout_id=checkout_id)
            await ports.execute(abandoned, asker.context)
        # Whoever opened it may have written that down meanwhile.
        await ports.execute(CloseCheckout(workspace_id=workspace_id, checkout_id=checkout_id), asker.context)
    if (await ports.log.state(billings, workspace_id)).status in PAYING:
        raise AlreadySubscribed


@post("/v1/billing/portal-sessions", status_code=200, tags=["platform"], opt=needs(None, "admin"))
async def open_portal(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Page:
    """Open a page on which this workspace changes or ends its subscription."""
    payments = _payments(ports)
    known = await ports.log.state(billings, asker.workspace_id)
    if known.customer_id is None:
        raise NoCustomerYet
    opened = await payments.open_portal(known.customer_id, f"{ports.service.url}/docs")
    return Page(id=opened.id, url=opened.url)


async def _customer(ports: Ports, payments: Payments, asker: Asker) -> str:
    """The customer of this workspace, made on the first occasion; two occasions at once make one."""
    known = await ports.log.state(billings, asker.workspace_id)
    if known.customer_id is None:
        customer_id = await payments.create_customer(asker.workspace_id)
        await ports.execute(LinkCustomer(workspace_id=asker.workspace_id, customer_id=customer_id), asker.context)
        known = await ports.log.state(billings, asker.workspace_id)
    if known.customer_id is None:
        raise CustomerIsAnothers
    return known.customer_id


WEBHOOK_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"type": "object", "description": "A Stripe event."}}},
}


@post(
    ["/webhooks/stripe", "/v1/billing/stripe/webhook"],
    status_code=200,
    tags=["platform"],
    opt={"request_body": WEBHOOK_BODY, "statuses": {"400"}},
)
async def hear_stripe(
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    stripe_signature: Annotated[
        str | None, HeaderParameter(name="Stripe-Signature", description="Stripe's signature of the body.")
    ] = None,
) -> Heard:
    """Take a webhook of Stripe. Events may come twice and in any order; the subscription is always asked for anew."""
    payments = _payments(ports)
    told = payments.verify(await request.body(), stripe_signature)
    match told.type.split("."):
        case ["customer", "subscription", *_]:
            about = told.about()
            await _observe(ports, payments, about.id, await _workspace(ports, about.customer))
        case ["checkout", "session", "completed"]:
            about = told.about()
            if about.subscription is not None:
                await _observe(ports, payments, about.subscription, await _workspace(ports, about.customer))
        case ["invoice", "paid" | "payment_failed" as what]:
            await _note_invoice(ports, told.about(), paid=what == "paid")
        case _:
            log.debug("billing.ignored", event_type=told.type)
    return Heard(accepted=True, event_type=told.type)


async def _observe(ports: Ports, payments: Payments, subscription_id: str, workspace_id: str | None) -> None:
    """Ask how a subscription stands and note it, as far as is known in this workspace; raises TooBusy.

    Asked again where something was observed since we began to ask: which answer is the newer one, nobody could say.
    """
    for _ in range(ATTEMPTS_MAX):
        known = billings.initial if workspace_id is None else await ports.log.state(billings, workspace_id)
        found = await payments.subscription(subscription_id)
        if found is None:
            log.warning("billing.unknown_subscription", subscription_id=subscription_id)
            return
        belongs_to = await _workspace(ports, found.customer_id) or found.workspace_id
        if belongs_to is None:
            log.warning("billing.unknown_customer", customer_id=found.customer_id)
            return
        if belongs_to != workspace_id:
            workspace_id = belongs_to
            continue
        with suppress(Overtaken):
            await _note(ports, payments, workspace_id, found, known)
            return
    raise TooBusy


async def _note(ports: Ports, payments: Payments, workspace_id: str, found: Subscription, known: Billing) -> None:
    """Note how a subscription stands that was asked for when this was known; raises Overtaken."""
    if found.status not in get_args(Status):
        # Written down, a word that this version does not know would make the whole history unreadable.
        log.error("billing.unknown_status", subscription_id=found.id, status=found.status)
        return
    plans = {price: plan for plan, price in ports.plans.settings[settings.Plans].stripe_prices.items()}
    context = _context(workspace_id)
    await _tell_of_two(payments, workspace_id, found, known)
    await ports.execute(LinkCustomer(workspace_id=workspace_id, customer_id=found.customer_id), context)
    await ports.execute(
        ObserveSubscription(
            workspace_id=workspace_id,
            subscription_id=found.id,
            plan=plans.get(found.price_id or "", FREE),
            status=cast("Status", found.status),
            after=known.observations,
            current_period_end=found.current_period_end,
            cancel_at_period_end=found.cancel_at_period_end,
        ),
        context,
    )


async def _tell_of_two(payments: Payments, workspace_id: str, found: Subscription, known: Billing) -> None:
    """Say loudly when a workspace pays twice: at the provider anybody can be subscribed, by hand too."""
    if known.subscription_id is None or known.subscription_id == found.id or found.status not in PAYING:
        return
    # What is known of the other may be old: whether it still runs, or runs again, is asked.
    other = await payments.subscription(known.subscription_id)
    if other is not None and other.status in PAYING:
        log.error("billing.paid_twice", workspace_id=workspace_id, subscription_ids=[other.id, found.id])


async def _note_invoice(ports: Ports, invoice: About, *, paid: bool) -> None:
    workspace_id = await _workspace(ports, invoice.customer)
    if workspace_id is None:
        log.warning("billing.unknown_customer", customer_id=invoice.customer)
        return
    await ports.execute(
        NoteInvoice(
            workspace_id=workspace_id,
            invoice_id=invoice.id,
            amount=invoice.amount_paid if paid else invoice.amount_due,
            currency=invoice.currency or "",
            paid=paid,
        ),
        _context(workspace_id),
    )


async def _workspace(ports: Ports, customer_id: str | None) -> str | None:
    """The workspace that a customer is, where it is known."""
    if customer_id is None:
        return None
    claim = await ports.log.state(customers, customer_id)
    return claim.workspace_id


def _context(workspace_id: str) -> Context:
    return Context(workspace_id=workspace_id, actor="stripe", correlation_id=uuid4())
