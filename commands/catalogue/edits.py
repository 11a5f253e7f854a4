"""What people have typed into their own tables, as wishes: a row is read as far as it makes sense."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from msgspec import UNSET, UnsetType

from commands.catalogue.ports import track_id
from commands.catalogue.releases import ChangeRelease, ReleaseChanges
from commands.catalogue.tracks import AddTrack, Changes, ChangeTrack
from domain.catalogue.codes import find_isrc
from domain.catalogue.tracks import Details

TEXT_MAX = 500


def of_track(workspace_id: str, row: Mapping[str, Any]) -> AddTrack | ChangeTrack | None:
    """A recording is changed as its row says; a row without an id that has all it needs is a new one."""
    known = _text(row, "track_id")
    isrc, title, artist = find_isrc(_text(row, "isrc") or ""), _text(row, "title"), _text(row, "artist")
    released = _date(row, "release_date")
    if known:
        changes = Changes(
            title=title or UNSET,
            artist=artist or UNSET,
            album=_optional(row, "album"),
            label=_optional(row, "label"),
            upc=_optional(row, "upc"),
            release_date=released,
        )
        return ChangeTrack(track_id=known, workspace_id=workspace_id, changes=changes)
    if isrc is None or not title or not artist:
        return None
    details = Details(
        title=title,
        artist=artist,
        album=_text(row, "album") or None,
        label=_text(row, "label") or None,
        upc=_text(row, "upc") or None,
        release_date=None if released is UNSET else released,
    )
    return AddTrack(track_id=track_id(workspace_id, isrc), workspace_id=workspace_id, isrc=isrc, details=details)


def of_release(workspace_id: str, row: Mapping[str, Any]) -> ChangeRelease | None:
    """A release is changed as its row says; one that is not known here is not begun by a row."""
    known = _text(row, "release_id")
    if not known:
        return None
    changes = ReleaseChanges(
        title=_text(row, "title") or UNSET,
        artist=_text(row, "artist") or UNSET,
        label=_optional(row, "label"),
        upc=_optional(row, "upc"),
        catalog_number=_optional(row, "catalog_number"),
        genre=_optional(row, "genre"),
        release_date=_date(row, "release_date"),
    )
    return ChangeRelease(release_id=known, workspace_id=workspace_id, changes=changes)


def _text(row: Mapping[str, Any], field: str) -> str | None:
    """What a cell says; None where it is none of what a text cell can be, or there is no such cell."""
    value = row.get(field)
    return value.strip() if isinstance(value, str) and len(value) <= TEXT_MAX else None


def _optional(row: Mapping[str, Any], field: str) -> str | UnsetType | None:
    """What a cell says; nothing where there is no such column, and an empty one empties."""
    text = _text(row, field)
    return UNSET if text is None else text or None


def _date(row: Mapping[str, Any], field: str) -> date | UnsetType | None:
    try:
        return date.fromisoformat(row[field])
    except (KeyError, TypeError, ValueError):
        return UNSET
