"""A delivery as the delivery log shows it."""

from __future__ import annotations

from typing import Any, Literal

from msgspec.structs import replace

from domain.kernel import Event, Value
from domain.webhooks.deliveries import (
    DeliveryAttempted,
    DeliveryBegun,
    DeliveryGivenUp,
    DeliveryQueued,
    DeliveryResumed,
    NoSuchDelivery,
)
from projections.kernel import Document, Projection, projection, seconds

Status = Literal["pending", "delivering", "delivered", "failed", "disabled"]

#: A delivery is tried ten times by itself; whoever forces more, or has it resumed, sees the last of them.
ATTEMPTS_SHOWN_MAX = 50


class SentOnce(Value):
    """One attempt."""

    attempt: int
    attempted_at: str
    success: bool
    status_code: int | None
    error_detail: str | None
    duration_seconds: float


class DeliveryLog(Document):
    """A message to one address; `signature` is the header of the last attempt, empty before the first.

    `job_id` is the thing it is about, empty for a ping.
    """

    attempt_count: int
    created_at: str
    event_type: str
    id: str
    job_id: str
    signature: str
    status: Status
    url: str
    endpoint_id: str | None = None
    next_attempt_at: str | None = None
    reason: str | None = None
    attempts: tuple[SentOnce, ...] = ()


def evolve(log: DeliveryLog | None, event: Event) -> DeliveryLog | None:
    """The delivery after one more event."""
    match log, event:
        case _, DeliveryQueued():
            return DeliveryLog(
                attempt_count=0,
                created_at=seconds(event.queued_at),
                event_type=event.message_type,
                id=event.delivery_id,
                job_id="" if event.subject_kind == "endpoint" else event.subject_id,
                signature="",
                status="pending",
                url=event.url,
                endpoint_id=event.endpoint_id,
                next_attempt_at=seconds(event.queued_at),
            )
        case DeliveryLog(), DeliveryBegun():
            return replace(log, status="delivering")
        case DeliveryLog(), DeliveryAttempted():
            return _attempted(log, event)
        case DeliveryLog(), DeliveryGivenUp():
            status: Status = "failed" if event.because == "exhausted" else "disabled"
            return replace(log, status=status, reason=event.reason, next_attempt_at=None)
        case DeliveryLog(), DeliveryResumed():
            return replace(log, status="pending", reason=None, next_attempt_at=seconds(event.resumed_at))
    return log


def _attempted(log: DeliveryLog, event: DeliveryAttempted) -> DeliveryLog:
    sent = SentOnce(
        attempt=event.attempt,
        attempted_at=seconds(event.attempted_at),
        success=event.success,
        status_code=event.status_code,
        error_detail=event.error_detail,
        duration_seconds=round(event.duration_seconds, 3),
    )
    return replace(
        log,
        attempt_count=event.attempt,
        signature=event.signature or log.signature,
        status="delivered" if event.success else "pending",
        next_attempt_at=None if event.next_attempt_at is None else seconds(event.next_attempt_at),
        reason=None,
        attempts=(*log.attempts, sent)[-ATTEMPTS_SHOWN_MAX:],
    )


delivery_logs: Projection[Any] = projection(
    "delivery_logs",
    DeliveryLog,
    on={
        DeliveryQueued: "delivery_id",
        DeliveryBegun: "delivery_id",
        DeliveryAttempted: "delivery_id",
        DeliveryGivenUp: "delivery_id",
        DeliveryResumed: "delivery_id",
    },
    evolve=evolve,
    begins=(DeliveryQueued,),
    absent=NoSuchDelivery,
    parent=lambda log: log.job_id or None,
    stream="delivery",
)
