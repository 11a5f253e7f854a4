"""Refusals as HTTP: the only place where rules and statuses meet. One refusal, one body for each surface."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, NotFoundException, ValidationException
from litestar.status_codes import HTTP_500_INTERNAL_SERVER_ERROR
from msgspec import inspect, json

from adapters.log.codec import UnknownEvent
from api.surfaces import Fault, Problem, Surface, surface_at, surface_of
from domain.kernel import Exhausted, Invalid, Refusal, Unauthenticated, Unavailable

log = structlog.get_logger(__name__)

#: How long to wait before trying again what was away for the moment.
RETRY_AFTER_SECONDS = 1
#: How long to wait before trying again what a person has to mend.
REPAIR_SECONDS = 60


def refused(request: Request[Any, Any, Any], refusal: Refusal) -> Response[bytes]:
    """A rule said no."""
    surface = surface_of(request.scope)
    headers = {}
    if isinstance(refusal, Unavailable):
        headers["Retry-After"] = str(refusal.facts.get("retry_after_seconds", RETRY_AFTER_SECONDS))
    if isinstance(refusal, Exhausted) and "retry_after_seconds" in refusal.facts:
        headers["Retry-After"] = str(refusal.facts["retry_after_seconds"])
    if isinstance(refusal, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(surface, surface.told(refusal), headers)


def malformed(request: Request[Any, Any, Any], problem: ValidationException) -> Response[bytes]:
    """The request does not have the documented shape."""
    # The framework tells the field it names for each problem, but only the one below it whole: `data.items[1].url`.
    found = re.search(r"`\$\.data[.\[]?(.*)`$", str(problem.__cause__ or ""))
    faults = [
        _fault(each, problem.detail, found[1] if found else "", request)
        for each in problem.extra or []
        if isinstance(each, dict)
    ]
    return _malformed(request, *faults or [Fault(loc=("body",), message=problem.detail, kind="value_error")])


def _malformed(request: Request[Any, Any, Any], *faults: Fault) -> Response[bytes]:
    surface = surface_of(request.scope)
    sentence = "The request does not have the documented shape."
    status = surface.status(Invalid)
    return _answer(surface, Problem(status=status, code="malformed_request", sentence=sentence, faults=faults))


def _fault(extra: dict[str, Any], otherwise: str, path_in_body: str, request: Request[Any, Any, Any]) -> Fault:
    """One thing that is wrong with the shape of a request: where, and what."""
    where = extra.get("source", "body")
    where = str(getattr(where, "value", where))
    path = _path(path_in_body if where == "body" else str(extra.get("key", "")))
    message = str(extra.get("message", otherwise))
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", message):
        return Fault(loc=(where, *path, missing[1]), message="Field required", kind="missing")
    if message == "'data'":  # what the framework says about a request without a body
        return Fault(loc=(where,), message="Field required", kind="missing")
    if message.startswith("Invalid enum value"):
        taken = _choices(request, path if where == "body" else [], str(extra.get("key", "")))
        if taken:
            expected = " or ".join(filter(None, (", ".join(taken[:-1]), taken[-1])))
            message = f"Input should be {expected}"
            return Fault(loc=(where, *path), message=message, kind="literal_error", context={"expected": expected})
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", message):
        known = sorted(_fields(request, path))
        message = (
            f"There is no such field here. It knows {', '.join(known)}." if known else "There is no such field here."
        )
        return Fault(loc=(where, *path, unknown[1][:64]), message=message, kind="extra_forbidden")
    kind = "type_error" if re.match(r"Expected `[^`]+`, got `", message) else "value_error"
    return Fault(loc=(where, *path), message=in_words(message), kind=kind)


#: What the decoder calls things, and what people do.
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
    "datetime": "a time such as 2026-01-31T12:00:00Z",
    "uuid": "an id",
}
_SIZED = {"str": "characters", "array": "items", "object": "fields"}
_BOUNDS = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than"}


def in_words(message: str) -> str:
    """What the decoder says of a value, as a sentence for whoever sent it; other sentences are left as they are."""
    if found := re.fullmatch(r"Expected `([^`]+)`, got `([^`]+)`", message):
        wanted, got = ([_WORDS.get(each, each) for each in re.split(r" ?\| ?", side)] for side in found.groups())
        return f"This should be {' or '.join(wanted)}, and is {' or '.join(got)}."
    if found := re.fullmatch(r"Expected `(\w+)` of length (<=|>=) (\d+)", message):
        return f"This should have {_BOUNDS[found[2]]} {found[3]} {_SIZED.get(found[1], 'parts')}."
    if found := re.fullmatch(r"Expected `(\w+)` (<=|>=|<|>) (\S+)", message):
        return f"This should be {_BOUNDS[found[2]]} {found[3]}."
    if message.startswith("Expected `str` matching regex"):
        return "This is not in the form that is taken here; the documentation shows it."
    if found := re.fullmatch(r"Invalid RFC3339 encoded (\w+)", message):
        return f"This should be {_WORDS.get(found[1], 'a ' + found[1])}."
    return message


def http_problem(request: Request[Any, Any, Any], problem: HTTPException) -> Response[bytes]:
    """What the framework itself refuses: no such route, wrong method, broken JSON, a body too large."""
    if problem.status_code == 400:
        return _malformed(request, Fault(loc=("body",), message="The body is not valid JSON.", kind="json_invalid"))
    sentence = "Not Found" if isinstance(problem, NotFoundException) else problem.detail
    return refuse(request, problem.status_code, sentence, dict(problem.headers or {}))


class WaitsForRepair(Unavailable):
    """Something that has happened to this cannot be read. It waits for whoever runs the service."""


def unreadable(request: Request[Any, Any, Any], problem: UnknownEvent) -> Response[bytes]:
    """An event that the request depends on is damaged, or of a later version; without it nobody knows what may be."""
    log.error("request.unreadable", path=request.scope["path"], problem=str(problem))
    return refused(request, WaitsForRepair(retry_after_seconds=REPAIR_SECONDS))


def broken(request: Request[Any, Any, Any], problem: Exception) -> Response[bytes]:
    """Our own mistake: logged with everything, told with nothing."""
    log.error("request.broken", path=request.scope["path"], exc_info=problem)
    return refuse(request, HTTP_500_INTERNAL_SERVER_ERROR, "Internal server error")


def refuse(
    request: Request[Any, Any, Any], status: int, sentence: str, headers: dict[str, str] | None = None
) -> Response[bytes]:
    """What is refused before any rule has seen it, in the shape of the surface it was sent to."""
    return _answer(surface_of(request.scope), _of_http(status, sentence), headers)


def wording(path: str, status: int, sentence: str) -> tuple[str, bytes]:
    """What is refused before there is a request, in the shape of the surface of its path: media type and body."""
    return "application/json", json.encode(surface_at(path).problem(_of_http(status, sentence)))


def _of_http(status: int, sentence: str) -> Problem:
    code = re.sub(r"\W+", "_", HTTPStatus(status).phrase).lower()
    return Problem(status=status, code=code, sentence=sentence)


def _choices(request: Request[Any, Any, Any], path_in_body: list[str | int], parameter: str) -> list[str]:
    """The words that are taken at a place of a request, quoted, as far as its route declares a closed list of them."""
    model = inspect.type_info(request.route_handler.signature_model)
    places = [model]
    for step in ["data", *path_in_body] if path_in_body else [parameter]:
        places = [inner for place in places for inner in _inside(place, step)]
    return [f"'{word}'" for place in places if isinstance(place, inspect.LiteralType) for word in place.values]


def _fields(request: Request[Any, Any, Any], path_in_body: list[str | int]) -> set[str]:
    """The fields that an object in the body may have."""
    places = [inspect.type_info(request.route_handler.signature_model)]
    for step in ["data", *path_in_body]:
        places = [inner for place in places for inner in _inside(place, step)]
    return {each.encode_name for place in places if isinstance(place, inspect.StructType) for each in place.fields}


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


def _answer(surface: Surface, problem: Problem, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(
        json.encode(surface.problem(problem)),
        status_code=problem.status,
        media_type="application/json",
        headers=headers or {},
    )
