"""Releases: drafted in versions, looked over rule by rule, and delivered as a message, a table and their files."""

from __future__ import annotations

import csv
import io
import struct
import wave
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree
from zlib import crc32

import httpx
import pytest
from msgspec.structs import replace

from adapters.catalogue.ern import BadPartyId, Message, Party, Track, check_character, party_id, sequence, written
from adapters.catalogue.media import Media, metadata
from adapters.catalogue.outlines import coarser
from adapters.storage.blobs import NoSuchObject
from commands.catalogue.releases import ChangeRelease, ReleaseChanges
from domain.analyses.findings import Waveform
from domain.catalogue.releases import (
    HISTORY_BYTES_MAX,
    Artwork,
    Audio,
    Credit,
    ReleaseChanged,
    ReleaseDetails,
    ReleaseDrafted,
    ReleaseTrack,
    TooMuchHistory,
)
from domain.catalogue.validation import RULES, Finding, Recording, validate
from domain.keeping import size_of
from tests.catalogue.test_contract import refused
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Stack, eventually
from tests.spec import NOW, given

TODAY = date(2026, 11, 28)
ISRC, OTHER = "USXXX1234567", "USXXX1234568"
CREDITS = (Credit(name="Artist Name", role="MainArtist"), Credit(name="A. Writer", role="Composer"))
TRACK = ReleaseTrack(isrc=ISRC, explicit="none", credits=CREDITS)
DETAILS = ReleaseDetails(
    title="Release Name", artist="Artist Name", release_type="single", label="A Label", upc="123456789012",
    genre="Pop", language="en", release_date=date(2027, 1, 15), copyright_c="2026 A Label",
    copyright_p="2026 A Label", explicit="none", tracks=(TRACK,),
)  # fmt: skip
RECORDING = Recording(title="Song Name", artist="Artist Name", duration_ms=187_000)
ARTWORK = Artwork(object_key="a", sha256="ab" * 32, size=9, format="png", width=3000, height=3000)
AUDIO = Audio(object_key="b", sha256="cd" * 32, size=9, format="flac", sample_rate=44_100, bits=16, channels=2)


def looked_over(
    details: ReleaseDetails = DETAILS,
    recording: Recording | None = RECORDING,
    artwork: Artwork | None = ARTWORK,
    audio: Audio | None = AUDIO,
) -> list[Finding]:
    recordings = {} if recording is None else {ISRC: recording}
    return validate(details, recordings, artwork, {} if audio is None else {ISRC: audio}, TODAY)


# --- rules ------------------------------------------------------------------------------------------------------------


def test_a_release_as_it_should_be_breaks_no_rule() -> None:
    assert looked_over() == []
    assert looked_over(replace(DETAILS, upc="1234567890128", copyright_p="℗ 2026 A Label")) == []


def of_track(**changed: Any) -> dict[str, Any]:
    return {"details": replace(DETAILS, tracks=(replace(TRACK, **changed),))}


def named(title: str) -> dict[str, Any]:
    return {"recording": replace(RECORDING, title=title)}


def release(**changed: Any) -> dict[str, Any]:
    return {"details": replace(DETAILS, **changed)}


