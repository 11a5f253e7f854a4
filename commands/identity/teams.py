"""Who belongs to a workspace, and as what. Each rule asks the workspace itself, so two at once cannot break one."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from commands.identity.people import ChangePreferences, change_preferences, join
from commands.kernel import Command, Transaction, decides, handles, part_of
from domain.identity.people import (
    AddressInvited,
    InvitationEnded,
    NoSuchPerson,
    PersonForgotten,
    Preferences,
    WorkspaceLeft,
    email_claims,
    people,
)
from domain.identity.workspaces import (
    AlreadyInvited,
    AlreadyMember,
    Invitation,
    InvitationAccepted,
    InvitationDeclined,
    InvitationIsOver,
    InvitationRevoked,
    InvitationSent,
    InviteeForgotten,
    MemberRemoved,
    MemberRoleChanged,
    NoSuchMember,
    NoSuchWorkspace,
    OwnershipTransferred,
    OwnerStays,
    Role,
    TooManyInvitations,
    TooManyWorkspaces,
    Workspace,
    WorkspaceForgotten,
    WorkspaceHasOneOwner,
    WorkspaceOpened,
    WorkspaceReclaimed,
    WorkspaceRenamed,
    workspaces,
)
from domain.kernel import Event

INVITATION_LIFETIME = timedelta(days=7)
#: Each of them is a letter to somebody who may not want it.
OPEN_INVITATIONS_MAX = 100
#: Of one person, so that nobody fills the house with empty rooms.
WORKSPACES_MAX = 50
#: Invitations that proving an address accepts by itself.
ACCEPTED_AT_ONCE_MAX = 10


class OpenWorkspace(Command):
    """Begin a workspace of one's own."""

    workspace_id: str
    person_id: str
    name: str


@handles(OpenWorkspace)
async def open_workspace(wish: OpenWorkspace, transaction: Transaction) -> None:
    """Whoever opens it owns it."""
    workspace = await transaction.expect_new(workspaces, wish.workspace_id)
    if workspace.open:
        workspace.demand(wish.person_id, "owner")
        return
    person = await transaction.load(people, wish.person_id)
    if person.forgotten:
        raise NoSuchPerson
    if len(person.workspaces) >= WORKSPACES_MAX:
        raise TooManyWorkspaces(limit=WORKSPACES_MAX)
    transaction.record(
        workspaces,
        wish.workspace_id,
        WorkspaceOpened(workspace_id=wish.workspace_id, name=wish.name, opened_at=transaction.now),
    )
    join(transaction, wish.workspace_id, wish.person_id, "owner")


class RenameWorkspace(Command):
    """Call the workspace something else."""

    workspace_id: str
    by: str
    name: str


@decides(RenameWorkspace, workspaces)
def rename(wish: RenameWorkspace, workspace: Workspace, now: datetime) -> list[Event]:
    """An admin may, and only a change is worth noting."""
    workspace.demand(wish.by, "admin")
    if workspace.name == wish.name:
        return []
    return [WorkspaceRenamed(workspace_id=wish.workspace_id, name=wish.name, renamed_at=now)]


class ChangeProfile(Command):
    """Say what one wants mail about, and call the workspace something else: both, or neither. Null changes nothing."""

    person_id: str
    workspace_id: str
    workspace_name: str | None = None
    analysis_complete: bool | None = None
    billing_updates: bool | None = None
    product_updates: bool | None = None


@handles(ChangeProfile)
async def change_profile(wish: ChangeProfile, transaction: Transaction) -> None:
    """Each part has its own rule; what is not named stays as it is, whatever is changed beside it."""
    if wish.workspace_name is not None:
        workspace = await transaction.load(workspaces, wish.workspace_id)
        named = RenameWorkspace(workspace_id=wish.workspace_id, by=wish.person_id, name=wish.workspace_name)
        transaction.record(workspaces, wish.workspace_id, *rename(named, workspace, transaction.now))
    names = Preferences.__struct_fields__
    changed = {name: said for name in names if (said := getattr(wish, name)) is not None}
    if changed:
        person = await transaction.load(people, wish.person_id)
        preferred = ChangePreferences(person_id=wish.person_id, preferences=replace(person.preferences, **changed))
        transaction.record(people, wish.person_id, *change_preferences(preferred, person, transaction.now))


