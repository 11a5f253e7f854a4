"""Browser profiles as their people see them: never what is in them."""

from __future__ import annotations

from msgspec.structs import replace

from domain.catalogue.browser_profiles import (
    BrowserProfileImported,
    BrowserProfileRemoved,
    BrowserProfileUsed,
    NoSuchBrowserProfile,
)
from domain.kernel import Event
from projections.kernel import Document, Projection, milliseconds, projection


class BrowserProfileDocument(Document):
    """One profile: how many cookies it has and how often they were used."""

    profile_id: int
    name: str
    cookie_count: int
    created_at: str
    uses: int = 0
    last_used_at: str | None = None


def evolve(profile: BrowserProfileDocument | None, event: Event) -> BrowserProfileDocument | None:
    """A profile after one more event."""
    match profile, event:
        case None, BrowserProfileImported():
            return BrowserProfileDocument(
                profile_id=event.profile_id,
                name=event.name,
                cookie_count=event.cookie_count,
                created_at=milliseconds(event.imported_at),
            )
        case BrowserProfileDocument(), BrowserProfileUsed():
            return replace(profile, uses=profile.uses + 1, last_used_at=milliseconds(event.used_at))
        case BrowserProfileDocument(), BrowserProfileRemoved():
            return None
    return profile


browser_profile_documents: Projection[BrowserProfileDocument] = projection(
    "browser_profiles",
    BrowserProfileDocument,
    on={
        BrowserProfileImported: lambda event: str(event.profile_id),
        BrowserProfileUsed: lambda event: str(event.profile_id),
        BrowserProfileRemoved: lambda event: str(event.profile_id),
    },
    evolve=evolve,
    begins=(BrowserProfileImported,),
    absent=NoSuchBrowserProfile,
    stream="browserprofile",
)