BROKEN: list[tuple[str, str, dict[str, Any]]] = [
    ("artwork_missing", "artwork", {"artwork": None}),
    ("artwork_size", "artwork", {"artwork": replace(ARTWORK, width=2999, height=2999)}),
    ("artwork_size", "artwork", {"artwork": replace(ARTWORK, width=3001)}),
    ("upc_missing", "upc", release(upc=None)),
    ("upc_invalid", "upc", release(upc="123456789013")),
    ("upc_invalid", "upc", release(upc="12345678901")),
    ("tracks_missing", "tracks", release(tracks=())),
    ("isrc_invalid", "tracks.1.isrc", of_track(isrc="USXXX123456")),
    ("isrc_duplicate", "tracks", release(tracks=(TRACK, TRACK))),
    ("track_unknown", "tracks.1.isrc", {"recording": None}),
    ("title_featured_artist", "tracks.1.title", named("Song (feat. Guest)")),
    ("title_featured_artist", "tracks.1.title", named("Song ft Guest")),
    ("title_featured_artist", "title", release(title="Release featuring Guest")),
    ("title_featured_artist", "artist", release(artist="Artist Name feat. Guest")),
    ("title_producer", "tracks.1.title", named("Song (prod. by Somebody)")),
    ("title_version", "tracks.1.title", named("Song (Club Remix)")),
    ("title_capitals", "title", release(title="RELEASE NAME")),
    ("title_spaces", "tracks.1.title", named("Song  Name")),
    ("title_spaces", "title", release(title="Release\u200b Name")),
    ("title_spaces", "artist", release(artist="Artist Name ")),
    ("title_promotion", "title", release(title="Release Name - Out Now")),
    ("artist_separators", "artist", release(artist="Artist Name, Other Artist")),
    ("release_date_missing", "release_date", release(release_date=None)),
    ("release_date_soon", "release_date", release(release_date=date(2026, 12, 1))),
    ("release_date_order", "original_release_date", release(original_release_date=date(2027, 1, 16))),
    ("explicit_missing", "explicit", release(explicit=None)),
    ("explicit_missing", "tracks.1.explicit", of_track(explicit=None)),
    ("explicit_mismatch", "explicit", of_track(explicit="explicit")),
    ("label_missing", "label", release(label=None)),
    ("genre_missing", "genre", release(genre=None)),
    ("language_missing", "language", release(language=None)),
    ("copyright_missing", "copyright_p", release(copyright_p=None)),
    ("copyright_form", "copyright_c", release(copyright_c="A Label")),
    ("credits_author", "tracks.1.credits", of_track(credits=CREDITS[:1])),
    ("credits_main_artist", "tracks.1.credits", of_track(credits=CREDITS[1:])),
    ("duration_missing", "tracks.1.duration_ms", {"recording": replace(RECORDING, duration_ms=None)}),
    ("audio_missing", "tracks.1.audio", {"audio": None}),
    ("audio_lossy", "tracks.1.audio", {"audio": replace(AUDIO, format="mp3")}),
    ("audio_quality", "tracks.1.audio", {"audio": replace(AUDIO, sample_rate=22_050)}),
    ("audio_quality", "tracks.1.audio", {"audio": replace(AUDIO, bits=8)}),
    ("audio_quality", "tracks.1.audio", {"audio": replace(AUDIO, channels=1)}),
    ("release_type_missing", "release_type", release(release_type=None)),
    ("territories_missing", "territories", release(territories=())),
]


@pytest.mark.parametrize(("rule", "where", "changed"), BROKEN, ids=[f"{each[0]}-{n}" for n, each in enumerate(BROKEN)])
def test_each_rule_names_where_it_is_broken(rule: str, where: str, changed: dict[str, Any]) -> None:
    found = looked_over(**changed)

    assert (rule, where) in [(each.rule, each.where) for each in found]
    # What has no code has no audio under it.
    assert {each.rule for each in found} <= {rule, *(["audio_missing"] if rule == "isrc_invalid" else [])}
    assert all(each.level == RULES[each.rule].level for each in found)


def test_rules_about_several_tracks_and_that_each_rule_has_a_test() -> None:
    four = [f"USXXX123456{number}" for number in range(4)]
    details = replace(DETAILS, tracks=tuple(replace(TRACK, isrc=isrc) for isrc in four))
    recordings = {isrc: replace(RECORDING, artist=f"Artist {isrc}") for isrc in four}
    found = validate(details, recordings, ARTWORK, dict.fromkeys(four, AUDIO), TODAY)

    assert {each.rule for each in found} == {"release_type", "artist_various"}
    assert set(RULES) == {each[0] for each in BROKEN} | {"release_type", "artist_various"}
    assert all(each.explanation.endswith(".") for each in RULES.values())


@pytest.mark.parametrize("title", ["Left Behind", "Soft Landing", "Live", "With You", "Producer", "AC/DC", "Ode"])
def test_words_that_only_look_like_a_mess_are_none(title: str) -> None:
    assert looked_over(**named(title)) == []


# --- the message ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "character"),
    [
        ("PADPIDA2007061301", "U"),
        ("PADPIDA2011022302", "N"),
        ("PADPIDA2020062405", "C"),
        ("PADPIDA2026082102", "O"),
    ],
)
def test_party_ids_end_in_their_check_character(identity: str, character: str) -> None:
    assert check_character(identity) == character
    assert party_id(f"{identity[:2]}-{identity[2:7]}-{identity[7:]}-{character}") == identity + character
    for wrong in (identity, identity + "A", "", "PADPIDB2007061301U", identity[:-1] + "\u0661" + character):
        with pytest.raises(BadPartyId):
            party_id(wrong)


