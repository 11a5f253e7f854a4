"""Which plan a workspace is on, and what that allows."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import json

from adapters.readmodels.views import Views
from domain.billing.quotas import Meter
from domain.sections import Sections
from projections.billing.subscriptions import Billing, billing


@dataclass(frozen=True)
class Plans:
    """Knows the plan of each workspace."""

    views: Views
    settings: Sections

    async def of(self, workspace_id: str) -> Billing:
        """The billing of a workspace; one that never subscribed is on the free plan."""
        body = await self.views.find(billing, workspace_id, workspace_id)
        return json.decode(body, type=Billing) if body is not None else Billing(workspace_id=workspace_id)

    async def monthly_limit(self, workspace_id: str, meter: Meter) -> int | None:
        """How much of a kind a workspace may ask for in a month; None where its plan has no limit."""
        limits = meter.limits(self.settings)
        if not limits:
            return None
        return limits.get((await self.of(workspace_id)).plan)
