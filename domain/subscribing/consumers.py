"""The consumers of a workspace: places in the stream of published events, each kept by NATS for one reader.

They share one stream of ours, so that there are never too many, however many are made at once.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from domain.kernel import Category, Conflict, Event, NotFound, State, personal

CONSUMERS_MAX = 16


class ConsumerMade(Event):
    """Somebody reads published events over NATS from after a position; no chosen types means all of them."""

    target: ClassVar[str] = "nats_consumer"

    consumer_id: str
    workspace_id: str
    name: Annotated[str, personal("workspace_id")]
    event_types: tuple[str, ...]
    after: int
    made_at: datetime


class ConsumerRemoved(Event):
    """Its place is not kept any more."""

    target: ClassVar[str] = "nats_consumer"

    consumer_id: str
    workspace_id: str
    removed_at: datetime


class Consumers(State):
    """The ids of the consumers of a workspace, oldest first."""

    consumer_ids: tuple[str, ...] = ()


def evolve(consumers: Consumers, event: Event) -> Consumers:
    """The consumers after one more event."""
    match event:
        case ConsumerMade():
            return Consumers(consumer_ids=(*consumers.consumer_ids, event.consumer_id))
        case ConsumerRemoved():
            left = (each for each in consumers.consumer_ids if each != event.consumer_id)
            return Consumers(consumer_ids=tuple(left))
    return consumers


class NoSuchConsumer(NotFound):
    """There is no such consumer."""


class TooManyConsumers(Conflict):
    """This workspace has {consumers_max} consumers. Remove one of them first."""


class NatsIsClosed(Conflict):
    """Nobody reads from NATS here. Follow /v1/events/stream, or have a webhook told."""


consumer_books = Category(name="natsconsumers", initial=Consumers(), evolve=evolve, absent=NoSuchConsumer)
