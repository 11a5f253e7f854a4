"""A webhook endpoint as it is shown: everything but its secrets."""

from __future__ import annotations

from typing import Any, Literal

from msgspec.structs import replace

from domain.kernel import Event
from domain.webhooks.endpoints import (
    EndpointDescribed,
    EndpointDisabled,
    EndpointEnabled,
    EndpointFailing,
    EndpointMoved,
    EndpointRecovered,
    EndpointRegistered,
    EndpointRemoved,
    EndpointSecretRotated,
    EndpointSubscribed,
    NoSuchEndpoint,
    WhyDisabled,
)
from projections.kernel import Document, Projection, projection, seconds


class EndpointView(Document):
    """An address that is told; no event types means all of them that are not optional."""

    created_at: str
    id: str
    url: str
    description: str = ""
    event_types: tuple[str, ...] = ()
    enabled: bool = True
    status: Literal["healthy", "failing", "disabled"] = "healthy"
    failing_since: str | None = None
    disabled_because: WhyDisabled | None = None
    secret_rotated_at: str | None = None
    updated_at: str = ""


def evolve(endpoint: EndpointView | None, event: Event) -> EndpointView | None:
    """The endpoint after one more event; a removed one is gone."""
    match endpoint, event:
        case _, EndpointRemoved():
            return None
        case None, EndpointRegistered():
            moment = seconds(event.registered_at)
            return _said(
                EndpointView(
                    created_at=moment,
                    updated_at=moment,
                    id=event.endpoint_id,
                    url=event.url,
                    description=event.description,
                    event_types=event.event_types,
                    enabled=event.enabled,
                    disabled_because=None if event.enabled else "asked",
                )
            )
        case EndpointView(), _:
            return _said(_changed(endpoint, event))
    return endpoint


def _changed(endpoint: EndpointView, event: Event) -> EndpointView:  # noqa: PLR0911 - one for each event
    match event:
        case EndpointMoved():
            return replace(endpoint, url=event.url, failing_since=None, updated_at=seconds(event.moved_at))
        case EndpointDescribed():
            return replace(endpoint, description=event.description, updated_at=seconds(event.described_at))
        case EndpointSubscribed():
            return replace(endpoint, event_types=event.event_types, updated_at=seconds(event.subscribed_at))
        case EndpointSecretRotated():
            moment = seconds(event.rotated_at)
            return replace(endpoint, secret_rotated_at=moment, updated_at=moment)
        case EndpointFailing():
            return replace(endpoint, failing_since=seconds(event.failing_since))
        case EndpointRecovered():
            return replace(endpoint, failing_since=None)
        case EndpointDisabled():
            return replace(
                endpoint, enabled=False, disabled_because=event.because, updated_at=seconds(event.disabled_at)
            )
        case EndpointEnabled():
            return replace(
                endpoint,
                enabled=True,
                disabled_because=None,
                failing_since=None,
                updated_at=seconds(event.enabled_at),
            )
    return endpoint


def _said(endpoint: EndpointView) -> EndpointView:
    """The endpoint with the one word that sums it up."""
    if not endpoint.enabled:
        return replace(endpoint, status="disabled")
    return replace(endpoint, status="healthy" if endpoint.failing_since is None else "failing")


webhook_endpoints: Projection[Any] = projection(
    "webhook_endpoints",
    EndpointView,
    on={
        EndpointRegistered: "endpoint_id",
        EndpointMoved: "endpoint_id",
        EndpointDescribed: "endpoint_id",
        EndpointSubscribed: "endpoint_id",
        EndpointSecretRotated: "endpoint_id",
        EndpointFailing: "endpoint_id",
        EndpointRecovered: "endpoint_id",
        EndpointDisabled: "endpoint_id",
        EndpointEnabled: "endpoint_id",
        EndpointRemoved: "endpoint_id",
    },
    evolve=evolve,
    begins=(EndpointRegistered,),
    absent=NoSuchEndpoint,
    version=2,
)
