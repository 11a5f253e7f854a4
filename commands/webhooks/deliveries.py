"""Queueing a message, and writing down each attempt to deliver it."""

from __future__ import annotations

from datetime import datetime, timedelta

from commands.kernel import Command, Transaction, decides, derived_id, handles
from commands.parking import can_be_parked
from commands.ports import PublishedEvent
from commands.webhooks.endpoints import has_moved, note_health
from domain.kernel import ERASED, Event
from domain.webhooks.deliveries import (
    ATTEMPTS_MAX,
    DELIVERIES_MAX,
    Delivery,
    DeliveryAskedFor,
    DeliveryAttempted,
    DeliveryBegun,
    DeliveryGivenUp,
    DeliveryInProgress,
    DeliveryIsBeingForced,
    DeliveryIsNotGivenUp,
    DeliveryIsOver,
    DeliveryIsSkipped,
    DeliveryQueued,
    DeliveryResumed,
    DeliverySkipped,
    EndpointIsDisabled,
    NoAttemptLeft,
    NobodyToSendTo,
    TooManyDeliveries,
    WhyGivenUp,
    deliveries,
    redelivery_counts,
)
from domain.webhooks.endpoints import NoSuchEndpoint, endpoint_books
from domain.webhooks.signing import EVENTS, STANDARD_WEBHOOKS


class QueueDelivery(Command):
    """Send a message about a subject to an address, in the words of `body`; null is for what was queued without any."""

    delivery_id: str
    workspace_id: str
    subject_kind: str
    subject_id: str
    url: str
    message_type: str
    body: str | None
    endpoint_id: str | None = None
    signer: str = STANDARD_WEBHOOKS.name
    message_id: str | None = None
    replay_id: str | None = None


@decides(QueueDelivery, deliveries, creates=True)
def queue(wish: QueueDelivery, delivery: Delivery, now: datetime) -> list[Event]:
    """A message is queued once."""
    if delivery.queued:
        return []
    return [
        DeliveryQueued(
            delivery_id=wish.delivery_id,
            workspace_id=wish.workspace_id,
            subject_kind=wish.subject_kind,
            subject_id=wish.subject_id,
            url=wish.url,
            message_type=wish.message_type,
            endpoint_id=wish.endpoint_id,
            signer=wish.signer,
            body=wish.body,
            message_id=wish.message_id,
            replay_id=wish.replay_id,
            queued_at=now,
        )
    ]


def delivery_of_event(told: PublishedEvent, workspace_id: str, endpoint_id: str, url: str) -> QueueDelivery:
    """A published event for an endpoint. Its id follows from both, so that it is queued once, whoever comes first."""
    return QueueDelivery(
        delivery_id=derived_id("delivery", told.event_id, told.type, endpoint_id),
        workspace_id=workspace_id,
        subject_kind="event",
        subject_id=told.event_id,
        url=url,
        message_type=told.type,
        body=told.body,
        endpoint_id=endpoint_id,
        signer=EVENTS.name,
    )


class AskForDelivery(QueueDelivery, kw_only=True):
    """Queue another message about a subject; `seen` is how many there are that nobody had to ask for."""

    seen: int


@handles(AskForDelivery)
async def ask_for(wish: AskForDelivery, transaction: Transaction) -> None:
    """Counted where the message is queued, so that those who ask together do not all count themselves the last."""
    delivery = await transaction.expect_new(deliveries, wish.delivery_id)
    if delivery.queued:
        return
    # What came by itself is not counted here, but its asker has seen it.
    count = max((await transaction.find(redelivery_counts, wish.subject_id)).deliveries, wish.seen)
    if count >= DELIVERIES_MAX:
        raise TooManyDeliveries(deliveries_max=DELIVERIES_MAX)
    asked = DeliveryAskedFor(
        subject_kind=wish.subject_kind,
        subject_id=wish.subject_id,
        workspace_id=wish.workspace_id,
        delivery_id=wish.delivery_id,
        number=count + 1,
        asked_at=transaction.now,
    )
    transaction.record(redelivery_counts, wish.subject_id, asked)
    transaction.record(deliveries, wish.delivery_id, *queue(wish, delivery, transaction.now))


class BeginAttempt(Command):
    """Send it for the n-th time; `force` also sends what was given up. Who has begun may begin again after a crash."""

    delivery_id: str
    attempt: int
    sender: str
    timeout: timedelta
    force: bool = False


@decides(BeginAttempt, deliveries)
def begin(wish: BeginAttempt, delivery: Delivery, now: datetime) -> list[Event]:
    """One sender at a time, so that every message sent is an attempt written down."""
    if delivery.delivered or (delivery.given_up and not wish.force) or wish.attempt != delivery.attempts + 1:
        raise DeliveryIsOver
    if wish.force and wish.attempt > ATTEMPTS_MAX:
        raise NoAttemptLeft(attempts_max=ATTEMPTS_MAX)
    if delivery.is_with_another(wish.sender, now, wish.timeout):
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

    An endpoint that has had nothing but failures for `disable_after`, or that is `gone`, is disabled; not so one that
    it was us who `refused` to send to, or that has moved away from where this was sent to (None: nobody knows where).
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
    refused: bool = False
    disable_after: timedelta = timedelta(hours=120)
    sent_to: str | None = None


