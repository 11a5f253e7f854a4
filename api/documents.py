"""The contract to read: one OpenAPI document, and the same as Markdown and as a page, all made from the routes."""

from __future__ import annotations

from functools import cache
from typing import Any

from litestar import Litestar, Request, Response, get
from litestar.params import FromPath
from msgspec import json

from api.answers import is_known, tag_of
from api.contract import document, subset
from api.markdown import for_models, markdown
from api.page import POLICY, page
from api.reference import by_surface, slug
from domain.kernel import NotFound

JSON = "application/json"

#: A document and its entity tag.
Made = tuple[bytes, str]


class UnknownDocument(NotFound):
    """There is no contract of this name. There are: {names}."""

    names: str


@get("/", include_in_schema=False)
async def get_root() -> Response[bytes]:
    """Whoever types the address of the service wants to read about it."""
    # A 307 is not remembered, so that another page may stand here one day.
    return Response(b"", status_code=307, headers={"Location": "/docs"}, media_type="text/plain")


@get("/openapi.json", include_in_schema=False)
async def get_openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The canonical contract, OpenAPI 3.1."""
    return read(request, _openapi(request.app), JSON)


@get("/openapi/{name:str}", include_in_schema=False)
async def get_openapi_of_surface(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """The part of the contract that one surface serves, `/openapi/studio.json`."""
    found = _subsets(request.app)
    if name not in found:
        raise UnknownDocument(names=", ".join(found))
    return read(request, found[name], JSON)


@get("/llms.txt", include_in_schema=False)
async def get_llms_text(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Where what is, for whoever reads with a language model."""
    return read(request, _for_models(request.app), "text/markdown")


@get("/docs/api.md", include_in_schema=False)
async def get_api_markdown(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The contract as Markdown."""
    return read(request, _markdown(request.app), "text/markdown")


@get("/docs", include_in_schema=False)
async def get_docs(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The contract as a page that needs nothing from elsewhere."""
    answer = read(request, _page(request.app), "text/html")
    answer.headers["Content-Security-Policy"] = POLICY
    return answer


def read(request: Request[Any, Any, Any], found: Made, media_type: str) -> Response[bytes]:
    """A document that is the same until the next version is installed: whoever has it is not sent it again."""
    body, tag = found
    headers = {"ETag": tag, "Cache-Control": "public, max-age=60"}
    if is_known(request, tag):
        return Response(b"", status_code=304, headers=headers, media_type=media_type)
    return Response(body, media_type=media_type, headers=headers)


def made(body: bytes) -> Made:
    """A document and its tag."""
    return body, tag_of(body)


@cache
def _openapi(app: Litestar) -> Made:
    return made(json.encode(document(app)))


@cache
def _subsets(app: Litestar) -> dict[str, Made]:
    whole = document(app)
    return {f"{slug(name)}.json": made(json.encode(subset(whole, name))) for name in by_surface(whole)}


@cache
def _markdown(app: Litestar) -> Made:
    return made(markdown(document(app)).encode())


@cache
def _page(app: Litestar) -> Made:
    # To write it takes as long as hundreds of requests, and nobody has to show a key for it.
    return made(page(document(app)).encode())


@cache
def _for_models(app: Litestar) -> Made:
    return made(for_models(document(app)).encode())
