"""Who belongs to the workspace, and who is invited."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from litestar import Request, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from api.auth import Asker, anonymous, inside, needs
from api.identity.ports import Ports
from api.identity.registration import LETTERS, MAILBOX, Email, mailbox
from api.identity.sign_in import Revoked
from api.rates import by_address, rate
from api.settings import Rates
from commands.identity.teams import (
    AcceptInvitation,
    ChangeRole,
    DeclineInvitation,
    InviteMember,
    RemoveMember,
    RevokeInvitation,
    TransferOwnership,
)
from domain.identity.workspaces import NoSuchInvitation, NoSuchMember, NoSuchWorkspace, Role
from domain.kernel import ERASED
from domain.ledger import PUBLIC
from projections.identity.people import Person, people
from projections.identity.workspaces import Invitation as InvitationDocument
from projections.identity.workspaces import Workspace, workspaces
from projections.kernel import seconds

PersonId = FromPath[Annotated[str, Meta(max_length=64)]]
InvitationId = FromPath[Annotated[str, Meta(max_length=64)]]


DECLINES = by_address("decline", Rates, lambda rates: rates.sign_in_limit_per_hour)


class Member(Struct):
    """Somebody who belongs to the workspace."""

    email: str
    role: Role
    status: Literal["active"]
    user_id: str


class Invitation(Struct):
    """Somebody who may come to the workspace, or might have."""

    accepted_at: str | None
    created_at: str
    email: str
    expires_at: str
    id: str
    revoked_at: str | None
    role: Role
    status: Literal["pending", "accepted", "revoked", "expired"]


class Team(Struct):
    """Everybody, and everybody invited."""

    invitations: list[Invitation]
    members: list[Member]


class NewInvitation(Struct):
    """Whom to invite, and as what."""

    email: Email
    role: Role = "member"


class InvitationReply(Struct, forbid_unknown_fields=True):
    """The token of the letter."""

    token: Annotated[str, Meta(min_length=1, max_length=256)]


class Accepted(Struct):
    """One belongs to the workspace now."""

    accepted: bool
    role: Role
    workspace_id: str
    workspace_name: str


class Declined(Struct):
    """The invitation is over."""

    declined: bool


class NewRole(Struct):
    """What a member shall be."""

    role: Role


class ChangedMember(Struct):
    """The member as they are now, and whether anything has changed."""

    member: Member
    updated: bool


class RemovedMember(Struct):
    """They do not belong to the workspace any more."""

    removed: bool


class Left(Struct):
    """One does not belong to the workspace any more."""

    left: bool


class Transferred(Struct):
    """The new owner and the one before."""

    owner: Member
    previous_owner: Member
    transferred: bool


@get("/v1/account/team", tags=["platform"], opt=needs(None, "viewer"))
async def get_team(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Team:
    """Who belongs to the workspace, and who is invited."""
    workspace = await _workspace(ports, asker.workspace_id)
    now = ports.now()
    return Team(
        invitations=[_invitation(each, now) for each in reversed(workspace.invitations)],
        members=await _members(ports, workspace, list(workspace.members)),
    )


@post("/v1/account/team/invitations", tags=["platform"], opt={**needs(None, "admin"), **rate(LETTERS, MAILBOX)})
async def invite_member(
    request: Request[Any, Any, Any],
    data: JSONBody[NewInvitation],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Invitation:
    """Invite somebody by mail. Signing in with that address within seven days accepts; so does the letter's token."""
    email = mailbox(data.email)
    digest = ports.vault.email_digest(email)
    # A letter to this mailbox, as a code is: inviting, revoking and inviting again must not fill it.
    await ports.limits.take(request, digest, asker.workspace_id)
    invitation_id = ports.vault.new_id()
    await ports.execute(
        InviteMember(
            workspace_id=asker.workspace_id,
            invitation_id=invitation_id,
            by=asker.person_id,
            email=email,
            email_digest=digest,
            role=data.role,
        ),
        asker.context,
    )
    workspace = await _workspace(ports, asker.workspace_id)
    made = next(each for each in workspace.invitations if each.invitation_id == invitation_id)
    return _invitation(made, ports.now())


