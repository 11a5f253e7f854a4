"""The contract to read: one OpenAPI document, and the same as Markdown and as a page, all made from the routes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from litestar import Litestar, Request, Response, get
from markdown_it import MarkdownIt
from msgspec import json

from api.answers import is_known, tag_of
from api.contract import MEANINGS, document

JSON = "application/json"

#: A document and its entity tag.
_Made = tuple[bytes, str]

#: Shorter than the phrases of the HTTP standard, and not misleading.
_SAID = {"200": "OK", "201": "Made", "202": "Accepted: it will be done", "204": "Done"}

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ledgerline API</title>
<style>
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 56rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1, h2, h3 { line-height: 1.25; } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
h3 { margin-top: 2.2rem; } code, pre { font: 0.88em/1.5 ui-monospace, monospace; }
pre { padding: 0.8rem 1rem; border: 1px solid var(--line); border-radius: 6px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.93em; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.7rem 0.3rem 0; border-bottom: 1px solid var(--line); }
</style></head><body>
"""


@get("/", include_in_schema=False, sync_to_thread=False)
def get_root() -> Response[None]:
    """Whoever types the address of the service wants to read about it."""
    # A 307 is not remembered, so that another page may stand here one day.
    return Response(None, status_code=307, headers={"Location": "/docs"})


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def get_openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The canonical contract, OpenAPI 3.1."""
    return _read(request, _openapi, JSON)


@get("/docs/api.md", include_in_schema=False, sync_to_thread=False)
def get_api_markdown(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The contract as Markdown."""
    return _read(request, _text, "text/markdown; charset=utf-8")


@get("/docs", include_in_schema=False, sync_to_thread=False)
def get_docs(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The contract as a page that needs nothing from elsewhere."""
    return _read(request, _page, "text/html; charset=utf-8")


def _read(request: Request[Any, Any, Any], made: Callable[[Litestar], _Made], media_type: str) -> Response[bytes]:
    """A document that is the same until the next version is installed: whoever has it is not sent it again."""
    body, tag = made(request.app)
    headers = {"ETag": tag, "Cache-Control": "public, max-age=60"}
    if is_known(request, tag):
        return Response(b"", status_code=304, headers=headers, media_type=media_type)
    return Response(body, media_type=media_type, headers=headers)


def _made(body: bytes) -> _Made:
    return body, tag_of(body)


@cache
def _openapi(app: Litestar) -> _Made:
    return _made(json.encode(document(app)))


@cache
def _text(app: Litestar) -> _Made:
    return _made(_markdown(app).encode())


@cache
def _page(app: Litestar) -> _Made:
    # To write it takes as long as hundreds of requests, and nobody has to show a key for it.
    page = PAGE + MarkdownIt("commonmark", {"html": False}).enable("table").render(_markdown(app))
    return _made(f"{page}</body></html>".encode())


@cache
def _markdown(app: Litestar) -> str:
    return "\n".join(_lines(document(app))) + "\n"


def _lines(schema: dict[str, Any]) -> Iterator[str]:
    yield f"# {schema['info']['title']} {schema['info']['version']}\n"
    yield f"{schema['info'].get('description', '')}\n"
    yield "Send your key as `X-API-Key` or as `Authorization: Bearer`."
    yield "The same contract as data: [/openapi.json](/openapi.json).\n"
    yield "A refusal has the status below and a body with `detail`.\n\n| status | meaning |\n|---|---|"
    yield from (f"| `{status}` | {meaning} |" for status, meaning in MEANINGS.items())
    yield ""
    by_tag: dict[str, list[tuple[str, str, dict[str, Any]]]] = defaultdict(list)
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, dict) and "responses" in operation:
                by_tag[(operation.get("tags") or ["other"])[0]].append((method.upper(), path, operation))
    for tag in sorted(by_tag):
        yield f"## {tag[0].upper()}{tag[1:]}\n"
        for method, path, operation in by_tag[tag]:
            yield from _operation(schema, method, path, operation)


def _operation(schema: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### {method} {path}\n"
    yield f"{operation.get('description') or operation.get('summary', '')}\n"
    if "security" in operation:
        scope = operation["x-scope"]
        key = f"A key needs the scope `{scope}`" if scope else "A key cannot do this"
        yield f"{key}; a person needs the role `{operation['x-role']}`.\n"
    for note in operation.get("x-security-notes", ()):
        yield f"- {note}"
    if "x-security-notes" in operation:
        yield ""
    if parameters := operation.get("parameters"):
        yield "| parameter | in | type | |\n|---|---|---|---|"
        for each in parameters:
            needed = "required. " if each.get("required") else ""
            kind = _kind(schema, each.get("schema", {}))
            yield f"| `{each['name']}` | {each['in']} | {kind} | {needed}{each.get('description', '')} |"
        yield ""
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body (`{media}`):\n"
        yield from _fields(schema, content.get("schema", {}))
    refusals = []
    for status, response in operation["responses"].items():
        if not status.startswith("2"):
            refusals.append(f"`{status}`")
            continue
        yield f"**{status}** {_SAID.get(status, response.get('description', ''))}\n"
        for content in response.get("content", {}).values():
            yield from _fields(schema, content.get("schema", {}))
    yield f"Refusals: {', '.join(refusals)}\n"


def _fields(schema: dict[str, Any], part: dict[str, Any]) -> Iterator[str]:
    body = _resolved(schema, part)
    if not body.get("properties"):
        return
    yield "| field | type | |\n|---|---|---|"
    for name, field in body["properties"].items():
        needed = "required. " if name in body.get("required", ()) else ""
        yield f"| `{name}` | {_kind(schema, field)} | {needed}{field.get('description', '')} |"
    yield ""


def _resolved(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    reference = part.get("$ref")
    if reference is None:
        return part
    found: dict[str, Any] = schema["components"]["schemas"][reference.rsplit("/", 1)[1]]
    return found


def _kind(schema: dict[str, Any], part: dict[str, Any]) -> str:
    if "$ref" in part:
        resolved = _resolved(schema, part)
        return (
            " or ".join(f"`{value}`" for value in resolved["enum"])
            if "enum" in resolved
            else part["$ref"].rsplit("_", 1)[-1].rsplit("/", 1)[-1]
        )
    if "oneOf" in part or "anyOf" in part:
        return " or ".join(dict.fromkeys(_kind(schema, each) for each in part.get("oneOf") or part["anyOf"]))
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return " or ".join(f"`{value}`" for value in part["enum"])
    kind = part.get("type", "any")
    if kind == "array":
        return f"list of {_kind(schema, part.get('items', {}))}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
