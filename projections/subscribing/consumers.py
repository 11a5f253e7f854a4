"""A consumer as it is shown, and as whoever keeps its place in NATS finds it."""

from __future__ import annotations

from typing import Any

from domain.kernel import Event
from domain.subscribing.consumers import ConsumerMade, ConsumerRemoved, NoSuchConsumer
from projections.kernel import Document, Projection, projection, seconds


class ConsumerView(Document):
    """Who reads, which types or patterns of them (none: all), and after which position they began."""

    id: str
    name: str
    workspace_id: str
    event_types: tuple[str, ...]
    after: int
    created_at: str


def evolve(consumer: ConsumerView | None, event: Event) -> ConsumerView | None:
    """The consumer after one more event; nothing is left of one that was removed."""
    match event:
        case ConsumerMade():
            return ConsumerView(
                id=event.consumer_id,
                name=event.name,
                workspace_id=event.workspace_id,
                event_types=event.event_types,
                after=event.after,
                created_at=seconds(event.made_at),
            )
        case ConsumerRemoved():
            return None
    return consumer


nats_consumers: Projection[Any] = projection(
    "nats_consumers",
    ConsumerView,
    on={ConsumerMade: "consumer_id", ConsumerRemoved: "consumer_id"},
    evolve=evolve,
    begins=(ConsumerMade,),
    absent=NoSuchConsumer,
)
