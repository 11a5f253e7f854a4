"""The OpenAPI document of the application, with what the framework cannot know: who may call, what can go wrong."""

from __future__ import annotations

from functools import cache
from typing import Any

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

PROBLEM = {"$ref": "#/components/schemas/Problem"}
MALFORMED = {"$ref": "#/components/schemas/Malformed"}

SCHEMAS: dict[str, Any] = {
    "Problem": {
        "type": "object",
        "required": ["detail"],
        "properties": {"detail": {"type": "string", "description": "What is so, and what to do."}},
    },
    "Malformed": {
        "type": "object",
        "required": ["detail"],
        "properties": {
            "detail": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["loc", "msg", "type"],
                    "properties": {
                        "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                        "msg": {"type": "string"},
                        "type": {"type": "string"},
                        "input": {},
                        "ctx": {"type": "object"},
                    },
                },
            }
        },
    },
}

SECURITY_SCHEMES = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}

#: What a status means wherever it is not said otherwise.
MEANINGS = {
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


@cache
def document(app: Litestar) -> dict[str, Any]:
    """The whole contract as OpenAPI 3.1."""
    schema = app.openapi_schema.to_schema()
    components = schema.setdefault("components", {})
    components.setdefault("schemas", {}).update(SCHEMAS)
    components["securitySchemes"] = SECURITY_SCHEMES
    for route in app.routes:
        if isinstance(route, HTTPRoute) and (item := schema["paths"].get(_template(route))):
            for handler in route.route_handlers:
                for method in handler.http_methods:
                    if operation := item.get(str(method).lower()):
                        _complete(operation, handler, route)
    return schema


def _template(route: HTTPRoute) -> str:
    parts = (part if isinstance(part, str) else f"{{{part.name}}}" for part in route.path_components)
    return "/" + "/".join(parts)


def _complete(operation: dict[str, Any], handler: HTTPRouteHandler, route: HTTPRoute) -> None:
    """Who may call it, what it takes when it reads its body itself, and what can go wrong."""
    operation["summary"] = str(handler.handler_name).replace("_", " ").capitalize()
    if body := handler.opt.get("request_body"):
        operation["requestBody"] = body
    statuses = set(handler.opt.get("statuses", ()))
    statuses |= {"422", "429", "503"} if "requestBody" in operation or operation.get("parameters") else {"503"}
    if "requestBody" in operation:
        statuses |= {"404", "409", "413", "415"}
    if route.path_parameters:
        statuses.add("404")
    if "needs" in handler.opt:
        operation["security"] = [{"ApiKey": []}, {"Bearer": []}]
        operation["x-scope"] = handler.opt["needs"].scope
        operation["x-role"] = handler.opt["needs"].role
        statuses |= {"401", "403", "429"}
    responses = operation["responses"]
    responses.pop("400", None)  # the framework's own shape, which is never sent
    for status in sorted(statuses - set(responses)):
        shape = MALFORMED if status == "422" else PROBLEM
        responses[status] = {
            "description": MEANINGS[status],
            "content": {"application/json": {"schema": shape}},
        }
