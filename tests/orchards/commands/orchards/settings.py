"""Settings of orchards."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Count, Seconds, Section, says


class Orchards(Section, frozen=True):
    """Orchards."""

    orchard_apples_max: Annotated[Count, says("Apples that a tree bears at most")] = 500
    orchard_scales_seconds_max: Annotated[Seconds, says("Time that the scales have for one harvest")] = 1.0
