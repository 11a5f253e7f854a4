"""Who is asking: an API key in `X-API-Key` or as a bearer token, and how often it may."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from litestar import Request
from litestar.datastructures import Headers

from api.services import Services, Verdict
from domain.identity.workspaces import Role
from domain.kernel import Exhausted, Forbidden, Unauthenticated, Value
from domain.ledger import Context
from projections.identity.credentials import Credential
from projections.identity.people import Person, people

WINDOW_SECONDS = 60
#: Where the verdict on a request waits for its headers to be written.
RATE = "ledgerline_rate"


class MissingOrInvalidKey(Unauthenticated):
    """Missing or invalid API key."""


class EmailNotVerified(Forbidden):
    """Verify your email address before using this key."""


class MissingScope(Forbidden):
    """This key lacks the scope {scope}."""


class SessionRequired(Forbidden):
    """An API key cannot do this. Sign in and use a session."""


class RoleIsTooLow(Forbidden):
    """This needs the role {role} in the workspace."""


class RateLimitExceeded(Exhausted):
    """Rate limit exceeded. {limit} requests per {window_seconds}s."""


class Asker(Value):
    """On whose behalf a request is made."""

    workspace_id: str
    person_id: str
    actor: str
    scopes: tuple[str, ...]
    correlation_id: UUID

    #: The role of the person behind a session; a key has none, only scopes.
    role: Role | None = None

    @property
    def context(self) -> Context:
        """In whose name its commands are recorded."""
        return Context(workspace_id=self.workspace_id, actor=self.actor, correlation_id=self.correlation_id)

    def may(self, needed: Needs) -> None:
        """Refuse what a key was not made for, or what a person's role does not allow."""
        if self.role is None:
            if needed.scope is None:
                raise SessionRequired
            if needed.scope not in self.scopes:
                raise MissingScope(scope=needed.scope)
        elif ROLES.index(self.role) > ROLES.index(needed.role):
            raise RoleIsTooLow(role=needed.role)


#: From the one who may do most to the one who may do least.
ROLES: tuple[Role, ...] = ("owner", "admin", "member", "viewer")


class Needs(Value):
    """What a route asks of whoever calls it: a scope of a key (none: no key will do), a role of a person."""

    scope: str | None
    role: Role


def needs(scope: str | None, role: Role) -> dict[str, Needs]:
    """The `opt` of a protected route; a route without it is public, which a test lists."""
    return {"needs": Needs(scope=scope, role=role)}


def presented_key(headers: Headers) -> str | None:
    """The key a request carries; both headers are accepted on every surface."""
    key = headers.get("x-api-key")
    if key is None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else None
    return key or None


async def asker(request: Request[Any, Any, Any], services: Services) -> Asker:
    """The dependency of every protected route."""
    key = presented_key(request.headers)
    if key is None or len(key) > 256:
        raise MissingOrInvalidKey
    credential = await services.keyring.find(services.vault.key_digest(key))
    if credential is None or credential.revoked or _expired(credential, services.now()):
        raise MissingOrInvalidKey
    await limit(request, services, credential.api_key_id, services.rules.rate_limit_per_minute, WINDOW_SECONDS)
    if services.rules.email_verification_required:
        await _require_verified(services, credential)
    found = Asker(
        workspace_id=credential.workspace_id,
        person_id=credential.person_id,
        actor=f"api_key:{credential.api_key_id}",
        scopes=credential.scopes,
        correlation_id=correlation_id(request.headers),
    )
    found.may(request.route_handler.opt["needs"])
    return found


async def limit(
    request: Request[Any, Any, Any], services: Services, key: str, per_window: int, window_seconds: int
) -> None:
    """Count a request under a key, note what to tell about it, and refuse it when it is one too many."""
    verdict = await services.limiter.take(key, per_window, window_seconds)
    request.scope["state"][RATE] = verdict
    if not verdict.allowed:
        raise RateLimitExceeded(
            limit=verdict.limit, window_seconds=verdict.window_seconds, retry_after_seconds=verdict.reset_seconds
        )


def rate_headers(verdict: Verdict) -> list[tuple[bytes, bytes]]:
    """The headers of the analysis and platform surfaces: the reset is in seconds from now."""
    return [
        (b"x-ratelimit-limit", b"%d" % verdict.limit),
        (b"x-ratelimit-remaining", b"%d" % verdict.remaining),
        (b"x-ratelimit-reset", b"%d" % verdict.reset_seconds),
    ]


def client_address(request: Request[Any, Any, Any]) -> str:
    """Where a request comes from."""
    client = request.client
    return client.host if client else "unknown"


def correlation_id(headers: Headers) -> UUID:
    """The id that joins everything a request leads to: the client's `X-Request-ID` when it is a UUID."""
    try:
        return UUID(headers.get("x-request-id", ""))
    except ValueError:
        return uuid4()


def anonymous(request: Request[Any, Any, Any]) -> Context:
    """The context of what nobody in particular asks."""
    return Context(actor="anonymous", correlation_id=correlation_id(request.headers))


def _expired(credential: Credential, now: datetime) -> bool:
    return credential.expires_at is not None and now >= credential.expires_at


async def _require_verified(services: Services, credential: Credential) -> None:
    from msgspec import json

    body = await services.reads.find(people, credential.person_id, credential.workspace_id)
    if body is None or not json.decode(body, type=Person).verified:
        raise EmailNotVerified
