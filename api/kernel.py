"""What routes have in common: commands, stored JSON as an answer, idempotency keys, addresses we would connect to."""

from __future__ import annotations

import hashlib
import re
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple

from litestar import Request, Response
from litestar.params import HeaderParameter
from msgspec import Meta, json

import commands.kernel
from adapters.identity.origins import Origins
from api.answers import Kept
from commands.idempotency import Once
from commands.kernel import Command
from commands.ports import Web
from commands.settings import Idempotency
from domain.keeping import EARLIEST, LATEST
from domain.kernel import Invalid
from domain.ledger import Context

Url = Annotated[str, Meta(min_length=1, max_length=2048)]


#: What reading JSON raises for bytes that are none of the expected kind: by syntax, shape or encoding, or for nesting
#: without end.
NO_JSON = (ValueError, RecursionError)

#: More digits than this are no position, size or second of anything.
_WHOLE = re.compile(r"[0-9]{1,15}")


def whole(text: str) -> int | None:
    """A whole number from a header, a token or a link; None for whatever else, other digits than ours included."""
    return int(text) if _WHOLE.fullmatch(text) else None


#: One part: from a byte to another, from one on, or so many from the end.
_RANGE = re.compile(r"bytes=(?=.*[0-9])([0-9]{0,18})-([0-9]{0,18})")


def range_of(size: int, asked: str) -> tuple[int, int] | None:
    """The first byte of what a header `Range` asks for and how many there are, none or fewer where nothing of that is
    there; None where it asks for no part, or for several, and is to have the whole.
    """
    found = _RANGE.fullmatch(asked.strip())
    if found is None:
        return None
    if not found[1]:
        length = min(int(found[2]), size)
        return size - length, length
    first = int(found[1])
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    return first, last - first + 1


class NoTimeZone(Invalid):
    """A moment needs a time zone, as in 2026-11-22T10:00:00Z."""


class NoSuchMoment(Invalid):
    """A moment lies between the years 2 and 9998."""


def check_moment(moment: datetime, loc: tuple[str | int, ...]) -> datetime:
    """The moment, if it can be compared with those that are kept; raises NoTimeZone or NoSuchMoment."""
    if moment.tzinfo is None:
        raise NoTimeZone(loc=loc)
    if not EARLIEST <= moment <= LATEST:
        raise NoSuchMoment(loc=loc)
    return moment


class BadIdempotencyKey(Invalid):
    """An Idempotency-Key has 1 to 255 printable characters."""


def stored(body: bytes, status: int = 200) -> Response[bytes]:
    """JSON as it lies in the read model, untouched."""
    return Kept(body, status_code=status, media_type="application/json")


@dataclass(frozen=True)
class Execute:
    """Decides commands that are asked for over HTTP; see `commands.kernel.Execute`."""

    decide: commands.kernel.Execute
    origins: Origins

    async def __call__(self, command: Command, context: Context) -> int:
        """The position of the last event written, 0 when the wish was already so."""
        position = await self.decide(command, context)
        origin = ORIGIN.get()
        # What nobody in particular has asked is nobody's to look at, so it is not kept where they did it from.
        if position and origin is not None and not context.is_anonymous:
            kind, _, who = context.actor.partition(":")
            person_id = who if kind == "person" else origin.person_id
            self.origins.note(context.workspace_id, context.correlation_id, person_id, *origin[1:])
        return position


class Origin(NamedTuple):
    """Whose credential a request bears, where it comes from, and what its client calls it."""

    person_id: str | None
    ip: str
    user_agent: str
    request_id: str


#: Where the request at hand comes from.
ORIGIN: ContextVar[Origin | None] = ContextVar("origin", default=None)


class RefusedUrl(Invalid):
    """{problem}"""


def check_url(web: Web, url: str, loc: tuple[str | int, ...]) -> str:
    """Refuse an address we would never connect to, as far as can be told without asking anybody."""
    try:
        web.check_url(url)
    except Exception as problem:
        if not hasattr(problem, "transient"):
            raise
        raise RefusedUrl(problem=str(problem), loc=loc) from problem
    return url


@dataclass(frozen=True)
class Claims:
    """Tells requests that are sent again by their idempotency keys."""

    settings: Idempotency

    def of(self, request: Request[Any, Any, Any], tenant: str, payload: object) -> Once | None:
        """The claim of a request that came with an `Idempotency-Key`, within its workspace and route."""
        key = request.headers.get("idempotency-key")
        if key is None:
            return None
        if not 1 <= len(key) <= 255 or not key.isprintable():
            raise BadIdempotencyKey(loc=("header", "Idempotency-Key"))
        return self.under(key, request, tenant, payload)

    def under(self, key: str, request: Request[Any, Any, Any], tenant: str, payload: object) -> Once:
        """The claim of a request under a key, within its workspace and route."""
        # By its handler, which may answer under more than one path.
        route = f"{request.method} {request.route_handler.handler_name} {sorted(request.path_params.items())}"
        claim = hashlib.sha256(f"{tenant}\n{route}\n{key}".encode()).hexdigest()
        digest = hashlib.sha256(json.encode(payload, order="sorted")).hexdigest()
        lifetime = timedelta(hours=self.settings.idempotency_hours)
        return Once(claim_id=claim, payload_digest=digest, lifetime=lifetime)


IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(name="Idempotency-Key", description="The same key within 24 hours gives the same job."),
]
