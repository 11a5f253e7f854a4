"""Settings of the plug-in studio's contract."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Count, Section, says


class StudioRates(Section, frozen=True):
    """How often the plug-in studio may be asked."""

    studio_limit_per_minute: Annotated[
        Count, says("Requests of one key or person to the plug-in studio in 60 seconds")
    ] = 100
