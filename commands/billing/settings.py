"""Settings of plans."""

from __future__ import annotations

from typing import Annotated

import msgspec

from domain.sections import Section, says


class Plans(Section, frozen=True):
    """What a plan costs."""

    stripe_prices: Annotated[
        dict[str, str], says("Stripe price of each plan, as `plan=price_...` with commas; the first is the default")
    ] = msgspec.field(default_factory=dict)
