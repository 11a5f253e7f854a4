"""Which plan a workspace is on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from domain.billing.subscriptions import FREE, PAYING, CustomerLinked, SubscriptionObserved
from domain.kernel import Event, NotFound
from projections.kernel import Document, Projection, projection


class NoBilling(NotFound):
    """This workspace has never subscribed."""


class Billing(Document):
    """A workspace's plan and how its subscription stands."""

    workspace_id: str
    plan: str = FREE
    status: str = "none"
    customer_id: str | None = None
    current_period_end: datetime | None = None
    cancel_at_period_end: bool = False


def evolve(billing: Billing | None, event: Event) -> Billing | None:
    """The document after one more event."""
    match event:
        case CustomerLinked():
            billing = billing or Billing(workspace_id=event.workspace_id)
            return replace(billing, customer_id=event.customer_id)
        case SubscriptionObserved():
            billing = billing or Billing(workspace_id=event.workspace_id)
            return replace(
                billing,
                plan=event.plan if event.status in PAYING else FREE,
                status=event.status,
                current_period_end=event.current_period_end,
                cancel_at_period_end=event.cancel_at_period_end,
            )
    return billing


billing: Projection[Any] = projection(
    "billing",
    Billing,
    on={
        CustomerLinked: "workspace_id",
        SubscriptionObserved: "workspace_id",
    },
    evolve=evolve,
    begins=(CustomerLinked, SubscriptionObserved),
    absent=NoBilling,
    stream="billing",
)
