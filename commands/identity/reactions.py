"""What identity does by itself: letters, sessions that end, and everything that forgetting takes."""

from __future__ import annotations

from unicodedata import category

import structlog

from commands.identity.api_keys import RevokeApiKey
from commands.identity.ports import Ports
from commands.identity.sessions import CloseSession
from commands.identity.teams import ForgetInvitee
from commands.kernel import MAIL, Command, ask_all, reacts_to
from commands.ports import Letter
from domain.identity.api_keys import api_keys
from domain.identity.challenges import ChallengeIssued
from domain.identity.people import PersonForgotten, WorkspaceJoined, people
from domain.identity.sessions import SessionOpened, sessions
from domain.identity.workspaces import InvitationSent, WorkspaceForgotten, workspaces
from domain.kernel import ERASED
from domain.ledger import Recorded

#: How much of a workspace's name stands in a letter.
NAME_LENGTH_MAX = 60

log = structlog.get_logger(__name__)


def named(name: str) -> str:
    """A name that somebody chose, in quotes, as it may stand in a letter to a stranger.

    Only letters, marks, digits, spaces, hyphens and apostrophes are left of it: mail programs make links of much that
    has a dot, a colon, a slash or an @, and a letter from us must lead to nobody else.
    """
    plain = "".join(each if each in "-'’ " or category(each)[0] in "LMN" else " " for each in name)
    words = " ".join(plain.split())
    return f"“{words[:NAME_LENGTH_MAX].rstrip() or '-'}”"


async def _post(ports: Ports, to: str, subject: str, text: str, letter_id: str) -> None:
    """Hand a letter over; one that no server will ever take is not tried again."""
    if ports.post is None or to == ERASED:
        return
    try:
        await ports.post.send(Letter(letter_id=letter_id, to=to, subject=subject, text=text))
    except Exception as problem:
        if getattr(problem, "transient", True):
            raise
        log.warning("mail.refused", letter_id=letter_id, problem=str(problem))


@reacts_to(ChallengeIssued, name="mail-code", queue=MAIL)
async def mail_code(recorded: Recorded, ports: Ports) -> None:
    """Send the code, unless it has expired on the way."""
    event = recorded.event
    assert isinstance(event, ChallengeIssued)
    if ports.now() >= event.expires_at:
        return
    code = ports.secrets.code(event.challenge_id)
    await _post(
        ports,
        event.email,
        f"{code} is your Ledgerline code",
        f"Your code is {code}.\n\nIt works once, until {event.expires_at:%H:%M} UTC. "
        "If you did not ask for it, you need not do anything.\n",
        event.challenge_id,
    )


@reacts_to(InvitationSent, name="mail-invitation", queue=MAIL)
async def mail_invitation(recorded: Recorded, ports: Ports) -> None:
    """Send the invitation, unless it has been withdrawn or answered meanwhile."""
    event = recorded.event
    assert isinstance(event, InvitationSent)
    workspace = await ports.log.state(workspaces, event.workspace_id)
    if event.invitation_id not in workspace.invitations or ports.now() >= event.expires_at:
        return
    token = ports.secrets.invitation_token(event.workspace_id, event.invitation_id)
    await _post(
        ports,
        event.email,
        "You are invited to a workspace on Ledgerline",
        f"You are invited to join {named(workspace.name)} as {event.role}.\n\n"
        f"Sign in at {ports.service.url} with this address and you are in. To join with another account, send this\n"
        f"token to POST {ports.service.url}/v1/account/team/invitations/{event.invitation_id}/accept:\n\n{token}\n\n"
        f"It works once, until {event.expires_at:%d %B %Y, %H:%M} UTC. If you know nothing of this, ignore it.\n",
        event.invitation_id,
    )


@reacts_to(SessionOpened, name="end-session", due=lambda event: event.expires_at)
async def end_session(recorded: Recorded, ports: Ports) -> None:
    """An expired session opens nothing; closing it also takes it off every list."""
    event = recorded.event
    assert isinstance(event, SessionOpened)
    await ports.execute(CloseSession(session_id=event.session_id, reason="expired"), recorded.context())


@reacts_to(PersonForgotten, name="forget-person")
async def forget_person(recorded: Recorded, ports: Ports) -> None:
    """Destroy what reads their fields, close what is open in their name, and strike their address from invitations."""
    event = recorded.event
    assert isinstance(event, PersonForgotten)
    for subject in (event.address_digest, event.person_id):
        if subject is not None:
            await ports.eraser.erase(subject)
    past = (await ports.log.read(people.stream(event.person_id))).events
    joined = {each.workspace_id for each in past if isinstance(each, WorkspaceJoined)}
    opened = await ports.log.begun(sessions, joined, actor=f"person:{event.person_id}")
    wishes: list[Command] = [CloseSession(session_id=each, reason="forgotten") for each in opened]
    if event.email_digest is not None:
        wishes += [
            ForgetInvitee(workspace_id=each, email_digest=event.email_digest, address_digest=event.address_digest)
            for each in event.invited_to
        ]
    await ask_all(wishes, ports.execute, recorded.context())


@reacts_to(WorkspaceForgotten, name="forget-workspace")
async def forget_workspace(recorded: Recorded, ports: Ports) -> None:
    """Destroy what reads its fields, and erase its keys."""
    event = recorded.event
    assert isinstance(event, WorkspaceForgotten)
    await ports.eraser.erase(event.workspace_id)
    keys = await ports.log.begun(api_keys, {event.workspace_id})
    wishes = [RevokeApiKey(api_key_id=each, workspace_id=event.workspace_id, erased=True) for each in keys]
    await ask_all(wishes, ports.execute, recorded.context())
