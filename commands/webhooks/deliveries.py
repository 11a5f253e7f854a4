"""Queueing a message, and writing down each attempt to deliver it."""

from __future__ import annotations

from datetime import datetime, timedelta

from commands.kernel import Command, Transaction, decides, handles
from commands.webhooks.endpoints import note_health
from domain.kernel import Event
from domain.webhooks.deliveries import (
    ATTEMPTS_MAX,
    DELIVERIES_MAX,
    Delivery,
    DeliveryAskedFor,
    DeliveryAttempted,
    DeliveryBegun,
    DeliveryGivenUp,
    DeliveryInProgress,
    DeliveryIsOver,
    DeliveryQueued,
    MessageType,
    NoAttemptLeft,
    TooManyDeliveries,
    WhyGivenUp,
    deliveries,
    tellings,
)


class QueueDelivery(Command):
    """Tell an address about an analysis; a ping is about none."""

    delivery_id: str
    workspace_id: str
    analysis_id: str
    url: str
    message_type: MessageType
    endpoint_id: str | None = None


@decides(QueueDelivery, deliveries, creates=True)
def queue(wish: QueueDelivery, delivery: Delivery, now: datetime) -> list[Event]:
    """A message is queued once."""
    if delivery.queued:
        return []
    return [
        DeliveryQueued(
            delivery_id=wish.delivery_id,
            workspace_id=wish.workspace_id,
            analysis_id=wish.analysis_id,
            url=wish.url,
            message_type=wish.message_type,
            endpoint_id=wish.endpoint_id,
            queued_at=now,
        )
    ]


class AskForDelivery(Command):
    """Tell an address about an analysis once more; `told` is how many messages about it its asker has seen."""

    delivery_id: str
    workspace_id: str
    analysis_id: str
    url: str
    message_type: MessageType
    told: int
    endpoint_id: str | None = None


@handles(AskForDelivery)
async def ask_for(wish: AskForDelivery, transaction: Transaction) -> None:
    """Counted where the message is queued, so that those who ask together do not all count themselves the last."""
    delivery = await transaction.expect_new(deliveries, wish.delivery_id)
    if delivery.queued:
        return
    # What came by itself is not counted here, but its asker has seen it.
    times = max((await transaction.find(tellings, wish.analysis_id)).times, wish.told)
    if times >= DELIVERIES_MAX:
        raise TooManyDeliveries(deliveries_max=DELIVERIES_MAX)
    asked = DeliveryAskedFor(
        analysis_id=wish.analysis_id,
        workspace_id=wish.workspace_id,
        delivery_id=wish.delivery_id,
        number=times + 1,
        asked_at=transaction.now,
    )
    transaction.record(tellings, wish.analysis_id, asked)
    message = QueueDelivery(
        delivery_id=wish.delivery_id,
        workspace_id=wish.workspace_id,
        analysis_id=wish.analysis_id,
        url=wish.url,
        message_type=wish.message_type,
        endpoint_id=wish.endpoint_id,
    )
    transaction.record(deliveries, wish.delivery_id, *queue(message, delivery, transaction.now))


class BeginAttempt(Command):
    """Send it for the n-th time; `force` also sends what was given up. Who has begun may begin again after a crash."""

    delivery_id: str
    attempt: int
    sender: str
    patience: timedelta
    force: bool = False


@decides(BeginAttempt, deliveries)
def begin(wish: BeginAttempt, delivery: Delivery, now: datetime) -> list[Event]:
    """One sender at a time, so that every message sent is an attempt written down."""
    if delivery.delivered or (delivery.given_up and not wish.force) or wish.attempt != delivery.attempts + 1:
        raise DeliveryIsOver
    if wish.force and wish.attempt > ATTEMPTS_MAX:
        raise NoAttemptLeft(attempts_max=ATTEMPTS_MAX)
    if delivery.is_with_another(wish.sender, now, wish.patience):
        raise DeliveryInProgress
    if delivery.begun_at is not None and delivery.begun_by == wish.sender:
        return []
    return [
        DeliveryBegun(
            delivery_id=wish.delivery_id,
            attempt=wish.attempt,
            begun_at=now,
            begun_by=wish.sender,
            forced=wish.force,
        )
    ]


class RecordAttempt(Command):
    """Write down how the n-th attempt went; without a next one the delivery is given up, and `reason` says why.

    An endpoint that has had nothing but failures for `disable_after`, or that is `gone`, is disabled.
    """

    delivery_id: str
    attempt: int
    success: bool
    status_code: int | None
    error_detail: str | None
    signature: str | None
    duration_seconds: float
    next_attempt_at: datetime | None
    gives_up: WhyGivenUp = "exhausted"
    reason: str = "no attempt is left"
    disable_after: timedelta = timedelta(hours=120)


@handles(RecordAttempt)
async def record_attempt(wish: RecordAttempt, transaction: Transaction) -> None:
    """Each attempt is written down once; what has been delivered has no more attempts."""
    delivery = await transaction.load(deliveries, wish.delivery_id)
    events = _attempted(wish, delivery, transaction.now)
    if not events:
        return
    transaction.record(deliveries, wish.delivery_id, *events)
    await note_health(
        delivery.workspace_id,
        delivery.endpoint_id,
        transaction,
        success=wish.success,
        gone=wish.gives_up == "gone",
        disable_after=wish.disable_after,
    )


def _attempted(wish: RecordAttempt, delivery: Delivery, now: datetime) -> list[Event]:
    if wish.attempt != delivery.attempts + 1 or delivery.delivered:
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
            delivery_id=wish.delivery_id,
            analysis_id=delivery.analysis_id,
            reason=wish.reason,
            because=wish.gives_up,
            given_up_at=now,
        ),
    ]


class GiveUpDelivery(Command):
    """Send it no more, because there is nobody to send it to."""

    delivery_id: str
    because: WhyGivenUp
    reason: str


@decides(GiveUpDelivery, deliveries)
def give_up(wish: GiveUpDelivery, delivery: Delivery, now: datetime) -> list[Event]:
    """What is over stays as it is."""
    if delivery.is_over:
        return []
    return [
        DeliveryGivenUp(
            delivery_id=wish.delivery_id,
            analysis_id=delivery.analysis_id,
            reason=wish.reason,
            because=wish.because,
            given_up_at=now,
        )
    ]