class InviteMember(Command):
    """Ask somebody, known by an address, to join."""

    workspace_id: str
    invitation_id: str
    by: str
    email: str
    email_digest: str
    role: Role


@handles(InviteMember)
async def invite(wish: InviteMember, transaction: Transaction) -> None:
    """An admin invites an address once at a time, never as a second owner."""
    now = transaction.now
    workspace = await transaction.load(workspaces, wish.workspace_id)
    workspace.demand(wish.by, "admin")
    if wish.role == "owner":
        raise WorkspaceHasOneOwner
    if wish.invitation_id in workspace.invitations or wish.invitation_id in workspace.answered:
        return
    claim = await transaction.find(email_claims, wish.email_digest)
    if claim.person_id in workspace.roles:
        raise AlreadyMember
    earlier = [each for each, made in workspace.invitations.items() if made.email_digest == wish.email_digest]
    if any(now < workspace.invitations[each].expires_at for each in earlier):
        raise AlreadyInvited
    if sum(now < made.expires_at for made in workspace.invitations.values()) >= OPEN_INVITATIONS_MAX:
        raise TooManyInvitations(limit=OPEN_INVITATIONS_MAX)
    transaction.record(
        workspaces,
        wish.workspace_id,
        InvitationSent(
            workspace_id=wish.workspace_id,
            invitation_id=wish.invitation_id,
            email=wish.email,
            email_digest=wish.email_digest,
            address_digest=claim.address_digest(wish.email_digest),
            role=wish.role,
            invited_by=wish.by,
            sent_at=now,
            expires_at=now + INVITATION_LIFETIME,
        ),
    )
    transaction.record(
        email_claims,
        wish.email_digest,
        *(_ended(wish.email_digest, wish.workspace_id, each, now) for each in earlier),
        AddressInvited(
            email_digest=wish.email_digest,
            workspace_id=wish.workspace_id,
            invitation_id=wish.invitation_id,
            invited_at=now,
        ),
    )


def _ended(email_digest: str, workspace_id: str, invitation_id: str, now: datetime) -> InvitationEnded:
    return InvitationEnded(
        email_digest=email_digest, workspace_id=workspace_id, invitation_id=invitation_id, ended_at=now
    )


async def _end(transaction: Transaction, workspace_id: str, invitation_id: str, email_digest: str) -> None:
    """Take an answered invitation off the list of its address."""
    claim = await transaction.find(email_claims, email_digest)
    if (workspace_id, invitation_id) in claim.invitations:
        ended = _ended(email_digest, workspace_id, invitation_id, transaction.now)
        transaction.record(email_claims, email_digest, ended, workspace_id=workspace_id)


async def _withdraw(transaction: Transaction, workspace_id: str, *, sent_by: str | None = None) -> None:
    """End the open invitations of a workspace, all of them or those that somebody has sent."""
    workspace = await transaction.load(workspaces, workspace_id)
    for invitation_id, made in workspace.invitations.items():
        if sent_by in (None, made.invited_by):
            revoked = InvitationRevoked(
                workspace_id=workspace_id, invitation_id=invitation_id, revoked_at=transaction.now
            )
            transaction.record(workspaces, workspace_id, revoked, workspace_id=workspace_id)
            await _end(transaction, workspace_id, invitation_id, made.email_digest)


@part_of(MemberRemoved, MemberRoleChanged)
async def withdraw_theirs(event: MemberRemoved | MemberRoleChanged, transaction: Transaction) -> None:
    """An invitation is the word of an admin: it ends with whoever has given it."""
    workspace = await transaction.load(workspaces, event.workspace_id)
    if not workspace.is_led_by(event.person_id):
        await _withdraw(transaction, event.workspace_id, sent_by=event.person_id)


@part_of(WorkspaceReclaimed)
async def withdraw_all(event: WorkspaceReclaimed, transaction: Transaction) -> None:
    """Nobody comes in by the word of whoever had the workspace before its owner came."""
    await _withdraw(transaction, event.workspace_id)


class RevokeInvitation(Command):
    """Withdraw an invitation."""

    workspace_id: str
    invitation_id: str
    by: str


