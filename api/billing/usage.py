"""What a workspace has used this month."""

from __future__ import annotations

from litestar import get
from litestar.di import NamedDependency
from msgspec import Struct

from api.auth import Asker, needs
from api.billing.ports import Ports
from domain.analyses.analyses import ANALYSES
from projections.billing.usage import usage


class Usage(Struct):
    """This month, in the words of both versions of the API; `limit` and `remaining` are null without a limit."""

    month: str
    count: int
    limit: int | None
    remaining: int | None
    tier: str
    local_analysis_credits: int
    local_analysis_jobs: int
    provider_enrichment_jobs: int
    workspace_id: str


@get("/v1/usage", tags=["analysis v1"], opt=needs("usage:read", "viewer"))
async def get_usage(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Usage:
    """Read what this workspace has used in the month (UTC)."""
    now = ports.now()
    key = ANALYSES.used_in(asker.workspace_id, now)
    count = (await ports.views.sums(usage, [key], asker.workspace_id))[key]
    limit = await ports.plans.monthly_limit(asker.workspace_id, ANALYSES)
    remaining = None if limit is None else max(0, limit - count)
    return Usage(
        month=f"{now:%Y-%m}",
        count=count,
        limit=limit,
        remaining=remaining,
        tier=(await ports.plans.of(asker.workspace_id)).plan,
        local_analysis_credits=remaining or 0,
        local_analysis_jobs=count,
        provider_enrichment_jobs=0,
        workspace_id=asker.workspace_id,
    )
