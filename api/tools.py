"""Operations of the contract as tools for agents: which they are, what each takes, and how one is called.

A call is a request of its own to the application, with the credential of whoever asks: guards, limits, validation and
refusals are those of the operation, and nothing is said of it twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from litestar import Litestar
from msgspec import json

from api.auth import Needs
from api.contract import document
from api.samples import operations, resolved
from domain.kernel import Value

#: The tools, by the name that agents know them by, and the operation that each is.
TOOLS: Mapping[str, str] = {
    # recordings heard
    "analyze_url": "analyze_url",
    "get_analysis": "get_analysis",
    "get_full_analysis": "get_full_analysis",
    "list_analyses": "list_analyses",
    "cancel_analysis": "cancel_analysis",
    "get_usage": "get_usage",
    # the catalogue
    "list_tracks": "list_tracks",
    "get_track": "get_track",
    "add_track": "add_track",
    "add_track_from_beat": "add_track_from_beat",
    "change_track": "change_track",
    "link_track": "link_track",
    "track_streams": "get_daily_plays",
    "list_plays": "list_plays",
    "list_snapshots": "list_snapshots",
    "catalogue_overview": "get_overview",
    "list_earnings": "list_earnings",
    "list_imports": "list_imports",
    "get_import": "get_import",
    "list_import_rows": "list_import_rows",
    "answer_import": "answer_import",
    "list_unresolved_titles": "list_unresolved",
    "resolve_title": "resolve_title",
    # releases
    "list_releases": "list_releases",
    "get_release": "get_release",
    "draft_release": "draft_release",
    "change_release": "change_release",
    "validate_release": "validate_release",
    # beats
    "list_beats": "query_beats",
    "get_beat": "get_beat",
    "list_beat_templates": "list_templates",
    "generate_beat": "generate_beat",
    "generate_audio": "generate_audio",
    "cancel_generation": "cancel_generation",
    # plug-ins
    "trigger_build": "create_build",
    "build_status": "get_build",
    "list_builds": "list_builds",
    "build_log": "get_build_log",
    "build_artifacts": "list_artifacts",
    "cancel_build": "cancel_build",
    "list_keys": "list_keys",
    "generate_key": "generate",
    "activate_key": "activate",
    "validate_key": "validate",
}

_JSON = "application/json"
_HERE, _THERE = "#/components/schemas/", "#/$defs/"
#: What a request to the application does not take from the one that an agent sent: it is about another body.
_OWN_HEADERS = re.compile(
    rb"content-.*|transfer-encoding|accept|expect|if-.*|range|idempotency-key|mcp-.*|last-event-id|connection|upgrade"
)
#: An argument that stands in a path is one segment of it, whatever it says.
_SEGMENT = re.compile(r"[^/\\\x00-\x1f\x7f]+")


class Tool(Value):
    """One operation, as agents see it: `places` says where each argument goes, a body's fields to `body`."""

    name: str
    operation: str
    method: str
    path: str
    description: str
    schema: dict[str, Any]
    places: dict[str, str]
    needs: Needs | None


class Answered(Value):
    """What the application answered."""

    status: int
    media_type: str
    body: bytes
    retry_after: str | None


class BadArguments(Exception):
    """These arguments cannot be made a request of; the message says why."""


@cache
def tools_of(app: Litestar) -> Mapping[str, Tool]:
    """The tools, made from the contract."""
    schema = document(app)
    by_id = {each["operationId"]: (method, path, each) for method, path, each in operations(schema)}
    return {name: _tool(schema, name, *by_id[operation]) for name, operation in TOOLS.items()}


