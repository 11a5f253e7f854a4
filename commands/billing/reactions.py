"""What follows for the payment provider: no page is left open unknown, nobody pays for a workspace that is no more."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from commands.billing.ports import Order, Ports
from commands.billing.subscriptions import AbandonCheckout, LinkCustomer, NoteCheckout
from commands.kernel import Command, Queue, reacts_to
from domain.billing.subscriptions import OVER, CheckoutBegun, SubscriptionObserved, billings
from domain.identity.workspaces import WorkspaceForgotten, is_forgotten, workspaces
from domain.kernel import ERASED, Event
from domain.ledger import Recorded

#: By then whoever asked the provider has an answer or will never have one: a customer, then a page, 30 seconds each.
CHECKOUT_TIME = timedelta(minutes=2)

log = structlog.get_logger(__name__)

#: Apart from what is done for everybody: a provider that drips would take those places.
PAYMENTS = Queue("payments", concurrency=8, timeout=300.0)


def _may_cost(event: Event) -> bool:
    return isinstance(event, WorkspaceForgotten) or (
        isinstance(event, SubscriptionObserved) and event.status not in OVER
    )


@reacts_to(WorkspaceForgotten, SubscriptionObserved, name="end-subscriptions", only=_may_cost, queue=PAYMENTS)
async def end_subscriptions(recorded: Recorded, ports: Ports) -> None:
    """End what a forgotten workspace pays for, also what is paid for only now, at a checkout that was still open."""
    event = recorded.event
    assert isinstance(event, WorkspaceForgotten | SubscriptionObserved)
    history = await ports.log.read(workspaces.stream(event.workspace_id))
    if not is_forgotten(history.events):
        return
    billing = await ports.log.state(billings, event.workspace_id)
    if billing.customer_id is None:
        return
    ended = [] if ports.payments is None else await ports.payments.end_subscriptions(billing.customer_id)
    for subscription_id in ended:
        log.info("billing.ended", workspace_id=event.workspace_id, subscription_id=subscription_id)
    if not ended and billing.subscription_id is not None and billing.status not in OVER:
        # Billing was turned off since, or goes to another account now: only the operator can reach the one that pays.
        log.warning("billing.not_ended", workspace_id=event.workspace_id, subscription_id=billing.subscription_id)


def _settled_by(event: CheckoutBegun) -> datetime:
    return event.begun_at + CHECKOUT_TIME


@reacts_to(CheckoutBegun, name="close-checkout", due=_settled_by, queue=PAYMENTS)
async def close_checkout(recorded: Recorded, ports: Ports) -> None:
    """Close the page that the provider may have made for somebody who was never sent to it.

    Whoever asked it was killed before they could write it down, or had lost the right to by then. What is not known
    of the page is found by ordering the same once more.
    """
    event = recorded.event
    assert isinstance(event, CheckoutBegun)
    billing = await ports.log.state(billings, event.workspace_id)
    if event.attempt_id in billing.settled:
        return
    if ports.payments is None or ERASED in (event.success_url, event.cancel_url):
        # Of a forgotten workspace the order cannot be read any more; what is paid for at its page ends by itself.
        log.warning("billing.checkout_unknown", workspace_id=event.workspace_id, attempt_id=event.attempt_id)
        return
    context = recorded.context()
    customer_id = billing.customer_id
    if customer_id is None:
        customer_id = await ports.payments.create_customer(event.workspace_id)
        await ports.execute(LinkCustomer(workspace_id=event.workspace_id, customer_id=customer_id), context)
    order = Order(
        attempt_id=event.attempt_id,
        workspace_id=event.workspace_id,
        customer_id=customer_id,
        price_id=event.price_id,
        success_url=event.success_url,
        cancel_url=event.cancel_url,
    )
    checkout_id, is_closed = await ports.payments.close_checkout(order)
    settled: Command = AbandonCheckout(
        workspace_id=event.workspace_id, attempt_id=event.attempt_id, checkout_id=checkout_id
    )
    if not is_closed:
        settled = NoteCheckout(
            workspace_id=event.workspace_id, checkout_id=checkout_id, plan=event.plan, attempt_id=event.attempt_id
        )
    await ports.execute(settled, context)
    log.info("billing.checkout_settled", workspace_id=event.workspace_id, checkout_id=checkout_id, closed=is_closed)
