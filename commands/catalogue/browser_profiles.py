"""Browser profiles: kept, used, removed."""

from __future__ import annotations

from datetime import datetime

from commands.kernel import Command, decides
from domain.catalogue.browser_profiles import (
    BrowserProfile,
    BrowserProfileImported,
    BrowserProfileRemoved,
    BrowserProfileUsed,
    browser_profiles,
)
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


@decides(ImportBrowserProfile, browser_profiles, creates=True)
def keep(wish: ImportBrowserProfile, profile: BrowserProfile, now: datetime) -> list[Event]:
    """A profile is kept once under one id."""
    if profile.workspace_id:
        return []
    return [
        BrowserProfileImported(
            profile_id=wish.profile_id,
            workspace_id=wish.workspace_id,
            name=wish.name,
            cookie_count=wish.cookie_count,
            imported_at=now,
        )
    ]


@decides(UseBrowserProfile, browser_profiles)
def use(wish: UseBrowserProfile, profile: BrowserProfile, now: datetime) -> list[Event]:
    """Only its own workspace uses a profile, and every use is written down before it happens."""
    if profile.workspace_id != wish.workspace_id or profile.removed:
        raise browser_profiles.absent
    if wish.use_id in profile.uses:
        return []
    return [BrowserProfileUsed(profile_id=wish.profile_id, use_id=wish.use_id, purpose=wish.purpose, used_at=now)]


@decides(RemoveBrowserProfile, browser_profiles)
def remove(wish: RemoveBrowserProfile, profile: BrowserProfile, now: datetime) -> list[Event]:
    """A profile is removed once, by its own workspace."""
    if profile.workspace_id != wish.workspace_id or profile.removed:
        raise browser_profiles.absent
    return [BrowserProfileRemoved(profile_id=wish.profile_id, removed_at=now)]