def _tool(schema: Mapping[str, Any], name: str, method: str, path: str, operation: Mapping[str, Any]) -> Tool:
    properties: dict[str, Any] = {}
    required: list[str] = []
    places: dict[str, str] = {}
    for each in operation.get("parameters", ()):
        argument = each["name"].replace("-", "_").lower() if each["in"] == "header" else each["name"]
        properties[argument] = {"description": each.get("description", ""), **each.get("schema", {})}
        places[argument] = f"header {each['name']}" if each["in"] == "header" else each["in"]
        if each.get("required"):
            required.append(argument)
    if (body := operation.get("requestBody")) is not None:
        shape = resolved(schema, body["content"][_JSON]["schema"])
        for argument, field in shape["properties"].items():
            assert argument not in places, f"{name} has two arguments {argument}"
            properties[argument] = field
            places[argument] = "body"
        required += shape.get("required", ())
    shape = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    if shapes := dict(_shapes(schema, shape)):
        shape["$defs"] = shapes
    needed = Needs(scope=operation["x-scope"], role=operation["x-role"]) if "x-role" in operation else None
    return Tool(
        name=name,
        operation=operation["operationId"],
        method=method,
        path=path,
        description=operation["description"],
        schema=json.decode(json.encode(shape).replace(_HERE.encode(), _THERE.encode())),
        places=places,
        needs=needed,
    )


def _shapes(schema: Mapping[str, Any], part: Any) -> Iterator[tuple[str, Any]]:
    """Every shape of the contract that a part refers to, and what these refer to."""
    looked_at: list[Any] = [part]
    seen: set[str] = set()
    while looked_at:
        text = json.encode(looked_at.pop()).decode()
        for name in set(re.findall(rf'"{re.escape(_HERE)}([^"]+)"', text)) - seen:
            seen.add(name)
            found = schema["components"]["schemas"][name]
            yield name, found
            looked_at.append(found)


async def call(app: Litestar, tool: Tool, arguments: Mapping[str, Any], outer: Mapping[str, Any]) -> Answered:
    """Ask the application what a tool asks, as whoever sent the request `outer`; raises BadArguments."""
    if unknown := arguments.keys() - tool.places.keys():
        known = ", ".join(tool.places) or "none"
        raise BadArguments(f"There is no argument {min(unknown)[:64]!r} here. It knows {known}.")
    path = raw = tool.path
    query: list[tuple[str, str]] = []
    headers: list[tuple[bytes, bytes]] = []
    fields: dict[str, Any] = {}
    for name, value in arguments.items():
        place, _, header = tool.places[name].partition(" ")
        if place == "body":
            fields[name] = value
        elif place == "path":
            text = _text(name, value)
            if not _SEGMENT.fullmatch(text) or text in (".", ".."):
                raise BadArguments(f"{name} is one word, without slashes.")
            path, raw = path.replace(f"{{{name}}}", text), raw.replace(f"{{{name}}}", quote(text, safe=""))
        elif value is not None:
            several = value if isinstance(value, list) else [value]
            if place == "query":
                query += [(name, _text(name, each)) for each in several]
            else:
                headers.append((header.lower().encode(), _text(name, value).encode()))
    if "{" in path:
        raise BadArguments(f"{path.partition('{')[2].partition('}')[0]} is needed.")
    body = b""
    if "body" in tool.places.values():
        body = json.encode(fields)
        headers += [(b"content-type", _JSON.encode()), (b"content-length", b"%d" % len(body))]
    return await _ask(app, tool.method, path, raw, urlencode(query), headers, body, outer)


def _text(name: str, value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str() | int() | float():
            return str(value)
    raise BadArguments(f"{name} is a text, a number, or true or false.")


async def _ask(
    app: Litestar,
    method: str,
    path: str,
    raw: str,
    query: str,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    outer: Mapping[str, Any],
) -> Answered:
    status = 500
    answered: list[bytes] = []
    told: dict[bytes, bytes] = {}
    sent = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return sent.pop() if sent else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            told.update(message.get("headers", ()))
        else:
            answered.append(message.get("body", b""))

    kept = [each for each in outer["headers"] if not _OWN_HEADERS.fullmatch(each[0])]
    scope: Any = {
        "type": "http",
        "asgi": outer["asgi"],
        "http_version": outer["http_version"],
        "scheme": outer["scheme"],
        "server": outer["server"],
        "client": outer["client"],
        "root_path": "",
        "method": method,
        "path": path,
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "headers": [*kept, *headers],
        "state": {},
    }
    await app(scope, receive, send)
    return Answered(
        status=status,
        media_type=told.get(b"content-type", b"").partition(b";")[0].decode("latin-1"),
        body=b"".join(answered),
        retry_after=told[b"retry-after"].decode("latin-1") if b"retry-after" in told else None,
    )
