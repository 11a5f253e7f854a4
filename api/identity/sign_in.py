"""Signing in with a mailed code, seeing where one is signed in, and signing out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from litestar import Request, Response, delete, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct, json

from api.auth import (
    ASKING,
    COOKIE,
    Asker,
    anonymous,
    inside,
    needs,
    outside_session_id,
    presented_key,
    refuse_other_sites,
)
from api.identity.devices import counted, with_device
from api.identity.ports import Ports
from api.identity.registration import ANSWERS, ANSWERS_FROM, LETTERS, MAILBOX, Email, Proof, mailbox
from api.rates import by_source, rate
from api.settings import Rates
from commands.identity.challenges import CODE_LIFETIME, IssueChallenge
from commands.identity.sessions import CloseSession, NewSession, OpenSession, RefuseToken, SignIn
from domain.identity.challenges import CodeIsWrong, challenges
from domain.identity.people import AccountHasChanged, email_claims
from domain.identity.people import people as person_streams
from domain.identity.sessions import sessions as session_streams
from domain.identity.workspaces import Role
from domain.kernel import Unavailable
from projections.identity.sessions import sessions
from projections.kernel import seconds

SIGN_INS = by_source("sign-in", Rates, lambda rates: rates.sign_in_limit_per_hour)
VERIFICATIONS = by_source("verify", Rates, lambda rates: 2 * rates.sign_in_limit_per_hour)

USER_AGENT_LENGTH_MAX = 200
#: How often we look again when an account changes under our hands.
ATTEMPTS_MAX = 3


class MailIsNotSetUp(Unavailable):
    """This server cannot send mail, so nobody can sign in with a code. Its operator sets LEDGERLINE_SMTP_URL."""


class Start(Struct):
    """Whose mailbox the code is for."""

    email: Email


class Started(Struct):
    """A code is on its way; `dev_code` is null outside development."""

    challenge_id: str
    expires_at: str
    dev_code: str | None = None


class SignedIn(Struct):
    """Who signed in, and the token that shows it from now on."""

    email: str
    expires_at: str
    user_id: str
    workspace_id: str
    session_token: str


class CurrentSession(Struct):
    """Who is asking."""

    email: str
    expires_at: str
    user_id: str
    workspace_id: str
    workspace_role: Role


class Revoked(Struct):
    """It opens nothing any more."""

    revoked: bool


class ListedSession(Struct):
    """One of the places where somebody is signed in."""

    id: str
    workspace_id: str
    created_at: str
    expires_at: str
    current: bool
    user_agent: str | None = None
    last_used_at: str | None = None


@post("/v1/auth/email/start", status_code=200, tags=["platform"], opt=rate(SIGN_INS, LETTERS, MAILBOX))
async def start_email_sign_in(
    request: Request[Any, Any, Any], data: JSONBody[Start], ports: NamedDependency[Ports]
) -> Started:
    """Send a code to an address. The answer is the same whether or not somebody is known by it."""
    vault = ports.vault
    email = mailbox(data.email)
    digest = vault.email_digest(email)
    source = await counted(request, ports, digest)
    await ports.limits.take(request, source.subject, source.name)
    is_development = ports.service.env == "development"
    if not ports.mail.can_mail and not is_development:
        raise MailIsNotSetUp
    challenge_id = vault.new_id()
    await ports.execute(
        IssueChallenge(
            challenge_id=challenge_id,
            purpose="sign_in",
            email=email,
            email_digest=digest,
            source=vault.token("source", f"{digest}/{source.name}"),
        ),
        anonymous(),
    )
    return Started(
        challenge_id=challenge_id,
        expires_at=seconds(ports.now() + CODE_LIFETIME),
        dev_code=vault.code(challenge_id) if is_development else None,
    )


@post(
    "/v1/auth/email/verify",
    status_code=200,
    tags=["platform"],
    opt={**rate(VERIFICATIONS, ANSWERS_FROM, ANSWERS), "statuses": ("403",)},
)
async def verify_email_sign_in(
    request: Request[Any, Any, Any], data: JSONBody[Proof], ports: NamedDependency[Ports]
) -> Response[SignedIn]:
    """Sign in with the newest code. It works once; whoever is new gets a workspace of their own."""
    refuse_other_sites(request.headers, ports.service.url)
    vault = ports.vault
    challenge = await ports.log.state(challenges, data.challenge_id)
    right = vault.same(vault.code(data.challenge_id), data.code)
    source = await counted(request, ports, challenge.email_digest)
    if challenge.purpose != "sign_in" or challenge.expires_at is None:
        raise CodeIsWrong
    await ports.limits.take(request, source.subject, source.name)
    context = anonymous()
    token, digest = vault.new_session_token()
    session = _new_session(request, ports, digest)
    first_key_id = await _held_key(request, ports)
    for attempt in range(1, ATTEMPTS_MAX + 1):
        person_id, workspace_id = await _whose(ports, challenge.email_digest)
        try:
            await ports.execute(
                SignIn(
                    challenge_id=data.challenge_id,
                    right=right,
                    person_id=person_id,
                    workspace_id=workspace_id,
                    session=session,
                    first_key_id=first_key_id,
                ),
                inside(context, workspace_id, person_id) if right else context,
            )
            break
        except AccountHasChanged:
            if attempt == ATTEMPTS_MAX:
                raise
    if not right:
        raise CodeIsWrong
    expires_at = await _end_of(ports, session)
    body = SignedIn(
        email=challenge.email,
        expires_at=seconds(expires_at),
        user_id=person_id,
        workspace_id=workspace_id,
        session_token=token,
    )
    return with_device(with_cookie(Response(body), ports, token), ports, challenge.email_digest, source.device_id)


async def _held_key(request: Request[Any, Any, Any], ports: Ports) -> str | None:
    """The key that whoever signs in shows beside the code, if it is one."""
    key = presented_key(request)
    access = await ports.keyring.find(ports.vault.key_digest(key)) if key else None
    return access.credential.subject_id if access is not None and access.credential.kind == "api_key" else None


async def _whose(ports: Ports, email_digest: str) -> tuple[str, str]:
    """Whose address it is, and where they work; new ids if it is nobody's."""
    person_id, workspace_id = ports.vault.new_id(), ports.vault.new_id()
    claim = await ports.log.state(email_claims, email_digest)
    if claim.person_id is not None:
        person = await ports.log.state(person_streams, claim.person_id)
        person_id = claim.person_id
        workspace_id = next(iter(person.workspaces), workspace_id)
    return person_id, workspace_id