def message(**changed: Any) -> Message:
    made = Message(
        message_id="m1", thread_id="t1", created_at=datetime(2026, 11, 28, 12, 0, tzinfo=UTC),
        sender=Party(party_id="PADPIDA2007061301U", name="Sender"),
        recipient=Party(party_id="PADPIDA2011022302N", name="Recipient"), details=DETAILS,
        tracks=(Track(said=TRACK, recording=RECORDING, audio=AUDIO, filename="resources/01.flac"),),
        artwork=ARTWORK, artwork_filename="resources/cover.png", release_date=date(2027, 1, 15),
    )  # fmt: skip
    return replace(made, **changed)


def shape(element: ElementTree.Element) -> Any:
    """Tags in their order: a list of children, or the text of a leaf."""
    return [(each.tag, shape(each)) for each in element] if len(element) else element.text


def test_a_message_has_its_parts_in_their_order() -> None:
    root = ElementTree.fromstring(written(message()))

    assert root.tag == "{http://ddex.net/xml/ern/43}NewReleaseMessage"
    assert root.attrib == {
        "AvsVersionId": "6", "LanguageAndScriptCode": "en", "ReleaseProfileVersionId": "SimpleAudioSingle",
    }  # fmt: skip
    title = [("DisplayTitleText", "Song Name"), ("DisplayTitle", [("TitleText", "Song Name")])]
    artist = [
        ("DisplayArtistName", "Artist Name"),
        ("DisplayArtist", [("ArtistPartyReference", "P2"), ("DisplayArtistRole", "MainArtist")]),
    ]
    p_line = ("PLine", [("Year", "2026"), ("PLineText", "2026 A Label")])

    def technical(number: int, uri: str, sha256: str) -> tuple[str, Any]:
        file = ("File", [("URI", uri), ("HashSum", [("Algorithm", "SHA2"), ("HashSumValue", sha256)])])
        delivered = ("DeliveryFile", [("Type", "AudioFile"), file]) if uri.endswith(".flac") else file
        return "TechnicalDetails", [("TechnicalResourceDetailsReference", f"T{number}"), delivered]

    genre = ("Genre", [("GenreText", "Pop")])
    deals = [
        ("Deal", [("DealTerms", [("TerritoryCode", "Worldwide"), ("ValidityPeriod", [("StartDate", "2027-01-15")]),
                                 ("CommercialModelType", model), ("UseType", use)])])
        for model, use in (("SubscriptionModel", "OnDemandStream"), ("AdvertisementSupportedModel", "OnDemandStream"),
                           ("PayAsYouGoModel", "PermanentDownload"))
    ]  # fmt: skip
    assert shape(root) == [
        ("MessageHeader", [
            ("MessageThreadId", "t1"), ("MessageId", "m1"),
            ("MessageSender", [("PartyId", "PADPIDA2007061301U"), ("PartyName", [("FullName", "Sender")])]),
            ("MessageRecipient", [("PartyId", "PADPIDA2011022302N"), ("PartyName", [("FullName", "Recipient")])]),
            ("MessageCreatedDateTime", "2026-11-28T12:00:00Z"),
        ]),
        ("PartyList", [
            ("Party", [("PartyReference", "P1"), ("PartyName", [("FullName", "A Label")])]),
            ("Party", [("PartyReference", "P2"), ("PartyName", [("FullName", "Artist Name")])]),
            ("Party", [("PartyReference", "P3"), ("PartyName", [("FullName", "A. Writer")])]),
        ]),
        ("ResourceList", [
            ("SoundRecording", [
                ("ResourceReference", "A1"), ("Type", "MusicalWorkSoundRecording"),
                ("SoundRecordingEdition", [
                    ("ResourceId", [("ISRC", ISRC)]), p_line, technical(1, "resources/01.flac", "cd" * 32),
                ]),
                *title, *artist, ("Contributor", [("ContributorPartyReference", "P3"), ("Role", "Composer")]),
                ("Duration", "PT3M7S"), ("ParentalWarningType", "NotExplicit"),
            ]),
            ("Image", [
                ("ResourceReference", "A2"), ("Type", "FrontCoverImage"),
                ("ResourceId", [("ProprietaryId", "ab" * 16)]), ("ParentalWarningType", "NotExplicit"),
                technical(2, "resources/cover.png", "ab" * 32),
            ]),
        ]),
        ("ReleaseList", [
            ("Release", [
                ("ReleaseReference", "R0"), ("ReleaseType", "Single"), ("ReleaseId", [("ICPN", "123456789012")]),
                ("DisplayTitleText", "Release Name"), ("DisplayTitle", [("TitleText", "Release Name")]), *artist,
                ("ReleaseLabelReference", "P1"), p_line, ("CLine", [("Year", "2026"), ("CLineText", "2026 A Label")]),
                genre, ("ReleaseDate", "2027-01-15"), ("ParentalWarningType", "NotExplicit"),
                ("ResourceGroup", [
                    ("ResourceGroupContentItem", [("SequenceNumber", "1"), ("ReleaseResourceReference", "A1")]),
                    ("LinkedReleaseResourceReference", "A2"),
                ]),
            ]),
            ("TrackRelease", [
                ("ReleaseReference", "R1"), ("ReleaseId", [("ProprietaryId", ISRC)]),
                ("ReleaseResourceReference", "A1"), ("ReleaseLabelReference", "P1"), genre,
            ]),
        ]),
        ("DealList", [
            ("ReleaseDeal", [("DealReleaseReference", "R0"), ("DealReleaseReference", "R1"), *deals]),
        ]),
    ]  # fmt: skip


