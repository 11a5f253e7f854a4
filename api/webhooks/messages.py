"""What there is to be told: the types of messages that endpoints may choose from."""

from __future__ import annotations

from functools import cache
from typing import Any

from litestar import get
from msgspec import Struct, json

from api.auth import needs
from domain.webhooks.messages import messages


class EventType(Struct):
    """A type of message: when it is sent, the JSON Schema of its `data`, and a whole message.

    An `optional` one is for endpoints that choose it by its name; the others also go to those that chose none.
    """

    name: str
    description: str
    optional: bool
    schema: dict[str, Any]
    example: dict[str, Any]


@get("/v1/webhook-event-types", tags=["platform"], opt=needs("webhooks:manage", "viewer"), sync_to_thread=False)
def list_webhook_event_types() -> list[EventType]:
    """List the types of messages that an endpoint may choose, each with its schema and an example."""
    return list(event_types())


@cache
def event_types() -> tuple[EventType, ...]:
    """Every message that is sent by itself; they are the same for as long as the process lives."""
    return tuple(
        EventType(
            name=each.name,
            description=each.says,
            optional=each.optional,
            schema=json.schema(each.schema),
            example=json.decode(each.sample()),
        )
        for each in messages().values()
        if each.on is not None
    )
