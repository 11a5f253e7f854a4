"""The service about itself: alive, ready, which version."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from litestar import Response, get
from litestar.di import NamedDependency

from adapters.readiness import Readiness
from api.answers import Answer


@dataclass(frozen=True)
class Ports:
    """What can be said about the service."""

    readiness: Readiness


@get("/health", tags=["service"])
async def get_health() -> dict[str, str]:
    """Whether the process lives."""
    return {"status": "ok"}


@get("/ready", tags=["service"])
async def get_ready(ports: NamedDependency[Ports]) -> Response[dict[str, str]]:
    """Whether it can really serve; 503 and what is missing otherwise.

    `objects` tells of the object store, without which all but uploads and details is served: it does not decide.
    """
    parts = await ports.readiness.parts()
    ready = all(state == "ok" for part, state in parts.items() if part != "objects")
    return Answer({"status": "ready" if ready else "not ready", **parts}, status_code=200 if ready else 503)


#: Asked for once: it is read from a file.
VERSION = version("ledgerline")


@get("/version", tags=["service"])
async def get_version() -> dict[str, str]:
    """Which version answers."""
    return {"name": "ledgerline", "version": VERSION}