@delete(
    "/v1/account/team/invitations/{invitation_id:str}", status_code=200, tags=["platform"], opt=needs(None, "admin")
)
async def revoke_invitation(
    invitation_id: InvitationId, ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Revoked:
    """Withdraw an invitation that nobody has answered."""
    await ports.execute(
        RevokeInvitation(workspace_id=asker.workspace_id, invitation_id=invitation_id, by=asker.person_id),
        asker.context,
    )
    return Revoked(revoked=True)


@post(
    "/v1/account/team/invitations/{invitation_id:str}/accept",
    status_code=200,
    tags=["platform"],
    opt=needs(None, "viewer"),
)
async def accept_invitation(
    invitation_id: InvitationId,
    data: JSONBody[InvitationReply],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Accepted:
    """Come to the workspace that a letter invites to, as the person asking, whatever address it was sent to."""
    workspace_id = ports.vault.invited_to(data.token, invitation_id)
    if workspace_id is None:
        raise NoSuchInvitation
    await ports.execute(
        AcceptInvitation(workspace_id=workspace_id, invitation_id=invitation_id, person_id=asker.person_id),
        inside(asker.context, workspace_id, asker.person_id),
    )
    workspace = await _workspace(ports, workspace_id)
    return Accepted(
        accepted=True,
        role=workspace.members[asker.person_id],
        workspace_id=workspace_id,
        workspace_name=workspace.name,
    )


@post(
    "/v1/account/team/invitations/{invitation_id:str}/decline",
    status_code=200,
    tags=["platform"],
    opt=rate(DECLINES),
)
async def decline_invitation(
    invitation_id: InvitationId,
    data: JSONBody[InvitationReply],
    ports: NamedDependency[Ports],
) -> Declined:
    """Say no. The letter's token is enough: nobody needs an account to be left in peace."""
    workspace_id = ports.vault.invited_to(data.token, invitation_id)
    if workspace_id is None:
        raise NoSuchInvitation
    context = inside(anonymous(), workspace_id, PUBLIC)
    await ports.execute(DeclineInvitation(workspace_id=workspace_id, invitation_id=invitation_id), context)
    return Declined(declined=True)


@patch("/v1/account/team/members/{user_id:str}", tags=["platform"], opt=needs(None, "admin"))
async def change_member(
    user_id: PersonId, data: JSONBody[NewRole], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> ChangedMember:
    """Let a member do more or less. The owner changes only by a transfer of ownership."""
    position = await ports.execute(
        ChangeRole(workspace_id=asker.workspace_id, person_id=user_id, by=asker.person_id, role=data.role),
        asker.context,
    )
    workspace = await _workspace(ports, asker.workspace_id)
    return ChangedMember(member=await _member(ports, workspace, user_id), updated=position > 0)


@delete("/v1/account/team/members/{user_id:str}", status_code=200, tags=["platform"], opt=needs(None, "admin"))
async def remove_member(
    user_id: PersonId, ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> RemovedMember:
    """Ask a member to go. Their sessions in this workspace end at once; keys belong to the workspace and stay."""
    await ports.execute(
        RemoveMember(workspace_id=asker.workspace_id, person_id=user_id, by=asker.person_id), asker.context
    )
    return RemovedMember(removed=True)


@post("/v1/account/team/leave", status_code=200, tags=["platform"], opt=needs(None, "viewer"))
async def leave_team(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Left:
    """Leave the workspace. Its owner cannot, before somebody else owns it."""
    await ports.execute(
        RemoveMember(workspace_id=asker.workspace_id, person_id=asker.person_id, by=asker.person_id), asker.context
    )
    return Left(left=True)


@post(
    "/v1/account/team/members/{user_id:str}/transfer-ownership",
    status_code=200,
    tags=["platform"],
    opt=needs(None, "owner"),
)
async def transfer_ownership(
    user_id: PersonId, ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Transferred:
    """Give the workspace to another member. Whoever owned it is an admin from then on."""
    position = await ports.execute(
        TransferOwnership(workspace_id=asker.workspace_id, to_person_id=user_id, by=asker.person_id), asker.context
    )
    workspace = await _workspace(ports, asker.workspace_id)
    return Transferred(
        owner=await _member(ports, workspace, user_id),
        previous_owner=await _member(ports, workspace, asker.person_id),
        transferred=position > 0,
    )


async def _workspace(ports: Ports, workspace_id: str) -> Workspace:
    found: Workspace | None = await ports.directory.find(workspaces, workspace_id)
    if found is None or found.forgotten:
        raise NoSuchWorkspace
    return found


async def _member(ports: Ports, workspace: Workspace, person_id: str) -> Member:
    if person_id not in workspace.members:
        raise NoSuchMember
    return (await _members(ports, workspace, [person_id]))[0]


async def _members(ports: Ports, workspace: Workspace, person_ids: list[str]) -> list[Member]:
    known: dict[str, Person] = await ports.directory.many(people, person_ids)
    return [
        Member(
            email=known[each].email if each in known else ERASED,
            role=workspace.members[each],
            status="active",
            user_id=each,
        )
        for each in person_ids
    ]


def _invitation(made: InvitationDocument, now: datetime) -> Invitation:
    return Invitation(
        accepted_at=seconds(made.accepted_at) if made.accepted_at else None,
        created_at=seconds(made.created_at),
        email=made.email,
        expires_at=seconds(made.expires_at),
        id=made.invitation_id,
        revoked_at=seconds(made.revoked_at) if made.revoked_at else None,
        role=made.role,
        status="expired" if made.status == "pending" and now >= made.expires_at else made.status,
    )
