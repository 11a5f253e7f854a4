"""Distribution accounts: added, renamed, given a browser profile, removed."""

from __future__ import annotations

from datetime import datetime

from commands.kernel import Command, Transaction, decides, handles, part_of
from domain.catalogue.accounts import (
    Account,
    AccountIsInUse,
    DistributionAccountAdded,
    DistributionAccountRemoved,
    DistributionAccountRenamed,
    DistributionProfileAssigned,
    accounts,
)
from domain.catalogue.browser_profiles import BrowserProfileAssigned, BrowserProfileRemoved, browser_profiles
from domain.identity.workspaces import workspaces
from domain.kernel import Event


class AddAccount(Command):
    """Hand releases in under an account."""

    account_id: str
    workspace_id: str
    service: str
    name: str


class RenameAccount(Command):
    """Call an account otherwise."""

    account_id: str
    workspace_id: str
    name: str


class AssignProfile(Command):
    """Say which browser profile signs in to an account; None: none does."""

    account_id: str
    workspace_id: str
    profile_id: int | None


class RemoveAccount(Command):
    """Hand nothing in under an account any more."""

    account_id: str
    workspace_id: str


@decides(AddAccount, accounts, creates=True)
def add(wish: AddAccount, account: Account, now: datetime) -> list[Event]:
    """An account is added once under one id."""
    if account.workspace_id:
        return []
    return [
        DistributionAccountAdded(
            account_id=wish.account_id,
            workspace_id=wish.workspace_id,
            service=wish.service,
            name=wish.name,
            added_at=now,
        )
    ]


@decides(RenameAccount, accounts)
def rename(wish: RenameAccount, account: Account, now: datetime) -> list[Event]:
    """Only what a workspace has can it rename."""
    check_own(account, wish.workspace_id)
    if account.name == wish.name:
        return []
    return [
        DistributionAccountRenamed(
            account_id=wish.account_id, workspace_id=wish.workspace_id, name=wish.name, renamed_at=now
        )
    ]


@handles(AssignProfile)
async def assign(wish: AssignProfile, transaction: Transaction) -> None:
    """Account and profile are both the workspace's; both remember it, so that neither outlives the other unseen.

    The profile also where it remembers the account already: whoever removes it in this moment must not miss it.
    """
    account = await transaction.load(accounts, wish.account_id)
    check_own(account, wish.workspace_id)
    if wish.profile_id == account.profile_id:
        return
    if wish.profile_id is not None:
        profile = await transaction.load(browser_profiles, str(wish.profile_id))
        profile.serves(wish.workspace_id, await transaction.find(workspaces, wish.workspace_id))
        told = BrowserProfileAssigned(
            profile_id=wish.profile_id, account_id=wish.account_id, assigned_at=transaction.now
        )
        transaction.record(browser_profiles, str(wish.profile_id), told)
    done = DistributionProfileAssigned(
        account_id=wish.account_id, profile_id=wish.profile_id, assigned_at=transaction.now
    )
    transaction.record(accounts, wish.account_id, done)


@part_of(BrowserProfileRemoved)
async def let_go(event: BrowserProfileRemoved, transaction: Transaction) -> None:
    """A profile that is no more signs in nowhere."""
    profile = await transaction.find(browser_profiles, str(event.profile_id))
    for account_id in sorted(profile.account_ids):
        account = await transaction.find(accounts, account_id)
        if account.profile_id == event.profile_id:
            none = DistributionProfileAssigned(account_id=account_id, profile_id=None, assigned_at=transaction.now)
            transaction.record(accounts, account_id, none)


@decides(RemoveAccount, accounts)
def remove(wish: RemoveAccount, account: Account, now: datetime) -> list[Event]:
    """An account is removed once nothing is under way there."""
    check_own(account, wish.workspace_id)
    if account.under_way:
        raise AccountIsInUse
    return [DistributionAccountRemoved(account_id=wish.account_id, workspace_id=wish.workspace_id, removed_at=now)]


def check_own(account: Account, workspace_id: str) -> None:
    """Refuse an account that the workspace has not, or has no more."""
    if account.workspace_id != workspace_id:
        raise accounts.absent
