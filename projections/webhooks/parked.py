"""Deliveries that were given up, as operators see them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from domain.kernel import Event
from domain.webhooks.deliveries import (
    DeliveryAttempted,
    DeliveryGivenUp,
    DeliveryQueued,
    DeliveryResumed,
    DeliverySkipped,
    NoSuchDelivery,
    deliveries,
)
from projections.kernel import Projection, projection
from projections.parking import GivenUp, listed_under


def evolve(delivery: GivenUp | None, event: Event) -> GivenUp | None:  # noqa: PLR0911 - one for each event
    """The delivery after one more event; what has arrived, or has nobody to arrive at, is gone."""
    match delivery, event:
        case _, DeliveryQueued():
            return GivenUp(
                name=event.endpoint_id or _host(event.url),
                about=event.message_type,
                stream=deliveries.stream(event.delivery_id),
                owner=event.endpoint_id,
            )
        case GivenUp(), DeliveryAttempted():
            if event.success:
                return None
            return replace(
                delivery,
                state="on its way",
                attempts=event.attempt,
                problem=(event.error_detail or "").replace("\0", ""),
                since=None,
            )
        case GivenUp(), DeliveryGivenUp():
            if event.because == "removed":
                return None
            problem = f"{event.reason}: {delivery.problem}" if delivery.problem else event.reason
            return replace(delivery, state="given up", problem=problem, since=event.given_up_at)
        case GivenUp(), DeliveryResumed():
            return replace(delivery, state="on its way", problem="", since=None)
        case GivenUp(), DeliverySkipped():
            return replace(delivery, state="skipped")
    return delivery


def _host(url: str) -> str:
    """Where a message goes, without what may be secret in an address."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _unless_a_ping(event: DeliveryQueued) -> str | None:
    """Whoever tries an endpoint out sees what comes of it."""
    return None if event.subject_kind == "endpoint" else event.delivery_id


parked_deliveries: Projection[Any] = projection(
    "parked_deliveries",
    GivenUp,
    on={
        DeliveryQueued: _unless_a_ping,
        DeliveryAttempted: "delivery_id",
        DeliveryGivenUp: "delivery_id",
        DeliveryResumed: "delivery_id",
        DeliverySkipped: "delivery_id",
    },
    evolve=evolve,
    begins=(DeliveryQueued,),
    absent=NoSuchDelivery,
    parent=listed_under,
    stream=deliveries.name,
)
