"""Looking at beats: all that fit, one, and those of which nothing has been made so far."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import json

from api.auth import Asker, needs
from api.beats.ports import Ports
from api.beats.shapes import (
    BeatListed,
    BeatPending,
    BeatShown,
    Pagination,
    Shape,
    Showing,
    VersionShown,
    pages,
    pending,
)
from domain.beats.beats import BeatNotFound
from domain.kernel import Invalid
from projections.beats.beats import BeatDocument, beat_documents, facet

LIMIT_MAX = 100
STATUSES = ("pending", "processing", "completed", "failed")


class NoSuchStatus(Invalid):
    """Invalid generation status. It is pending, processing, completed or failed."""


Word = Annotated[str | None, QueryParameter(max_length=100)]
Page = Annotated[int, QueryParameter(ge=1, le=1_000_000, description="Which page, from 1 on")]
Limit = Annotated[int, QueryParameter(ge=1, le=2**31, description="Beats on a page; more than 100 are taken as 100")]


class Listed(Shape):
    """A page of beats."""

    data: list[BeatListed]
    pagination: Pagination


class Pending(Shape):
    """A page of beats of which nothing has been made."""

    data: list[BeatPending]
    pagination: Pagination


class Versions(Shape):
    """The versions of a beat, by number."""

    beat_id: str
    versions: list[VersionShown]


@get("/api/beats", tags=["beats"], opt=needs("beats:read", "viewer"))
async def query_beats(
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    genre: Word = None,
    style: Word = None,
    mood: Word = None,
    tags: Annotated[str | None, QueryParameter(max_length=1000, description="Any of these, with commas")] = None,
    musical_key: Annotated[
        str | None, QueryParameter(name="musicalKey", max_length=100, description="Such as C Minor")
    ] = None,
    generation_status: Annotated[
        str | None,
        QueryParameter(name="generationStatus", max_length=100, description="pending, processing, completed or failed"),
    ] = None,
    page: Page = 1,
    limit: Limit = 20,
) -> Listed:
    """List beats, newest first, those that fit every filter that is given."""
    if generation_status and generation_status not in STATUSES:
        raise NoSuchStatus(generation_status=generation_status)
    asked = {"genre": genre, "style": style, "mood": mood, "key": musical_key, "status": generation_status}
    found, total, most = await _search(
        ports,
        asker,
        page,
        limit,
        all_of=[facet(name, value) for name, value in asked.items() if value],
        any_of=[facet("tag", tag) for tag in (tags or "").split(",") if tag.strip()],
    )
    showing = Showing(request, ports, asker)
    return Listed(data=[await showing.listed(each) for each in found], pagination=pages(page, most, total))


@get("/api/beats/pending/list", tags=["beats"], opt=needs("beats:read", "viewer"))
async def list_pending_beats(
    ports: NamedDependency[Ports], asker: NamedDependency[Asker], page: Page = 1, limit: Limit = 20
) -> Pending:
    """List beats of which nothing has been made so far, newest first."""
    found, total, most = await _search(ports, asker, page, limit, all_of=[facet("status", "pending")])
    return Pending(data=[pending(each) for each in found], pagination=pages(page, most, total))


async def _search(
    ports: Ports, asker: Asker, page: int, limit: int, *, all_of: list[str], any_of: list[str] | None = None
) -> tuple[list[BeatDocument], int, int]:
    """The beats of a page, how many there are in all, and how many a page has."""
    most = min(limit, LIMIT_MAX)
    if any("\0" in each for each in (*all_of, *(any_of or ()))):
        return [], 0, most  # no text that is kept has one
    found, total = await ports.views.search(
        beat_documents,
        asker.workspace_id,
        limit=most,
        offset=(page - 1) * most,
        all_of=all_of,
        any_of=any_of or (),
    )
    return [json.decode(each.body, type=BeatDocument) for each in found], total, most


async def beat_of(ports: Ports, asker: Asker, beat_id: str) -> BeatDocument:
    """A beat of whoever asks; raises BeatNotFound."""
    body = await ports.views.find(beat_documents, beat_id, asker.workspace_id)
    if body is None:
        raise BeatNotFound(beat_id=beat_id)
    return json.decode(body, type=BeatDocument)


@get("/api/beats/{beat_id:str}", tags=["beats"], opt=needs("beats:read", "viewer"))
async def get_beat(
    request: Request[Any, Any, Any],
    beat_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> BeatShown:
    """Read a beat with its versions."""
    return await Showing(request, ports, asker).beat(await beat_of(ports, asker, beat_id))


@get("/api/beats/{beat_id:str}/versions", tags=["beats"], opt=needs("beats:read", "viewer"))
async def list_versions(
    request: Request[Any, Any, Any],
    beat_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Versions:
    """List the versions of a beat."""
    beat = await beat_of(ports, asker, beat_id)
    showing = Showing(request, ports, asker)
    return Versions(beat_id=beat.id, versions=[await showing.version(beat, each) for each in beat.versions])
