"""Lists, newest first: so many at a time, and then those before the last one seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Request, Response
from litestar.params import QueryParameter
from msgspec import json

from api.answers import Answer
from api.services import Services
from domain.kernel import Invalid
from projections.kernel import Projection

#: What ids and names are made of; nothing else can match, and some of it no database can even look for.
PRINTABLE = r"^[\x20-\x7e]*$"

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="How many at most, 1 to 200")]
Before = Annotated[
    str | None,
    QueryParameter(
        max_length=64,
        pattern=PRINTABLE,
        description="The id of the last one seen: those before it follow. See the Link header",
    ),
]
LIMIT = 100


class UnknownCursor(Invalid):
    """There is nothing with this id, so there is nothing before it. Use the id of the last one of the page before."""

    def __init__(self) -> None:
        super().__init__(loc=("query", "before"))


async def page(
    request: Request[Any, Any, Any],
    services: Services,
    projection: Projection[Any],
    workspace_id: str,
    *,
    limit: int,
    before: str | None,
    parent: str | None = None,
) -> Response[bytes]:
    """A page of documents as a JSON array."""
    place = None if before is None else await place_of(services, projection, workspace_id, before)
    found = await services.reads.page(projection, workspace_id, limit=limit, before=place, parent=parent)
    last = json.decode(found[-1].body)["id"] if len(found) == limit else None
    return listed(request, [each.body for each in found], last)


def listed(request: Request[Any, Any, Any], bodies: Sequence[bytes], last: str | None) -> Response[bytes]:
    """A JSON array; when there may be more, the Link header says where (RFC 8288)."""
    headers = {}
    if last is not None:
        query = [(name, value) for name, value in request.query_params.multi_items() if name != "before"]
        headers["Link"] = f'<{request.url.path}?{urlencode([*query, ("before", last)])}>; rel="next"'
    return Answer(b"[%b]" % b",".join(bodies), media_type="application/json", headers=headers)


async def place_of(services: Services, projection: Projection[Any], workspace_id: str, identity: str) -> int:
    """Where in the order of creation a thing is: at the first event of its stream."""
    history = await services.history(f"{projection.stream}-{identity}")
    if not history or history[0].workspace_id != workspace_id:
        raise UnknownCursor
    return history[0].position
