"""Who is asking: an API key, a session or an outside provider's token, and how often it may.

`guard` stands before every route that declares what it `needs`, whether or not its handler cares who asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from random import getrandbits
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from litestar import Request
from litestar.datastructures import Headers
from litestar.types import HTTPReceiveMessage, Receive, WebSocketReceiveMessage
from msgspec.structs import replace

from adapters.identity.keyring import Keyring
from adapters.identity.last_uses import Uses
from adapters.identity.outside_tokens import Claims, OutsideTokens
from adapters.log.eventlog import EventLog
from adapters.operators.credentials import Operators
from adapters.vault import Vault
from adapters.web.rate_limits import network_of
from api.kernel import Execute
from api.rates import REFUSED, Limits
from api.surfaces import SAFE_METHODS, surface_of
from commands.identity.people import LinkIdentity
from commands.identity.settings import Identity
from commands.kernel import Now, derived_id
from commands.settings import Service
from domain.identity.people import AccountHasChanged, email_claims, people
from domain.identity.workspaces import ROLES, Role, RoleIsTooLow
from domain.kernel import Forbidden, Unauthenticated, Value
from domain.ledger import Authority, Context
from projections.identity.credentials import Access, Credential

#: The cookie of a session, for browsers; it names this service, since cookies know no ports.
COOKIE = "ledgerline_session"
#: The cookie of a device on which somebody has signed in before.
DEVICE_COOKIE = "ledgerline_device"
#: A bearer of several workspaces says in which one to act, where the token itself does not.
WORKSPACE_HEADER = "x-workspace-id"
TOKEN_LENGTH_MAX = 256
OUTSIDE_TOKEN_LENGTH_MAX = 16_384

#: Whoever sends their body later than this after their headers is looked at again when it is there.
LATE_SECONDS = 0.05

#: In place of a scope: every key opens this, because what it leads to asks for scopes of its own.
ANY = "*"

Connection = Request[Any, Any, Any]


class MissingOrInvalidKey(Unauthenticated):
    """Missing or invalid API key."""


class EmailNotVerified(Forbidden):
    """Verify your email address before using this key."""


class MissingScope(Forbidden):
    """This key lacks the scope {scope}."""


class NotAnOperator(Unauthenticated):
    """Show the credential of an operator: the file operator_token in the data directory of `up` has it."""


class SessionRequired(Forbidden):
    """An API key cannot do this. Sign in and use a session."""


class FromAnotherSite(Forbidden):
    """A browser sent this from another site, or did not say from where. Send the token in a header instead."""


class Asker(Value):
    """On whose behalf a request is made."""

    workspace_id: str
    person_id: str
    actor: str
    scopes: tuple[str, ...]
    correlation_id: UUID

    #: The role of the person behind a session; a key has none, only scopes.
    role: Role | None = None
    #: The session, or the key, and the digest it is known by.
    credential_id: str = ""
    digest: str = ""
    email: str = ""
    expires_at: datetime | None = None
    #: The token is another service's, so that only its own service could take it back.
    is_outsider: bool = False
    #: How often its workspace has begun anew.
    tenancy: int = 0
    authority: Authority | None = None
    #: Looks again, after a while: whoever would be let in no more is refused.
    again: Callable[[], Awaitable[Asker]] | None = None

    @property
    def context(self) -> Context:
        """In whose name its commands are recorded."""
        return Context(
            workspace_id=self.workspace_id,
            actor=self.actor,
            correlation_id=self.correlation_id,
            authority=self.authority,
        )

    @property
    def tenant(self) -> str:
        """The workspace in its present hands: what whoever had it before has left behind is not theirs."""
        return self.workspace_id if not self.tenancy else f"{self.workspace_id}/{self.tenancy}"

    def may(self, needed: Needs) -> None:
        """Refuse what a key was not made for, or what a person's role does not allow."""
        if self.role is None:
            if needed.scope is None:
                raise SessionRequired
            if needed.scope not in (ANY, *self.scopes):
                raise MissingScope(scope=needed.scope)
        elif ROLES.index(self.role) > ROLES.index(needed.role):
            raise RoleIsTooLow(role=needed.role)


