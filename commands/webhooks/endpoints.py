"""Adding addresses that want to be told, changing them, and taking them away."""

from __future__ import annotations

from datetime import datetime, timedelta

from commands.kernel import Command, Transaction, handles, part_of
from domain.identity.workspaces import WorkspaceForgotten, WorkspaceReclaimed
from domain.kernel import Event
from domain.webhooks.endpoints import (
    ENDPOINTS_MAX,
    Endpoint,
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
    TooManyEndpoints,
    WhyDisabled,
    check_types,
    endpoint_books,
)


class RegisterEndpoint(Command):
    """Tell this address from now on."""

    endpoint_id: str
    workspace_id: str
    url: str
    secret_id: str
    description: str = ""
    event_types: tuple[str, ...] = ()
    enabled: bool = True


@handles(RegisterEndpoint)
async def register(wish: RegisterEndpoint, transaction: Transaction) -> None:
    """An endpoint is added once, while there is room."""
    book = await transaction.find(endpoint_books, wish.workspace_id)
    if wish.endpoint_id in book.endpoints:
        return
    event_types = check_types(wish.event_types)
    if len(book.endpoints) >= ENDPOINTS_MAX:
        raise TooManyEndpoints(endpoints_max=ENDPOINTS_MAX)
    transaction.record(
        endpoint_books,
        wish.workspace_id,
        EndpointRegistered(
            endpoint_id=wish.endpoint_id,
            workspace_id=wish.workspace_id,
            url=wish.url,
            secret_id=wish.secret_id,
            description=wish.description,
            event_types=event_types,
            enabled=wish.enabled,
            registered_at=transaction.now,
        ),
    )


class ChangeEndpoint(Command):
    """Change what is given; what is null stays as it is."""

    endpoint_id: str
    workspace_id: str
    url: str | None = None
    description: str | None = None
    event_types: tuple[str, ...] | None = None
    enabled: bool | None = None


@handles(ChangeEndpoint)
async def change(wish: ChangeEndpoint, transaction: Transaction) -> None:
    """Only what is different is written down."""
    endpoint = await _endpoint(wish.workspace_id, wish.endpoint_id, transaction)
    transaction.record(endpoint_books, wish.workspace_id, *_changes(wish, endpoint, transaction.now))


def _changes(wish: ChangeEndpoint, endpoint: Endpoint, now: datetime) -> list[Event]:
    of = {"endpoint_id": wish.endpoint_id, "workspace_id": wish.workspace_id}
    changes: list[Event] = []
    if wish.url is not None and wish.url != endpoint.url:
        changes.append(EndpointMoved(**of, url=wish.url, moved_at=now))
    if wish.description is not None and wish.description != endpoint.description:
        changes.append(EndpointDescribed(**of, description=wish.description, described_at=now))
    if wish.event_types is not None and (event_types := check_types(wish.event_types)) != endpoint.event_types:
        changes.append(EndpointSubscribed(**of, event_types=event_types, subscribed_at=now))
    if wish.enabled is True and not endpoint.enabled:
        changes.append(EndpointEnabled(**of, enabled_at=now))
    if wish.enabled is False and endpoint.enabled:
        changes.append(EndpointDisabled(**of, because="asked", disabled_at=now))
    return changes


class RotateEndpointSecret(Command):
    """Sign with a new secret from now on, and with the old one too for `overlap`."""

    endpoint_id: str
    workspace_id: str
    secret_id: str
    overlap: timedelta


@handles(RotateEndpointSecret)
async def rotate(wish: RotateEndpointSecret, transaction: Transaction) -> None:
    """A secret is new once."""
    endpoint = await _endpoint(wish.workspace_id, wish.endpoint_id, transaction)
    if any(secret_id == wish.secret_id for secret_id, _ in endpoint.secrets):
        return
    transaction.record(
        endpoint_books,
        wish.workspace_id,
        EndpointSecretRotated(
            endpoint_id=wish.endpoint_id,
            workspace_id=wish.workspace_id,
            secret_id=wish.secret_id,
            rotated_at=transaction.now,
            old_expires_at=transaction.now + wish.overlap,
        ),
    )


class RemoveEndpoint(Command):
    """Tell this address nothing any more."""

    endpoint_id: str
    workspace_id: str


@handles(RemoveEndpoint)
async def remove(wish: RemoveEndpoint, transaction: Transaction) -> None:
    """What is there can be removed; messages still on their way to it are given up when their turn comes."""
    await _endpoint(wish.workspace_id, wish.endpoint_id, transaction)
    transaction.record(
        endpoint_books,
        wish.workspace_id,
        EndpointRemoved(endpoint_id=wish.endpoint_id, workspace_id=wish.workspace_id, removed_at=transaction.now),
    )


@part_of(WorkspaceReclaimed, WorkspaceForgotten)
async def remove_all(event: WorkspaceReclaimed | WorkspaceForgotten, transaction: Transaction) -> None:
    """Nobody is told about a workspace that is no more, or by the choice of whoever had it before its owner came."""
    for endpoint_id in (await transaction.find(endpoint_books, event.workspace_id)).endpoints:
        transaction.record(
            endpoint_books,
            event.workspace_id,
            EndpointRemoved(endpoint_id=endpoint_id, workspace_id=event.workspace_id, removed_at=transaction.now),
            workspace_id=event.workspace_id,
        )


async def note_health(
    workspace_id: str,
    endpoint_id: str | None,
    transaction: Transaction,
    *,
    success: bool,
    refused: bool,
    gone: bool,
    disable_after: timedelta,
) -> None:
    """Write down when an endpoint begins to fail and when it recovers, and stop telling one that only fails.

    An endpoint that we refuse to send to is shown as failing and never disabled for it, so that it works again as soon
    as we do not: nobody at its end has done anything wrong. Nothing is written while it goes on as before, so a healthy
    endpoint's stream does not grow with its messages.
    """
    if endpoint_id is None:
        return
    book = await transaction.find(endpoint_books, workspace_id)
    endpoint = book.endpoints.get(endpoint_id)
    if endpoint is None:
        return
    now = transaction.now
    events: list[Event] = []
    of = {"endpoint_id": endpoint_id, "workspace_id": workspace_id}
    fails = endpoint.failing_since is not None
    if success and (fails or endpoint.refused):
        events.append(EndpointRecovered(**of, recovered_at=now))
    if not success and not fails and not (refused and endpoint.refused):
        events.append(EndpointFailing(**of, failing_since=now, refused=refused))
    since = endpoint.failing_since or now
    because: WhyDisabled | None = None
    if not success and not refused and endpoint.enabled:
        because = "gone" if gone else "failing" if now - since >= disable_after else None
    if because is not None:
        events.append(EndpointDisabled(**of, because=because, disabled_at=now))
    transaction.record(endpoint_books, workspace_id, *events)


async def has_moved(workspace_id: str, endpoint_id: str | None, url: str, transaction: Transaction) -> bool:
    """Whether an endpoint is at another address than this by now."""
    endpoint = (await transaction.find(endpoint_books, workspace_id)).endpoints.get(endpoint_id or "")
    return endpoint is not None and endpoint.url != url


async def _endpoint(workspace_id: str, endpoint_id: str, transaction: Transaction) -> Endpoint:
    book = await transaction.find(endpoint_books, workspace_id)
    if endpoint_id not in book.endpoints:
        raise NoSuchEndpoint
    return book.endpoints[endpoint_id]
