"""What routes have in common: stored JSON as an answer, idempotency keys."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from litestar import Request, Response
from litestar.params import HeaderParameter
from msgspec import Meta, json

from api.answers import Answer
from api.services import Services
from commands.analyses.analyses import Once
from domain.kernel import Invalid

Url = Annotated[str, Meta(min_length=1, max_length=2048)]


class BadIdempotencyKey(Invalid):
    """An Idempotency-Key has 1 to 255 printable characters."""


def stored(body: bytes, status: int = 200) -> Response[bytes]:
    """JSON as it lies in the read model, untouched."""
    return Answer(body, status_code=status, media_type="application/json")


def once(request: Request[Any, Any, Any], services: Services, workspace_id: str, payload: object) -> Once | None:
    """The claim of a request that came with an `Idempotency-Key`, within its workspace and route."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or not key.isprintable():
        raise BadIdempotencyKey(loc=("header", "Idempotency-Key"))
    return claim_of(request, services, workspace_id, key, payload)


def claim_of(request: Request[Any, Any, Any], services: Services, workspace_id: str, key: str, payload: object) -> Once:
    """The claim of a request under a key, within its workspace and route."""
    # By its handler, which may answer under more than one path.
    route = f"{request.method} {request.route_handler.handler_name} {sorted(request.path_params.items())}"
    claim = hashlib.sha256(f"{workspace_id}\n{route}\n{key}".encode()).hexdigest()
    digest = hashlib.sha256(json.encode(payload, order="sorted")).hexdigest()
    return Once(claim_id=claim, payload_digest=digest, lifetime=services.idempotency_lifetime)


IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(name="Idempotency-Key", description="The same key within 24 hours gives the same job."),
]
