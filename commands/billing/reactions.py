"""What follows for the payment provider: nobody pays for a workspace that is no more."""

from __future__ import annotations

import structlog

from commands.kernel import reacts_to
from commands.ports import World
from domain.billing.subscriptions import SubscriptionObserved, billings
from domain.identity.workspaces import WorkspaceForgotten, workspaces
from domain.kernel import Event
from domain.ledger import Recorded

log = structlog.get_logger(__name__)

#: A subscription in one of these states costs nothing any more.
_OVER = ("canceled", "incomplete_expired")


def _may_cost(event: Event) -> bool:
    return isinstance(event, WorkspaceForgotten) or (
        isinstance(event, SubscriptionObserved) and event.status not in _OVER
    )


@reacts_to(WorkspaceForgotten, SubscriptionObserved, name="end-subscriptions", only=_may_cost)
async def end_subscriptions(recorded: Recorded, world: World) -> None:
    """End what a forgotten workspace pays for, also what is paid for only now, at a checkout that was still open."""
    event = recorded.event
    assert isinstance(event, WorkspaceForgotten | SubscriptionObserved)
    history = await world.log.read(workspaces.stream(event.workspace_id))
    if not any(isinstance(past, WorkspaceForgotten) for past in history.events):
        return
    billing = billings.fold((await world.log.read(billings.stream(event.workspace_id))).events)
    if billing.customer_id is None:
        return
    if world.payments is None:
        if billing.subscription_id is not None and billing.status not in _OVER:
            # Billing has been turned off since: only the operator can reach that account.
            log.warning("billing.not_ended", workspace_id=event.workspace_id, subscription_id=billing.subscription_id)
        return
    for subscription_id in await world.payments.end_subscriptions(billing.customer_id):
        log.info("billing.ended", workspace_id=event.workspace_id, subscription_id=subscription_id)
