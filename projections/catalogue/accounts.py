"""Distribution accounts as their people see them, and how many there are."""

from __future__ import annotations

from msgspec.structs import replace

from domain.catalogue.accounts import (
    DistributionAccountAdded,
    DistributionAccountRemoved,
    DistributionAccountRenamed,
    DistributionProfileAssigned,
    NoSuchAccount,
)
from domain.kernel import Event
from projections.kernel import Document, Projection, milliseconds, projection, tally


class AccountDocument(Document):
    """One account, and which browser profile signs in to it."""

    account_id: str
    service: str
    name: str
    created_at: str
    profile_id: int | None = None


def evolve(account: AccountDocument | None, event: Event) -> AccountDocument | None:
    """An account after one more event."""
    match account, event:
        case _, DistributionAccountAdded():
            return AccountDocument(
                account_id=event.account_id,
                service=event.service,
                name=event.name,
                created_at=milliseconds(event.added_at),
            )
        case AccountDocument(), DistributionAccountRenamed():
            return replace(account, name=event.name)
        case AccountDocument(), DistributionProfileAssigned():
            return replace(account, profile_id=event.profile_id)
        case AccountDocument(), DistributionAccountRemoved():
            return None
    return account


account_documents: Projection[AccountDocument] = projection(
    "distribution_accounts",
    AccountDocument,
    on={
        DistributionAccountAdded: "account_id",
        DistributionAccountRenamed: "account_id",
        DistributionProfileAssigned: "account_id",
        DistributionAccountRemoved: "account_id",
    },
    evolve=evolve,
    begins=(DistributionAccountAdded,),
    absent=NoSuchAccount,
    stream="distributionaccount",
)

#: How many accounts a workspace has.
account_counts = tally(
    "distribution_account_counts",
    {
        DistributionAccountAdded: lambda event: [(event.workspace_id, 1)],
        DistributionAccountRemoved: lambda event: [(event.workspace_id, -1)],
    },
)
