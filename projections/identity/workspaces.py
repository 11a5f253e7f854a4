"""A workspace with its members and invitations."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import field
from msgspec.structs import replace

from domain.identity.workspaces import (
    InvitationAccepted,
    InvitationDeclined,
    InvitationRevoked,
    InvitationSent,
    InviteeForgotten,
    MemberAdded,
    MemberRemoved,
    MemberRoleChanged,
    NoSuchWorkspace,
    OwnershipTransferred,
    Role,
    WorkspaceForgotten,
    WorkspaceOpened,
    WorkspaceReclaimed,
    WorkspaceRenamed,
)
from domain.kernel import ERASED, Event, Value
from projections.kernel import Document, Projection, projection


class Invitation(Value):
    """An invitation and what became of it; that it has expired shows when it is looked at."""

    invitation_id: str
    email: str
    email_digest: str
    role: Role
    created_at: datetime
    expires_at: datetime
    status: Literal["pending", "accepted", "revoked"] = "pending"
    accepted_at: datetime | None = None
    revoked_at: datetime | None = None
    address_digest: str = ""


class Workspace(Document):
    """Its name, who belongs to it in the order they came, and who is invited."""

    workspace_id: str
    name: str
    members: dict[str, Role]
    invitations: tuple[Invitation, ...] = ()
    forgotten: bool = False
    #: How often each person has become a member.
    memberships: dict[str, int] = field(default_factory=dict)
    #: How often it was reclaimed.
    tenancy: int = 0


def evolve(  # noqa: C901, PLR0911, PLR0912 - one for each event
    workspace: Workspace | None, event: Event
) -> Workspace | None:
    """The workspace after one more event."""
    match workspace, event:
        case _, WorkspaceOpened():
            return Workspace(workspace_id=event.workspace_id, name=event.name, members={})
        case Workspace(), WorkspaceRenamed():
            return replace(workspace, name=event.name)
        case Workspace(), MemberAdded():
            times = workspace.memberships.get(event.person_id, 0) + 1
            return replace(
                workspace,
                members=workspace.members | {event.person_id: event.role},
                memberships=workspace.memberships | {event.person_id: times},
            )
        case Workspace(), MemberRoleChanged():
            return replace(workspace, members=workspace.members | {event.person_id: event.role})
        case Workspace(), MemberRemoved():
            left = {who: role for who, role in workspace.members.items() if who != event.person_id}
            return replace(workspace, members=left)
        case Workspace(), OwnershipTransferred():
            changed: dict[str, Role] = {event.from_person_id: "admin", event.to_person_id: "owner"}
            return replace(workspace, members=workspace.members | changed)
        case Workspace(), InvitationSent():
            return replace(workspace, invitations=(*workspace.invitations, _sent(event)))
        case Workspace(), InvitationAccepted():
            return _answered(workspace, event.invitation_id, status="accepted", accepted_at=event.accepted_at)
        case Workspace(), InvitationRevoked():
            return _answered(workspace, event.invitation_id, status="revoked", revoked_at=event.revoked_at)
        case Workspace(), InvitationDeclined():
            return _answered(workspace, event.invitation_id, status="revoked", revoked_at=event.declined_at)
        case Workspace(), InviteeForgotten():
            return _without_address(workspace, event)
        case Workspace(), WorkspaceReclaimed():
            return replace(workspace, tenancy=workspace.tenancy + 1)
        case Workspace(), WorkspaceForgotten():
            return Workspace(workspace_id=workspace.workspace_id, name="", members={}, forgotten=True)
    return workspace


def _sent(event: InvitationSent) -> Invitation:
    return Invitation(
        invitation_id=event.invitation_id,
        email=event.email,
        email_digest=event.email_digest,
        role=event.role,
        created_at=event.sent_at,
        expires_at=event.expires_at,
        address_digest=event.address_digest,
    )


def _answered(workspace: Workspace, invitation_id: str, **how: Any) -> Workspace:
    return replace(
        workspace,
        invitations=tuple(
            replace(each, **how) if each.invitation_id == invitation_id else each for each in workspace.invitations
        ),
    )


def _without_address(workspace: Workspace, event: InviteeForgotten) -> Workspace:
    def scrubbed(made: Invitation) -> Invitation:
        if not event.concerns(made.email_digest, made.address_digest):
            return made
        if made.status == "pending":
            return replace(made, email=ERASED, status="revoked", revoked_at=event.forgotten_at)
        return replace(made, email=ERASED)

    return replace(workspace, invitations=tuple(map(scrubbed, workspace.invitations)))


workspaces: Projection[Any] = projection(
    "workspaces",
    Workspace,
    on={
        WorkspaceOpened: "workspace_id",
        WorkspaceRenamed: "workspace_id",
        MemberAdded: "workspace_id",
        MemberRoleChanged: "workspace_id",
        MemberRemoved: "workspace_id",
        OwnershipTransferred: "workspace_id",
        InvitationSent: "workspace_id",
        InvitationRevoked: "workspace_id",
        InvitationAccepted: "workspace_id",
        InvitationDeclined: "workspace_id",
        InviteeForgotten: "workspace_id",
        WorkspaceReclaimed: "workspace_id",
        WorkspaceForgotten: "workspace_id",
    },
    evolve=evolve,
    begins=(WorkspaceOpened,),
    absent=NoSuchWorkspace,
    stream="workspace",
    version=3,
    outlives_workspaces=True,
)
