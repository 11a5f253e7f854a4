"""The rules of tracks, and the forms of ISRC and UPC."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from commands.catalogue.tracks import AddTrack, Changes, ChangeTrack, LinkTrack, RemoveTrack
from domain.catalogue.codes import BadUpc, check_digit, find_isrc, upc
from domain.catalogue.tracks import (
    Details,
    NoSuchTrack,
    TooMuchMetadata,
    TrackAdded,
    TrackChanged,
    TrackIsThere,
    TrackLinked,
    TrackRemoved,
)
from tests.spec import NOW, given

song = Details(title="Song Name", artist="Artist Name")
added = TrackAdded(track_id="track-1", workspace_id="w1", isrc="USXXX1234567", details=song, added_at=NOW)
add = AddTrack(track_id="track-1", workspace_id="w1", isrc="us-xxx-12-34567", details=song)


def test_a_recording_is_added_under_the_normal_form_of_its_isrc() -> None:
    given().when(add).then(added)


def test_to_add_it_again_changes_nothing() -> None:
    given(added).when(add).then()


def test_another_recording_under_its_isrc_is_refused() -> None:
    other = replace(add, details=Details(title="Another", artist="Artist Name"))
    given(added).when(other).refused(TrackIsThere, isrc="USXXX1234567")


def test_only_what_is_said_is_changed_and_null_empties() -> None:
    begun = replace(added, details=replace(song, album="First", label="Ours"))
    change = ChangeTrack(track_id="track-1", workspace_id="w1", changes=Changes(album=None))
    changed = TrackChanged(track_id="track-1", details=replace(song, label="Ours"), changed_at=NOW)
    given(begun).when(change).then(changed)


@pytest.mark.parametrize(
    "wish",
    [
        ChangeTrack(track_id="track-1", workspace_id="w2", changes=Changes(title="Mine now")),
        RemoveTrack(track_id="track-1", workspace_id="w2"),
        LinkTrack(track_id="track-1", workspace_id="w2", analysis_id="an-1"),
    ],
)
def test_another_workspace_s_track_is_not_there(wish: ChangeTrack | RemoveTrack) -> None:
    given(added).when(wish).refused(NoSuchTrack)


def test_a_track_that_was_removed_can_be_added_again() -> None:
    removed = TrackRemoved(track_id="track-1", workspace_id="w1", isrc="USXXX1234567", removed_at=NOW)
    given(added, removed).when(RemoveTrack(track_id="track-1", workspace_id="w1")).refused(NoSuchTrack)
    given(added, removed).when(add).then(added)


def test_metadata_has_a_limit() -> None:
    large = replace(add, details=replace(song, metadata={"notes": "x" * 20_000}))
    given().when(large).refused(TooMuchMetadata)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("USXXX1234567", "USXXX1234567"),
        ("us-xxx-12-34567", "USXXX1234567"),
        ("ISRC QZ K6G 23 00001", "QZK6G2300001"),
        ("ISRC: GB‐ABC‐99‐00001", "GBABC9900001"),
        ("USXXX123456", None),
        ("USXXX12345678", None),
        ("1SXXX1234567", None),
        ("USXXX123456٣", None),
        ("", None),
    ],
)
def test_an_isrc_has_one_normal_form(written: str, normal: str | None) -> None:
    assert find_isrc(written) == normal


def test_a_upc_is_told_by_its_check_digit_and_matched_with_thirteen_digits() -> None:
    assert upc("1234-5678-9012") == "123456789012"
    assert upc("4006381333931") == "4006381333931"
    assert check_digit("03600029145") == "2"
    for wrong in ("123456789013", "12345678901", "12345678901234", "8.6E+11", ""):
        with pytest.raises(BadUpc):
            upc(wrong)


def test_a_track_is_linked_to_one_analysis_at_a_time() -> None:
    link = LinkTrack(track_id="track-1", workspace_id="w1", analysis_id="an-1")
    linked = TrackLinked(track_id="track-1", analysis_id="an-1", linked_at=NOW)
    given(added).when(link).then(linked)
    given(added, linked).when(link).then()
    given(added, linked).when(replace(link, analysis_id=None)).then(replace(linked, analysis_id=None))
