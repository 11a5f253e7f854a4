"""A delivery: one message to one address, tried until it arrives or hope is given up."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

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
from domain.webhooks.signing import STANDARD_WEBHOOKS

#: How often one message may be sent, however often that is forced; by itself it is sent far less often.
ATTEMPTS_MAX = 50
#: When there are so many messages about one thing, no more may be asked for, so that its log has an end.
DELIVERIES_MAX = 100

#: Why a delivery is not tried again: no attempt is left, the receiver said it is gone, or its endpoint is off or away.
WhyGivenUp = Literal["exhausted", "gone", "disabled", "removed"]


def about_an_analysis(facts: dict[str, Any]) -> dict[str, Any]:
    """An upcaster: once, every message was about an analysis, except for a ping, which was about none."""
    rest = {name: fact for name, fact in facts.items() if name != "analysis_id"}
    if facts["analysis_id"]:
        return rest | {"subject_kind": "analysis", "subject_id": facts["analysis_id"]}
    return rest | {"subject_kind": "endpoint", "subject_id": facts.get("endpoint_id") or ""}


class DeliveryQueued(Event):
    """There is something to tell, in these words; without an endpoint the address was left with the subject.

    The subject is the thing that the message is about: `subject_kind` is the category of its stream. The `body` is
    what is sent, the same bytes on every attempt; only deliveries from before it was kept have none.

    A message about a published event has the event for its subject (`event`, and its id).
    """

    target: ClassVar[str] = "webhook_delivery"
    schema_version: ClassVar[int] = 3
    upcasters: ClassVar[Upcasters] = {1: personal_since_then("url"), 2: about_an_analysis}

    delivery_id: str
    workspace_id: str
    subject_kind: str
    subject_id: str
    url: Annotated[str, personal("workspace_id", address=True)]
    message_type: str
    queued_at: datetime
    endpoint_id: str | None = None
    signer: str = STANDARD_WEBHOOKS.name
    body: Annotated[str, personal("workspace_id")] | None = None
    #: What the receiver knows the message by, where it is sent once more under the id of another delivery.
    message_id: str | None = None
    #: The replay that sends it for the first time.
    replay_id: str | None = None


class DeliveryBegun(Event):
    """Somebody is sending it for the n-th time; nobody else does so meanwhile."""

    target: ClassVar[str] = "webhook_delivery"

    delivery_id: str
    attempt: int
    begun_at: datetime
    begun_by: str
    #: Somebody asked for it, so that no job takes it up when whoever sends it dies.
    forced: bool = False


class DeliveryAttempted(Event):
    """It was sent once; `next_attempt_at` is null when it arrived or no attempt is left."""

    target: ClassVar[str] = "webhook_delivery"
    schema_version: ClassVar[int] = 2
    upcasters: ClassVar[Upcasters] = {1: about_an_analysis}

    delivery_id: str
    subject_kind: str
    subject_id: str
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

    action: ClassVar[str] = "delivery.given_up"
    target: ClassVar[str] = "webhook_delivery"
    schema_version: ClassVar[int] = 2
    upcasters: ClassVar[Upcasters] = {1: about_an_analysis}

    delivery_id: str
    subject_kind: str
    subject_id: str
    reason: str
    given_up_at: datetime
    because: WhyGivenUp = "exhausted"


class DeliveryResumed(Event):
    """What was given up is tried again by a series of attempts of its own; so many `attempts` were made before."""

    target: ClassVar[str] = "webhook_delivery"

    delivery_id: str
    subject_kind: str
    subject_id: str
    attempts: int
    resumed_at: datetime


class DeliverySkipped(Event):
    """Whoever looks after the service has let go of what was given up: nobody needs to see to it any more."""

    target: ClassVar[str] = "webhook_delivery"

    delivery_id: str
    subject_kind: str
    subject_id: str
    skipped_at: datetime


class DeliveryAskedFor(Event):
    """Somebody wants a thing told once more: the n-th message about it."""

    schema_version: ClassVar[int] = 2
    upcasters: ClassVar[Upcasters] = {1: about_an_analysis}

    subject_kind: str
    subject_id: str
    workspace_id: str
    delivery_id: str
    number: int
    asked_at: datetime


class Delivery(State):
    """What rules need to know of a delivery."""

    workspace_id: str = ""
    queued: bool = False
    subject_kind: str = ""
    subject_id: str = ""
    endpoint_id: str | None = None
    url: str = ""
    message_type: str = ""
    signer: str = STANDARD_WEBHOOKS.name
    body: str | None = None
    message_id: str | None = None
    replay_id: str | None = None
    queued_at: datetime | None = None
    attempts: int = 0
    begun_at: datetime | None = None
    begun_by: str = ""
    next_attempt_at: datetime | None = None
    delivered: bool = False
    given_up: bool = False
    #: Why it was given up the last time.
    because: WhyGivenUp | None = None
    #: How many attempts had been made when its present series of them began.
    series_after: int = 0
    skipped: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it will not be tried again by itself."""
        return self.delivered or self.given_up

    def is_with_another(self, sender: str, now: datetime, timeout: timedelta) -> bool:
        """Whether somebody else is sending it right now, as far as one can believe that after some time."""
        return self.begun_at is not None and self.begun_by != sender and now < self.begun_at + timeout


