"""A release: recordings that are published together, what is said about them, their artwork and their audio."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from msgspec import field
from msgspec.structs import replace

from domain.kernel import Category, Conflict, Event, Invalid, NotFound, State, Value
from domain.objects import Kept, keeps, lets_go

#: What one version may hold, as JSON, so that it fits into an event.
DETAILS_BYTES_MAX = 96 * 1024
TRACKS_MAX = 200
VERSIONS_MAX = 1_000
#: What all versions of a release may hold together: whatever is done with it reads them all.
HISTORY_BYTES_MAX = 8 * 1024 * 1024

ReleaseType = Literal["single", "ep", "album", "compilation"]
Explicit = Literal["explicit", "clean", "none"]


class Credit(Value):
    """Somebody who had a part in a recording. Like titles and artists it is told to the world, and lies unsealed."""

    name: str
    role: str


class ReleaseTrack(Value):
    """A recording in its place on a release; what the catalogue says of it is not said again."""

    isrc: str
    disc: int = 1
    version: str | None = None
    explicit: Explicit | None = None
    credits: tuple[Credit, ...] = ()


class ReleaseDetails(Value):
    """What people say about a release. A draft may lack anything but its title and its artist."""

    title: str
    artist: str
    version: str | None = None
    release_type: ReleaseType | None = None
    label: str | None = None
    upc: str | None = None
    catalog_number: str | None = None
    genre: str | None = None
    language: str | None = None
    release_date: date | None = None
    original_release_date: date | None = None
    copyright_c: str | None = None
    copyright_p: str | None = None
    explicit: Explicit | None = None
    territories: tuple[str, ...] = ("Worldwide",)
    tracks: tuple[ReleaseTrack, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)


class Artwork(Value):
    """The front cover as it is kept."""

    object_key: str
    sha256: str
    size: int
    format: Literal["jpeg", "png"]
    width: int
    height: int


class Audio(Value):
    """The audio of one recording as it is kept; numbers that its first bytes do not tell are None."""

    object_key: str
    sha256: str
    size: int
    format: str
    sample_rate: int | None = None
    bits: int | None = None
    channels: int | None = None


class ReleaseDrafted(Event):
    """Somebody has begun to prepare a release."""

    release_id: str
    workspace_id: str
    details: ReleaseDetails
    drafted_at: datetime


class ReleaseChanged(Event):
    """Something else is said about a release: all of it, as it reads in this version."""

    release_id: str
    workspace_id: str
    version: int
    details: ReleaseDetails
    changed_at: datetime
    #: What this version and those before it hold, as JSON; 0 where it was not counted.
    history_bytes: int = 0


class ReleaseArtworkKept(Event):
    """A release has a front cover."""

    release_id: str
    artwork: Artwork
    kept_at: datetime


class ReleaseAudioKept(Event):
    """A recording of a release has its audio."""

    release_id: str
    isrc: str
    audio: Audio
    kept_at: datetime


class ReleaseAssigned(Event):
    """A release is handed in under this distribution account; None: under none in particular."""

    release_id: str
    workspace_id: str
    account_id: str | None
    assigned_at: datetime


class ReleaseRemoved(Event):
    """A release is not prepared any more; its artwork and its audio are deleted."""

    release_id: str
    workspace_id: str
    removed_at: datetime


class Release(State):
    """What rules know of a release."""

    workspace_id: str = ""
    version: int = 0
    details: ReleaseDetails | None = None
    artwork: Artwork | None = None
    audio: dict[str, Audio] = field(default_factory=dict)
    account_id: str | None = None
    history_bytes: int = 0

    def demand_track(self, isrc: str) -> None:
        """Refuse a recording that is not on the release: NoSuchReleaseTrack."""
        if self.details is None or all(each.isrc != isrc for each in self.details.tracks):
            raise NoSuchReleaseTrack


def evolve(release: Release, event: Event) -> Release:  # noqa: PLR0911 - one for each event
    """A release after one more event."""
    match event:
        case ReleaseDrafted():
            return Release(workspace_id=event.workspace_id, version=1, details=event.details)
        case ReleaseChanged():
            return replace(release, version=event.version, details=event.details, history_bytes=event.history_bytes)
        case ReleaseArtworkKept():
            return replace(release, artwork=event.artwork)
        case ReleaseAudioKept():
            return replace(release, audio={**release.audio, event.isrc: event.audio})
        case ReleaseAssigned():
            return replace(release, account_id=event.account_id)
        case ReleaseRemoved():
            return Release()
    return release


class NoSuchRelease(NotFound):
    """There is no release with this id."""


class NoSuchReleaseTrack(NotFound):
    """This release has no track with this ISRC."""


class TooMuchRelease(Invalid):
    """What is said about a release has {bytes_max} bytes of JSON at most."""


class TooManyVersions(Conflict):
    """A release has {versions_max} versions at most. Draft another one."""


class TooMuchHistory(Conflict):
    """All versions of a release have {bytes_max} bytes of JSON together at most. Draft another one."""


class NotAnImage(Invalid):
    """The artwork is no JPEG or PNG that can be read."""


class NothingToDeliver(Conflict):
    """This release cannot be delivered yet: {problem}"""


releases = Category(name="release", initial=Release(), evolve=evolve, absent=NoSuchRelease)


def objects_of_releases(workspace_id: str | None = None) -> str:
    """What the keys of all artwork and audio of releases begin with, or of those of one workspace's."""
    return "releases/" if workspace_id is None else f"releases/{workspace_id}/"


def objects_of(workspace_id: str, release_id: str) -> str:
    """What the keys of a release's artwork and audio begin with."""
    return f"{objects_of_releases(workspace_id)}{release_id}/"


def _kept(file: Artwork | Audio, release_id: str) -> list[Kept]:
    return [Kept(key=file.object_key, size=file.size, sha256=file.sha256, until=release_id)]


keeps(ReleaseArtworkKept, lambda event: _kept(event.artwork, event.release_id))
keeps(ReleaseAudioKept, lambda event: _kept(event.audio, event.release_id))
lets_go(ReleaseRemoved, what=lambda event: [event.release_id])
