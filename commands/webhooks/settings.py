"""Settings of deliveries."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from domain.sections import Seconds, Section, says


class Webhooks(Section, frozen=True):
    """How webhooks are delivered."""

    webhook_seconds_max: Annotated[Seconds, says("Time a webhook's receiver has to answer")] = 15.0
    webhook_retry_seconds: Annotated[
        tuple[Annotated[float, Meta(ge=0)], ...],
        Meta(min_length=1),
        says("Waits before the second and each later attempt, before jitter"),
    ] = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
    webhook_disable_hours: Annotated[
        Seconds, says("How many hours an endpoint may fail, and do nothing else, before it is disabled")
    ] = 120.0
    webhook_jitter: Annotated[float, Meta(ge=0, le=1), says("The share of each wait that is drawn by chance")] = 0.1
