"""Settings of plans."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from domain.sections import Section, says


class Plans(Section, frozen=True):
    """What a plan allows and costs."""

    monthly_analysis_limits: Annotated[
        dict[str, Annotated[int, Meta(ge=0)]],
        says("Analyses a month for each plan, as `plan=number` with commas; a plan not named has no limit"),
    ] = msgspec.field(default_factory=dict)
    stripe_prices: Annotated[
        dict[str, str], says("Stripe price of each plan, as `plan=price_...` with commas; the first is the default")
    ] = msgspec.field(default_factory=dict)
