"""A distribution account: where releases are handed in, which browser profile signs in there, and what is under way."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import field
from msgspec.structs import replace

from domain.kernel import Category, Conflict, Event, NotFound, State, personal

ACCOUNTS_MAX = 200


class DistributionAccountAdded(Event):
    """A workspace hands releases in under this account; no password of it is known here."""

    account_id: str
    workspace_id: str
    service: str
    name: Annotated[str, personal("workspace_id")]
    added_at: datetime


class DistributionAccountRenamed(Event):
    """An account is called otherwise."""

    account_id: str
    workspace_id: str
    name: Annotated[str, personal("workspace_id")]
    renamed_at: datetime


class DistributionProfileAssigned(Event):
    """An account is signed in to with this browser profile; None: with none any more."""

    account_id: str
    profile_id: int | None
    assigned_at: datetime


class UploadReserved(Event):
    """A release is being handed in under an account by one session, and by no other as long as that is open."""

    account_id: str
    release_id: str
    session_id: str
    reserved_at: datetime


class UploadReleased(Event):
    """The session that handed a release in under an account is over."""

    account_id: str
    release_id: str
    session_id: str
    released_at: datetime


class DistributionAccountRemoved(Event):
    """Nothing is handed in under an account any more."""

    account_id: str
    workspace_id: str
    removed_at: datetime


class Account(State):
    """What rules know of an account: `under_way` has the open session of each release."""

    workspace_id: str = ""
    service: str = ""
    name: str = ""
    profile_id: int | None = None
    under_way: dict[str, str] = field(default_factory=dict)


def evolve(account: Account, event: Event) -> Account:  # noqa: PLR0911 - one for each event
    """An account after one more event."""
    match event:
        case DistributionAccountAdded():
            return Account(workspace_id=event.workspace_id, service=event.service, name=event.name)
        case DistributionAccountRenamed():
            return replace(account, name=event.name)
        case DistributionProfileAssigned():
            return replace(account, profile_id=event.profile_id)
        case UploadReserved():
            return replace(account, under_way={**account.under_way, event.release_id: event.session_id})
        case UploadReleased():
            left = {release: each for release, each in account.under_way.items() if each != event.session_id}
            return replace(account, under_way=left)
        case DistributionAccountRemoved():
            return Account()
    return account


class NoSuchAccount(NotFound):
    """There is no distribution account with this id."""


class AccountIsInUse(Conflict):
    """Releases are being handed in under this account. End or abandon their upload sessions first."""


class TooManyAccounts(Conflict):
    """A workspace has {accounts_max} distribution accounts at most. Remove one that is not used any more."""


accounts = Category(name="distributionaccount", initial=Account(), evolve=evolve, absent=NoSuchAccount)
