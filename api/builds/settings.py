"""How often builds may be asked for."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Count, Section, says


class BuildRates(Section, frozen=True):
    """How often builds may be asked for, and runners registered."""

    build_limit_per_minute: Annotated[Count, says("Builds that one workspace may ask for in 60 seconds")] = 10
    runner_limit_per_hour: Annotated[Count, says("Runners that one address may register in an hour")] = 60
