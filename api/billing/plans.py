"""Which plan a workspace is on, and what that allows."""

from __future__ import annotations

from msgspec import json

from api.services import Services
from projections.billing.subscriptions import Billing, billing


async def plan_of(services: Services, workspace_id: str) -> Billing:
    """The billing of a workspace; one that never subscribed is on the free plan."""
    body = await services.reads.find(billing, workspace_id, workspace_id)
    return json.decode(body, type=Billing) if body is not None else Billing(workspace_id=workspace_id)


async def monthly_limit(services: Services, workspace_id: str) -> int | None:
    """What a workspace may analyse in a month; None where its plan has no limit."""
    limits = services.rules.monthly_analysis_limits
    if not limits:
        return None
    return limits.get((await plan_of(services, workspace_id)).plan)
