"""Published events as Server-Sent Events: after any position of the log, and then as they happen."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from random import getrandbits
from time import monotonic
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from adapters.readmodels.subscriptions import Page, Subscriptions, Wanted
from api.audit.ports import Ports
from api.auth import Asker, needs, still
from api.paging import PRINTABLE
from domain.kernel import Invalid, Refusal
from domain.published import matching

MEDIA_TYPE = "text/event-stream"
#: How long a client waits at least before it comes again, and up to so much more, so that not all of them come at once.
RETRY_MILLISECONDS = 1_000
RETRY_JITTER_BITS = 12
NEWEST = "newest"
#: What Postgres can compare: one below 10^18.
_POSITION = re.compile(r"0*[0-9]{1,18}")
#: `builds.BuildSucceeded`, `builds.*`, or several with commas.
TYPES = r"^[A-Za-z0-9_.*]+(,[A-Za-z0-9_.*]+)*\Z"
TYPES_LENGTH_MAX = 2_000

After = Annotated[
    str,
    QueryParameter(
        pattern=rf"^([0-9]{{1,19}}|{NEWEST})\Z",
        description="Begin after this position of the log; with `newest`, with what happens from now on",
    ),
]
Types = Annotated[
    str | None,
    QueryParameter(
        name="type",
        pattern=TYPES,
        max_length=TYPES_LENGTH_MAX,
        description="Only events of these types, with commas; `*` stands for anything: `builds.*,*.AnalysisCompleted`",
    ),
]
Subject = Annotated[
    str | None,
    QueryParameter(
        max_length=200, pattern=PRINTABLE, description="Only events about this: the `subject` of one, as in `build-ID`"
    ),
]


class NoSuchPosition(Invalid):
    """A position is a whole number: the id of the last event that was read."""


@get(
    "/v1/events/stream",
    tags=["platform"],
    opt={**needs("events:read", "admin"), "statuses": ("409",)},
    responses={
        200: ResponseSpec(str, media_type=MEDIA_TYPE, description="Events without end", generate_examples=False)
    },
)
async def stream_events(
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    after: After = "0",
    types: Types = None,
    subject: Subject = None,
    last_event_id: Annotated[
        str | None,
        HeaderParameter(name="Last-Event-ID", max_length=100, description="Go on after this one; what clients send"),
    ] = None,
) -> Response[Any]:
    """Follow what happens in the workspace as Server-Sent Events, each a CloudEvent, from any position on.

    The `id` of an event is its position: whoever comes again with `Last-Event-ID`, as an `EventSource` does by itself,
    misses nothing and is told nothing twice. Comments keep a silent stream open. It ends when the credential is not
    good any more, when its reader does not read, when the process stops, and after an hour; `retry` says when to come
    again.
    """
    wanted = Wanted(tuple(sorted(set(types.split(",")))) if types else (), subject)
    matching(wanted.types)
    if not last_event_id and after == NEWEST:
        position = await ports.subscriptions.newest()
    else:
        position = _position(last_event_id, ("header", "Last-Event-ID")) if last_event_id else _position(after)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if request.scope.get("is_head"):
        return Stream((), media_type=MEDIA_TYPE, headers=headers)
    with ports.subscriptions.place(asker.workspace_id):
        # What is refused is refused with a status, before there is a stream.
        first = await ports.subscriptions.first(asker.workspace_id, position, wanted)
    return Stream(_stream(ports, asker, wanted, position, first), media_type=MEDIA_TYPE, headers=headers)


def _position(text: str, loc: tuple[str, str] = ("query", "after")) -> int:
    """A position as an event has it: as its id, or with zeros before it as its `sequence`."""
    if not _POSITION.fullmatch(text):
        raise NoSuchPosition(loc=loc)
    return int(text)


async def _stream(ports: Ports, asker: Asker, wanted: Wanted, position: int, page: Page) -> AsyncIterator[bytes]:
    subscriptions: Subscriptions = ports.subscriptions
    ends_at = monotonic() + ports.settings.stream_seconds_max
    yield b"retry: %d\n\n" % (RETRY_MILLISECONDS + getrandbits(RETRY_JITTER_BITS))
    try:
        with subscriptions.place(asker.workspace_id) as follower:
            while True:
                # What has happened meanwhile may be that whoever reads may not read on.
                await still(asker)
                # There is more already: it is read while this is on its way.
                ahead = subscriptions.read(asker.workspace_id, page.upto, wanted) if page.is_full else None
                yield _frames(page, position)
                position = page.upto
                left = ends_at - monotonic()
                if follower.is_over or left <= 0:
                    yield b": this stream ends here, come again\n\n"
                    return
                if ahead is not None and (page := await asyncio.shield(ahead)).events:
                    continue
                silence = min(left, ports.settings.stream_heartbeat_seconds)
                page = await subscriptions.next(follower, asker.workspace_id, page.upto, wanted, silence)
    except Refusal as refusal:
        yield b": %b\n\n" % refusal.sentence.encode()


def _frames(page: Page, position: int) -> bytes:
    """A page as it is written; an id without data is no event to a client, and moves it on all the same."""
    frames = [b"id: %d\ndata: %b\n\n" % (each.position, each.body) for each in page.events]
    if not frames or page.upto > page.events[-1].position:
        frames.append(b": nothing new\nid: %d\n\n" % max(position, page.upto))
    return b"".join(frames)
