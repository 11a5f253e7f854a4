"""What follows for the payment provider: nobody pays for a workspace that is no more."""

from __future__ import annotations

import structlog

from commands.billing.ports import Ports
from commands.kernel import reacts_to
from domain.billing.subscriptions import OVER, SubscriptionObserved, billings
from domain.identity.workspaces import WorkspaceForgotten, is_forgotten, workspaces
from domain.kernel import Event
from domain.ledger import Recorded

log = structlog.get_logger(__name__)


def _may_cost(event: Event) -> bool:
    return isinstance(event, WorkspaceForgotten) or (
        isinstance(event, SubscriptionObserved) and event.status not in OVER
    )


@reacts_to(WorkspaceForgotten, SubscriptionObserved, name="end-subscriptions", only=_may_cost)
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
