"""Telling an endpoint published events of the past: asked for, counted before, looked at, cancelled."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct, json

from adapters.readmodels.past import PositionIsAhead
from api.auth import Asker, needs
from api.kernel import IdempotencyKey, check_moment, stored
from api.paging import LIMIT, Before, Limit
from api.webhooks.endpoints import EventTypes
from api.webhooks.ports import Ports
from commands.kernel import derived_id
from commands.webhooks.replays import AskForReplay, EndReplay
from commands.webhooks.sending import reader
from domain.kernel import Invalid
from domain.ledger import Context
from domain.webhooks.endpoints import NoSuchEndpoint, check_types, endpoint_books, types_chosen
from domain.webhooks.replays import (
    EVENTS_MAX,
    EndpointIsOff,
    NoSuchReplay,
    NothingChosen,
    TooManyEvents,
    replays,
)
from projections.webhooks.replays import ReplayView, webhook_replays

MANAGE = needs("webhooks:manage", "admin")
ONE = ResponseSpec(ReplayView, generate_examples=False, description="The replay as it stands")

#: A position, as the `sequence` of an event has it; or a moment.
Place = Annotated[int, Meta(ge=0, le=10**18 - 1)] | Annotated[datetime, Meta(tz=True)]


class BackwardsRange(Invalid):
    """The range ends before it begins."""


class EventReplay(Struct, forbid_unknown_fields=True):
    """Which events to tell: those after a position or a moment, up to another, of some types.

    `until` is the newest event where nothing is said, and `event_types` are those that the endpoint has chosen. `only`
    says whether what has arrived is told once more: then under the same `webhook-id`, and in the same words.
    """

    after: Place
    until: Place | None = None
    event_types: EventTypes | None = None
    only: Literal["missed", "all"] = "missed"


class ReplayCount(Struct):
    """How many events a replay would look at; positions and types as it would be asked for."""

    events: int
    after: int
    until: int
    event_types: tuple[str, ...]


@post(
    "/v1/webhook-endpoints/{endpoint_id:str}/replay",
    status_code=202,
    tags=["platform"],
    opt={**MANAGE, "statuses": ("409",)},
    responses={202: ONE, 200: ResponseSpec(ReplayCount, generate_examples=False, description="What a dry run counted")},
)
async def replay_events_to_endpoint(
    endpoint_id: FromPath[str],
    data: JSONBody[EventReplay],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    dry_run: Annotated[bool, QueryParameter(description="Only count the events of the range")] = False,
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    """Tell an endpoint the published events of a range of the log, from any position or moment in the past.

    It goes on in the background, a few events at a time beside what happens now, and waits while nothing arrives. An
    event that is on its way to the endpoint, or has arrived there, is skipped; with `only: all` what has arrived is
    sent once more under the id it had. A replay has 100,000 events at most, a workspace five replays at a time.
    """
    replay_id = (
        ports.vault.new_id()
        if idempotency_key is None
        else derived_id("replay of events", asker.workspace_id, endpoint_id, idempotency_key)
    )
    counted = await begin(data, endpoint_id, replay_id, asker.context, ports, dry_run=dry_run)
    if dry_run:
        return Response(json.encode(counted), status_code=200, media_type="application/json")
    return stored(await ports.views.get(webhook_replays, replay_id, asker.workspace_id), 202)


async def begin(
    data: EventReplay, endpoint_id: str, replay_id: str, context: Context, ports: Ports, *, dry_run: bool
) -> ReplayCount | None:
    """Count the events of a range, and unless that is all begin to tell them; None where that was begun before."""
    workspace_id = context.workspace_id
    endpoint = (await reader(ports.log)(endpoint_books, workspace_id)).endpoints.get(endpoint_id)
    if endpoint is None:
        raise NoSuchEndpoint
    if not dry_run and (await reader(ports.log)(replays, replay_id)).asked:
        return None
    types = types_chosen(check_types(endpoint.event_types if data.event_types is None else tuple(data.event_types)))
    if not types:
        raise NothingChosen(loc=("body", "event_types"))
    newest = await ports.subscriptions.newest()
    after = await _position(data.after, ports, newest, "after")
    until = newest if data.until is None else await _position(data.until, ports, newest, "until")
    if until < after:
        raise BackwardsRange(loc=("body", "until"))
    events = await ports.published.count(workspace_id, after, until, types, EVENTS_MAX + 1)
    if events > EVENTS_MAX:
        raise TooManyEvents(events_max=EVENTS_MAX, loc=("body", "after"))
    counted = ReplayCount(events=events, after=after, until=until, event_types=types)
    if dry_run:
        return counted
    if not endpoint.enabled:
        raise EndpointIsOff
    await ports.execute(
        AskForReplay(
            replay_id=replay_id,
            workspace_id=workspace_id,
            endpoint_id=endpoint_id,
            after=after,
            until=until,
            event_types=types,
            events=events,
            again=data.only == "all",
        ),
        context,
    )
    return counted


async def _position(place: int | datetime, ports: Ports, newest: int, name: str) -> int:
    """A position that there is, or the last one that was there at a moment."""
    if isinstance(place, datetime):
        return min(await ports.views.position_at(check_moment(place, ("body", name))), newest)
    if place > newest:
        raise PositionIsAhead(position=place, head=newest)
    return place


@get(
    "/v1/webhook-replays",
    tags=["platform"],
    opt=needs("webhooks:manage", "viewer"),
    responses={200: ResponseSpec(list[ReplayView], generate_examples=False, description="Newest first")},
)
async def list_webhook_replays(
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    limit: Limit = LIMIT,
    before: Before = None,
) -> Response[bytes]:
    """List the replays of the workspace, newest first."""
    return await ports.pages.answer(request, webhook_replays, asker.workspace_id, limit=limit, before=before)


@get(
    "/v1/webhook-replays/{replay_id:str}",
    tags=["platform"],
    opt=needs("webhooks:manage", "viewer"),
    responses={200: ONE},
)
async def get_webhook_replay(
    replay_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read how far a replay is."""
    return stored(await ports.views.get(webhook_replays, replay_id, asker.workspace_id))


@post(
    "/v1/webhook-replays/{replay_id:str}/cancel",
    status_code=200,
    tags=["platform"],
    opt=MANAGE,
    responses={200: ONE},
)
async def cancel_webhook_replay(
    replay_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Send nothing more by a replay; one that is over stays as it is. What has failed is tried again all the same."""
    if (await reader(ports.log)(replays, replay_id)).workspace_id != asker.workspace_id:
        raise NoSuchReplay
    await ports.execute(EndReplay(replay_id=replay_id, because="cancelled"), asker.context)
    return stored(await ports.views.get(webhook_replays, replay_id, asker.workspace_id))