def test_a_message_of_an_album_in_the_order_of_its_discs_and_with_whatever_people_write() -> None:
    second = replace(TRACK, isrc=OTHER, disc=2, version="Live", explicit="explicit")
    tracks = sequence([second, TRACK])
    assert [each.isrc for each in tracks] == [ISRC, OTHER]
    hostile = replace(RECORDING, title='</DisplayTitleText> & "\u202e\x1f🎵"')
    xml = written(
        message(
            details=replace(DETAILS, release_type="album", territories=("DE", "AT"), explicit="explicit"),
            tracks=tuple(Track(said=each, recording=hostile) for each in tracks),
        )
    )
    root = ElementTree.fromstring(xml)

    assert root.attrib["ReleaseProfileVersionId"] == "Audio"
    assert [each.text for each in root.iter("ISRC")] == [ISRC, OTHER]
    assert [each.text for each in root.iter("DisplayTitleText")][1] == '</DisplayTitleText> & "\u202e🎵" (Live)'
    assert [each.text for each in root.iter("SubTitle")] == ["Live"]
    assert [each.text for each in root.iter("ParentalWarningType")] == [
        "NotExplicit", "Explicit", "Explicit", "Explicit",
    ]  # fmt: skip
    assert [each.text for each in root.iter("TerritoryCode")] == ["DE", "AT"] * 3
    assert b"AdditionalTitle" not in xml
    with pytest.raises(BadPartyId):
        written(message(sender=Party(party_id="PADPIDA2007061301A", name="Sender")))


def test_the_metadata_of_a_delivery_is_a_table_that_no_spreadsheet_computes() -> None:
    [row] = csv.DictReader(io.StringIO(metadata(message(details=replace(DETAILS, title="=1+1")))))

    assert (row["isrc"], row["title"], row["duration"], row["release"]) == (ISRC, "Song Name", "PT3M7S", "'=1+1")
    assert row["credits"] == "Artist Name (MainArtist); A. Writer (Composer)"


