"""A track: a recording in the catalogue of a workspace, known by its ISRC."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from msgspec import field
from msgspec.structs import replace

from domain.kernel import Category, Conflict, Event, Invalid, NotFound, State, Value

#: What `metadata` may hold, as JSON.
METADATA_BYTES_MAX = 16 * 1024


class Details(Value):
    """What people say about a recording. It is there to be told to the world, and lies unsealed."""

    title: str
    artist: str
    album: str | None = None
    upc: str | None = None
    release_date: date | None = None
    duration_ms: int | None = None
    cover_url: str | None = None
    spotify_track_url: str | None = None
    label: str | None = None
    copyright_c: str | None = None
    copyright_p: str | None = None
    #: Whether its daily plays are collected.
    full_tracking: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)


class TrackAdded(Event):
    """A recording belongs to the catalogue of a workspace now."""

    track_id: str
    workspace_id: str
    isrc: str
    details: Details
    added_at: datetime


class TrackChanged(Event):
    """Something else is said about a recording: all of it, as it reads now."""

    track_id: str
    details: Details
    changed_at: datetime


class TrackLinked(Event):
    """A recording is the one that an analysis has listened to; None: it is no more."""

    track_id: str
    analysis_id: str | None
    linked_at: datetime


class TrackRemoved(Event):
    """A recording is not in the catalogue any more; what it has earned stays in the books."""

    track_id: str
    workspace_id: str
    isrc: str
    removed_at: datetime


class Track(State):
    """What rules know of a track."""

    workspace_id: str = ""
    isrc: str = ""
    details: Details | None = None
    analysis_id: str | None = None


def evolve(track: Track, event: Event) -> Track:
    """A track after one more event."""
    match event:
        case TrackAdded():
            return Track(workspace_id=event.workspace_id, isrc=event.isrc, details=event.details)
        case TrackChanged():
            return replace(track, details=event.details)
        case TrackLinked():
            return replace(track, analysis_id=event.analysis_id)
        case TrackRemoved():
            return Track()
    return track


class NoSuchTrack(NotFound):
    """There is no track with this ISRC in the catalogue."""


class TrackIsThere(Conflict):
    """There is a track with the ISRC {isrc} in the catalogue already, and it reads differently. Change that one."""


class TooMuchMetadata(Invalid):
    """The metadata of a track has {bytes_max} bytes of JSON at most."""


tracks = Category(name="track", initial=Track(), evolve=evolve, absent=NoSuchTrack)
