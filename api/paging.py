"""Lists, newest first: so many at a time, and then those before the last one seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Request, Response
from litestar.params import QueryParameter
from msgspec import json

from adapters.log.eventlog import EventLog
from adapters.readmodels.views import Views
from api.answers import Kept
from domain.kernel import Invalid
from projections.kernel import Projection

#: What ids and names are made of; nothing else can match, and some of it no database can even look for.
PRINTABLE = r"^[\x20-\x7e]*\Z"

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


@dataclass(frozen=True)
class Pages:
    """Answers with documents of a workspace as a JSON array, newest first."""

    views: Views
    log: EventLog

    async def answer(
        self,
        request: Request[Any, Any, Any],
        projection: Projection[Any],
        workspace_id: str,
        *,
        limit: int,
        before: str | None,
        parent: str | None = None,
    ) -> Response[bytes]:
        """A page; the Link header leads to the next one."""
        place = await self.place_of(projection, workspace_id, before)
        found = await self.views.page(projection, workspace_id, limit=limit, before=place, parent=parent)
        last = json.decode(found[-1].body)["id"] if len(found) == limit else None
        return listed(request, [each.body for each in found], last)

    async def place_of(self, projection: Projection[Any], workspace_id: str, before: str | None) -> int | None:
        """Where in the order of creation a thing is: at the first event of its stream."""
        if before is None:
            return None
        history = await self.log.stream(f"{projection.stream}-{before}")
        if not history or history[0].workspace_id != workspace_id:
            raise UnknownCursor
        return history[0].position


def listed(request: Request[Any, Any, Any], bodies: Sequence[bytes], last: str | None) -> Response[bytes]:
    """A JSON array; when there may be more, the Link header says where (RFC 8288)."""
    headers = {}
    if last is not None:
        query = [(name, value) for name, value in request.query_params.multi_items() if name != "before"]
        headers["Link"] = f'<{request.url.path}?{urlencode([*query, ("before", last)])}>; rel="next"'
    return Kept(b"[%b]" % b",".join(bodies), media_type="application/json", headers=headers)
