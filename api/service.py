"""The service about itself: alive, ready, which version."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import structs

from adapters.readiness import Parts, Readiness
from api.answers import Answer


@dataclass(frozen=True)
class Ports:
    """What can be said about the service."""

    readiness: Readiness


@get("/health", tags=["service"])
async def get_health() -> dict[str, str]:
    """Whether the process lives."""
    return {"status": "ok"}


class Ready(Parts, kw_only=True):
    """Whether it is `ready`, and each part."""

    status: str


@get("/ready", tags=["service"])
async def get_ready(ports: NamedDependency[Ports]) -> Response[Ready]:
    """Whether it can really serve; 503 and what is missing otherwise.

    `objects` tells of the object store, without which all but uploads and details is served: it does not decide. Nor
    does `landlock`, without which what makes beats is confined less, nor how far read models are behind (positions of
    the log, seconds), or that what is given up is parked.
    """
    parts = await ports.readiness.parts()
    ready = Ready(status="ready" if parts.is_ready else "not ready", **structs.asdict(parts))
    return Answer(ready, status_code=200 if parts.is_ready else 503)


#: Asked for once: it is read from a file.
VERSION = version("ledgerline")


@get("/version", tags=["service"])
async def get_version() -> dict[str, str]:
    """Which version answers."""
    return {"name": "ledgerline", "version": VERSION}
