"""What people have typed into their own tables, as wishes: a row is read as far as it makes sense."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from commands.catalogue.ports import track_id
from commands.catalogue.releases import ChangeRelease, ReleaseChanges
from commands.catalogue.tracks import AddTrack, Changes, ChangeTrack
from domain.catalogue.codes import BadUpc, find_isrc
from domain.catalogue.codes import upc as normal_upc
from domain.catalogue.releases import ReleaseChanged, ReleaseDetails, ReleaseDrafted
from domain.catalogue.tables import Kind
from domain.catalogue.tracks import Details, TrackAdded, TrackChanged
from domain.kernel import Event

TEXT_MAX = 500
#: By which of our fields a row is known.
ID_OF: Mapping[Kind, str] = {"tracks": "track_id", "releases": "release_id"}
#: By how much clocks of this service may differ.
CLOCKS_DIFFER = timedelta(minutes=1)
#: What may be typed into a table and is taken from there; a title and an artist cannot be emptied.
_NEEDED = ("title", "artist")
_TYPED: Mapping[Kind, tuple[str, ...]] = {
    "tracks": (*_NEEDED, "album", "label", "upc", "release_date"),
    "releases": (*_NEEDED, "label", "upc", "catalog_number", "genre", "release_date"),
}


def said_since(events: Iterable[Event], since: datetime) -> list[Mapping[str, Any]]:
    """Whatever a track or a release has said since a moment, and what it said just before that, the oldest first."""
    said: list[tuple[datetime, Details | ReleaseDetails]] = []
    for event in events:
        match event:
            case TrackAdded():
                said.append((event.added_at, event.details))
            case TrackChanged() | ReleaseChanged():
                said.append((event.changed_at, event.details))
            case ReleaseDrafted():
                said.append((event.drafted_at, event.details))
    newer = sum(at >= since - CLOCKS_DIFFER for at, _ in said)
    return [asdict(details) for _, details in said[-newer - 1 :]]


def identity(kind: Kind, row: Mapping[str, Any]) -> str | None:
    """By which of our ids a row is known; None where it has none."""
    return _text(row, ID_OF[kind]) or None


def typed(kind: Kind, row: Mapping[str, Any], said: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a person has typed into a row: what it says that was never said here since it was last written there.

    What was said here in the meantime is a row that is behind, and no wish of anybody.
    """
    found = {}
    for name in _TYPED[kind]:
        value = _typed(name, row.get(name))
        if value is not None and value not in {_said(name, each.get(name)) for each in said}:
            found[name] = row[name]
    return found


def left(kind: Kind, row: Mapping[str, Any], said: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a person has typed into a row, but for that of which something else has been said here meanwhile."""
    found = typed(kind, row, said) if said else {}
    return {name: value for name, value in found.items() if len({_said(name, each.get(name)) for each in said}) == 1}


def _typed(name: str, value: object) -> str | None:
    """What a cell says, to be compared; None where nothing of it would be taken."""
    text = _text({name: value}, name)
    if text is None or (name in _NEEDED and not text):
        return None
    if name != "release_date":
        return _said(name, text)
    day = _date({name: text}, name)
    return day.isoformat() if isinstance(day, date) else None


def _said(name: str, value: object) -> str:
    text = "" if value is None else str(value).strip()
    if name == "upc" and text:
        try:
            return normal_upc(text)
        except BadUpc:
            return text
    return text


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
    return value.strip() if isinstance(value, str) and len(value) <= TEXT_MAX and "\0" not in value else None


def _optional(row: Mapping[str, Any], field: str) -> str | UnsetType | None:
    """What a cell says; nothing where there is no such column, and an empty one empties."""
    text = _text(row, field)
    return UNSET if text is None else text or None


def _date(row: Mapping[str, Any], field: str) -> date | UnsetType | None:
    try:
        return date.fromisoformat(row[field][:10])
    except (KeyError, TypeError, ValueError):
        return UNSET