@handles(RevokeInvitation)
async def revoke_invitation(wish: RevokeInvitation, transaction: Transaction) -> None:
    """An admin may, as long as nobody has answered it."""
    workspace = await transaction.load(workspaces, wish.workspace_id)
    workspace.demand(wish.by, "admin")
    made = workspace.answering(wish.invitation_id, "revoked")
    if made is None:
        return
    transaction.record(
        workspaces,
        wish.workspace_id,
        InvitationRevoked(workspace_id=wish.workspace_id, invitation_id=wish.invitation_id, revoked_at=transaction.now),
    )
    await _end(transaction, wish.workspace_id, wish.invitation_id, made.email_digest)


class AcceptInvitation(Command):
    """Come to a workspace one is invited to; that the person reads mail at the address has been proved."""

    workspace_id: str
    invitation_id: str
    person_id: str


@handles(AcceptInvitation)
async def accept(wish: AcceptInvitation, transaction: Transaction) -> None:
    """An invitation lets one person in, once and in time; whoever is a member already keeps their role."""
    workspace = await transaction.find(workspaces, wish.workspace_id)
    made = workspace.answering(wish.invitation_id, "accepted")
    if made is None and wish.person_id in workspace.roles:
        return
    if made is None or not _is_open(made, workspace, transaction.now):
        raise InvitationIsOver
    if (await transaction.load(people, wish.person_id)).forgotten:
        raise NoSuchPerson
    await _let_in(transaction, wish.workspace_id, wish.invitation_id, made, wish.person_id)


def _is_open(made: Invitation, workspace: Workspace, now: datetime) -> bool:
    """Whether an invitation may still be answered: those of admins who have gone are over, however they went."""
    return now < made.expires_at and workspace.is_led_by(made.invited_by)


async def _let_in(
    transaction: Transaction, workspace_id: str, invitation_id: str, made: Invitation, person_id: str
) -> None:
    """Accept an invitation, in the name of the workspace that it leads to."""
    accepted = InvitationAccepted(
        workspace_id=workspace_id, invitation_id=invitation_id, person_id=person_id, accepted_at=transaction.now
    )
    transaction.record(workspaces, workspace_id, accepted, workspace_id=workspace_id)
    await _end(transaction, workspace_id, invitation_id, made.email_digest)
    if person_id not in (await transaction.find(workspaces, workspace_id)).roles:
        join(transaction, workspace_id, person_id, made.role)


async def accept_all(transaction: Transaction, person_id: str, email_digest: str) -> None:
    """Whoever has just proved to read mail at an address comes to where it is invited to, oldest invitations first.

    At most so many at once: what is left waits for the next time, and can be answered by its letter.
    """
    claim = await transaction.find(email_claims, email_digest)
    for workspace_id, invitation_id in claim.invitations[:ACCEPTED_AT_ONCE_MAX]:
        workspace = await transaction.find(workspaces, workspace_id)
        made = workspace.invitations.get(invitation_id)
        if made is not None and _is_open(made, workspace, transaction.now):
            await _let_in(transaction, workspace_id, invitation_id, made, person_id)


class DeclineInvitation(Command):
    """Say no to an invitation; that one may has been proved."""

    workspace_id: str
    invitation_id: str


@handles(DeclineInvitation)
async def decline(wish: DeclineInvitation, transaction: Transaction) -> None:
    """An open invitation can be declined, and a declined one again."""
    workspace = await transaction.find(workspaces, wish.workspace_id)
    made = workspace.answering(wish.invitation_id, "declined")
    if made is None:
        return
    transaction.record(
        workspaces,
        wish.workspace_id,
        InvitationDeclined(
            workspace_id=wish.workspace_id, invitation_id=wish.invitation_id, declined_at=transaction.now
        ),
    )
    await _end(transaction, wish.workspace_id, wish.invitation_id, made.email_digest)


class ChangeRole(Command):
    """Let a member do more or less."""

    workspace_id: str
    person_id: str
    by: str
    role: Role


@decides(ChangeRole, workspaces)
def change_role(wish: ChangeRole, workspace: Workspace, now: datetime) -> list[Event]:
    """An admin may, but nobody becomes an owner or stops being the owner this way."""
    workspace.demand(wish.by, "admin")
    role = workspace.roles.get(wish.person_id)
    if role is None:
        raise NoSuchMember
    if role == wish.role:
        return []
    if "owner" in (role, wish.role):
        raise WorkspaceHasOneOwner
    return [MemberRoleChanged(workspace_id=wish.workspace_id, person_id=wish.person_id, role=wish.role, changed_at=now)]


class RemoveMember(Command):
    """Ask a member to go, or go oneself: whoever `by` is."""

    workspace_id: str
    person_id: str
    by: str


