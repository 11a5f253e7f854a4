"""Contracts as values: how each of them writes refusals, times and limits.

A context declares a `Surface` in a module of its folder in `api/`, where it is found. A route belongs to the surface
with the longest prefix of its path; so does what the framework refuses before there is a route.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
from msgspec import json, to_builtins

from adapters.web.rate_limits import Verdict
from api.rates import PER_KEY, Rate
from api.strictness import LENIENT
from domain.discovery import modules
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
    Value,
)
from domain.sections import Sections
from projections.kernel import seconds

#: What changes nothing.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: What a refusal is in HTTP wherever a surface does not say otherwise.
STATUSES: Mapping[type[Refusal], int] = {
    Refusal: 422,
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


class Fault(Value):
    """One thing that is wrong with a request: where (`body`, `query`, `path` or `header`, and the way from there)."""

    loc: tuple[str | int, ...]
    message: str
    kind: str
    context: Mapping[str, str] = msgspec.field(default_factory=dict)


class Problem(Value):
    """A refusal on its way to a client: its status and code, its sentence, and what is wrong with the request."""

    status: int
    code: str
    sentence: str
    faults: tuple[Fault, ...] = ()
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)


def _headers_with_seconds_left(verdict: Verdict, _: datetime) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-ratelimit-limit", b"%d" % verdict.limit),
        (b"x-ratelimit-remaining", b"%d" % verdict.remaining),
        (b"x-ratelimit-reset", b"%d" % verdict.reset_seconds),
    ]


def headers_with_epoch(verdict: Verdict, now: datetime) -> list[tuple[bytes, bytes]]:
    """The same three headers, where the reset is a moment in seconds since 1970."""
    *first, (name, _) = _headers_with_seconds_left(verdict, now)
    return [*first, (name, b"%d" % (int(now.timestamp()) + verdict.reset_seconds))]


@dataclass(frozen=True)
class Surface:
    """A contract with clients of its own.

    `problem` makes the body of a refusal, `shapes` describes it for each status (`default`: all others) as JSON Schema.
    `statuses` and `codes` are for the refusals that this contract names differently; the nearest kind of a refusal
    counts. `moment` writes times and `name` the names of fields in what routes return, bytes excepted; where both are
    None, what they return is written as it is. `rate` is what one key or
    session may ask; `rate_headers` tell it. `security` are the ways to show who asks, as OpenAPI writes them: a key and
    a session open every surface.
    """

    title: str
    prefixes: tuple[str, ...]
    problem: Callable[[Problem], Any]
    shapes: Mapping[str, dict[str, Any]]
    statuses: Mapping[type[Refusal], int] = field(default_factory=dict)
    codes: Mapping[type[Refusal], str] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    moment: Callable[[datetime], str | int] | None = seconds
    name: Callable[[str], str] | None = None
    #: Routes (`GET /v1/things/{}`) that take whatever is asked beside what they know, because their originals did.
    lenient: frozenset[str] = frozenset()
    #: The workspace, by the settings, in which somebody may act who shows no credential at all: nowhere, by default.
    guest: Callable[[Sections], str | None] = lambda _: None
    rate: Rate = PER_KEY
    #: What of it may change something, where that is counted apart.
    writes: Rate | None = None
    rate_headers: Callable[[Verdict, datetime], list[tuple[bytes, bytes]]] = _headers_with_seconds_left
    security: Mapping[str, dict[str, str]] = field(
        default_factory=lambda: {
            "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "Bearer": {"type": "http", "scheme": "bearer"},
        }
    )

    def status(self, refusal: type[Refusal]) -> int:
        """The HTTP status of a refusal: that of its nearest kind."""
        known = {**STATUSES, **self.statuses}
        return next(known[kind] for kind in refusal.__mro__ if kind in known)

    def rate_of(self, method: str) -> Rate:
        """What a request of this method counts under."""
        return self.rate if self.writes is None or method in SAFE_METHODS else self.writes

    def code(self, refusal: Refusal) -> str:
        """What machines call a refusal."""
        return next((self.codes[kind] for kind in type(refusal).__mro__ if kind in self.codes), refusal.code)

    def told(self, refusal: Refusal) -> Problem:
        """A refusal as this contract tells it."""
        code = self.code(refusal)
        faults: tuple[Fault, ...] = ()
        if isinstance(refusal, Invalid) and not isinstance(refusal, TooLarge):
            faults = (Fault(loc=tuple(refusal.facts.get("loc", ("body",))), message=refusal.sentence, kind=code),)
        return Problem(
            status=self.status(type(refusal)),
            code=code,
            sentence=refusal.sentence,
            faults=faults,
            facts=refusal.facts,
        )

    def example(self, status: str) -> Any:
        """The body of a refusal with this status, as it may be; None where no rule refuses like that."""
        kinds = (kind for kind in STATUSES if kind is not Refusal and str(self.status(kind)) == status)
        kind = next(kinds, None)
        return None if kind is None else self.problem(self.told(kind()))

    def shape(self, status: str) -> dict[str, Any]:
        """The JSON Schema of a refusal with this status."""
        return self.shapes.get(status, self.shapes["default"])

    def write(self, content: Any) -> bytes:
        """What a route returns, as JSON in the words of this contract; bytes are JSON already."""
        if isinstance(content, bytes):
            return content
        if self.moment is None and self.name is None:
            return json.encode(content)
        return json.encode(self._plain(to_builtins(content, builtin_types=(datetime,))))

    def _plain(self, content: Any) -> Any:
        match content:
            case datetime() if self.moment is not None:
                return self.moment(content)
            case dict():
                rename = self.name or str
                return {rename(key): self._plain(value) for key, value in content.items()}
            case list():
                return [self._plain(each) for each in content]
            case _:
                return content


def _detail(problem: Problem) -> Any:
    """As FastAPI writes it, whose clients know these two shapes."""
    if not problem.faults:
        return {"detail": problem.sentence}
    return {
        "detail": [
            {"loc": list(each.loc), "msg": each.message, "type": each.kind, "input": None, "ctx": each.context}
            for each in problem.faults
        ]
    }


#: The analysis API in both its versions, the platform, and whatever no other surface has taken.
PLATFORM = Surface(
    title="Ledgerline",
    prefixes=("/",),
    problem=_detail,
    # Its documents and answers hold their times as it writes them.
    moment=None,
    lenient=LENIENT,
    shapes={
        "default": {
            "title": "Problem",
            "type": "object",
            "required": ["detail"],
            "properties": {"detail": {"type": "string", "description": "What is so, and what to do."}},
        },
        "422": {
            "title": "Malformed",
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
    },
)


@cache
def surfaces() -> tuple[Surface, ...]:
    """Every surface that is declared, by its title."""
    found = {id(thing): thing for each in modules("api") for thing in vars(each).values() if isinstance(thing, Surface)}
    return tuple(sorted(found.values(), key=lambda each: each.title))


def surface_at(path: str) -> Surface:
    """The surface that a path belongs to: that with the longest prefix of it."""
    return max(
        ((len(prefix), each) for each in surfaces() for prefix in each.prefixes if _is_below(path, prefix)),
        key=lambda pair: pair[0],
    )[1]


def _is_below(path: str, prefix: str) -> bool:
    # Of what is no path (`*`, a host, nothing yet) the surface at the root says what is wrong.
    return prefix in {"/", path} or path.startswith(f"{prefix}/")


def surface_of(scope: Any) -> Surface:
    """The surface of a request: that of its route, or where there is none, of its path."""
    handler = scope.get("route_handler")
    found: Surface | None = handler.opt.get("surface") if handler is not None else None
    return found or surface_at(scope["path"])


def now() -> datetime:
    """The moment that headers tell."""
    return datetime.now(UTC)
