"""Settings of how many analyses there may be."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from domain.sections import Section, says


class AnalysisLimits(Section, frozen=True):
    """How many analyses a plan allows."""

    monthly_analysis_limits: Annotated[
        dict[str, Annotated[int, Meta(ge=0)]],
        says("Analyses a month for each plan, as `plan=number` with commas; a plan not named has no limit"),
    ] = msgspec.field(default_factory=dict)
