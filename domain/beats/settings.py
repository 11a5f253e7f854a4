"""Settings of how many beats there may be."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from domain.sections import Section, says


class GenerationLimits(Section, frozen=True):
    """How many generations of beats a plan allows."""

    monthly_generation_limits: Annotated[
        dict[str, Annotated[int, Meta(ge=0)]],
        says("Generations of beats a month for each plan, as `plan=number` with commas; a plan not named has no limit"),
    ] = msgspec.field(default_factory=dict)