class Objects:
    """A store whose objects are read piece by piece, and nothing else."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes
        self.read_bytes = 0

    async def stat(self, key: str) -> Any:
        if key not in self.sizes:
            raise NoSuchObject
        return SimpleNamespace(key=key, size=self.sizes[key])

    async def read(self, found: Any) -> AsyncIterator[bytes]:
        for at in range(0, found.size, PIECE):
            piece = found.key.encode().ljust(PIECE, b".")[: found.size - at]
            self.read_bytes += len(piece)
            yield piece


PIECE = 64 * 1024


async def test_a_package_is_made_as_it_is_read_and_nothing_of_it_is_kept() -> None:
    audio = Audio(object_key="one", sha256="ab" * 32, size=10 * PIECE + 1, format="wav")
    other = replace(audio, object_key="two")
    cover = Artwork(object_key="cover", sha256="ab" * 32, size=3, format="png", width=3000, height=3000)
    delivery = message(
        artwork=cover, artwork_filename="cover.png",
        tracks=tuple(Track(said=TRACK, recording=RECORDING, audio=each, filename=f"{each.object_key}.wav")
                     for each in (audio, other)),
    )  # fmt: skip
    objects = Objects({"cover": 3, "one": audio.size, "two": audio.size})
    store: Any = objects
    media = Media(store, places=1, artwork_size_max=1, audio_size_max=1)
    taken, ahead = bytearray(), 0
    async for piece in await media.package(delivery, "folder"):
        taken += piece
        ahead = max(ahead, objects.read_bytes - len(taken))
    assert ahead <= 0, "what is read is sent before more is read"
    with zipfile.ZipFile(io.BytesIO(taken)) as packed:
        assert packed.testzip() is None
        names = ["folder.xml", "metadata.csv", "cover.png", "one.wav", "two.wav"]
        assert packed.namelist() == [f"folder/{each}" for each in names]
        assert [each.file_size for each in packed.infolist()[2:]] == [3, audio.size, audio.size]
        assert packed.read("folder/two.wav").startswith(b"two...")
    del objects.sizes["two"]
    with pytest.raises(NoSuchObject):
        await media.package(delivery, "folder")


def test_all_versions_of_a_release_together_have_a_limit() -> None:
    wish = ChangeRelease(release_id="r1", workspace_id="w1", changes=ReleaseChanges(genre="Rock"))
    drafted = ReleaseDrafted(release_id="r1", workspace_id="w1", details=DETAILS, drafted_at=NOW)
    rock = replace(DETAILS, genre="Rock")
    changed = ReleaseChanged(
        release_id="r1", workspace_id="w1", version=2, details=rock, changed_at=NOW,
        history_bytes=size_of(DETAILS) + size_of(rock),
    )  # fmt: skip
    given(drafted).when(wish).then(changed)
    much = replace(changed, details=DETAILS, history_bytes=HISTORY_BYTES_MAX - size_of(rock))
    given(drafted, much).when(wish).then(replace(changed, version=3, history_bytes=HISTORY_BYTES_MAX))
    more = replace(much, history_bytes=much.history_bytes + 1)
    given(drafted, more).when(wish).refused(TooMuchHistory, bytes_max=HISTORY_BYTES_MAX)


# --- over HTTP --------------------------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """The beginning of a picture of this size, which is all that is looked at."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", crc32(header))


def wav(rate: int = 44_100) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(b"\0\0\0\0" * 64)
    return file.getvalue()


PARTIES = {
    "sender_id": "PADPIDA2007061301U", "sender_name": "Sender", "recipient_id": "PA-DPIDA-2011022302-N",
    "recipient_name": "Recipient",
}  # fmt: skip
NEW = {
    "title": "Release Name", "artist": "Artist Name", "release_type": "single", "label": "A Label",
    "upc": "123456789012", "genre": "Pop", "language": "en", "release_date": "2030-01-15",
    "copyright_c": "2026 A Label", "copyright_p": "2026 A Label", "explicit": "none",
    "tracks": [{"isrc": "us-xxx-12-34567", "explicit": "none",
                "credits": [{"name": "Artist Name", "role": "MainArtist"}, {"name": "W", "role": "Composer"}]}],
}  # fmt: skip


@pytest.fixture(scope="module")
def label(client: httpx.Client) -> Visitor:
    """A label with one track."""
    who = sign_in(client)
    track = {"isrc": ISRC, "title": "Song Name", "artist": "Artist Name", "duration_ms": 187_000}
    assert who.post("/api/v1/tracks", track).status_code == 201
    return who


def put(who: Visitor, path: str, content: bytes) -> httpx.Response:
    return who.http.put(path, content=content, headers={**who.headers, "Content-Type": "application/octet-stream"})


