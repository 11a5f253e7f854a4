"""Settings of what is counted in orchards."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from domain.sections import Section, says


class PlantingLimits(Section, frozen=True):
    """How much is planted."""

    monthly_planting_limits: Annotated[
        dict[str, Annotated[int, Meta(ge=0)]], says("Trees a month for each plan; a plan not named has no limit")
    ] = msgspec.field(default_factory=lambda: {"free": 12})