#: Whom the guard let in. Each request is a task of its own, and so is its context.
ASKING: ContextVar[Asker] = ContextVar("asking")


class Needs(Value):
    """What a route asks of whoever calls it: a scope of a key (`ANY`, or none: no key will do), a role of a person."""

    scope: str | None
    role: Role


def needs(scope: str | None, role: Role) -> dict[str, Needs]:
    """The `opt` of a protected route; a route without it is public, which a test lists."""
    return {"needs": Needs(scope=scope, role=role)}


def operator_only() -> dict[str, bool]:
    """The `opt` of a route that is for operators alone."""
    return {"operator": True}


def header(request: Connection, name: bytes) -> str | None:
    """A header of a request, straight from the server: the framework's own view of all of them costs more than all
    that the guard does besides."""
    for each, value in request.scope["headers"]:
        if each == name:
            return value.decode("latin-1")
    return None


def cookie(request: Connection, name: bytes) -> str | None:
    """A cookie of a request by its name, and none of the others: they are somebody else's, and may be made to be slow.

    What we set has neither quotes nor escapes, so what has them is not ours.
    """
    for header_name, value in request.scope["headers"]:
        if header_name == b"cookie":
            for pair in value.split(b";"):
                key, _, text = pair.strip(b" \t").partition(b"=")
                if key == name:
                    return text.decode("latin-1")
    return None


