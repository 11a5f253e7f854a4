"""Addresses that want to be told: added, changed, tried out, taken away."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from api.auth import Asker, needs
from api.kernel import Url, check_url, stored
from api.webhooks.ports import Ports
from commands.webhooks.deliveries import QueueDelivery
from commands.webhooks.endpoints import ChangeEndpoint, RegisterEndpoint, RemoveEndpoint, RotateEndpointSecret
from commands.webhooks.secrets import OVERLAP
from commands.webhooks.sending import reader
from domain.webhooks.endpoints import ENDPOINTS_MAX, NoSuchEndpoint, endpoint_books
from domain.webhooks.messages import Subject
from projections.kernel import seconds
from projections.webhooks.deliveries import DeliveryLog, delivery_logs
from projections.webhooks.endpoints import EndpointView, webhook_endpoints
from projections.webhooks.messages import webhook_ping

MANAGE = needs("webhooks:manage", "admin")
ONE = {200: ResponseSpec(EndpointView, generate_examples=False, description="The endpoint")}

Description = Annotated[str, Meta(max_length=500)]
EventTypes = Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=50)]


class NewEndpoint(Struct):
    """Where to send messages, and which; no types means all of them that are not optional.

    `event_types` names messages, published events, or patterns of these: `builds.BuildSucceeded`, `catalogue.*`.
    """

    url: Url
    description: Description = ""
    event_types: EventTypes = []
    enabled: bool = True


class CreatedEndpoint(Struct):
    """An endpoint and the secret that verifies its messages (Standard Webhooks), which is shown this once."""

    created_at: str
    id: str
    signing_secret: str
    url: str
    description: str
    event_types: list[str]
    enabled: bool


class EndpointChange(Struct, forbid_unknown_fields=True):
    """What is to be different; what is left out stays as it is."""

    url: Url | None = None
    description: Description | None = None
    event_types: EventTypes | None = None
    enabled: bool | None = None


class RotatedSecret(Struct):
    """The new secret, shown this once; until `old_expires_at` messages are signed with the old one too."""

    id: str
    signing_secret: str
    old_expires_at: str


class Deleted(Struct):
    """It is no more."""

    deleted: bool


@post("/v1/webhook-endpoints", status_code=201, tags=["platform"], opt=MANAGE)
async def create_webhook_endpoint(
    data: JSONBody[NewEndpoint], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> CreatedEndpoint:
    """Tell an address what happens in the workspace. The answer holds its signing secret, which is shown this once."""
    check_url(ports.web, data.url, ("body", "url"))
    endpoint_id, secret_id = ports.vault.new_id(), ports.vault.new_id()
    now = ports.now()
    await ports.execute(
        RegisterEndpoint(
            endpoint_id=endpoint_id,
            workspace_id=asker.workspace_id,
            url=data.url,
            secret_id=secret_id,
            description=data.description,
            event_types=tuple(data.event_types),
            enabled=data.enabled,
        ),
        asker.context,
    )
    return CreatedEndpoint(
        created_at=seconds(now),
        id=endpoint_id,
        signing_secret=ports.vault.signing_secret(secret_id),
        url=data.url,
        description=data.description,
        event_types=data.event_types,
        enabled=data.enabled,
    )


@get(
    "/v1/webhook-endpoints",
    tags=["platform"],
    opt=needs("webhooks:manage", "viewer"),
    responses={200: ResponseSpec(list[EndpointView], generate_examples=False, description="Newest first")},
)
async def list_webhook_endpoints(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Response[bytes]:
    """List the endpoints of the workspace, newest first. There are never so many that they need pages."""
    found = await ports.views.page(webhook_endpoints, asker.workspace_id, limit=ENDPOINTS_MAX)
    return stored(b"[%b]" % b",".join(each.body for each in found))


@get(
    "/v1/webhook-endpoints/{endpoint_id:str}",
    tags=["platform"],
    opt=needs("webhooks:manage", "viewer"),
    responses=ONE,
)
async def get_webhook_endpoint(
    endpoint_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read an endpoint."""
    return stored(await ports.views.get(webhook_endpoints, endpoint_id, asker.workspace_id))


@patch("/v1/webhook-endpoints/{endpoint_id:str}", tags=["platform"], opt=MANAGE, responses=ONE)
async def change_webhook_endpoint(
    endpoint_id: FromPath[str],
    data: JSONBody[EndpointChange],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[bytes]:
    """Change an endpoint's address, description or event types, or enable it again."""
    if data.url is not None:
        check_url(ports.web, data.url, ("body", "url"))
    await ports.execute(
        ChangeEndpoint(
            endpoint_id=endpoint_id,
            workspace_id=asker.workspace_id,
            url=data.url,
            description=data.description,
            event_types=None if data.event_types is None else tuple(data.event_types),
            enabled=data.enabled,
        ),
        asker.context,
    )
    return stored(await ports.views.get(webhook_endpoints, endpoint_id, asker.workspace_id))


@delete("/v1/webhook-endpoints/{endpoint_id:str}", status_code=200, tags=["platform"], opt=MANAGE)
async def delete_webhook_endpoint(
    endpoint_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Deleted:
    """Delete an endpoint. Messages still on their way to it are given up."""
    await ports.execute(RemoveEndpoint(endpoint_id=endpoint_id, workspace_id=asker.workspace_id), asker.context)
    return Deleted(deleted=True)


@post("/v1/webhook-endpoints/{endpoint_id:str}/rotate", status_code=200, tags=["platform"], opt=MANAGE)
async def rotate_webhook_endpoint_secret(
    endpoint_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> RotatedSecret:
    """Make a new secret. For a day, messages carry a signature of the old one as well."""
    secret_id = ports.vault.new_id()
    now = ports.now()
    await ports.execute(
        RotateEndpointSecret(
            endpoint_id=endpoint_id, workspace_id=asker.workspace_id, secret_id=secret_id, overlap=OVERLAP
        ),
        asker.context,
    )
    return RotatedSecret(
        id=endpoint_id,
        signing_secret=ports.vault.signing_secret(secret_id),
        old_expires_at=seconds(now + OVERLAP),
    )


@post(
    "/v1/webhook-endpoints/{endpoint_id:str}/test",
    status_code=202,
    tags=["platform"],
    opt=MANAGE,
    responses={202: ResponseSpec(DeliveryLog, generate_examples=False, description="The delivery of the ping")},
)
async def test_webhook_endpoint(
    endpoint_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Send a signed `webhook.ping`, once, also to a disabled endpoint. The delivery log tells how it went."""
    book = await reader(ports.log)(endpoint_books, asker.workspace_id)
    if endpoint_id not in book.endpoints:
        raise NoSuchEndpoint
    delivery_id = ports.vault.new_id()
    subject = Subject(kind="endpoint", id=endpoint_id, workspace_id=asker.workspace_id)
    await ports.execute(
        QueueDelivery(
            delivery_id=delivery_id,
            workspace_id=subject.workspace_id,
            subject_kind=subject.kind,
            subject_id=subject.id,
            url=book.endpoints[endpoint_id].url,
            message_type=webhook_ping.name,
            body=webhook_ping.write(subject, (), ports.now()),
            endpoint_id=endpoint_id,
        ),
        asker.context,
    )
    return stored(await ports.views.get(delivery_logs, delivery_id, asker.workspace_id), 202)
