"""Signing in, changing to another workspace, and signing out."""

from __future__ import annotations

from datetime import datetime, timedelta

from commands.identity.challenges import answer
from commands.identity.people import enrol, found, prove
from commands.identity.teams import accept_all
from commands.kernel import Command, Transaction, decides, handles
from domain.identity.challenges import CodeIsWrong, challenges
from domain.identity.people import AccountHasChanged, email_claims, people
from domain.identity.sessions import NoSuchSession, Reason, Session, SessionClosed, SessionOpened, sessions
from domain.identity.workspaces import NoSuchWorkspace, workspaces
from domain.kernel import Event, Value


class NewSession(Value):
    """A session about to be opened: its id, the digest of its token, how long it lasts, and in which program."""

    session_id: str
    digest: str
    lifetime: timedelta
    user_agent: str | None = None


class SignIn(Command):
    """Give the code that was mailed; whether it is right has been compared in constant time already.

    `person_id` is whose address it is, as far as can be seen, or a new id; `workspace_id` is one of theirs, or new.
    """

    challenge_id: str
    right: bool
    person_id: str
    workspace_id: str
    session: NewSession
    #: The first key of the account, where whoever signs in holds it.
    first_key_id: str | None = None


@handles(SignIn)
async def sign_in(wish: SignIn, transaction: Transaction) -> None:
    """The newest code of a source opens a session once; whoever is new is registered with a workspace."""
    now = transaction.now
    challenge = await transaction.find(challenges, wish.challenge_id)
    if challenge.purpose != "sign_in":
        raise CodeIsWrong
    opened = await transaction.expect_new(sessions, wish.session.session_id)
    if challenge.passed and opened.person_id == wish.person_id:
        return
    verdict = answer(wish.challenge_id, challenge, wish.right, now)
    claim = await transaction.find(email_claims, challenge.email_digest)
    if wish.challenge_id not in claim.codes.values():
        raise CodeIsWrong
    transaction.record(challenges, wish.challenge_id, verdict)
    if not wish.right:
        return
    if claim.person_id is None:
        await enrol(transaction, wish.person_id, wish.workspace_id, challenge.email, challenge.email_digest)
    elif claim.person_id != wish.person_id:
        raise AccountHasChanged
    person = await transaction.find(people, wish.person_id)
    if not person.workspaces:
        await found(transaction, wish.person_id, wish.workspace_id, f"{challenge.email.split('@')[0]}'s workspace")
    elif wish.workspace_id not in person.workspaces:
        raise AccountHasChanged
    await prove(transaction, wish.person_id, challenge.email_digest, keeps=wish.first_key_id)
    await accept_all(transaction, wish.person_id, challenge.email_digest)
    await _open(transaction, wish.session, wish.person_id, wish.workspace_id)


async def _open(transaction: Transaction, session: NewSession, person_id: str, workspace_id: str) -> None:
    """A session is opened for as long as somebody is a member; being a member again later does not open it again."""
    now = transaction.now
    workspace = await transaction.find(workspaces, workspace_id)
    transaction.record(
        sessions,
        session.session_id,
        SessionOpened(
            session_id=session.session_id,
            person_id=person_id,
            workspace_id=workspace_id,
            digest=session.digest,
            opened_at=now,
            expires_at=now + session.lifetime,
            user_agent=session.user_agent,
            membership=workspace.memberships.get(person_id, 1),
        ),
    )


class OpenSession(Command):
    """Work in another workspace that one belongs to."""

    person_id: str
    workspace_id: str
    session: NewSession


@handles(OpenSession)
async def open_session(wish: OpenSession, transaction: Transaction) -> None:
    """Only a member gets in; for everybody else there is no such workspace."""
    workspace = await transaction.load(workspaces, wish.workspace_id)
    if wish.person_id not in workspace.roles:
        raise NoSuchWorkspace
    opened = await transaction.expect_new(sessions, wish.session.session_id)
    if opened.person_id:
        return
    await _open(transaction, wish.session, wish.person_id, wish.workspace_id)


class CloseSession(Command):
    """Make a token useless; with `person_id`, only one of this person's own."""

    session_id: str
    reason: Reason
    person_id: str | None = None


@decides(CloseSession, sessions)
def close(wish: CloseSession, session: Session, now: datetime) -> list[Event]:
    """A session closes once. Another person's is no session."""
    if wish.person_id is not None and session.person_id != wish.person_id:
        raise NoSuchSession
    if session.closed:
        return []
    return [SessionClosed(session_id=wish.session_id, digest=session.digest, closed_at=now, reason=wish.reason)]


class RefuseToken(Command):
    """Never again accept another service's token; `session_id` follows from the token."""

    session_id: str
    digest: str


@decides(RefuseToken, sessions, creates=True)
def refuse(wish: RefuseToken, session: Session, now: datetime) -> list[Event]:
    """Once is enough."""
    if session.closed:
        return []
    return [SessionClosed(session_id=wish.session_id, digest=wish.digest, closed_at=now)]