def _new_session(request: Request[Any, Any, Any], ports: Ports, digest: str) -> NewSession:
    agent = request.headers.get("user-agent", "")
    return NewSession(
        session_id=ports.vault.new_id(),
        digest=digest,
        lifetime=timedelta(seconds=ports.settings.session_seconds_max),
        user_agent="".join(letter for letter in agent if letter.isprintable())[:USER_AGENT_LENGTH_MAX] or None,
    )


async def enter(request: Request[Any, Any, Any], ports: Ports, asker: Asker, workspace_id: str) -> tuple[str, datetime]:
    """Open a session of the asker in a workspace they belong to: its token, and when it ends."""
    token, digest = ports.vault.new_session_token()
    session = _new_session(request, ports, digest)
    await ports.execute(
        OpenSession(person_id=asker.person_id, workspace_id=workspace_id, session=session),
        inside(asker.context, workspace_id, asker.person_id),
    )
    return token, await _end_of(ports, session)


async def _end_of(ports: Ports, session: NewSession) -> datetime:
    """When the session ends, as it was written down."""
    opened = await ports.log.state(session_streams, session.session_id)
    assert opened.expires_at is not None
    return opened.expires_at


def with_cookie(response: Response[Any], ports: Ports, token: str) -> Response[Any]:
    """The response, which also leaves the token with a browser, out of reach of its scripts and of other sites."""
    response.set_cookie(
        Cookie(
            key=COOKIE,
            value=token,
            path="/",
            max_age=int(ports.settings.session_seconds_max),
            secure=ports.service.url.startswith("https://"),
            httponly=True,
            samesite="lax",
        )
    )
    return response


@get("/v1/auth/session", tags=["platform"], opt=needs(None, "viewer"))
async def get_session() -> CurrentSession:
    """Who is signed in, where, and until when."""
    # Asked with every page of everybody: it takes no parameters, because injecting one costs more than all of this.
    asker = ASKING.get()
    assert asker.role is not None
    assert asker.expires_at is not None
    return CurrentSession(
        email=asker.email,
        expires_at=seconds(asker.expires_at),
        user_id=asker.person_id,
        workspace_id=asker.workspace_id,
        workspace_role=asker.role,
    )


@post("/v1/auth/logout", status_code=200, tags=["platform"], opt=needs(None, "viewer"))
async def logout(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Response[Revoked]:
    """Sign out: the token opens nothing any more, in any process."""
    if asker.is_outsider:
        await ports.execute(
            RefuseToken(session_id=outside_session_id(asker.digest), digest=asker.digest), asker.context
        )
    else:
        await ports.execute(CloseSession(session_id=asker.credential_id, reason="logout"), asker.context)
    response = Response(Revoked(revoked=True))
    response.delete_cookie(COOKIE)
    return response


@get("/v1/auth/sessions", tags=["platform"], opt=needs(None, "viewer"))
async def list_sessions(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> list[ListedSession]:
    """Everywhere the person asking is signed in, newest first."""
    found = [json.decode(body) for _, body in await ports.directory.children(sessions, asker.person_id)]
    now = seconds(ports.now())
    used = await ports.uses.of([each["id"] for each in found])
    return [
        ListedSession(
            id=each["id"],
            workspace_id=each["workspace_id"],
            created_at=each["created_at"],
            expires_at=each["expires_at"],
            current=each["id"] == asker.credential_id,
            user_agent=each["user_agent"],
            last_used_at=seconds(used[each["id"]]) if each["id"] in used else None,
        )
        for each in found
        if each["expires_at"] > now
    ]


@delete("/v1/auth/sessions/{session_id:str}", status_code=200, tags=["platform"], opt=needs(None, "viewer"))
async def revoke_session(
    session_id: FromPath[Annotated[str, Meta(max_length=64)]],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Revoked:
    """Sign out somewhere else."""
    await ports.execute(CloseSession(session_id=session_id, reason="revoked", person_id=asker.person_id), asker.context)
    return Revoked(revoked=True)