@handles(RecordAttempt)
async def record_attempt(wish: RecordAttempt, transaction: Transaction) -> None:
    """Each attempt is written down once; what has been delivered has no more attempts.

    A receiver may take its time: what the address before answers after its endpoint has moved says nothing of the new
    one, and a message for which that is gone goes to the new one.
    """
    delivery = await transaction.load(deliveries, wish.delivery_id)
    moved = wish.sent_to is not None and await has_moved(
        delivery.workspace_id, delivery.endpoint_id, wish.sent_to, transaction
    )
    events = _attempted(wish, delivery, transaction.now, gone=wish.gives_up == "gone" and not moved)
    if not events:
        return
    transaction.record(deliveries, wish.delivery_id, *events)
    if moved:
        return
    await note_health(
        delivery.workspace_id,
        delivery.endpoint_id,
        transaction,
        success=wish.success,
        refused=wish.refused,
        gone=wish.gives_up == "gone",
        disable_after=wish.disable_after,
    )


def _attempted(wish: RecordAttempt, delivery: Delivery, now: datetime, *, gone: bool) -> list[Event]:
    if wish.attempt != delivery.attempts + 1 or delivery.delivered:
        return []
    again = None if wish.success or gone else wish.next_attempt_at
    attempted = DeliveryAttempted(
        delivery_id=wish.delivery_id,
        subject_kind=delivery.subject_kind,
        subject_id=delivery.subject_id,
        attempt=wish.attempt,
        success=wish.success,
        attempted_at=now,
        status_code=wish.status_code,
        error_detail=wish.error_detail,
        signature=wish.signature,
        duration_seconds=wish.duration_seconds,
        next_attempt_at=again,
    )
    if wish.success or again is not None:
        return [attempted]
    because: WhyGivenUp = "gone" if gone else "exhausted"
    return [attempted, _given_up(wish.delivery_id, delivery, because, wish.reason, now)]


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
    return [_given_up(wish.delivery_id, delivery, wish.because, wish.reason, now)]


def _given_up(delivery_id: str, delivery: Delivery, because: WhyGivenUp, reason: str, now: datetime) -> DeliveryGivenUp:
    return DeliveryGivenUp(
        delivery_id=delivery_id,
        subject_kind=delivery.subject_kind,
        subject_id=delivery.subject_id,
        reason=reason,
        because=because,
        given_up_at=now,
    )


class ResumeDelivery(Command):
    """Try what was given up again, as often and under the same id as at first."""

    delivery_id: str


@handles(ResumeDelivery)
async def resume(wish: ResumeDelivery, transaction: Transaction) -> None:
    """What is on its way or has arrived is left alone, and nobody is promised what cannot be done."""
    delivery = await transaction.load(deliveries, wish.delivery_id)
    if not delivery.given_up:
        return
    if delivery.skipped:
        raise DeliveryIsSkipped
    # Somebody has forced it and knows of one attempt only: that would be its last.
    if delivery.begun_at is not None:
        raise DeliveryIsBeingForced
    if delivery.attempts >= ATTEMPTS_MAX:
        raise NoAttemptLeft(attempts_max=ATTEMPTS_MAX)
    await _check_recipient(delivery, transaction)
    resumed = DeliveryResumed(
        delivery_id=wish.delivery_id,
        subject_kind=delivery.subject_kind,
        subject_id=delivery.subject_id,
        attempts=delivery.attempts,
        resumed_at=transaction.now,
    )
    transaction.record(deliveries, wish.delivery_id, resumed, workspace_id=delivery.workspace_id)


async def _check_recipient(delivery: Delivery, transaction: Transaction) -> None:
    """Refuse what would be given up again at once."""
    if ERASED in (delivery.body, None if delivery.endpoint_id else delivery.url):
        raise NobodyToSendTo
    if delivery.endpoint_id is None:
        if delivery.because == "removed":
            raise NobodyToSendTo
        return
    book = await transaction.find(endpoint_books, delivery.workspace_id)
    endpoint = book.endpoints.get(delivery.endpoint_id)
    if endpoint is None:
        raise NoSuchEndpoint
    if not endpoint.enabled:
        raise EndpointIsDisabled


class SkipDelivery(Command):
    """Let go of what was given up: it is not shown among what somebody should see to."""

    delivery_id: str


@handles(SkipDelivery)
async def skip(wish: SkipDelivery, transaction: Transaction) -> None:
    """Only what was given up is let go of; its workspace may have it sent again all the same."""
    delivery = await transaction.load(deliveries, wish.delivery_id)
    if not delivery.given_up:
        raise DeliveryIsNotGivenUp
    if delivery.skipped:
        return
    skipped = DeliverySkipped(
        delivery_id=wish.delivery_id,
        subject_kind=delivery.subject_kind,
        subject_id=delivery.subject_id,
        skipped_at=transaction.now,
    )
    transaction.record(deliveries, wish.delivery_id, skipped, workspace_id=delivery.workspace_id)


can_be_parked(
    "delivery",
    "deliveries",
    read_model="parked_deliveries",
    owners="webhook_endpoints",
    retry=ResumeDelivery,
    skip=SkipDelivery,
)
