"""Browser profiles: kept, used, removed."""

from __future__ import annotations

from datetime import datetime

from commands.kernel import Command, Transaction, decides, handles
from domain.catalogue.browser_profiles import (
    BrowserProfile,
    BrowserProfileImported,
    BrowserProfileRemoved,
    BrowserProfileUsed,
    browser_profiles,
)
from domain.identity.workspaces import workspaces
from domain.kernel import Event


class ImportBrowserProfile(Command):
    """Write down that cookies were kept."""

    profile_id: int
    workspace_id: str
    name: str
    cookie_count: int


class UseBrowserProfile(Command):
    """Ask for the cookies, and say for what."""

    profile_id: int
    workspace_id: str
    use_id: str
    purpose: str


class RemoveBrowserProfile(Command):
    """Keep the cookies no longer."""

    profile_id: int
    workspace_id: str


@handles(ImportBrowserProfile)
async def keep(wish: ImportBrowserProfile, transaction: Transaction) -> None:
    """A profile is kept once under one id."""
    if (await transaction.expect_new(browser_profiles, str(wish.profile_id))).workspace_id:
        return
    kept = BrowserProfileImported(
        profile_id=wish.profile_id,
        workspace_id=wish.workspace_id,
        name=wish.name,
        cookie_count=wish.cookie_count,
        imported_at=transaction.now,
        tenancy=(await transaction.find(workspaces, wish.workspace_id)).tenancy,
    )
    transaction.record(browser_profiles, str(wish.profile_id), kept)


@handles(UseBrowserProfile)
async def use(wish: UseBrowserProfile, transaction: Transaction) -> None:
    """Only its own workspace uses a profile, and every use is written down before it happens."""
    profile = await transaction.load(browser_profiles, str(wish.profile_id))
    profile.serves(wish.workspace_id, await transaction.find(workspaces, wish.workspace_id))
    if wish.use_id not in profile.uses:
        used = BrowserProfileUsed(
            profile_id=wish.profile_id, use_id=wish.use_id, purpose=wish.purpose, used_at=transaction.now
        )
        transaction.record(browser_profiles, str(wish.profile_id), used)


@decides(RemoveBrowserProfile, browser_profiles)
def remove(wish: RemoveBrowserProfile, profile: BrowserProfile, now: datetime) -> list[Event]:
    """A profile is removed once, by its own workspace."""
    if profile.workspace_id != wish.workspace_id or profile.removed:
        raise browser_profiles.absent
    return [BrowserProfileRemoved(profile_id=wish.profile_id, removed_at=now)]
