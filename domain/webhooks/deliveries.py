"""A delivery: one message to one address, tried until it arrives or hope is given up."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from msgspec.structs import replace

from domain.kernel import Category, Event, NotFound, State

MessageType = Literal["analysis.completed", "analysis.failed"]


class DeliveryQueued(Event):
    """There is something to tell."""

    delivery_id: str
    workspace_id: str
    analysis_id: str
    url: str
    message_type: MessageType
    queued_at: datetime


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


class Delivery(State):
    """What rules need to know of a delivery."""

    analysis_id: str = ""
    attempts: int = 0
    delivered: bool = False
    given_up: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it will not be tried again by itself."""
        return self.delivered or self.given_up


def evolve(delivery: Delivery, event: Event) -> Delivery:
    """A delivery after one more event."""
    match event:
        case DeliveryQueued():
            return replace(delivery, analysis_id=event.analysis_id)
        case DeliveryAttempted():
            return replace(delivery, attempts=event.attempt, delivered=event.success)
        case DeliveryGivenUp():
            return replace(delivery, given_up=True)
    return delivery


class NoSuchDelivery(NotFound):
    """There is no such delivery."""


deliveries = Category(name="delivery", initial=Delivery(), evolve=evolve, absent=NoSuchDelivery)


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