def test_a_release_from_its_draft_to_its_delivery(label: Visitor, stack: Stack) -> None:
    drafted = label.post("/api/v1/releases", {"title": "Release Name", "artist": "Artist Name"})
    assert drafted.status_code == 201, drafted.text
    draft = drafted.json()["data"]
    where = f"/api/v1/releases/{draft['release_id']}"
    assert (draft["version_number"], draft["upc"], draft["territories"]) == (1, None, ["Worldwide"])
    broken = label.get(f"{where}/validation").json()["data"]
    assert (broken["ready"], broken["version_number"]) == (False, 1)
    assert {"tracks_missing", "artwork_missing", "upc_missing"} <= {each["rule"] for each in broken["problems"]}
    assert all(each["explanation"] and each["message"] for each in broken["problems"])
    refused(label.get(f"{where}/package", params=PARTIES), 409, "nothing_to_deliver")

    changed = label.patch(where, NEW)
    assert changed.status_code == 200, changed.text
    assert changed.json()["data"]["tracks"][0]["isrc"] == ISRC
    assert label.patch(where, NEW).json()["data"]["version_number"] == 2
    versions = label.get(f"{where}/versions").json()["data"]
    assert [(each["version_number"], each["details"]["upc"]) for each in versions] == [(2, "123456789012"), (1, None)]

    left = label.get(f"{where}/validation").json()["data"]
    assert {each["rule"] for each in left["problems"]} == {"artwork_missing", "audio_missing"}
    ern = label.get(f"{where}/ern", params=PARTIES)
    assert ern.headers["content-type"].startswith("application/xml")
    refused(label.get(f"{where}/ern", params=PARTIES | {"sender_id": "PADPIDA2007061301A"}), 400, "bad_party_id")

    assert put(label, f"{where}/artwork", png(3000, 3000)).json()["data"]["artwork"]["width"] == 3000
    sound = wav()
    kept = put(label, f"{where}/tracks/{ISRC}/audio", sound).json()["data"]["audio"][ISRC]
    assert (kept["format"], kept["sample_rate"], kept["bits"], kept["channels"]) == ("wav", 44_100, 16, 2)
    assert label.get(f"{where}/validation").json()["data"]["ready"] is True
    package = label.get(f"{where}/package", params=PARTIES)
    assert package.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(package.content)) as packed:
        names = packed.namelist()
        files = ("123456789012.xml", "metadata.csv", "resources/cover.png", f"resources/01_{ISRC}.wav")
        assert names == [f"123456789012/{each}" for each in files]
        assert packed.read(names[3]) == sound
        uris = [each.text for each in ElementTree.fromstring(packed.read(names[0])).iter("URI")]
    assert uris == [f"resources/01_{ISRC}.wav", "resources/cover.png"]

    assert len(stack.objects(f"releases/{label.workspace_id}/")) == 2
    assert label.delete(where).json() == {"success": True}
    refused(label.get(where), 404, "no_such_release")
    eventually(lambda: stack.objects(f"releases/{label.workspace_id}/") == [])


def test_what_is_no_release_no_picture_and_no_sound_is_refused(
    label: Visitor, client: httpx.Client, stack: Stack
) -> None:
    made = label.post("/api/v1/releases", NEW).json()["data"]
    where = f"/api/v1/releases/{made['release_id']}"
    for body in ({}, {"title": "", "artist": "A"}, NEW | {"explicit": "yes"}, NEW | {"territories": ["Narnia"]},
                 NEW | {"release_date": "2030-02-30"}, NEW | {"mood": "calm"}, NEW | {"tracks": [{}]}):  # fmt: skip
        refused(label.post("/api/v1/releases", body), 400)
    refused(label.post("/api/v1/releases", NEW | {"metadata": {"x": "y" * 100_000}}), 400, "too_much_release")
    for content in (
        b"",
        b"no picture",
        b"\xff\xd8\xff\xe0",
        png(0, 3000),
        png(3000, 3000)[:23],
        b"\xff\xd8\xff" + b"\xff" * 100,
    ):
        refused(put(label, f"{where}/artwork", content), 400, "not_an_image")
    refused(put(label, f"{where}/tracks/{ISRC}/audio", b"no sound"), 400, "not_audio")
    refused(put(label, f"{where}/tracks/{OTHER}/audio", wav()), 404, "no_such_release_track")
    assert stack.objects(f"releases/{label.workspace_id}/{made['release_id']}/audio/") == [], "nothing is kept"
    refused(put(label, f"{where}/tracks/nonsense/audio", wav()), 400, "bad_isrc")
    stranger = sign_in(client)
    for path in ("", "/versions", "/validation"):
        refused(stranger.get(where + path), 404, "no_such_release")
    refused(stranger.get(f"{where}/package", params=PARTIES), 404, "no_such_release")
    refused(stranger.patch(where, {"title": "Mine"}), 404, "no_such_release")
    refused(stranger.delete(where), 404, "no_such_release")
    refused(put(stranger, f"{where}/artwork", png(3000, 3000)), 404, "no_such_release")
    assert stranger.get("/api/v1/releases").json()["data"] == []


