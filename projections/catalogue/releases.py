"""Releases as their people see them, every version of what was said about them, and how many there are."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from msgspec import field
from msgspec.structs import asdict, replace

from domain.catalogue.releases import (
    Artwork,
    Audio,
    Explicit,
    NoSuchRelease,
    ReleaseArtworkKept,
    ReleaseAssigned,
    ReleaseAudioKept,
    ReleaseChanged,
    ReleaseDetails,
    ReleaseDrafted,
    ReleaseRemoved,
    ReleaseTrack,
    ReleaseType,
)
from domain.kernel import Event, Value
from projections.kernel import Document, Projection, milliseconds, projection, tally


class ArtworkDocument(Value):
    """The front cover."""

    sha256: str
    size: int
    format: Literal["jpeg", "png"]
    width: int
    height: int


class AudioDocument(Value):
    """The audio of a recording."""

    sha256: str
    size: int
    format: str
    sample_rate: int | None
    bits: int | None
    channels: int | None


class ReleaseDocument(Document):
    """One release as it reads in its newest version, with its artwork and the audio of each ISRC."""

    release_id: str
    version_number: int
    title: str
    version: str | None
    artist: str
    release_type: ReleaseType | None
    label: str | None
    upc: str | None
    catalog_number: str | None
    genre: str | None
    language: str | None
    release_date: date | None
    original_release_date: date | None
    copyright_c: str | None
    copyright_p: str | None
    explicit: Explicit | None
    territories: tuple[str, ...]
    tracks: tuple[ReleaseTrack, ...]
    metadata: dict[str, Any]
    created_at: str
    updated_at: str
    artwork: ArtworkDocument | None = None
    audio: dict[str, AudioDocument] = field(default_factory=dict)
    #: The distribution account under which it is handed in.
    account_id: str | None = None


class ReleaseVersionDocument(Document):
    """What was said about a release in one version."""

    release_id: str
    version_number: int
    details: ReleaseDetails
    created_at: str


def evolve(  # noqa: PLR0911 - one for each event
    release: ReleaseDocument | None, event: Event
) -> ReleaseDocument | None:
    """A release after one more event."""
    match release, event:
        case _, ReleaseDrafted():
            moment = milliseconds(event.drafted_at)
            return ReleaseDocument(
                release_id=event.release_id,
                version_number=1,
                created_at=moment,
                updated_at=moment,
                **asdict(event.details),
            )
        case ReleaseDocument(), ReleaseChanged():
            return replace(
                release,
                version_number=event.version,
                updated_at=milliseconds(event.changed_at),
                **asdict(event.details),
            )
        case ReleaseDocument(), ReleaseArtworkKept():
            return replace(release, artwork=_artwork(event.artwork), updated_at=milliseconds(event.kept_at))
        case ReleaseDocument(), ReleaseAudioKept():
            audio = {**release.audio, event.isrc: _audio(event.audio)}
            return replace(release, audio=audio, updated_at=milliseconds(event.kept_at))
        case ReleaseDocument(), ReleaseAssigned():
            return replace(release, account_id=event.account_id, updated_at=milliseconds(event.assigned_at))
        case ReleaseDocument(), ReleaseRemoved():
            return None
    return release


def _artwork(kept: Artwork) -> ArtworkDocument:
    return ArtworkDocument(sha256=kept.sha256, size=kept.size, format=kept.format, width=kept.width, height=kept.height)


def _audio(kept: Audio) -> AudioDocument:
    return AudioDocument(
        sha256=kept.sha256,
        size=kept.size,
        format=kept.format,
        sample_rate=kept.sample_rate,
        bits=kept.bits,
        channels=kept.channels,
    )


def evolve_version(version: ReleaseVersionDocument | None, event: Event) -> ReleaseVersionDocument | None:
    """A version, which no later event changes."""
    match event:
        case ReleaseDrafted():
            return ReleaseVersionDocument(
                release_id=event.release_id,
                version_number=1,
                details=event.details,
                created_at=milliseconds(event.drafted_at),
            )
        case ReleaseChanged():
            return ReleaseVersionDocument(
                release_id=event.release_id,
                version_number=event.version,
                details=event.details,
                created_at=milliseconds(event.changed_at),
            )
    return version


release_documents: Projection[ReleaseDocument] = projection(
    "releases",
    ReleaseDocument,
    on={
        ReleaseDrafted: "release_id",
        ReleaseChanged: "release_id",
        ReleaseArtworkKept: "release_id",
        ReleaseAudioKept: "release_id",
        ReleaseAssigned: "release_id",
        ReleaseRemoved: "release_id",
    },
    evolve=evolve,
    begins=(ReleaseDrafted,),
    version=2,
    absent=NoSuchRelease,
    parent=lambda release: release.account_id,
    stream="release",
)

release_versions: Projection[ReleaseVersionDocument] = projection(
    "release_versions",
    ReleaseVersionDocument,
    on={
        ReleaseDrafted: lambda event: f"{event.release_id}/1",
        ReleaseChanged: lambda event: f"{event.release_id}/{event.version}",
    },
    evolve=evolve_version,
    begins=(ReleaseDrafted, ReleaseChanged),
    absent=NoSuchRelease,
    parent=lambda version: version.release_id,
)

#: How many releases a workspace has.
release_counts = tally(
    "release_counts",
    {
        ReleaseDrafted: lambda event: [(event.workspace_id, 1)],
        ReleaseRemoved: lambda event: [(event.workspace_id, -1)],
    },
)
