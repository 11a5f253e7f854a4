"""Connecting a workspace with GitHub, and disconnecting it."""

from __future__ import annotations

from commands.kernel import Command, Transaction, handles
from domain.repositories.connections import (
    AccountType,
    GithubConnected,
    GithubDisconnected,
    InstallationElsewhere,
    InstallationTaken,
    connections,
    installations,
)


class ConnectGithub(Command):
    """Let a workspace use an installation; whoever sends it has confirmed that its person may."""

    workspace_id: str
    installation_id: int
    account_login: str
    account_type: AccountType


@handles(ConnectGithub)
async def connect(wish: ConnectGithub, transaction: Transaction) -> None:
    """An installation belongs to one workspace, and a workspace has one."""
    known = await transaction.find(connections, wish.workspace_id)
    if known.installation_id == wish.installation_id:
        return
    taken = await transaction.find(installations, str(wish.installation_id))
    if taken.workspace_id not in ("", wish.workspace_id):
        raise InstallationElsewhere
    if known.installation_id is not None:
        await transaction.find(installations, str(known.installation_id))
        _release(transaction, wish.workspace_id, known.installation_id)
        _take(transaction, known.installation_id, "")
    _take(transaction, wish.installation_id, wish.workspace_id)
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
    known = await transaction.find(connections, wish.workspace_id)
    if known.installation_id is None:
        return
    await transaction.find(installations, str(known.installation_id))
    _release(transaction, wish.workspace_id, known.installation_id)
    _take(transaction, known.installation_id, "")


def _release(transaction: Transaction, workspace_id: str, installation_id: int) -> None:
    gone = GithubDisconnected(
        workspace_id=workspace_id, installation_id=installation_id, disconnected_at=transaction.now
    )
    transaction.record(connections, workspace_id, gone)


def _take(transaction: Transaction, installation_id: int, workspace_id: str) -> None:
    taken = InstallationTaken(installation_id=str(installation_id), workspace_id=workspace_id, taken_at=transaction.now)
    transaction.record(installations, str(installation_id), taken)
