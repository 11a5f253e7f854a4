"""Messages against what DDEX's schema of ERN 4.3 says of them: order, what must be there, values, references.

The schema itself is DDEX's and not in here: these are its facts about the elements that we write, with the optional
ones that stand between them left out. An element that is new in a message needs its line.
"""

from __future__ import annotations

import re
from itertools import product
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from adapters.catalogue.ern import Track, written
from domain.catalogue.releases import Credit, ReleaseType
from tests.catalogue.test_releases import ARTWORK, AUDIO, DETAILS, OTHER, RECORDING, TRACK, message

#: Children in their order, of an element or of one within another; `?` may be left out, `*` and `+` may come again.
CHILDREN = {
    "NewReleaseMessage": "MessageHeader PartyList ResourceList ReleaseList DealList?",
    "MessageHeader": "MessageThreadId? MessageId MessageSender MessageRecipient+ MessageCreatedDateTime",
    "MessageSender": "PartyId PartyName?",
    "MessageRecipient": "PartyId PartyName?",
    "PartyName": "FullName",
    "PartyList": "Party+",
    "Party": "PartyReference PartyName+ PartyId*",
    "ResourceList": "SoundRecording* Image*",
    "SoundRecording": "ResourceReference Type SoundRecordingEdition+ DisplayTitleText+ DisplayTitle+ "
    "DisplayArtistName+ DisplayArtist+ Contributor* Duration ParentalWarningType+",
    "Contributor": "ContributorPartyReference Role*",
    "SoundRecordingEdition": "ResourceId+ PLine* TechnicalDetails*",
    "SoundRecordingEdition/ResourceId": "ISRC? CatalogNumber? ProprietaryId*",
    "SoundRecordingEdition/TechnicalDetails": "TechnicalResourceDetailsReference DeliveryFile*",
    "DeliveryFile": "Type File?",
    "File": "URI HashSum? FileSize?",
    "HashSum": "Algorithm Version? Parameter? DataType? HashSumValue",
    "PLine": "Year? PLineCompany? PLineText",
    "CLine": "Year? CLineCompany? CLineText",
    "DisplayTitle": "TitleText SubTitle*",
    "DisplayArtist": "ArtistPartyReference DisplayArtistRole ArtisticRole*",
    "Image": "ResourceReference Type ResourceId+ ParentalWarningType* TechnicalDetails*",
    "Image/ResourceId": "ProprietaryId+",
    # A picture has no delivery file around its file, unlike a recording.
    "Image/TechnicalDetails": "TechnicalResourceDetailsReference ImageHeight? ImageWidth? File?",
    "ReleaseList": "Release? TrackRelease*",
    "Release": "ReleaseReference ReleaseType+ ReleaseId DisplayTitleText+ DisplayTitle+ DisplayArtistName+ "
    "DisplayArtist+ ReleaseLabelReference+ PLine* CLine* Duration? Genre+ ReleaseDate* OriginalReleaseDate* "
    "ParentalWarningType+ ResourceGroup",
    "ReleaseId": "GRid? ICPN? CatalogNumber? ProprietaryId*",
    "Genre": "GenreText SubGenre?",
    "ResourceGroup": "ResourceGroup* ResourceGroupContentItem* LinkedReleaseResourceReference*",
    "ResourceGroupContentItem": "SequenceNumber? ReleaseResourceReference LinkedReleaseResourceReference*",
    "TrackRelease": "ReleaseReference ReleaseId DisplayTitleText* DisplayTitle* ReleaseResourceReference "
    "LinkedReleaseResourceReference* ReleaseLabelReference+ Genre+",
    "DealList": "ReleaseDeal+",
    "ReleaseDeal": "DealReleaseReference+ Deal+",
    "Deal": "DealTerms",
    "DealTerms": "TerritoryCode* ValidityPeriod+ CommercialModelType* UseType*",
    "ValidityPeriod": "StartDate EndDate?",
}
_DAY = r"\d{4}-\d\d-\d\d"
#: What the texts of elements may be, and those of the root's attributes.
VALUES = {
    "PartyId": r"PADPIDA[a-zA-Z0-9]+",
    "MessageCreatedDateTime": _DAY + r"T\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)",
    "SoundRecording/Type": "MusicalWorkSoundRecording|NonMusicalWorkSoundRecording",
    "Image/Type": "FrontCoverImage",
    "DeliveryFile/Type": "AudioFile",
    "Duration": r"PT(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?",
    "ParentalWarningType": "Explicit|ExplicitContentEdited|NotExplicit|Unknown",
    "ReleaseType": "Single|EP|Album",
    "ReleaseDate": r"\d{4}(-\d\d(-\d\d)?)?",
    "StartDate": _DAY,
    "Year": r"\d{4}",
    "SequenceNumber": r"\d+",
    "TerritoryCode": "[A-Z]{2}|Worldwide",
    "UseType": "OnDemandStream|PermanentDownload",
    "CommercialModelType": "SubscriptionModel|AdvertisementSupportedModel|PayAsYouGoModel",
    "DisplayArtistRole": "MainArtist",
    "Role": "Adapter|Arranger|Author|Composer|ComposerLyricist|Librettist|Lyricist|NonLyricAuthor|SubArranger|"
    "Translator",
    "@LanguageAndScriptCode": r"[a-zA-Z]{2,3}(-[a-zA-Z]+)?(-[a-zA-Z]{2}|-\d{3})?(-[a-zA-Z][a-zA-Z0-9]{4}[a-zA-Z0-9]*)?",
    "@ReleaseProfileVersionId": "Audio|SimpleAudioSingle",
    "@AvsVersionId": r"\d+",
}
#: Names of things within a message by their first letter, and where they are named.
NAMES = {
    "PartyReference": "P",
    "ResourceReference": "A",
    "ReleaseReference": "R",
    "TechnicalResourceDetailsReference": "T",
}
POINTERS = {
    "ArtistPartyReference": "P", "ContributorPartyReference": "P", "ReleaseLabelReference": "P",
    "ReleaseResourceReference": "A", "LinkedReleaseResourceReference": "A", "DealReleaseReference": "R",
}  # fmt: skip