def evolve(delivery: Delivery, event: Event) -> Delivery:  # noqa: PLR0911 - one for each event
    """A delivery after one more event."""
    match event:
        case DeliveryQueued():
            return Delivery(
                queued=True,
                workspace_id=event.workspace_id,
                subject_kind=event.subject_kind,
                subject_id=event.subject_id,
                endpoint_id=event.endpoint_id,
                url=event.url,
                message_type=event.message_type,
                signer=event.signer,
                body=event.body,
                message_id=event.message_id,
                replay_id=event.replay_id,
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
                skipped=False,
            )
        case DeliveryGivenUp():
            return replace(delivery, given_up=True, because=event.because, next_attempt_at=None, begun_at=None)
        case DeliveryResumed():
            return replace(
                delivery, given_up=False, series_after=event.attempts, next_attempt_at=event.resumed_at, skipped=False
            )
        case DeliverySkipped():
            return replace(delivery, skipped=True)
    return delivery


class NoSuchDelivery(NotFound):
    """There is no such delivery."""


class DeliveryIsOver(Conflict):
    """This message has been delivered, or given up, already."""


class NoAttemptLeft(Conflict):
    """This message has been sent {attempts_max} times already. Ask for a new delivery of its job instead."""


class NobodyToSendTo(Conflict):
    """Nobody is there for this message any more."""


class EndpointIsDisabled(Conflict):
    """The endpoint of this message is disabled. It is for its workspace to enable it."""


class DeliveryIsBeingForced(Conflict):
    """Somebody has this message sent at this moment. Ask again when it is known what comes of that."""


class DeliveryIsSkipped(Conflict):
    """This message was skipped. It is for its workspace to have it sent again."""


class DeliveryIsNotGivenUp(Conflict):
    """This message was not given up: it is on its way, or has arrived."""


class TooManyDeliveries(Conflict):
    """This job has been told {deliveries_max} times already, and is not told any more."""


class DeliveryInProgress(Unavailable):
    """This message is being sent at this moment."""


deliveries = Category(name="delivery", initial=Delivery(), evolve=evolve, absent=NoSuchDelivery)


class RedeliveryCount(State):
    """How many messages there are about a thing; 0 until somebody asks for another one."""

    deliveries: int = 0


def count(counted: RedeliveryCount, event: Event) -> RedeliveryCount:
    """The count after one more event."""
    return counted_by(event) or counted


def counted_by(event: Event) -> RedeliveryCount | None:
    """What the newest event says of all before it."""
    match event:
        case DeliveryAskedFor():
            return RedeliveryCount(deliveries=event.number)
    return None


#: By the id of the subject, apart from its own stream: who asks for a message must not wait for who changes the thing.
#: The name is what the streams are called on disk.
redelivery_counts = Category(name="telling", initial=RedeliveryCount(), evolve=count, snapshot=counted_by)


def next_attempt(
    attempt: int,
    now: datetime,
    *,
    waits: tuple[float, ...],
    jitter: float,
    series_after: int = 0,
    retry_after_seconds: float | None = None,
) -> datetime | None:
    """When to try again after the n-th attempt failed: the n-th wait in seconds, later by `jitter` of it (0..1).

    Attempts are counted from the beginning of their series, which was after so many. A receiver's Retry-After can only
    make it later, by a day at most. None: no attempt is left.
    """
    of_series = attempt - series_after
    if of_series > len(waits) or attempt >= ATTEMPTS_MAX:
        return None
    wait = waits[of_series - 1] * (1.0 + jitter)
    return now + timedelta(seconds=max(wait, min(retry_after_seconds or 0.0, 86_400.0)))
