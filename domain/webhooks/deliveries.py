"""A delivery: one message to one address, tried until it arrives or hope is given up."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal, get_args

from msgspec.structs import replace

from domain.kernel import (
    Category,
    Conflict,
    Event,
    NotFound,
    State,
    Unavailable,
    Upcasters,
    personal,
    personal_since_then,
)

MessageType = Literal["analysis.completed", "analysis.failed", "webhook.ping"]
#: What an endpoint may choose from; a ping is sent only when somebody asks for it.
MESSAGE_TYPES: tuple[str, ...] = tuple(each for each in get_args(MessageType) if each != "webhook.ping")

#: How often one message may be sent, however often that is forced; by itself it is sent far less often.
ATTEMPTS_MAX = 50
#: Once a job has been told so often, no more messages about it may be asked for, so that its log has an end.
DELIVERIES_MAX = 100

#: Why a delivery is not tried again: no attempt is left, the receiver said it is gone, or its endpoint is off or away.
WhyGivenUp = Literal["exhausted", "gone", "disabled", "removed"]


class DeliveryQueued(Event):
    """There is something to tell; without an endpoint the address was left with the job."""

    schema_version: ClassVar[int] = 2
    upcasters: ClassVar[Upcasters] = {1: personal_since_then("url")}

    delivery_id: str
    workspace_id: str
    analysis_id: str
    url: Annotated[str, personal("workspace_id", address=True)]
    message_type: MessageType
    queued_at: datetime
    endpoint_id: str | None = None


class DeliveryBegun(Event):
    """Somebody is sending it for the n-th time; nobody else does so meanwhile."""

    delivery_id: str
    attempt: int
    begun_at: datetime
    begun_by: str
    #: Somebody asked for it, so that no job takes it up when whoever sends it dies.
    forced: bool = False


class DeliveryAttempted(Event):
    """It was sent once; `next_attempt_at` is null when it arrived or no attempt is left."""

    delivery_id: str
    analysis_id: str
    attempt: int
    success: bool
    attempted_at: datetime
    status_code: int | None = None
    error_detail: str | None = None
    signature: str | None = None
    duration_seconds: float = 0.0
    next_attempt_at: datetime | None = None


class DeliveryGivenUp(Event):
    """It will not be tried again by itself, and why."""

    delivery_id: str
    analysis_id: str
    reason: str
    given_up_at: datetime
    because: WhyGivenUp = "exhausted"


class DeliveryAskedFor(Event):
    """Somebody wants a job told once more: the n-th message about it."""

    analysis_id: str
    workspace_id: str
    delivery_id: str
    number: int
    asked_at: datetime


class Delivery(State):
    """What rules need to know of a delivery."""

    workspace_id: str = ""
    queued: bool = False
    analysis_id: str = ""
    endpoint_id: str | None = None
    url: str = ""
    message_type: MessageType = "analysis.completed"
    queued_at: datetime | None = None
    attempts: int = 0
    begun_at: datetime | None = None
    begun_by: str = ""
    next_attempt_at: datetime | None = None
    delivered: bool = False
    given_up: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it will not be tried again by itself."""
        return self.delivered or self.given_up

    def is_with_another(self, sender: str, now: datetime, patience: timedelta) -> bool:
        """Whether somebody else is sending it right now, as far as one can believe that after some time."""
        return self.begun_at is not None and self.begun_by != sender and now < self.begun_at + patience


def evolve(delivery: Delivery, event: Event) -> Delivery:
    """A delivery after one more event."""
    match event:
        case DeliveryQueued():
            return Delivery(
                queued=True,
                workspace_id=event.workspace_id,
                analysis_id=event.analysis_id,
                endpoint_id=event.endpoint_id,
                url=event.url,
                message_type=event.message_type,
                queued_at=event.queued_at,
                next_attempt_at=event.queued_at,
            )
        case DeliveryBegun():
            return replace(delivery, begun_at=event.begun_at, begun_by=event.begun_by)
        case DeliveryAttempted():
            return replace(
                delivery,
                attempts=event.attempt,
                delivered=delivery.delivered or event.success,
                next_attempt_at=event.next_attempt_at,
                begun_at=None,
                given_up=False,
            )
        case DeliveryGivenUp():
            return replace(delivery, given_up=True, next_attempt_at=None, begun_at=None)
    return delivery


class NoSuchDelivery(NotFound):
    """There is no such delivery."""


class DeliveryIsOver(Conflict):
    """This message has been delivered, or given up, already."""


class NoAttemptLeft(Conflict):
    """This message has been sent {attempts_max} times already. Ask for a new delivery of its job instead."""


class TooManyDeliveries(Conflict):
    """This job has been told {deliveries_max} times already, and is not told any more."""


class DeliveryInProgress(Unavailable):
    """This message is being sent at this moment."""


deliveries = Category(name="delivery", initial=Delivery(), evolve=evolve, absent=NoSuchDelivery)


class Telling(State):
    """How often a job has been told, as far as was known when somebody last asked for it."""

    times: int = 0


def retell(telling: Telling, event: Event) -> Telling:
    """What is known of a job after one more event."""
    return told_by(event) or telling


def told_by(event: Event) -> Telling | None:
    """What the newest event says of all before it."""
    match event:
        case DeliveryAskedFor():
            return Telling(times=event.number)
    return None


#: By job, apart from the job itself: who tells it again must not wait for who listens to it.
tellings = Category(name="telling", initial=Telling(), evolve=retell, snapshot=told_by)


def next_attempt(
    attempt: int,
    now: datetime,
    *,
    waits: tuple[float, ...],
    jitter: float,
    retry_after_seconds: float | None = None,
) -> datetime | None:
    """When to try again after the n-th attempt failed: the n-th wait in seconds, later by `jitter` of it (0..1).

    A receiver's Retry-After can only make it later, by a day at most. None: no attempt is left.
    """
    if attempt > len(waits):
        return None
    wait = waits[attempt - 1] * (1.0 + jitter)
    return now + timedelta(seconds=max(wait, min(retry_after_seconds or 0.0, 86_400.0)))
