"""Queueing a message and writing down each attempt to deliver it."""

from __future__ import annotations

from datetime import datetime

from commands.kernel import Command, decides
from domain.kernel import Event
from domain.webhooks.deliveries import (
    Delivery,
    DeliveryAttempted,
    DeliveryGivenUp,
    DeliveryQueued,
    MessageType,
    deliveries,
)


class QueueDelivery(Command):
    """Tell an address about an analysis."""

    delivery_id: str
    workspace_id: str
    analysis_id: str
    url: str
    message_type: MessageType


@decides(QueueDelivery, deliveries, creates=True)
def queue(wish: QueueDelivery, delivery: Delivery, now: datetime) -> list[Event]:
    """A message is queued once."""
    if delivery.analysis_id:
        return []
    return [
        DeliveryQueued(
            delivery_id=wish.delivery_id,
            workspace_id=wish.workspace_id,
            analysis_id=wish.analysis_id,
            url=wish.url,
            message_type=wish.message_type,
            queued_at=now,
        )
    ]


class RecordAttempt(Command):
    """Write down how the n-th attempt went; without a next one the delivery is given up for `gives_up`."""

    delivery_id: str
    attempt: int
    success: bool
    status_code: int | None
    error_detail: str | None
    signature: str | None
    duration_seconds: float
    next_attempt_at: datetime | None
    gives_up: str = "no attempt is left"


@decides(RecordAttempt, deliveries)
def record_attempt(wish: RecordAttempt, delivery: Delivery, now: datetime) -> list[Event]:
    """Each attempt is written down once; a delivery that is over has no more attempts."""
    if wish.attempt != delivery.attempts + 1 or delivery.is_over:
        return []
    attempted = DeliveryAttempted(
        delivery_id=wish.delivery_id,
        analysis_id=delivery.analysis_id,
        attempt=wish.attempt,
        success=wish.success,
        attempted_at=now,
        status_code=wish.status_code,
        error_detail=wish.error_detail,
        signature=wish.signature,
        duration_seconds=wish.duration_seconds,
        next_attempt_at=None if wish.success else wish.next_attempt_at,
    )
    if wish.success or wish.next_attempt_at is not None:
        return [attempted]
    return [
        attempted,
        DeliveryGivenUp(
            delivery_id=wish.delivery_id, analysis_id=delivery.analysis_id, reason=wish.gives_up, given_up_at=now
        ),
    ]
