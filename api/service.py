"""The service about itself: alive, ready, which version."""

from __future__ import annotations

from importlib.metadata import version

from litestar import Response, get
from litestar.di import NamedDependency

from api.services import Services


@get("/health", tags=["service"])
async def get_health() -> dict[str, str]:
    """Whether the process lives."""
    return {"status": "ok"}


@get("/ready", tags=["service"])
async def get_ready(services: NamedDependency[Services]) -> Response[dict[str, str]]:
    """Whether it can really serve; 503 and what is missing otherwise.

    `objects` tells of the object store, without which all but uploads and details is served: it does not decide.
    """
    parts = await services.readiness()
    ready = all(state == "ok" for part, state in parts.items() if part != "objects")
    return Response({"status": "ready" if ready else "not ready", **parts}, status_code=200 if ready else 503)


#: Asked for once: it is read from a file.
VERSION = version("ledgerline")


@get("/version", tags=["service"])
async def get_version() -> dict[str, str]:
    """Which version answers."""
    return {"name": "ledgerline", "version": VERSION}
