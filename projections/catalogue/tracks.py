"""Tracks as their people see them, and how many there are."""

from __future__ import annotations

from datetime import date
from typing import Any

from msgspec import UNSET, UnsetType, field
from msgspec.structs import asdict, replace

from domain.catalogue.tracks import NoSuchTrack, TrackAdded, TrackChanged, TrackLinked, TrackRemoved
from domain.kernel import Event
from projections.kernel import Document, Projection, milliseconds, projection, tally


class TrackDocument(Document):
    """One track with all that is known of it."""

    track_id: str
    isrc: str
    upc: str | None
    title: str
    artist: str
    album: str | None
    release_date: date | None
    duration_ms: int | None
    cover_url: str | None
    spotify_track_url: str | None
    label: str | None
    copyright_c: str | None
    copyright_p: str | None
    full_tracking: bool
    created_at: str
    metadata: dict[str, Any] = field(default_factory=dict)
    #: The analysis that has listened to it; the field is there only where there is one.
    analysis_id: str | UnsetType = UNSET


def evolve(track: TrackDocument | None, event: Event) -> TrackDocument | None:
    """A track after one more event."""
    match track, event:
        case _, TrackAdded():
            return TrackDocument(
                track_id=event.track_id,
                isrc=event.isrc,
                created_at=milliseconds(event.added_at),
                **asdict(event.details),
            )
        case TrackDocument(), TrackChanged():
            return replace(track, **asdict(event.details))
        case TrackDocument(), TrackLinked():
            return replace(track, analysis_id=event.analysis_id or UNSET)
        case TrackDocument(), TrackRemoved():
            return None
    return track


track_documents: Projection[TrackDocument] = projection(
    "tracks",
    TrackDocument,
    on={TrackAdded: "track_id", TrackChanged: "track_id", TrackLinked: "track_id", TrackRemoved: "track_id"},
    evolve=evolve,
    begins=(TrackAdded,),
    absent=NoSuchTrack,
    parent=lambda track: track.artist,
    stream="track",
)

#: How many tracks a workspace has.
track_counts = tally(
    "track_counts",
    {
        TrackAdded: lambda event: [(event.workspace_id, 1)],
        TrackRemoved: lambda event: [(event.workspace_id, -1)],
    },
)
