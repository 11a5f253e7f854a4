"""A workspace: what its members own together. It always has exactly one owner."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Literal

from msgspec import field
from msgspec.structs import replace

from domain.kernel import Category, Conflict, Event, Exhausted, Forbidden, NotFound, State, Value, personal

Role = Literal["owner", "admin", "member", "viewer"]

#: From the one who may do most to the one who may do least.
ROLES: tuple[Role, ...] = ("owner", "admin", "member", "viewer")


class WorkspaceOpened(Event):
    """There is a new workspace."""

    workspace_id: str
    name: Annotated[str, personal("workspace_id")]
    opened_at: datetime


class WorkspaceRenamed(Event):
    """The workspace goes by another name."""

    workspace_id: str
    name: Annotated[str, personal("workspace_id")]
    renamed_at: datetime


class MemberAdded(Event):
    """A person belongs to the workspace from now on."""

    workspace_id: str
    person_id: str
    role: Role
    added_at: datetime


class MemberRoleChanged(Event):
    """A member may do more or less than before."""

    workspace_id: str
    person_id: str
    role: Role
    changed_at: datetime


class MemberRemoved(Event):
    """A person has left the workspace, or was asked to."""

    workspace_id: str
    person_id: str
    removed_at: datetime


class OwnershipTransferred(Event):
    """The workspace has another owner; the one before is an admin now."""

    workspace_id: str
    from_person_id: str
    to_person_id: str
    transferred_at: datetime


class InvitationSent(Event):
    """A letter that invites somebody is on its way; its token is written down nowhere."""

    workspace_id: str
    invitation_id: str
    email: Annotated[str, personal("address_digest")]
    email_digest: str
    address_digest: str
    role: Role
    invited_by: str
    sent_at: datetime
    expires_at: datetime


class InvitationRevoked(Event):
    """The invitation has been withdrawn."""

    workspace_id: str
    invitation_id: str
    revoked_at: datetime


class InvitationAccepted(Event):
    """The invited person has come."""

    workspace_id: str
    invitation_id: str
    person_id: str
    accepted_at: datetime


class InvitationDeclined(Event):
    """The invited person does not want to come."""

    workspace_id: str
    invitation_id: str
    declined_at: datetime


class InviteeForgotten(Event):
    """Whoever reads mail at an address has been erased, and with them the address in our invitations."""

    workspace_id: str
    email_digest: str
    forgotten_at: datetime
    #: The subject that sealed the address until then: who is invited since is not meant. Old ones do not say.
    address_digest: str | None = None

    def concerns(self, email_digest: str, address_digest: str) -> bool:
        """Whether an invitation to an address is among those that it is struck from."""
        return email_digest == self.email_digest and self.address_digest in (None, address_digest)


class WorkspaceReclaimed(Event):
    """Whoever reads the mail of its owner's address has come; what was handed out before then opens nothing.

    Anybody can register anybody's address. Contexts void what they gave to whoever did, as part of this.
    """

    workspace_id: str
    person_id: str
    reclaimed_at: datetime


class WorkspaceForgotten(Event):
    """The workspace is erased: what was personal can no longer be read, and nobody can act in it."""

    workspace_id: str
    forgotten_at: datetime

    @property
    def stragglers_until(self) -> datetime:
        """When nothing that had begun before is still on its way, so that all it has stored can be found."""
        return self.forgotten_at + timedelta(days=1)


InvitationOutcome = Literal["accepted", "declined", "revoked"]


class Invitation(Value):
    """An invitation that has not been answered."""

    email_digest: str
    role: Role
    expires_at: datetime
    invited_by: str
    address_digest: str


class Workspace(State):
    """What rules need to know of a workspace."""

    open: bool = False
    name: str = ""
    roles: dict[str, Role] = field(default_factory=dict)
    invitations: dict[str, Invitation] = field(default_factory=dict)
    #: How invitations have ended, so that a second answer can be told from a stranger's.
    answered: dict[str, InvitationOutcome] = field(default_factory=dict)
    #: How often each person has become a member: what was opened as an earlier one opens nothing.
    memberships: dict[str, int] = field(default_factory=dict)
    #: How often it was reclaimed: what was handed out before the last time is void.
    tenancy: int = 0

    def demand(self, person_id: str, role: Role) -> None:
        """Refuse somebody who may not do what takes this role; for strangers there is no such workspace."""
        held = self.roles.get(person_id)
        if held is None:
            raise NoSuchWorkspace
        if ROLES.index(held) > ROLES.index(role):
            raise RoleIsTooLow(role=role)

    def is_led_by(self, person_id: str) -> bool:
        """Whether somebody may decide who belongs to it."""
        return self.roles.get(person_id) in ("owner", "admin")

    def answering(self, invitation_id: str, how: InvitationOutcome) -> Invitation | None:
        """An invitation for as long as it is open; None when this has been its answer. Else it is over, or unknown."""
        given = self.answered.get(invitation_id)
        if given is not None and given != how:
            raise InvitationIsOver
        if given is None and invitation_id not in self.invitations:
            raise NoSuchInvitation
        return self.invitations.get(invitation_id)


def evolve(  # noqa: C901, PLR0911 - one for each event
    workspace: Workspace, event: Event
) -> Workspace:
    """A workspace after one more event."""
    roles, invitations = workspace.roles, workspace.invitations
    match event:
        case WorkspaceOpened():
            return replace(workspace, open=True, name=event.name)
        case WorkspaceRenamed():
            return replace(workspace, name=event.name)
        case MemberAdded():
            times = workspace.memberships.get(event.person_id, 0) + 1
            return replace(
                workspace,
                roles=roles | {event.person_id: event.role},
                memberships=workspace.memberships | {event.person_id: times},
            )
        case MemberRoleChanged():
            return replace(workspace, roles=roles | {event.person_id: event.role})
        case MemberRemoved():
            return replace(workspace, roles={who: role for who, role in roles.items() if who != event.person_id})
        case OwnershipTransferred():
            changed: dict[str, Role] = {event.from_person_id: "admin", event.to_person_id: "owner"}
            return replace(workspace, roles=roles | changed)
        case InvitationSent():
            made = Invitation(
                email_digest=event.email_digest,
                role=event.role,
                expires_at=event.expires_at,
                invited_by=event.invited_by,
                address_digest=event.address_digest,
            )
            return replace(workspace, invitations=invitations | {event.invitation_id: made})
        case InvitationRevoked() | InvitationAccepted() | InvitationDeclined():
            return _answered(workspace, event)
        case InviteeForgotten():
            left = {
                each: made
                for each, made in invitations.items()
                if not event.concerns(made.email_digest, made.address_digest)
            }
            return replace(workspace, invitations=left)
        case WorkspaceReclaimed():
            return replace(workspace, tenancy=workspace.tenancy + 1)
        case WorkspaceForgotten():
            return Workspace()
    return workspace


def _answered(workspace: Workspace, event: InvitationRevoked | InvitationAccepted | InvitationDeclined) -> Workspace:
    how: Literal["accepted", "declined", "revoked"] = "revoked"
    match event:
        case InvitationAccepted():
            how = "accepted"
        case InvitationDeclined():
            how = "declined"
    answered = event.invitation_id
    return replace(
        workspace,
        invitations={each: made for each, made in workspace.invitations.items() if each != answered},
        answered=workspace.answered | {answered: how},
    )


class NoSuchWorkspace(NotFound):
    """There is no such workspace."""


class NoSuchMember(NotFound):
    """There is no such member in this workspace."""


class NoSuchInvitation(NotFound):
    """There is no such invitation."""


class RoleIsTooLow(Forbidden):
    """This needs the role {role} in the workspace."""


class WorkspaceHasOneOwner(Conflict):
    """A workspace has exactly one owner. Transfer the ownership instead."""


class OwnerStays(Conflict):
    """The owner of a workspace cannot be removed or leave. Transfer the ownership first."""


class AlreadyMember(Conflict):
    """Whoever reads mail at this address is a member of the workspace already."""


class AlreadyInvited(Conflict):
    """This address has an open invitation. Revoke it to send another one."""


class TooManyInvitations(Exhausted):
    """A workspace has at most {limit} open invitations. Revoke some of them first."""


class TooManyWorkspaces(Exhausted):
    """A person belongs to at most {limit} workspaces before they can begin another one."""


class InvitationIsOver(Conflict):
    """This invitation has expired, or was accepted, declined or revoked. Ask for a new one."""


workspaces = Category(name="workspace", initial=Workspace(), evolve=evolve, absent=NoSuchWorkspace, remembered=True)


def is_forgotten(history: Iterable[Event]) -> bool:
    """Whether a workspace with this history has been erased; one that was never opened has not."""
    return any(isinstance(event, WorkspaceForgotten) for event in history)
