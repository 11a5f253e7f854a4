"""Consumers: places from which a workspace reads what is published over NATS."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from litestar import Request, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct, json

from adapters.readmodels.past import PositionIsAhead
from adapters.subscribing.settings import DOMAIN, inbox_prefix
from api.auth import Asker, needs
from api.kernel import IdempotencyKey
from api.subscribing.ports import Ports
from commands.subscribing.consumers import MakeConsumer, RemoveConsumer
from domain.idempotency import claims
from domain.published import matching
from domain.subscribing.consumers import CONSUMERS_MAX, NatsIsClosed
from projections.subscribing.consumers import ConsumerView, nats_consumers

NEEDS = needs("events:read", "admin")

Name = Annotated[str, Meta(min_length=1, max_length=120, examples=["Builds to the chat"])]
EventTypes = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=50, examples=[["builds.*"]])
]
Position = Annotated[int, Meta(ge=0, le=10**18 - 1)]


class NewConsumer(Struct, forbid_unknown_fields=True):
    """Who reads, which types or patterns of them (none: all), and after which position of the log they begin."""

    name: Name
    event_types: EventTypes = []
    after: Position | Literal["newest"] = 0


class NatsConsumer(Struct):
    """A place that NATS keeps for one reader, and what the reader's client is told.

    Connect to `server` with a key that has the scope `events:read` as the password, and with `inbox_prefix`; bind to
    `consumer` of `stream` in the JetStream `domain`. A connection knows the consumers that there were when it was made.
    `position` is that of the last event that the reader has acknowledged, a moment ago. It is `ready` once NATS has it,
    which takes as long as the stream does to come to its position.
    """

    id: str
    name: str
    event_types: tuple[str, ...]
    after: int
    position: int
    ready: bool
    created_at: str
    server: str
    domain: str
    stream: str
    consumer: str
    inbox_prefix: str


class RemovedConsumer(Struct):
    """Its place is not kept any more."""

    removed: bool


@post(
    "/v1/nats-consumers",
    status_code=201,
    tags=["platform"],
    opt={**NEEDS, "statuses": ("409",)},
    responses={201: ResponseSpec(NatsConsumer, generate_examples=False, description="The consumer")},
)
async def create_nats_consumer(
    request: Request[Any, Any, Any],
    data: JSONBody[NewConsumer],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `claims`, declared here for the contract
) -> NatsConsumer:
    """Have NATS keep a place for one reader of what is published, a durable pull consumer of JetStream.

    What the reader has acknowledged is not told again, also where NATS was wiped.
    """
    if not ports.settings.is_open:
        raise NatsIsClosed
    claim = ports.claims.of(request, asker.tenant, data)
    consumer_id = ports.vault.new_id()
    event_types = tuple(dict.fromkeys(data.event_types))
    matching(event_types)
    newest = await ports.subscriptions.newest()
    if data.after != "newest" and data.after > newest:
        raise PositionIsAhead(position=data.after, head=newest)
    await ports.execute(
        MakeConsumer(
            consumer_id=consumer_id,
            workspace_id=asker.workspace_id,
            name=data.name,
            event_types=event_types,
            after=newest if data.after == "newest" else data.after,
            once=claim,
        ),
        asker.context,
    )
    if claim is not None:
        consumer_id = (await ports.log.state(claims, claim.claim_id)).subject_id
    await ports.readers.made(consumer_id)
    return await _one(consumer_id, ports, asker)


@get(
    "/v1/nats-consumers",
    tags=["platform"],
    opt=NEEDS,
    responses={200: ResponseSpec(list[NatsConsumer], generate_examples=False, description="Newest first")},
)
async def list_nats_consumers(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> list[NatsConsumer]:
    """List the consumers of the workspace, newest first. There are never so many that they need pages."""
    page = await ports.views.page(nats_consumers, asker.workspace_id, limit=CONSUMERS_MAX)
    return await _shown([json.decode(each.body, type=ConsumerView) for each in page], ports)


@get(
    "/v1/nats-consumers/{consumer_id:str}",
    tags=["platform"],
    opt=NEEDS,
    responses={200: ResponseSpec(NatsConsumer, generate_examples=False, description="The consumer")},
)
async def get_nats_consumer(
    consumer_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> NatsConsumer:
    """Read a consumer, and how far its reader is."""
    return await _one(consumer_id, ports, asker)


@delete("/v1/nats-consumers/{consumer_id:str}", status_code=200, tags=["platform"], opt=NEEDS)
async def delete_nats_consumer(
    consumer_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> RemovedConsumer:
    """Keep a place no more; whoever reads from it gets nothing within a second or two."""
    await ports.execute(RemoveConsumer(consumer_id=consumer_id, workspace_id=asker.workspace_id), asker.context)
    return RemovedConsumer(removed=True)


async def _one(consumer_id: str, ports: Ports, asker: Asker) -> NatsConsumer:
    view: Any = json.decode(await ports.views.get(nats_consumers, consumer_id, asker.workspace_id), type=ConsumerView)
    [shown] = await _shown([view], ports)
    return shown


async def _shown(views: Sequence[ConsumerView], ports: Ports) -> list[NatsConsumer]:
    names = [each.id for each in views]
    positions, ready = await asyncio.gather(ports.readers.of(names), ports.readers.ready(names))
    return [
        NatsConsumer(
            id=view.id,
            name=view.name,
            event_types=view.event_types,
            after=view.after,
            position=max(view.after, positions.get(view.id, 0)),
            ready=view.id in ready,
            created_at=view.created_at,
            server=str(ports.settings.nats_public_url),
            domain=DOMAIN,
            stream=ports.readers.stream,
            consumer=view.id,
            inbox_prefix=inbox_prefix(view.workspace_id),
        )
        for view in views
    ]
