"""Connecting a workspace with GitHub, and disconnecting it."""

from __future__ import annotations

from commands.kernel import Command, Transaction, handles, part_of
from domain.identity.workspaces import WorkspaceForgotten, WorkspaceReclaimed
from domain.repositories.connections import (
    AccountType,
    GithubConnected,
    GithubDisconnected,
    InstallationElsewhere,
    InstallationGone,
    InstallationIsGone,
    InstallationTaken,
    connections,
    installations,
)


class ConnectGithub(Command):
    """Let a workspace use an installation; whoever sends it has confirmed that its person may.

    `gone`: how often it had been taken out of its account when GitHub was asked.
    """

    workspace_id: str
    installation_id: int
    account_login: str
    account_type: AccountType
    gone: int = 0


@handles(ConnectGithub)
async def connect(wish: ConnectGithub, transaction: Transaction) -> None:
    """An installation belongs to one workspace, and a workspace has one."""
    known = await transaction.find(connections, wish.workspace_id)
    if known.installation_id == wish.installation_id:
        return
    taken = await transaction.find(installations, str(wish.installation_id))
    if taken.workspace_id not in ("", wish.workspace_id):
        raise InstallationElsewhere
    if taken.gone != wish.gone:
        raise InstallationIsGone
    await _disconnect(wish.workspace_id, transaction)
    theirs = InstallationTaken(
        installation_id=str(wish.installation_id), workspace_id=wish.workspace_id, taken_at=transaction.now
    )
    transaction.record(installations, theirs.installation_id, theirs)
    connected = GithubConnected(
        workspace_id=wish.workspace_id,
        installation_id=wish.installation_id,
        account_login=wish.account_login,
        account_type=wish.account_type,
        connected_at=transaction.now,
    )
    transaction.record(connections, wish.workspace_id, connected)


class DisconnectGithub(Command):
    """Use it no more."""

    workspace_id: str


@handles(DisconnectGithub)
async def disconnect(wish: DisconnectGithub, transaction: Transaction) -> None:
    """What is not connected is not disconnected."""
    await _disconnect(wish.workspace_id, transaction)


class NoteInstallationGone(Command):
    """Take note that an installation was taken out of its account at GitHub."""

    installation_id: str


@handles(NoteInstallationGone)
async def note_gone(wish: NoteInstallationGone, transaction: Transaction) -> None:
    """It is written down also where nobody has it: whoever is about to connect it has asked GitHub before that.

    Told again it is as it was, until somebody has it again.
    """
    taken = await transaction.find(installations, wish.installation_id)
    if taken.gone and not taken.workspace_id:
        return
    gone = InstallationGone(installation_id=wish.installation_id, gone_at=transaction.now)
    transaction.record(installations, wish.installation_id, gone)
    if taken.workspace_id:
        await _disconnect(taken.workspace_id, transaction)


@part_of(WorkspaceReclaimed, WorkspaceForgotten)
async def disconnect_theirs(event: WorkspaceReclaimed | WorkspaceForgotten, transaction: Transaction) -> None:
    """An installation of whoever had the workspace before its owner came is not its owner's, and one of a workspace
    that is no more is free for another.
    """
    await _disconnect(event.workspace_id, transaction)


async def _disconnect(workspace_id: str, transaction: Transaction) -> None:
    known = await transaction.find(connections, workspace_id)
    if known.installation_id is None:
        return
    await transaction.find(installations, str(known.installation_id))
    gone = GithubDisconnected(
        workspace_id=workspace_id, installation_id=known.installation_id, disconnected_at=transaction.now
    )
    transaction.record(connections, workspace_id, gone, workspace_id=workspace_id)
    free = InstallationTaken(installation_id=str(known.installation_id), workspace_id="", taken_at=transaction.now)
    transaction.record(installations, free.installation_id, free, workspace_id=workspace_id)