# --- linked -----------------------------------------------------------------------------------------------------------


def test_a_track_tells_what_was_heard_in_it_and_its_release_how_long_it_is(client: httpx.Client, clip: bytes) -> None:
    who = sign_in(client)
    who.post("/api/v1/tracks", {"isrc": ISRC, "title": "Song Name", "artist": "Artist Name"})
    where = f"/api/v1/tracks/{ISRC}"
    job = who.post("/v1/analyze/upload", files={"file": ("clip.wav", clip)}).json()["job_id"]

    def link(owner: Visitor, analysis_id: str | None) -> httpx.Response:
        return owner.http.put(f"{where}/analysis", json={"analysis_id": analysis_id}, headers=owner.headers)

    assert link(who, job).json()["data"]["analysis"]["id"] == job
    track = eventually(
        lambda: found if (found := who.get(where).json()["data"])["analysis"]["status"] == "completed" else None, 60
    )
    assert track is not None
    heard = who.get(f"/v1/analysis/{job}").json()["result"]
    assert track["analysis"]["bpm"] == heard["bpm"]
    assert track["analysis"]["duration_seconds"] == heard["duration_seconds"]
    outline, whole = track["analysis"]["waveform"], who.get(f"/v1/analysis/{job}/full").json()["detail"]["waveform"]
    assert 0 < len(outline["lows"]) == len(outline["highs"]) <= 200
    assert max(outline["highs"]) == round(max(whole["highs"]), 3)
    assert outline["step_seconds"] * len(outline["lows"]) >= heard["duration_seconds"] - whole["step_seconds"]
    assert who.get(where).json()["data"]["analysis"]["waveform"] == outline
    made = who.post("/api/v1/releases", NEW).json()["data"]
    problems = who.get(f"/api/v1/releases/{made['release_id']}/validation").json()["data"]["problems"]
    assert "duration_missing" not in {each["rule"] for each in problems}

    stranger = sign_in(client)
    stranger.post("/api/v1/tracks", {"isrc": ISRC, "title": "Song Name", "artist": "Artist Name"})
    refused(link(stranger, job), 404)
    refused(link(who, "\0"), 400)
    refused(link(who, "nothing"), 404)
    assert "analysis" not in link(who, None).json()["data"]


def test_an_outline_keeps_the_lowest_and_the_highest_of_what_is_put_together() -> None:
    found = Waveform(step_seconds=0.5, lows=(-0.1, -0.9, -0.2, 0.0, -0.3), highs=(0.1, 0.2, 0.91234, 0.3, 0.0))
    assert coarser(found, 3) == Waveform(step_seconds=1.0, lows=(-0.9, -0.2, -0.3), highs=(0.2, 0.912, 0.0))
    assert coarser(found, 5).step_seconds == 0.5
    assert coarser(Waveform(step_seconds=1.0)) == Waveform(step_seconds=1.0)


def test_a_version_of_a_beat_becomes_a_track_by_one_call(client: httpx.Client, clip: bytes) -> None:
    who = sign_in(client)
    body = {"categoryName": "Trap - Dark/Aggressive", "mode": "metadata_only"}
    beat = who.post("/api/generate/beat", body).json()["beat"]
    asked = {"beat_id": beat["id"], "isrc": ISRC, "artist": "Me"}
    made = who.post("/api/v1/tracks/from-beat", asked)
    # A beat that was only described has no version yet.
    refused(made, 404, "version_not_found")
    taken = who.request("POST", f"/api/beats/{beat['id']}/upload", files={"file": ("mine.wav", clip)})
    assert taken.status_code == 200, taken.text
    track = who.post("/api/v1/tracks/from-beat", asked).json()["data"]
    assert (track["title"], track["artist"]) == (beat["name"], "Me")
    assert track["metadata"] == {"beat_id": beat["id"], "beat_version": 1}
    refused(who.post("/api/v1/tracks/from-beat", asked | {"version_number": 2}), 404, "version_not_found")
    refused(who.post("/api/v1/tracks/from-beat", asked | {"beat_id": "nothing"}), 404)
    refused(sign_in(client).post("/api/v1/tracks/from-beat", asked), 404)
    refused(who.post("/api/v1/tracks/from-beat", asked | {"isrc": "nonsense"}), 400, "bad_isrc")