@handles(RemoveMember)
async def remove(wish: RemoveMember, transaction: Transaction) -> None:
    """An admin may remove others and everybody themselves, but the owner stays."""
    workspace = await transaction.load(workspaces, wish.workspace_id)
    workspace.demand(wish.by, "viewer" if wish.by == wish.person_id else "admin")
    role = workspace.roles.get(wish.person_id)
    if role is None:
        raise NoSuchMember
    if role == "owner":
        raise OwnerStays
    await _leave(transaction, wish.workspace_id, wish.person_id)


async def _leave(transaction: Transaction, workspace_id: str, person_id: str) -> None:
    """From now on the workspace does not know its member, nor the member the workspace."""
    removed = MemberRemoved(workspace_id=workspace_id, person_id=person_id, removed_at=transaction.now)
    transaction.record(workspaces, workspace_id, removed, workspace_id=workspace_id)
    await _go(transaction, workspace_id, person_id)


async def _go(transaction: Transaction, workspace_id: str, person_id: str) -> None:
    await transaction.load(people, person_id)
    left = WorkspaceLeft(person_id=person_id, workspace_id=workspace_id, left_at=transaction.now)
    transaction.record(people, person_id, left, workspace_id=workspace_id)


class TransferOwnership(Command):
    """Give the workspace to another member."""

    workspace_id: str
    to_person_id: str
    by: str


@decides(TransferOwnership, workspaces)
def transfer(wish: TransferOwnership, workspace: Workspace, now: datetime) -> list[Event]:
    """Only the owner may, and only to a member. To oneself it is so already."""
    workspace.demand(wish.by, "owner")
    if wish.to_person_id not in workspace.roles:
        raise NoSuchMember
    if wish.to_person_id == wish.by:
        return []
    return [
        OwnershipTransferred(
            workspace_id=wish.workspace_id,
            from_person_id=wish.by,
            to_person_id=wish.to_person_id,
            transferred_at=now,
        )
    ]


class ForgetWorkspace(Command):
    """Erase a workspace with everything in it."""

    workspace_id: str
    by: str


@handles(ForgetWorkspace)
async def forget_workspace(wish: ForgetWorkspace, transaction: Transaction) -> None:
    """Only the owner may. Everybody leaves at that moment, and open invitations end."""
    workspace = await transaction.load(workspaces, wish.workspace_id)
    if not workspace.open:
        raise NoSuchWorkspace
    workspace.demand(wish.by, "owner")
    await _erase(transaction, wish.workspace_id)


async def _erase(transaction: Transaction, workspace_id: str) -> None:
    workspace = await transaction.load(workspaces, workspace_id)
    for person_id in workspace.roles:
        await _go(transaction, workspace_id, person_id)
    for invitation_id, made in workspace.invitations.items():
        await _end(transaction, workspace_id, invitation_id, made.email_digest)
    forgotten = WorkspaceForgotten(workspace_id=workspace_id, forgotten_at=transaction.now)
    transaction.record(workspaces, workspace_id, forgotten, workspace_id=workspace_id)


@part_of(PersonForgotten)
async def leave_everything(event: PersonForgotten, transaction: Transaction) -> None:
    """Somebody who is erased leaves every workspace; one they are alone in goes too, one with others wants an owner."""
    person = await transaction.load(people, event.person_id)
    for workspace_id in person.workspaces:
        workspace = await transaction.load(workspaces, workspace_id)
        if workspace.roles.get(event.person_id) != "owner":
            await _leave(transaction, workspace_id, event.person_id)
        elif len(workspace.roles) > 1:
            raise OwnerStays
        else:
            await _erase(transaction, workspace_id)


class ForgetInvitee(Command):
    """Erase an address from the invitations of a workspace, as far as this subject has sealed it."""

    workspace_id: str
    email_digest: str
    address_digest: str | None


@handles(ForgetInvitee)
async def forget_invitee(wish: ForgetInvitee, transaction: Transaction) -> None:
    """Saying so twice erases no more than once."""
    await transaction.load(workspaces, wish.workspace_id)
    transaction.record(
        workspaces,
        wish.workspace_id,
        InviteeForgotten(
            workspace_id=wish.workspace_id,
            email_digest=wish.email_digest,
            forgotten_at=transaction.now,
            address_digest=wish.address_digest,
        ),
    )
