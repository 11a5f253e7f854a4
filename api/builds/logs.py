"""The log of a build: as text, a part of it, or as it is written."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator
from time import monotonic
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream
from msgspec import json

from api.auth import Asker, still
from api.builds.builds import READ
from api.builds.ports import Ports
from api.kernel import range_of, whole
from api.problems import refuse
from commands.builds.ports import Chunk
from domain.builds.builds import Build, builds
from domain.kernel import NotFound, Refusal
from domain.studio.projects import Platform

#: How soon a log is looked at for more while somebody reads along, and how soon at the latest when nothing comes.
LOOK_SECONDS, LOOK_SECONDS_MAX = 0.3, 1.0
LOOK_FACTOR = 1.5
#: When nothing is printed a line keeps the connection open.
IDLE_SECONDS = 15.0
_TEXT = {"text/plain": {"type": "string"}}
_EVENTS = {"text/event-stream": {"type": "string"}}


@get(
    "/functions/v1/builds/{build_id:str}/logs",
    tags=["studio"],
    opt=READ | {"answers": {"200": _TEXT | _EVENTS, "206": _TEXT}, "statuses": ("416",)},
)
async def get_build_log(
    request: Request[Any, Any, Any],
    build_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    platform: Annotated[Platform | None, QueryParameter(description="Of which platform; the first one's")] = None,
    offset: Annotated[int, QueryParameter(ge=0, le=2**53, description="From which byte on")] = 0,
) -> Response[Any]:
    """What a build has printed: text, or with `Accept: text/event-stream` as it is printed.

    `offset` leaves out what came before, and `Range` asks for a part: `bytes=N-`, `bytes=N-M`, or `bytes=-N` for the
    end. The events of the stream have `offset` and `text`, and the last one, `end`, has the status of the build;
    `Last-Event-ID` goes on where a connection broke. A stream ends without `end` when the credential is not good any
    more, when the process stops, when others need its place, and after an hour.
    """
    build = await ports.log.state(builds, build_id)
    build.belongs_to(asker.workspace_id)
    chosen = platform or (build.platforms[0] if build.platforms else "linux")
    if chosen not in build.platforms:
        raise NotFound
    if "text/event-stream" in request.headers.get("accept", ""):
        last = whole(request.headers.get("last-event-id", ""))
        headers = {"Cache-Control": "no-cache"}
        if request.scope.get("is_head"):
            return Stream((), media_type="text/event-stream", headers=headers)
        with ports.followers.place(asker.workspace_id):
            # What is refused is refused with a status, before there is a stream.
            events = _events(ports, asker, build_id, chosen, offset if last is None else last)
        return Stream(events, media_type="text/event-stream", headers=headers)
    size = await _size(ports, build_id, chosen)
    headers = {"X-Log-Size": str(size), "Cache-Control": "no-store", "Accept-Ranges": "bytes"}
    part = range_of(size, request.headers.get("range", ""))
    if part is None:
        return Stream(_text(ports, build_id, chosen, offset), media_type="text/plain", headers=headers)
    first, length = part
    if length <= 0:
        sentence = f"The log has {size} bytes, and none of those that were asked for."
        return refuse(request, 416, sentence, {**headers, "Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{size}"
    content = _text(ports, build_id, chosen, first, first + length)
    return Stream(content, status_code=206, media_type="text/plain", headers=headers)


async def _size(ports: Ports, build_id: str, platform: str) -> int:
    return next((row.log_bytes for row in await ports.jobs.of(build_id) if row.platform == platform), 0)


async def _text(ports: Ports, build_id: str, platform: str, first: int, end: int | None = None) -> AsyncIterator[bytes]:
    for chunk in await ports.jobs.chunks(build_id, platform, first):
        if end is not None and chunk.start >= end:
            return
        yield await _bytes(ports, chunk, first, end)


async def _bytes(ports: Ports, chunk: Chunk, first: int, end: int | None = None) -> bytes:
    found = await ports.blobs.stat(chunk.object_key)
    skipped = max(first - chunk.start, 0)
    length = (chunk.size if end is None else min(chunk.size, end - chunk.start)) - skipped
    return b"".join([piece async for piece in ports.blobs.read(found, offset=skipped, length=length)])


async def _events(ports: Ports, asker: Asker, build_id: str, platform: str, first: int) -> AsyncIterator[bytes]:
    """The log as Server-Sent Events. Text is JSON, because a line of a log may hold what ends a line of a stream."""
    ends_at = monotonic() + ports.reading.stream_seconds_max
    wait, told_at = LOOK_SECONDS, monotonic()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        with ports.followers.place(asker.workspace_id) as follower:
            while not follower.is_over and monotonic() < ends_at:
                await still(asker)
                # Looked at before the log, so that nothing printed before the end is left out.
                state = await ports.log.state(builds, build_id)
                chunks = await ports.jobs.chunks(build_id, platform, first)
                for chunk in chunks:
                    piece = await _bytes(ports, chunk, first)
                    told = json.encode({"offset": first, "text": decoder.decode(piece)})
                    first = chunk.start + chunk.size
                    yield b"id: %d\nevent: log\ndata: %b\n\n" % (first, told)
                    # Whoever reads may have taken long over it.
                    await still(asker)
                if _is_over(state, platform):
                    yield b"event: end\ndata: %b\n\n" % json.encode({"status": state.status, "offset": first})
                    return
                wait = LOOK_SECONDS if chunks else min(wait * LOOK_FACTOR, LOOK_SECONDS_MAX)
                if chunks:
                    told_at = monotonic()
                elif monotonic() - told_at >= IDLE_SECONDS:
                    told_at = monotonic()
                    yield b": still running\n\n"
                await asyncio.sleep(min(wait, max(ends_at - monotonic(), 0)))
        yield b": this stream ends here, come again\n\n"
    except Refusal as refusal:
        yield b": %b\n\n" % refusal.sentence.encode()


def _is_over(build: Build, platform: str) -> bool:
    return build.is_over or build.run(platform).completed
