"""What there is to be told: the types of messages that endpoints may choose from."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from msgspec import Raw, Struct, json

from adapters.published import SEQUENCE_DIGITS, CloudEvent, schema_path, source_of
from api.auth import needs
from api.samples import value_of
from api.webhooks.ports import Ports
from domain.published import Published
from domain.webhooks.endpoints import events_for_endpoints
from domain.webhooks.messages import messages

_SOME_ID = UUID("01a222b8-e855-70c7-a021-c36289b80ad8")
_NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class EventType(Struct):
    """A type of message: when it is sent, the JSON Schema of its `data`, and a whole message.

    An `optional` one is for endpoints that choose it by its name; the others also go to those that chose none. Of the
    events that are `published` the whole message is a CloudEvent, and they may be chosen by patterns, too: `builds.*`.
    """

    name: str
    description: str
    optional: bool
    published: bool
    schema: dict[str, Any]
    example: dict[str, Any]


@get("/v1/webhook-event-types", tags=["platform"], opt=needs("webhooks:manage", "viewer"))
async def list_webhook_event_types(ports: NamedDependency[Ports]) -> list[EventType]:
    """List the types of messages and events that an endpoint may choose, each with its schema and an example."""
    return list(event_types(ports.service.url))


@cache
def event_types(url: str) -> tuple[EventType, ...]:
    """Every message that is sent by itself, then every published event; the same for as long as the process lives."""
    told = (
        EventType(
            name=each.name,
            description=each.says,
            optional=each.optional,
            published=False,
            schema=json.schema(each.schema),
            example=json.decode(each.sample()),
        )
        for each in messages().values()
        if each.on is not None
    )
    return (*told, *(_event_type(each, url) for each in events_for_endpoints().values()))


def _event_type(each: Published, url: str) -> EventType:
    schema = each.schema()
    shapes = {"components": {"schemas": schema.get("$defs", {})}}
    data = {name: value_of(shapes, part, name) for name, part in schema["properties"].items()}
    thing = f"{each.context}-{_SOME_ID}"
    example = CloudEvent(
        id=_SOME_ID,
        source=source_of(str(_SOME_ID)),
        type=each.type,
        subject=thing,
        time=_NOON,
        dataschema=f"{url}{schema_path(each.type, each.version)}",
        partitionkey=thing,
        sequence=f"{4711:0{SEQUENCE_DIGITS}}",
        actor=f"person:{_SOME_ID}",
        correlationid=_SOME_ID,
        data=Raw(json.encode(data)),
    )
    return EventType(
        name=each.type,
        description=each.says,
        optional=True,
        published=True,
        schema=schema,
        example=json.decode(json.encode(example)),
    )
