"""Refusals as HTTP: the only place where rules and statuses meet. One refusal, one body for each surface."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, NotFoundException, ValidationException
from litestar.status_codes import HTTP_500_INTERNAL_SERVER_ERROR
from msgspec import inspect, json

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
    Untrusted,
)

log = structlog.get_logger(__name__)

STATUS: dict[type[Refusal], int] = {
    Invalid: 422,
    TooLarge: 413,
    Untrusted: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Exhausted: 429,
    Unavailable: 503,
}

#: How long to wait before trying again what was away for the moment.
RETRY_AFTER_SECONDS = 1


def status_of(refusal: Refusal) -> int:
    """The HTTP status of a refusal: that of its nearest kind."""
    return next((STATUS[kind] for kind in type(refusal).__mro__ if kind in STATUS), 422)


def refused(_: Request[Any, Any, Any], refusal: Refusal) -> Response[bytes]:
    """A rule said no."""
    status = status_of(refusal)
    headers = {}
    if status == 503:
        headers["Retry-After"] = str(refusal.facts.get("retry_after_seconds", RETRY_AFTER_SECONDS))
    if status == 429 and "retry_after_seconds" in refusal.facts:
        headers["Retry-After"] = str(refusal.facts["retry_after_seconds"])
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(refusal, Invalid) and not isinstance(refusal, TooLarge):
        return _answer(status, [invalid(refusal.facts.get("loc", ("body",)), refusal.sentence, refusal.code)], headers)
    return _answer(status, refusal.sentence, headers)


def malformed(request: Request[Any, Any, Any], problem: ValidationException) -> Response[bytes]:
    """The request does not have the documented shape."""
    # The framework tells the field it names for each problem, but only the one below it whole: `data.items[1].url`.
    found = re.search(r"`\$\.data[.\[]?(.*)`$", str(problem.__cause__ or ""))
    details = [
        _shape(each, problem.detail, found[1] if found else "", request)
        for each in problem.extra or []
        if isinstance(each, dict)
    ]
    return _answer(422, details or [invalid(("body",), problem.detail, "value_error")])


def _shape(extra: dict[str, Any], otherwise: str, path_in_body: str, request: Request[Any, Any, Any]) -> dict[str, Any]:
    """One thing that is wrong with the shape of a request: where, and what."""
    where = extra.get("source", "body")
    where = str(getattr(where, "value", where))
    path = _path(path_in_body if where == "body" else str(extra.get("key", "")))
    message = str(extra.get("message", otherwise))
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", message):
        return invalid((where, *path, missing[1]), "Field required", "missing")
    if message == "'data'":  # what the framework says about a request without a body
        return invalid((where,), "Field required", "missing")
    if message.startswith("Invalid enum value"):
        taken = _choices(request, path if where == "body" else [], str(extra.get("key", "")))
        if taken:
            expected = " or ".join(filter(None, (", ".join(taken[:-1]), taken[-1])))
            return invalid((where, *path), f"Input should be {expected}", "literal_error", expected=expected)
    kind = "type_error" if re.match(r"Expected `[^`]+`, got `", message) else "value_error"
    return invalid((where, *path), message, kind)


def http_problem(_: Request[Any, Any, Any], problem: HTTPException) -> Response[bytes]:
    """What the framework itself refuses: no such route, wrong method, broken JSON, a body too large."""
    if isinstance(problem, NotFoundException):
        return _answer(404, "Not Found")
    if problem.status_code == 400:
        return _answer(422, [invalid(("body",), "The body is not valid JSON.", "json_invalid")])
    return _answer(problem.status_code, problem.detail, dict(problem.headers or {}))


def broken(request: Request[Any, Any, Any], problem: Exception) -> Response[bytes]:
    """Our own mistake: logged with everything, told with nothing."""
    log.error("request.broken", path=request.scope["path"], exc_info=problem)
    return _answer(HTTP_500_INTERNAL_SERVER_ERROR, "Internal server error")


def invalid(loc: tuple[str | int, ...], message: str, kind: str, **ctx: str) -> dict[str, Any]:
    """One entry of a 422, as FastAPI writes it."""
    return {"loc": list(loc), "msg": message, "type": kind, "input": None, "ctx": ctx}


def _choices(request: Request[Any, Any, Any], path_in_body: list[str | int], parameter: str) -> list[str]:
    """The words that are taken at a place of a request, quoted, as far as its route declares a closed list of them."""
    model = inspect.type_info(request.route_handler.signature_model)
    places = [model]
    for step in ["data", *path_in_body] if path_in_body else [parameter]:
        places = [inner for place in places for inner in _inside(place, step)]
    return [f"'{word}'" for place in places if isinstance(place, inspect.LiteralType) for word in place.values]


def _inside(place: inspect.Type, step: str | int) -> Iterator[inspect.Type]:
    """What a field of this name, or an item at this place, may be."""
    match place:
        case inspect.StructType():
            inner = [field.type for field in place.fields if step in (field.name, field.encode_name)]
        case inspect.ListType():
            inner = [place.item_type]
        case inspect.DictType():
            inner = [place.value_type]
        case _:
            inner = []
    for each in inner:
        yield from _plain(each)


def _plain(place: inspect.Type) -> Iterator[inspect.Type]:
    """A type without what is said about it, and each of several."""
    match place:
        case inspect.Metadata():
            yield from _plain(place.type)
        case inspect.UnionType():
            for each in place.types:
                yield from _plain(each)
        case _:
            yield place


def _path(key: str) -> list[str | int]:
    parts = key.replace("[", ".").replace("]", "").split(".")
    return [int(part) if part.isdigit() else part for part in parts if part]


def _answer(status: int, detail: Any, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(
        json.encode({"detail": detail}), status_code=status, media_type="application/json", headers=headers or {}
    )
