"""The OpenAPI document of the application, with what the framework cannot know: who may call, what can go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from msgspec import to_builtins

from api.strictness import takes_anything
from api.surfaces import PLATFORM, Surface, surfaces
from domain.discovery import context_of
from domain.kernel import (
    Conflict,
    Exhausted,
    Forbidden,
    Invalid,
    NotFound,
    Refusal,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

#: What a status means wherever it is not said otherwise.
MEANINGS = {
    "304": "It still is what the client has, as its `If-None-Match` says.",
    "400": "The signature is missing or does not match.",
    "401": "There is no valid key or session.",
    "403": "The key or the person may not do this.",
    "404": "There is no such thing in this workspace.",
    "409": "It is not in a state for this, or the idempotency key was used for something else.",
    "413": "This is more than may be sent at once.",
    "415": "The body is of a media type that is not understood here.",
    "422": "The request does not have the documented shape.",
    "429": "A limit has been reached; see the X-RateLimit headers and Retry-After.",
    "503": "Something this needs is away for the moment.",
}


_JSON = "application/json"
#: Answers with these have no body.
_BARE = frozenset({"304"})


@cache
def document(app: Litestar) -> dict[str, Any]:
    """The whole contract as OpenAPI 3.1."""
    schema = app.openapi_schema.to_schema()
    components = schema.setdefault("components", {})
    components["securitySchemes"] = {name: way for each in surfaces() for name, way in each.security.items()}
    for each in surfaces():
        components.setdefault("schemas", {}).update(
            {shape["title"]: _untitled(shape) for shape in each.shapes.values()}
        )
    for route in app.routes:
        if isinstance(route, HTTPRoute) and (item := schema["paths"].get(_template(route))):
            for handler in route.route_handlers:
                for method in handler.http_methods:
                    if operation := item.get(str(method).lower()):
                        _complete(operation, handler, route)
    tags = {tag for item in schema["paths"].values() for each in item.values() for tag in each.get("tags", ())}
    schema["tags"] = [{"name": tag} for tag in sorted(tags)]
    _end_patterns(schema)
    return schema


def _end_patterns(part: Any) -> None:
    """Write the end of a text as JSON Schema does: in Python `$` stands before a last line break, too."""
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _end_patterns(each)
    if isinstance(part, dict) and isinstance(part.get("pattern"), str):
        part["pattern"] = part["pattern"].replace(r"\Z", "$")


def subset(schema: dict[str, Any], tag: str) -> dict[str, Any]:
    """The operations with a tag as a document of their own, with the shapes that they refer to and no others."""
    paths = {
        path: {method: each for method, each in item.items() if tag in each.get("tags", ())}
        for path, item in schema["paths"].items()
    }
    paths = {path: item for path, item in paths.items() if item}
    shapes = schema["components"]["schemas"]
    needed: set[str] = set()
    looked_at: list[Any] = [paths]
    while looked_at:
        new = _references(looked_at.pop()) - needed
        needed |= new
        looked_at += [shapes[name] for name in new]
    components = schema["components"] | {"schemas": {name: shapes[name] for name in shapes if name in needed}}
    return schema | {"paths": paths, "components": components, "tags": [{"name": tag}]}


def _references(part: Any) -> set[str]:
    match part:
        case dict():
            reference = part.get("$ref")
            own = {reference.rsplit("/", 1)[1]} if isinstance(reference, str) else set()
            return own.union(*(_references(each) for each in part.values()))
        case list():
            return set().union(*(_references(each) for each in part))
        case _:
            return set()


def _template(route: HTTPRoute) -> str:
    parts = (part if isinstance(part, str) else f"{{{part.name}}}" for part in route.path_components)
    return "/" + "/".join(parts)


def _complete(operation: dict[str, Any], handler: HTTPRouteHandler, route: HTTPRoute) -> None:
    """Who may call it, what it takes when it reads its body itself, and what can go wrong."""
    operation["summary"] = str(handler.handler_name).replace("_", " ").capitalize()
    if body := handler.opt.get("request_body"):
        operation["requestBody"] = body
    surface: Surface = handler.opt["surface"]
    # Under one surface stand several contracts at the root; elsewhere each contract has its own.
    operation["tags"] = operation["tags"] if surface is PLATFORM and operation.get("tags") else [surface.title]
    operation["x-context"] = context_of(handler.fn.__module__)
    if notes := handler.opt.get("security_notes"):
        operation["x-security-notes"] = list(notes)
    if needed := handler.opt.get("needs"):
        operation["security"] = [{name: []} for name in surface.security]
        operation["x-scope"] = needed.scope
        operation["x-role"] = needed.role
    elif scheme := handler.opt.get("token"):
        # A token of another kind, which the handler asks for itself.
        operation["security"] = [{scheme: []}]
    _complete_answers(operation, handler, _refusals(operation, handler, route))


def _complete_answers(operation: dict[str, Any], handler: HTTPRouteHandler, kinds: set[type[Refusal]]) -> None:
    surface: Surface = handler.opt["surface"]
    statuses = {str(surface.status(kind)) for kind in kinds} | set(handler.opt.get("statuses", ()))
    if "requestBody" in operation:
        statuses.add("415")
    responses = operation["responses"]
    responses.pop("400", None)  # the framework's own shape, which is never sent
    for status, shapes in handler.opt.get("answers", {}).items():
        responses[status] = _answered(status, shapes)
    statuses |= _tagged(responses) if "GET" in handler.http_methods else set()
    for media in handler.opt.get("also", ()):
        responses["200"]["content"][media] = {"schema": _bytes_of(media)}
    for status in sorted(statuses - set(responses)):
        if status in _BARE:
            responses[status] = {"description": MEANINGS[status]}
            continue
        content = {"schema": {"$ref": f"#/components/schemas/{surface.shape(status)['title']}"}}
        if (example := surface.example(status)) is not None:
            content["example"] = to_builtins(example)
        responses[status] = {
            "description": surface.meanings.get(status) or MEANINGS.get(status) or HTTPStatus(int(status)).phrase,
            "content": {_JSON: content},
        }


def file_of(media: str) -> dict[str, Any]:
    """An answer that is a file of one media type, as `answers` has it."""
    return {media: _bytes_of(media)}


def _bytes_of(media: str) -> dict[str, Any]:
    return {"type": "string", "contentMediaType": media}


def _answered(status: str, shapes: Mapping[str, Any]) -> dict[str, Any]:
    """An answer that the framework knows nothing of: its schema by media type, with none of them no body."""
    told = {"content": {media: {"schema": schema} for media, schema in shapes.items()}} if shapes else {}
    return {"description": HTTPStatus(int(status)).phrase, **told}


def _refusals(operation: dict[str, Any], handler: HTTPRouteHandler, route: HTTPRoute) -> set[type[Refusal]]:
    """The kinds of refusals that an operation may meet."""
    kinds: set[type[Refusal]] = {Unavailable}
    if "requestBody" in operation or operation.get("parameters"):
        kinds |= {Invalid, Exhausted}
    lenient = handler.opt["surface"].lenient
    if not all(takes_anything(str(method), route.path_format, lenient) for method in handler.http_methods):
        kinds.add(Invalid)
    if "requestBody" in operation:
        kinds |= {NotFound, TooLarge}
    if "GET" not in handler.http_methods:
        kinds.add(Conflict)
    if route.path_parameters:
        kinds.add(NotFound)
    if "rates" in handler.opt:
        kinds.add(Exhausted)
    if handler.opt.get("needs"):
        kinds |= {Unauthenticated, Forbidden, Exhausted}
    return kinds


def _tagged(responses: dict[str, Any]) -> set[str]:
    """Say of an answer in JSON that it has a tag; the statuses that come with it."""
    if _JSON not in responses.get("200", {}).get("content", {}):
        return set()
    responses["200"].setdefault("headers", {})["ETag"] = {
        "description": "Send it as `If-None-Match` to be sent nothing (304) while nothing has changed.",
        "schema": {"type": "string"},
    }
    return {"304"}


def _untitled(shape: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in shape.items() if name != "title"}
