"""A release as DDEX tells it: an ERN 4.3 `NewReleaseMessage`, written without the schemas, which are DDEX's own.

Whoever sends such messages needs DDEX's implementation licence, which is free, and a party id of their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from domain.catalogue.releases import Artwork, Audio, Explicit, ReleaseDetails, ReleaseTrack
from domain.catalogue.validation import Recording
from domain.kernel import Invalid, Value

NAMESPACE = "http://ddex.net/xml/ern/43"
AVS_VERSION = "6"

#: How a release is paid for, and what is done with it.
DEALS = (
    ("SubscriptionModel", "OnDemandStream"),
    ("AdvertisementSupportedModel", "OnDemandStream"),
    ("PayAsYouGoModel", "PermanentDownload"),
)
_WARNINGS: dict[Explicit | None, str] = {
    "explicit": "Explicit",
    "clean": "ExplicitContentEdited",
    "none": "NotExplicit",
    None: "Unknown",
}
#: Who made a song, by the role of a credit, as DDEX calls them.
_AUTHORS = {
    each.casefold(): each
    for each in (
        "Adapter", "Arranger", "Author", "Composer", "ComposerLyricist", "Librettist", "Lyricist", "NonLyricAuthor",
        "SubArranger", "Translator",
    )
} | {"songwriter": "ComposerLyricist", "writer": "ComposerLyricist"}  # fmt: skip
_TYPES = {"single": "Single", "ep": "EP", "album": "Album", "compilation": "Album"}
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PARTY_ID = re.compile(r"PADPIDA[0-9]{10}[0-9A-Z]")
_LANGUAGE = re.compile(r"[a-zA-Z]{2,3}(-[a-zA-Z]+)?(-[a-zA-Z]{2}|-[0-9]{3})?(-[a-zA-Z][a-zA-Z0-9]{4,})?")
#: What XML 1.0 has no way to write.
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class BadPartyId(Invalid):
    """A DDEX party id is PADPIDA, ten digits and a check character (ISO 7064 Mod 37,36); {party_id} is none."""


class Party(Value):
    """Who sends or receives a message: a DDEX party id and a name."""

    party_id: str
    name: str


class Track(Value):
    """A recording of a release with all that is known of it, and the name of its file in the delivery."""

    said: ReleaseTrack
    recording: Recording
    audio: Audio | None = None
    filename: str = ""


class Message(Value):
    """All that a message tells."""

    message_id: str
    thread_id: str
    created_at: datetime
    sender: Party
    recipient: Party
    details: ReleaseDetails
    tracks: tuple[Track, ...]
    release_date: date
    artwork: Artwork | None = None
    artwork_filename: str = ""
    namespace: str = NAMESPACE
    avs_version: str = AVS_VERSION


def check_character(text: str) -> str:
    """The check character of ISO 7064 Mod 37,36 after these letters and digits."""
    rest = 36
    for each in text:
        rest = (rest + _ALPHABET.index(each)) % 36 or 36
        rest = rest * 2 % 37
    return _ALPHABET[(37 - rest) % 36]


def party_id(text: str) -> str:
    """A DDEX party id in its normal form, without dashes; raises BadPartyId."""
    plain = re.sub(r"[-\s]", "", text[:64]).upper()
    if not _PARTY_ID.fullmatch(plain) or check_character(plain[:-1]) != plain[-1]:
        raise BadPartyId(party_id=repr(text[:32]), loc=("query",))
    return plain


def written(message: Message) -> bytes:
    """A message as XML, in the order that ERN 4.3 has."""
    ElementTree.register_namespace("ern", message.namespace)
    details = message.details
    root = Element(
        f"{{{message.namespace}}}NewReleaseMessage",
        AvsVersionId=message.avs_version,
        LanguageAndScriptCode=_language(details.language or "en"),
        ReleaseProfileVersionId="SimpleAudioSingle" if len(message.tracks) == 1 else "Audio",
    )
    _header(root, message)
    label = details.label or details.artist
    artists = [label, details.artist, *(each.recording.artist for each in message.tracks)]
    names = dict.fromkeys([*artists, *(name for each in message.tracks for name in _authors(each.said))])
    parties = {name: f"P{number}" for number, name in enumerate(names, 1)}
    listed = SubElement(root, "PartyList")
    for name, reference in parties.items():
        party = _with(listed, "Party", PartyReference=reference)
        _with(SubElement(party, "PartyName"), FullName=name)
    _resources(root, message, parties)
    _releases(root, message, parties, parties[label])
    _deals(root, message)
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _header(root: Element, message: Message) -> None:
    header = _with(root, "MessageHeader", MessageThreadId=message.thread_id, MessageId=message.message_id)
    for tag, who in (("MessageSender", message.sender), ("MessageRecipient", message.recipient)):
        party = _with(header, tag, PartyId=party_id(who.party_id))
        _with(SubElement(party, "PartyName"), FullName=who.name)
    moment = message.created_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    _with(header, MessageCreatedDateTime=moment)


def _resources(root: Element, message: Message, parties: dict[str, str]) -> None:
    resources = SubElement(root, "ResourceList")
    for number, track in enumerate(message.tracks, 1):
        recording = _with(resources, "SoundRecording", ResourceReference=f"A{number}", Type="MusicalWorkSoundRecording")
        edition = SubElement(recording, "SoundRecordingEdition")
        _with(SubElement(edition, "ResourceId"), ISRC=track.said.isrc)
        _line(edition, "PLine", message.details.copyright_p)
        if track.audio is not None:
            _file(
                _with(_technical(edition, number), "DeliveryFile", Type="AudioFile"), track.filename, track.audio.sha256
            )
        _titles(recording, track.recording.title, track.said.version)
        _artists(recording, track.recording.artist, parties)
        for place, (name, roles) in enumerate(_authors(track.said).items(), 1):
            author = SubElement(recording, "Contributor", SequenceNumber=str(place))
            _with(author, ContributorPartyReference=parties[name])
            for role in roles:
                _with(author, Role=role)
        if track.recording.duration_ms:
            _with(recording, Duration=duration(track.recording.duration_ms))
        _with(recording, ParentalWarningType=_WARNINGS[track.said.explicit])
    if message.artwork is not None:
        number = len(message.tracks) + 1
        image = _with(resources, "Image", ResourceReference=f"A{number}", Type="FrontCoverImage")
        _proprietary(SubElement(image, "ResourceId"), message, message.artwork.sha256[:32])
        _with(image, ParentalWarningType=_WARNINGS[message.details.explicit])
        # A picture has no delivery file around its file, unlike a recording.
        _file(_technical(image, number), message.artwork_filename, message.artwork.sha256)


def _releases(root: Element, message: Message, parties: dict[str, str], label: str) -> None:
    details = message.details
    listed = SubElement(root, "ReleaseList")
    release = _with(listed, "Release", ReleaseReference="R0", ReleaseType=_TYPES[details.release_type or "album"])
    _with(SubElement(release, "ReleaseId"), ICPN=details.upc or "")
    _titles(release, details.title, details.version)
    _artists(release, details.artist, parties)
    _with(release, ReleaseLabelReference=label)
    _line(release, "PLine", details.copyright_p)
    _line(release, "CLine", details.copyright_c)
    _with(SubElement(release, "Genre"), GenreText=details.genre or "")
    _with(release, ReleaseDate=message.release_date.isoformat(), ParentalWarningType=_WARNINGS[details.explicit])
    group = SubElement(release, "ResourceGroup")
    for number, _ in enumerate(message.tracks, 1):
        item = SubElement(group, "ResourceGroupContentItem")
        _with(item, SequenceNumber=str(number), ReleaseResourceReference=f"A{number}")
    if message.artwork is not None:
        _with(group, LinkedReleaseResourceReference=f"A{len(message.tracks) + 1}")
    for number, track in enumerate(message.tracks, 1):
        single = _with(listed, "TrackRelease", ReleaseReference=f"R{number}")
        # A release of one track has no ISRC: that is the recording's.
        _proprietary(SubElement(single, "ReleaseId"), message, track.said.isrc)
        _with(single, ReleaseResourceReference=f"A{number}", ReleaseLabelReference=label)
        _with(SubElement(single, "Genre"), GenreText=details.genre or "")


def _deals(root: Element, message: Message) -> None:
    deal = SubElement(SubElement(root, "DealList"), "ReleaseDeal")
    for number in range(len(message.tracks) + 1):
        _with(deal, DealReleaseReference=f"R{number}")
    for model, use in DEALS:
        terms = SubElement(SubElement(deal, "Deal"), "DealTerms")
        for territory in message.details.territories:
            _with(terms, TerritoryCode=territory)
        _with(SubElement(terms, "ValidityPeriod"), StartDate=message.release_date.isoformat())
        _with(terms, CommercialModelType=model, UseType=use)


def _titles(into: Element, title: str, version: str | None) -> None:
    _with(into, DisplayTitleText=f"{title} ({version})" if version else title)
    shown = _with(into, "DisplayTitle", TitleText=title)
    if version:
        _with(shown, SubTitle=version)


def _artists(into: Element, artist: str, parties: dict[str, str]) -> None:
    _with(into, DisplayArtistName=artist)
    shown = SubElement(into, "DisplayArtist", SequenceNumber="1")
    _with(shown, ArtistPartyReference=parties[artist], DisplayArtistRole="MainArtist")


def _authors(track: ReleaseTrack) -> dict[str, dict[str, None]]:
    """Who made the song of a track, each once, with their roles."""
    found: dict[str, dict[str, None]] = {}
    for each in track.credits:
        if role := _AUTHORS.get(re.sub(r"[^a-z]", "", each.role.casefold())):
            found.setdefault(each.name, {})[role] = None
    return found


def _proprietary(into: Element, message: Message, text: str) -> None:
    SubElement(into, "ProprietaryId", Namespace=f"DPID:{party_id(message.sender.party_id)}").text = text


def _line(into: Element, tag: str, text: str | None) -> None:
    if not text:
        return
    line = SubElement(into, tag)
    if found := re.search(r"\b((?:19|20)\d\d)\b", text):
        _with(line, Year=found[1])
    _with(line, **{f"{tag}Text": text})


def _technical(into: Element, number: int) -> Element:
    return _with(into, "TechnicalDetails", TechnicalResourceDetailsReference=f"T{number}")


def _file(into: Element, filename: str, sha256: str) -> None:
    file = _with(into, "File", URI=filename)
    _with(SubElement(file, "HashSum"), Algorithm="SHA2", HashSumValue=sha256)


def _language(tag: str) -> str:
    """As much of a language tag as the messages take: no variants that begin with a digit, as in `de-1996`."""
    return tag if _LANGUAGE.fullmatch(tag) else tag.partition("-")[0]


def _with(into: Element, tag: str | None = None, /, **children: str) -> Element:
    """Add children with these texts, in this order, to an element, or to a new one within it, which is returned."""
    target = into if tag is None else SubElement(into, tag)
    for name, text in children.items():
        SubElement(target, name).text = _UNWRITABLE.sub("", text)
    return target


def duration(milliseconds: int) -> str:
    """A length as ISO 8601 writes it, in whole seconds: `PT3M7S`."""
    minutes, seconds = divmod((milliseconds + 500) // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return "PT" + (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes or hours else "") + f"{seconds}S"


def sequence(tracks: Sequence[ReleaseTrack]) -> list[ReleaseTrack]:
    """The tracks in the order in which they are heard: by disc, and then as they were listed."""
    return sorted(tracks, key=lambda each: each.disc)