def presented_key(request: Connection) -> str | None:
    """The key or token a request carries in a header; both headers are accepted on every surface."""
    key = header(request, b"x-api-key")
    if key is None:
        scheme, _, token = (header(request, b"authorization") or "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else None
    return key or None


@dataclass(frozen=True)
class Authentication:
    """What it takes to know who is asking."""

    execute: Execute
    log: EventLog
    now: Now
    vault: Vault
    keyring: Keyring
    uses: Uses
    #: None where no outside identity provider is trusted.
    outside: OutsideTokens | None
    limits: Limits
    operators: Operators
    settings: Identity
    service: Service


async def guard(request: Connection, auth: Authentication) -> None:
    """Let in whoever a protected route is for; runs before anything of the request but its headers is read."""
    opt = request.route_handler.opt
    if "operator" in opt:
        await _demand_operator(request, auth)
    needed = opt.get("needs")
    if needed is not None:
        found = await _admitted(request, auth, needed)
        found.may(needed)
        ASKING.set(found)
        if request.method not in SAFE_METHODS:
            request.receive = _asking_again(request.receive, found)
    if any(each.by in ("address", "source") for each in opt.get("rates", ())):
        has_device = cookie(request, DEVICE_COOKIE.encode()) is not None
        await auth.limits.take_declared(request, counted_address(request), has_device=has_device)


async def _demand_operator(request: Connection, auth: Authentication) -> None:
    """Let in nobody but operators; no key of a workspace is an operator's."""
    token = presented_key(request)
    if token is None or not await auth.operators.knows(token):
        await auth.limits.count(request, REFUSED, counted_address(request))
        raise NotAnOperator


def _asking_again(receive: Receive, let_in: Asker) -> Receive:
    """The body of a request; once one that came late is whole, whoever sent it must still be let in.

    The append of what follows is refused to them in any case; but an answer may tell something without one.
    """
    began = monotonic()

    async def message() -> HTTPReceiveMessage | WebSocketReceiveMessage:
        part = await receive()
        if part["type"] == "http.request" and not part.get("more_body", False) and monotonic() - began > LATE_SECONDS:
            await still(let_in)
        return part

    return message


async def still(let_in: Asker) -> None:
    """Refuse whoever was let in a while ago and would not be let in now; a guest has no right that ends."""
    if let_in.again is not None:
        await let_in.again()


async def _admitted(connection: Connection, auth: Authentication, needed: Needs) -> Asker:
    token = presented_key(connection)
    if token is None:
        token = cookie(connection, COOKIE.encode())
        if token is not None and connection.method not in SAFE_METHODS:
            demand_own_site(connection.headers, auth.service.url)
    if not token:
        return await _guest(connection, auth, needed)
    # What is known is used without waiting, because most requests come from those who asked a moment ago.
    access = auth.keyring.known(auth.vault.key_digest(token)) or await _access(connection, auth, token)
    if access is None or _expired(access, auth.now()):
        await auth.limits.count(connection, REFUSED, counted_address(connection))
        raise MissingOrInvalidKey
    credential = access.credential
    await auth.limits.count(connection, surface_of(connection.scope).rate_of(connection.method), _counted(credential))
    if credential.kind != "outside":
        auth.uses.note(credential.subject_id)
    return _asker(connection, auth, token, needed, access)


def _counted(credential: Credential) -> str:
    """Under what a request counts: each key has a limit of its own, a person has one in all of their sessions.

    Anybody can have another session as often as they like.
    """
    return credential.subject_id if credential.kind == "api_key" else f"person/{credential.person_id}"


async def _guest(connection: Connection, auth: Authentication, needed: Needs) -> Asker:
    """Whoever shows no credential, where a surface lets them in: they may do what a key of one workspace may."""
    surface = surface_of(connection.scope)
    workspace_id = surface.guest(auth.limits.sections)
    if workspace_id is None:
        raise MissingOrInvalidKey
    if connection.method not in SAFE_METHODS:
        # There is no secret that a page of another site would lack.
        refuse_other_sites(connection.headers, auth.service.url)
    await auth.limits.count(connection, surface.rate, f"guest/{counted_address(connection)}")
    return Asker(
        workspace_id=workspace_id,
        person_id="",
        actor="guest",
        scopes=() if needed.scope is None else (needed.scope,),
        correlation_id=correlation_id(),
        credential_id="guest",
    )


def _asker(connection: Connection, auth: Authentication, token: str, needed: Needs, access: Access) -> Asker:
    credential = access.credential
    is_key = credential.kind == "api_key"
    if is_key and not access.verified and auth.settings.email_verification_required:
        raise EmailNotVerified
    return Asker(
        workspace_id=credential.workspace_id,
        person_id=credential.person_id,
        actor=f"api_key:{credential.subject_id}" if is_key else f"person:{credential.person_id}",
        scopes=credential.scopes,
        correlation_id=correlation_id(),
        role=access.role,
        credential_id=credential.subject_id,
        digest=access.digest,
        email=access.email,
        expires_at=credential.expires_at,
        is_outsider=credential.kind == "outside",
        tenancy=access.tenancy,
        authority=Authority(
            relies_on=access.relies_on, renew=partial(_renewed, connection, auth, token, needed, access)
        ),
        again=partial(_again, connection, auth, token, needed, access),
    )


async def _renewed(
    connection: Connection, auth: Authentication, token: str, needed: Needs, before: Access
) -> Authority:
    """The right of whoever was let in as it is now, after something that it was seen in has changed."""
    auth.keyring.doubt(before)
    again = await _again(connection, auth, token, needed, before)
    assert again.authority is not None
    return again.authority


async def _again(connection: Connection, auth: Authentication, token: str, needed: Needs, before: Access) -> Asker:
    """Whoever was let in, if they would be let in now: their body may have come long after their headers."""
    access = await _access(connection, auth, token)
    if access is None or _expired(access, auth.now()) or access.tenancy != before.tenancy:
        raise MissingOrInvalidKey
    again = _asker(connection, auth, token, needed, access)
    again.may(needed)
    return again


async def _access(connection: Connection, auth: Authentication, token: str) -> Access | None:
    if len(token) <= TOKEN_LENGTH_MAX and token.count(".") != 2:
        return await auth.keyring.find(auth.vault.key_digest(token))
    if auth.outside is None or len(token) > OUTSIDE_TOKEN_LENGTH_MAX:
        return None
    claims = await auth.outside.read(token)
    if claims is None:
        return None
    workspace_id = connection.headers.get(WORKSPACE_HEADER) or None
    access = await _outsider(auth, token, claims, workspace_id)
    if access is None and workspace_id is None:
        await _welcome(auth, claims, correlation_id())
        access = await _outsider(auth, token, claims, None)
    return access


async def _outsider(auth: Authentication, token: str, claims: Claims, workspace_id: str | None) -> Access | None:
    digest = auth.vault.key_digest(token)
    return await auth.keyring.outsider(
        digest, identity_id(claims), workspace_id, outside_session_id(digest), claims.expires_at
    )


def identity_id(claims: Claims) -> str:
    """What an outside identity is known by here: the digest of who says so and whom they mean."""
    return hashlib.sha256(f"{claims.issuer}\n{claims.subject}".encode()).hexdigest()


def outside_session_id(digest: str) -> str:
    """The session that an outside token stands for, closed once somebody has signed out with it."""
    return derived_id("outside token", digest)


async def _welcome(auth: Authentication, claims: Claims, correlation: UUID) -> None:
    """Know an outside identity from now on: as the person with its verified address, or as somebody new."""
    vault = auth.vault
    digest = vault.email_digest(claims.email) if claims.email is not None else None
    for attempt in (1, 2, 3):
        person_id, workspace_id = vault.new_id(), vault.new_id()
        if digest is not None:
            claim = await auth.log.state(email_claims, digest)
            if claim.person_id is not None:
                person = await auth.log.state(people, claim.person_id)
                person_id = claim.person_id
                workspace_id = next(iter(person.workspaces), workspace_id)
        context = Context(workspace_id=workspace_id, actor=f"person:{person_id}", correlation_id=correlation)
        try:
            await auth.execute(
                LinkIdentity(
                    identity_id=identity_id(claims),
                    person_id=person_id,
                    workspace_id=workspace_id,
                    email=claims.email or "",
                    email_digest=digest,
                ),
                context,
            )
        except AccountHasChanged:
            if attempt == 3:
                raise
        else:
            return


def demand_own_site(headers: Headers, url: str) -> None:
    """Refuse what a browser sends on behalf of another site, because it sends our cookie along."""
    if not _is_own_site(headers, url, unknown=False):
        raise FromAnotherSite


def refuse_other_sites(headers: Headers, url: str) -> None:
    """Refuse what is certainly sent from another site: nobody is to be signed in by it unawares."""
    if not _is_own_site(headers, url, unknown=True):
        raise FromAnotherSite


def _is_own_site(headers: Headers, url: str, *, unknown: bool) -> bool:
    origin = headers.get("origin")
    if origin is not None:
        # Only a page of ours can have the origin that it is talking to.
        return origin == _origin(url) or _place(origin) == headers.get("host", "-")
    site = headers.get("sec-fetch-site")
    return unknown if site is None else site in ("same-origin", "none")


def _place(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def client_address(request: Request[Any, Any, Any]) -> str:
    """Where a request comes from."""
    client = request.client
    return client.host if client else "unknown"


def counted_address(request: Request[Any, Any, Any]) -> str:
    """What limits count requests from."""
    return network_of(client_address(request))


def correlation_id() -> UUID:
    """The id that joins everything a request leads to. It is ours: a client's own would join what others do with it."""
    # It joins things and protects nothing, so it need not come from the kernel's randomness, which is a system call.
    return UUID(int=getrandbits(128), version=4)


def anonymous() -> Context:
    """The context of what nobody in particular asks."""
    return Context(actor="anonymous", correlation_id=correlation_id())


def inside(context: Context, workspace_id: str, person_id: str) -> Context:
    """The same request, in the name of a person in a workspace."""
    return replace(context, workspace_id=workspace_id, actor=f"person:{person_id}")


def _expired(access: Access, now: datetime) -> bool:
    return access.credential.expires_at is not None and now >= access.credential.expires_at
