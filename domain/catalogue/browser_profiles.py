"""A browser profile: the cookies of somebody's session at another service, sealed, and what was done with them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec.structs import replace

from domain.identity.workspaces import Workspace
from domain.kernel import Category, Event, NotFound, State, Unavailable, personal


class BrowserProfileImported(Event):
    """Cookies of a session were sealed and kept; which they are is nowhere in the log."""

    profile_id: int
    workspace_id: str
    name: Annotated[str, personal("workspace_id")]
    cookie_count: int
    imported_at: datetime
    #: Of the workspace then: whoever has it later does not act in the name of somebody else's session.
    tenancy: int = 0


class BrowserProfileUsed(Event):
    """Somebody or something was given the cookies, and for what."""

    profile_id: int
    use_id: str
    purpose: str
    used_at: datetime


class BrowserProfileAssigned(Event):
    """The profile signs in to a distribution account from now on."""

    profile_id: int
    account_id: str
    assigned_at: datetime


class BrowserProfileRemoved(Event):
    """The cookies are no more."""

    profile_id: int
    removed_at: datetime


class BrowserProfile(State):
    """What rules know of a profile."""

    workspace_id: str = ""
    tenancy: int = 0
    removed: bool = False
    uses: frozenset[str] = frozenset()
    #: The distribution accounts that it was assigned to at some time.
    account_ids: frozenset[str] = frozenset()

    def serves(self, workspace_id: str, workspace: Workspace) -> None:
        """Refuse it to everybody but its workspace, and to whoever has that now and had it not then."""
        if self.workspace_id != workspace_id or self.removed or self.tenancy != workspace.tenancy:
            raise NoSuchBrowserProfile


def evolve(profile: BrowserProfile, event: Event) -> BrowserProfile:
    """A profile after one more event."""
    match event:
        case BrowserProfileImported():
            return BrowserProfile(workspace_id=event.workspace_id, tenancy=event.tenancy)
        case BrowserProfileUsed():
            return replace(profile, uses=profile.uses | {event.use_id})
        case BrowserProfileAssigned():
            return replace(profile, account_ids=profile.account_ids | {event.account_id})
        case BrowserProfileRemoved():
            return replace(profile, removed=True)
    return profile


class NoSuchBrowserProfile(NotFound):
    """There is no browser profile with this id."""


class EncryptionNotConfigured(Unavailable):
    """Cookies cannot be kept, because their encryption is not configured on this server."""


browser_profiles = Category(name="browserprofile", initial=BrowserProfile(), evolve=evolve, absent=NoSuchBrowserProfile)