def _told(table: dict[str, str], parent: str, tag: str) -> str | None:
    return table.get(f"{parent}/{tag}", table.get(tag))


def problems(xml: bytes) -> list[str]:
    """What of a message the schema would refuse."""
    root = ElementTree.fromstring(xml)
    found: list[str] = []

    def look(element: ElementTree.Element, parent: str) -> None:
        tag = element.tag.rpartition("}")[2]
        text = element.text or ""
        if (order := _told(CHILDREN, parent, tag)) is not None:
            grammar = "".join(re.sub(r"(\w+)(\W?)", r"(?:\1 )\2", each) for each in order.split())
            children = "".join(f"{each.tag} " for each in element)
            if not re.fullmatch(grammar, children):
                found.append(f"{parent}/{tag} has {children}")
        elif len(element):
            found.append(f"{parent}/{tag} is not known to have children")
        elif not text.strip():
            found.append(f"{parent}/{tag} is empty")
        if (values := _told(VALUES, parent, tag)) is not None and not re.fullmatch(values, text):
            found.append(f"{parent}/{tag} is {text}")
        for each in element:
            look(each, tag)

    look(root, "")
    found += [f"{name} is {text}" for name, text in root.attrib.items() if not re.fullmatch(VALUES[f"@{name}"], text)]
    named = [each.text for each in root.iter() if each.tag in NAMES]
    pointed = {each.text for each in root.iter() if each.tag in POINTERS}
    found += [f"{each.tag} is {each.text}" for each in root.iter()
              if not (each.text or "").startswith((NAMES | POINTERS).get(each.tag, ""))]  # fmt: skip
    if len(set(named)) != len(named) or not pointed <= set(named):
        found.append(f"of {named}, {pointed} are pointed at")
    # What the profiles of audio releases say beside the schema.
    parties = {each.text for each in root.iter("PartyReference")}
    found += [f"{each} is pointed at by nobody" for each in parties - pointed]
    for parent in root.iter():
        for tag in ("DisplayArtist", "Contributor"):
            places = [each.get("SequenceNumber") for each in parent.findall(tag)]
            if places != [str(number) for number in range(1, len(places) + 1)]:
                found.append(f"{tag} of {parent.tag} are numbered {places}")
        who = [each.findtext("ContributorPartyReference") for each in parent.findall("Contributor")]
        if len(set(who)) != len(who):
            found.append(f"of {who} one contributes twice")
    return found


@pytest.mark.parametrize("release_type", ["single", "ep", "album", "compilation"])
def test_every_message_is_one_that_the_schema_takes(release_type: ReleaseType) -> None:
    for audio, artwork, version, told, explicit in product(
        (AUDIO, None), (ARTWORK, None), ("Live", None), ("2026 A Label", None), ("explicit", "clean", None)
    ):
        details = replace(
            DETAILS, release_type=release_type, version=version, copyright_c=told, copyright_p=told,
            explicit=explicit, label="A Label" if told else None,
            territories=("DE", "AT") if version else ("Worldwide",),
        )  # fmt: skip
        wrote = [("A. Writer", "Composer"), ("B", "Song-Writer"), ("A. Writer", "lyricist"), ("C", "Drums")]
        authors = tuple(Credit(name=name, role=role) for name, role in (wrote if told else []))
        said = replace(TRACK, version=version, explicit=explicit, credits=authors)
        first = Track(said=said, recording=RECORDING, audio=audio)
        second = replace(first, said=replace(first.said, isrc=OTHER), recording=replace(RECORDING, artist="Another"))
        for tracks in ((first,), (first, second)):
            named = tuple(replace(each, filename=f"resources/{n}.flac") for n, each in enumerate(tracks))
            assert problems(written(message(details=details, tracks=named, artwork=artwork))) == []


@pytest.mark.parametrize(
    "language", [None, "en", "gsw", "pt-BR", "es-419", "zh-Hans-TW", "sl-rozaj", "de-1996", "de-CH-1996"]
)
def test_languages_are_told_as_far_as_the_schema_can(language: str | None) -> None:
    xml = written(message(details=replace(DETAILS, language=language)))
    assert problems(xml) == []
    assert ElementTree.fromstring(xml).attrib["LanguageAndScriptCode"].startswith((language or "en").partition("-")[0])


def test_whoever_made_a_song_is_told_once_with_all_they_did() -> None:
    authors = tuple(
        Credit(name=name, role=role)
        for name, role in [("A", "Composer"), ("B", "Songwriter"), ("A", "Lyricist"), ("A", "composer"), ("C", "Drums")]
    )
    track = Track(said=replace(TRACK, credits=authors), recording=RECORDING, audio=AUDIO, filename="resources/1.flac")
    root = ElementTree.fromstring(written(message(tracks=(track,))))
    names = {each.findtext("PartyReference"): each.findtext("PartyName/FullName") for each in root.iter("Party")}
    told = [
        (names[each.findtext("ContributorPartyReference")], [role.text for role in each.findall("Role")])
        for each in root.iter("Contributor")
    ]
    assert told == [("A", ["Composer", "Lyricist"]), ("B", ["ComposerLyricist"])]
