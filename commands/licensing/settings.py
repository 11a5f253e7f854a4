"""Settings of licensing."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from domain.sections import Count, Section, says


class Licensing(Section, frozen=True):
    """Activation codes of plug-ins."""

    activation_limit_per_minute: Annotated[
        Count, says("Requests about one activation code from one address in 60 seconds")
    ] = 60
    unknown_code_limit_per_minute: Annotated[
        Count, says("Requests about codes that do not exist from one address in 60 seconds")
    ] = 60
    activation_churn_per_day: Annotated[
        int, Meta(ge=0), says("How often a code may be activated in 24 hours beyond the machines it is for")
    ] = 20
