"""Tracks: added, changed, removed."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from commands.kernel import Command, decides
from domain.catalogue.codes import isrc as normal_isrc
from domain.catalogue.codes import upc as normal_upc
from domain.catalogue.tracks import (
    METADATA_BYTES_MAX,
    Details,
    TooMuchMetadata,
    Track,
    TrackAdded,
    TrackChanged,
    TrackIsThere,
    TrackLinked,
    TrackRemoved,
    tracks,
)
from domain.keeping import size_of
from domain.kernel import Event, Value


class Changes(Value):
    """What is to be different; what is unset stays as it is."""

    title: str | UnsetType = UNSET
    artist: str | UnsetType = UNSET
    album: str | UnsetType | None = UNSET
    upc: str | UnsetType | None = UNSET
    release_date: date | UnsetType | None = UNSET
    duration_ms: int | UnsetType | None = UNSET
    cover_url: str | UnsetType | None = UNSET
    spotify_track_url: str | UnsetType | None = UNSET
    label: str | UnsetType | None = UNSET
    copyright_c: str | UnsetType | None = UNSET
    copyright_p: str | UnsetType | None = UNSET
    full_tracking: bool | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class AddTrack(Command):
    """Put a recording into the catalogue."""

    track_id: str
    workspace_id: str
    isrc: str
    details: Details


class ChangeTrack(Command):
    """Say something else about a recording."""

    track_id: str
    workspace_id: str
    changes: Changes


class LinkTrack(Command):
    """Say which analysis has listened to a recording; None: none has."""

    track_id: str
    workspace_id: str
    analysis_id: str | None


class RemoveTrack(Command):
    """Take a recording out of the catalogue."""

    track_id: str
    workspace_id: str


@decides(AddTrack, tracks, creates=True)
def add(wish: AddTrack, track: Track, now: datetime) -> list[Event]:
    """A recording is added once; to add it again is fine as long as nothing else is said about it."""
    isrc, details = normal_isrc(wish.isrc), _kept(wish.details)
    if track.details == details:
        return []
    if track.details is not None:
        raise TrackIsThere(isrc=isrc)
    return [
        TrackAdded(track_id=wish.track_id, workspace_id=wish.workspace_id, isrc=isrc, details=details, added_at=now)
    ]


@decides(ChangeTrack, tracks)
def change(wish: ChangeTrack, track: Track, now: datetime) -> list[Event]:
    """Only what a workspace has can it change."""
    if track.workspace_id != wish.workspace_id or track.details is None:
        raise tracks.absent
    said = {name: value for name, value in asdict(wish.changes).items() if value is not UNSET}
    details = _kept(replace(track.details, **said))
    return [] if details == track.details else [TrackChanged(track_id=wish.track_id, details=details, changed_at=now)]


@decides(LinkTrack, tracks)
def link(wish: LinkTrack, track: Track, now: datetime) -> list[Event]:
    """Only what a workspace has can it link; whoever asks has looked that the analysis is theirs too."""
    if track.workspace_id != wish.workspace_id or track.details is None:
        raise tracks.absent
    if track.analysis_id == wish.analysis_id:
        return []
    return [TrackLinked(track_id=wish.track_id, analysis_id=wish.analysis_id, linked_at=now)]


@decides(RemoveTrack, tracks)
def remove(wish: RemoveTrack, track: Track, now: datetime) -> list[Event]:
    """Only what a workspace has can it remove."""
    if track.workspace_id != wish.workspace_id or track.details is None:
        raise tracks.absent
    return [
        TrackRemoved(track_id=wish.track_id, workspace_id=track.workspace_id, isrc=track.isrc, removed_at=now),
    ]


def _kept(details: Details) -> Details:
    """Details in their normal form; raises BadUpc, TooMuchMetadata."""
    if size_of(details.metadata) > METADATA_BYTES_MAX:
        raise TooMuchMetadata(bytes_max=METADATA_BYTES_MAX, loc=("body", "metadata"))
    return details if details.upc is None else replace(details, upc=normal_upc(details.upc))
