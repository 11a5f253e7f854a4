"""Releases: drafted, changed, given their artwork and their audio, removed."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from commands.catalogue.accounts import check_own
from commands.kernel import Command, Transaction, decides, handles
from domain.catalogue.accounts import accounts
from domain.catalogue.codes import find_isrc
from domain.catalogue.releases import (
    DETAILS_BYTES_MAX,
    HISTORY_BYTES_MAX,
    VERSIONS_MAX,
    Artwork,
    Audio,
    Explicit,
    Release,
    ReleaseArtworkKept,
    ReleaseAssigned,
    ReleaseAudioKept,
    ReleaseChanged,
    ReleaseDetails,
    ReleaseDrafted,
    ReleaseRemoved,
    ReleaseTrack,
    ReleaseType,
    TooManyVersions,
    TooMuchHistory,
    TooMuchRelease,
    releases,
)
from domain.keeping import size_of
from domain.kernel import Event, Value


class ReleaseChanges(Value):
    """What is to be different; what is unset stays as it is."""

    title: str | UnsetType = UNSET
    artist: str | UnsetType = UNSET
    version: str | UnsetType | None = UNSET
    release_type: ReleaseType | UnsetType | None = UNSET
    label: str | UnsetType | None = UNSET
    upc: str | UnsetType | None = UNSET
    catalog_number: str | UnsetType | None = UNSET
    genre: str | UnsetType | None = UNSET
    language: str | UnsetType | None = UNSET
    release_date: date | UnsetType | None = UNSET
    original_release_date: date | UnsetType | None = UNSET
    copyright_c: str | UnsetType | None = UNSET
    copyright_p: str | UnsetType | None = UNSET
    explicit: Explicit | UnsetType | None = UNSET
    territories: tuple[str, ...] | UnsetType = UNSET
    tracks: tuple[ReleaseTrack, ...] | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class DraftRelease(Command):
    """Begin to prepare a release."""

    release_id: str
    workspace_id: str
    details: ReleaseDetails


class ChangeRelease(Command):
    """Say something else about a release."""

    release_id: str
    workspace_id: str
    changes: ReleaseChanges


class KeepReleaseArtwork(Command):
    """Give a release its front cover."""

    release_id: str
    workspace_id: str
    artwork: Artwork


class KeepReleaseAudio(Command):
    """Give a recording of a release its audio."""

    release_id: str
    workspace_id: str
    isrc: str
    audio: Audio


class AssignRelease(Command):
    """Say under which distribution account a release is handed in; None: under none in particular."""

    release_id: str
    workspace_id: str
    account_id: str | None


class RemoveRelease(Command):
    """Prepare a release no longer."""

    release_id: str
    workspace_id: str


@decides(DraftRelease, releases, creates=True)
def draft(wish: DraftRelease, release: Release, now: datetime) -> list[Event]:
    """A release is drafted once under one id."""
    if release.version:
        return []
    details = _kept(wish.details)
    return [ReleaseDrafted(release_id=wish.release_id, workspace_id=wish.workspace_id, details=details, drafted_at=now)]


@decides(ChangeRelease, releases)
def change(wish: ChangeRelease, release: Release, now: datetime) -> list[Event]:
    """Each change is a version of its own, which stays; the same once more is none."""
    found = _own(release, wish.workspace_id)
    said = {name: value for name, value in asdict(wish.changes).items() if value is not UNSET}
    details = _kept(replace(found, **said))
    if details == found:
        return []
    if release.version >= VERSIONS_MAX:
        raise TooManyVersions(versions_max=VERSIONS_MAX)
    history_bytes = (release.history_bytes or size_of(found)) + size_of(details)
    if history_bytes > HISTORY_BYTES_MAX:
        raise TooMuchHistory(bytes_max=HISTORY_BYTES_MAX)
    return [
        ReleaseChanged(
            release_id=wish.release_id,
            workspace_id=wish.workspace_id,
            version=release.version + 1,
            details=details,
            changed_at=now,
            history_bytes=history_bytes,
        )
    ]


@decides(KeepReleaseArtwork, releases)
def keep_artwork(wish: KeepReleaseArtwork, release: Release, now: datetime) -> list[Event]:
    """A release has one front cover, the last that was sent."""
    _own(release, wish.workspace_id)
    if release.artwork == wish.artwork:
        return []
    return [ReleaseArtworkKept(release_id=wish.release_id, artwork=wish.artwork, kept_at=now)]


@decides(KeepReleaseAudio, releases)
def keep_audio(wish: KeepReleaseAudio, release: Release, now: datetime) -> list[Event]:
    """A recording has one audio, the last that was sent; only recordings that are on the release have any."""
    _own(release, wish.workspace_id)
    release.demand_track(wish.isrc)
    if release.audio.get(wish.isrc) == wish.audio:
        return []
    return [ReleaseAudioKept(release_id=wish.release_id, isrc=wish.isrc, audio=wish.audio, kept_at=now)]


@handles(AssignRelease)
async def assign(wish: AssignRelease, transaction: Transaction) -> None:
    """Release and account are both the workspace's."""
    release = await transaction.load(releases, wish.release_id)
    _own(release, wish.workspace_id)
    if wish.account_id is not None:
        check_own(await transaction.load(accounts, wish.account_id), wish.workspace_id)
    if release.account_id == wish.account_id:
        return
    assigned = ReleaseAssigned(
        release_id=wish.release_id,
        workspace_id=wish.workspace_id,
        account_id=wish.account_id,
        assigned_at=transaction.now,
    )
    transaction.record(releases, wish.release_id, assigned)


@decides(RemoveRelease, releases)
def remove(wish: RemoveRelease, release: Release, now: datetime) -> list[Event]:
    """Only what a workspace has can it remove."""
    _own(release, wish.workspace_id)
    return [ReleaseRemoved(release_id=wish.release_id, workspace_id=wish.workspace_id, removed_at=now)]


def _own(release: Release, workspace_id: str) -> ReleaseDetails:
    """What is said of a release that there is, to whoever has it."""
    if release.workspace_id != workspace_id or release.details is None:
        raise releases.absent
    return release.details


def _kept(details: ReleaseDetails) -> ReleaseDetails:
    """Details with ISRCs in their normal form, where they have one; what is wrong with the rest, its report says."""
    tracks = tuple(replace(each, isrc=find_isrc(each.isrc) or each.isrc) for each in details.tracks)
    details = replace(details, tracks=tracks)
    if size_of(details) > DETAILS_BYTES_MAX:
        raise TooMuchRelease(bytes_max=DETAILS_BYTES_MAX, loc=("body",))
    return details
