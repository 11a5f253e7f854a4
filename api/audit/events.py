"""The audit: who did what to what, and when, read from the log itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from msgspec import Struct, json

from adapters.readmodels.audit import Entry, Question
from api.audit.ports import Ports
from api.auth import Asker, needs
from api.kernel import check_moment
from api.paging import LIMIT, PRINTABLE, Before, Limit, UnknownCursor, listed
from domain.kernel import Invalid
from domain.vocabulary import parted
from projections.audit.actions import action_of, names_of, particulars, target_of
from projections.kernel import seconds

#: What is told instead of the facts of an event that this version cannot read, in its place.
UNREADABLE: Mapping[str, Any] = {"unreadable": True}


class UnknownAction(Invalid):
    """Nothing that happens here is called {action}."""


class AuditEvent(Struct):
    """One thing that was done; `ip` and `user_agent` are known for what was asked for over HTTP lately.

    So is `request_id` in the metadata, which is the `X-Request-ID` of the request that asked for it. Of an event that
    this version cannot read the metadata says that it is `unreadable`.
    """

    action: str
    actor: str
    created_at: str
    id: str
    ip: str | None
    metadata: dict[str, Any]
    target_id: str
    target_type: str
    user_agent: str | None


Moment = datetime | None


@get(
    "/v1/audit-events",
    tags=["platform"],
    opt=needs("events:read", "admin"),
    responses={200: ResponseSpec(list[AuditEvent], generate_examples=False, description="Newest first")},
)
async def list_audit_events(
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    limit: Limit = LIMIT,
    before: Before = None,
    action: Annotated[
        str | None, QueryParameter(max_length=100, pattern=PRINTABLE, description="Only this, as in analysis.requested")
    ] = None,
    actor: Annotated[
        str | None, QueryParameter(max_length=200, pattern=PRINTABLE, description="Only by these, as in person:ID")
    ] = None,
    target_id: Annotated[
        str | None, QueryParameter(max_length=200, pattern=PRINTABLE, description="Only to the thing with this id")
    ] = None,
    since: Annotated[Moment, QueryParameter(description="Not before this moment")] = None,
    until: Annotated[Moment, QueryParameter(description="Not after this moment")] = None,
) -> Response[bytes]:
    """Read what was done in the workspace, newest first: everything that changed anything is here."""
    names = None if action is None else names_of(action)
    if action is not None and not names:
        raise UnknownAction(action=action, loc=("query", "action"))
    # Whoever has just changed something sees where they did it from.
    await ports.origins.flush()
    found = await ports.audit.find(
        Question(
            workspace_id=asker.workspace_id,
            limit=limit,
            before=_cursor(before),
            names=None if names is None else tuple(names),
            actor=actor,
            target_id=target_id,
            since=_moment(since, "since"),
            until=_moment(until, "until"),
        )
    )
    if found is None:
        raise UnknownCursor
    last = str(found[-1].event_id) if len(found) == limit else None
    return listed(request, [json.encode(_told(each)) for each in found], last)


def _moment(moment: datetime | None, name: str) -> datetime | None:
    return None if moment is None else check_moment(moment, ("query", name))


def _cursor(before: str | None) -> UUID | None:
    if before is None:
        return None
    try:
        return UUID(before)
    except ValueError as odd:
        raise UnknownCursor from odd


def _told(entry: Entry) -> AuditEvent:
    target_type, target_id = parted(entry.stream)
    metadata = dict(UNREADABLE)
    if entry.event is not None:
        target_type, target_id = target_of(entry.event)
        metadata = particulars(entry.event)
    metadata |= {"correlation_id": str(entry.correlation_id), "position": entry.position}
    if entry.request_id is not None:
        metadata["request_id"] = entry.request_id
    if entry.causation_id is not None:
        metadata["causation_id"] = str(entry.causation_id)
    return AuditEvent(
        action=action_of(entry.name),
        actor=entry.actor,
        created_at=seconds(entry.recorded_at),
        id=str(entry.event_id),
        ip=entry.ip,
        metadata=metadata,
        target_id=target_id,
        target_type=target_type,
        user_agent=entry.user_agent,
    )
