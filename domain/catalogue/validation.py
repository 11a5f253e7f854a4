"""What a distributor would send a release back for: each rule has a name, and says what it wants and why.

The rules are those that stores publish in their style guides (Apple Music Style Guide, Spotify's metadata guide) and
that distributors repeat: nothing in them is ours.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Literal, NamedTuple

from domain.catalogue.codes import check_digit, find_isrc
from domain.catalogue.releases import Artwork, Audio, ReleaseDetails, ReleaseTrack
from domain.kernel import Value

ARTWORK_PIXELS = 3_000
SAMPLE_RATE_MIN = 44_100
BITS_MIN = 16
DAYS_AHEAD = 7
SINGLE_TRACKS_MAX, EP_TRACKS_MAX = 3, 6
LOSSLESS = frozenset({"wav", "flac", "aiff"})
#: Roles by which a song has an author; stores pay nobody for a song without one.
AUTHORS = frozenset({"composer", "lyricist", "songwriter", "author", "composerlyricist", "writer"})

Level = Literal["error", "warning"]


class Rule(NamedTuple):
    """A rule: an error keeps a release back, a warning does not."""

    name: str
    level: Level
    explanation: str


class Finding(Value):
    """Where a rule is broken, and what to do there."""

    rule: str
    level: Level
    where: str
    message: str


class Recording(Value):
    """What the catalogue knows of a recording."""

    title: str
    artist: str
    duration_ms: int | None = None
    #: As its analysis has measured it.
    loudness_lufs: float | None = None


RULES = {
    each.name: each
    for each in (
        Rule("artwork_missing", "error", "A release has a front cover."),
        Rule(
            "artwork_size",
            "error",
            f"The front cover is square and has at least {ARTWORK_PIXELS} x {ARTWORK_PIXELS} pixels; stores scale it "
            "down and never up.",
        ),
        Rule("upc_missing", "error", "A release has a UPC or EAN, by which stores and statements know it."),
        Rule("upc_invalid", "error", "A UPC has 12 digits and an EAN 13, the last of which is a check digit (GTIN)."),
        Rule("tracks_missing", "error", "A release has at least one track."),
        Rule("isrc_invalid", "error", "An ISRC is two letters, three letters or digits, and seven digits."),
        Rule("isrc_duplicate", "error", "A recording is on a release once; another version has an ISRC of its own."),
        Rule("track_unknown", "error", "Every recording of a release is in the catalogue, with its title and artist."),
        Rule(
            "title_featured_artist",
            "error",
            "Guests are credits, not part of a title: stores write (feat. ...) themselves from the credits.",
        ),
        Rule("title_producer", "error", "Producers are credits, not part of a title."),
        Rule(
            "title_version",
            "warning",
            "Words such as Remix, Live or Acoustic belong into the version, from where stores add them to the title.",
        ),
        Rule("title_capitals", "warning", "Titles are written in title case, not all in capitals."),
        Rule("title_spaces", "error", "Names have no spaces at their ends, no double spaces, and no signs unseen."),
        Rule("title_promotion", "error", "A title does not advertise: no prices, links, stores or `official`."),
        Rule("artist_various", "error", "A compilation of four artists or more is by Various Artists."),
        Rule("artist_separators", "warning", "Each artist is a credit of their own; names are not joined by commas."),
        Rule("release_date_missing", "error", "A release has a date on which it comes out."),
        Rule(
            "release_date_soon",
            "warning",
            f"Stores ask for a release {DAYS_AHEAD} days ahead, and editors of playlists for more.",
        ),
        Rule("release_date_order", "error", "What has been out before was out before its new date."),
        Rule("explicit_missing", "error", "Every track says whether its words are explicit, and so does the release."),
        Rule("explicit_mismatch", "error", "A release with an explicit track is explicit."),
        Rule("label_missing", "error", "A release has a label; artists without one write their own name."),
        Rule("genre_missing", "error", "A release has a genre, or stores put it where nobody looks for it."),
        Rule("language_missing", "warning", "A release says in which language its names are, as in `en`."),
        Rule("copyright_missing", "error", "A release has a (P) line for the recordings and a (C) line for the rest."),
        Rule("copyright_form", "error", "A (P) or (C) line is a year and an owner, as in `2026 A Label`."),
        Rule("credits_author", "error", "Every track names who wrote it: a composer, a lyricist or a songwriter."),
        Rule("credits_main_artist", "warning", "Every track names its main artist among the credits."),
        Rule("duration_missing", "error", "Every track has its duration, from the catalogue or from its analysis."),
        Rule("audio_missing", "error", "Every track has its audio."),
        Rule("audio_lossy", "error", "Audio is WAV, FLAC or AIFF: stores make the lossy forms themselves."),
        Rule(
            "audio_quality",
            "error",
            f"Audio has at least {SAMPLE_RATE_MIN / 1000:g} kHz, {BITS_MIN} bits and two channels.",
        ),
        Rule(
            "release_type",
            "warning",
            f"A single has {SINGLE_TRACKS_MAX} tracks at most, an EP {EP_TRACKS_MAX}; stores decide by that.",
        ),
        Rule("release_type_missing", "error", "A release is a single, an EP, an album or a compilation."),
        Rule("territories_missing", "error", "A release comes out somewhere."),
    )
}

_FEATURED = re.compile(r"(?i)(?:\b(?:feat|ft|featuring)\b\.?|\bf/|\((?:with|w/)\s)")
_PRODUCER = re.compile(r"(?i)\b(?:prod(?:uced)?\b\.?(?:\s+by)?)\s")
_VERSION = re.compile(
    r"(?i)[(\[][^)\]]*\b(?:remix|mix|live|acoustic|instrumental|edit|demo|remaster(?:ed)?|karaoke|sped up|slowed)\b"
)
_PROMOTION = re.compile(
    r"(?i)https?:|www\.|\b(?:official|free download|out now|itunes|spotify|apple music|youtube|exclusive)\b|[$€£]\d"
)
_COPYRIGHT = re.compile(r"(?:\((?:[CP])\)|[©℗])?\s*(?:19|20)\d\d\s+\S.*", re.IGNORECASE)
_JOINED = re.compile(r",|;|\s/\s|\s\+\s")


def validate(
    details: ReleaseDetails,
    recordings: Mapping[str, Recording],
    artwork: Artwork | None,
    audio: Mapping[str, Audio],
    today: date,
) -> list[Finding]:
    """All that would keep a release back, or that would better be otherwise, in the order of the release."""
    return [
        *_of_release(details, today),
        *_of_artwork(artwork),
        *_of_tracks(details, recordings),
        *(
            finding
            for number, track in enumerate(details.tracks, 1)
            for finding in _of_track(number, track, recordings.get(track.isrc), audio.get(track.isrc))
        ),
    ]


def is_upc(text: str) -> bool:
    """Whether a text is a UPC or an EAN with the right check digit."""
    return bool(re.fullmatch(r"[0-9]{12,13}", text)) and check_digit(text[:-1]) == text[-1]


def _found(rule: str, where: str, message: str) -> Finding:
    return Finding(rule=rule, level=RULES[rule].level, where=where, message=message)


def _of_release(details: ReleaseDetails, today: date) -> Iterator[Finding]:
    yield from _of_title(details.title, "title")
    yield from _of_name(details.artist, "artist")
    missing = (
        (details.label, "label_missing", "label", "Write the label."),
        (details.genre, "genre_missing", "genre", "Write the genre."),
        (details.language, "language_missing", "language", "Write the language, as in en."),
        (details.release_type, "release_type_missing", "release_type", "Say which kind of release it is."),
        (details.territories, "territories_missing", "territories", "Name a country, or Worldwide."),
        (details.upc, "upc_missing", "upc", "Write the UPC or EAN; distributors give one to those who have none."),
    )
    for value, rule, where, message in missing:
        if not value:
            yield _found(rule, where, message)
    if details.upc and not is_upc(details.upc):
        yield _found("upc_invalid", "upc", f"{details.upc[:32]!r} is no UPC or EAN: look for a digit that is wrong.")
    if details.explicit is None:
        yield _found("explicit_missing", "explicit", "Say explicit, clean or none.")
    for line, where in ((details.copyright_p, "copyright_p"), (details.copyright_c, "copyright_c")):
        if not line:
            yield _found("copyright_missing", where, "Write the year and the owner.")
        elif not _COPYRIGHT.fullmatch(line.strip()):
            yield _found("copyright_form", where, f"Write {line[:64]!r} as a year and an owner.")
    yield from _of_dates(details, today)


def _of_dates(details: ReleaseDetails, today: date) -> Iterator[Finding]:
    if details.release_date is None:
        yield _found("release_date_missing", "release_date", "Say when it comes out.")
        return
    if today <= details.release_date < today + timedelta(days=DAYS_AHEAD):
        yield _found("release_date_soon", "release_date", "Choose a later day, or expect stores to be late.")
    if details.original_release_date and details.original_release_date > details.release_date:
        yield _found("release_date_order", "original_release_date", "It is later than the release date.")


def _of_artwork(artwork: Artwork | None) -> Iterator[Finding]:
    if artwork is None:
        yield _found("artwork_missing", "artwork", "Upload the front cover as JPEG or PNG.")
    elif artwork.width != artwork.height or artwork.width < ARTWORK_PIXELS:
        yield _found("artwork_size", "artwork", f"It has {artwork.width} x {artwork.height} pixels.")


def _of_tracks(details: ReleaseDetails, recordings: Mapping[str, Recording]) -> Iterator[Finding]:
    if not details.tracks:
        yield _found("tracks_missing", "tracks", "Add a track.")
    for isrc, times in Counter(each.isrc for each in details.tracks).items():
        if times > 1:
            yield _found("isrc_duplicate", "tracks", f"{isrc[:32]} is there {times} times.")
    if any(each.explicit == "explicit" for each in details.tracks) and details.explicit in ("none", "clean"):
        yield _found("explicit_mismatch", "explicit", "A track is explicit, so the release is.")
    most = {"single": SINGLE_TRACKS_MAX, "ep": EP_TRACKS_MAX}.get(details.release_type or "")
    if most is not None and len(details.tracks) > most:
        yield _found("release_type", "release_type", f"It has {len(details.tracks)} tracks.")
    artists = {recordings[each.isrc].artist for each in details.tracks if each.isrc in recordings}
    if len(artists) >= 4 and details.artist.casefold() != "various artists":
        yield _found("artist_various", "artist", f"Its tracks are by {len(artists)} artists.")


def _of_track(number: int, track: ReleaseTrack, recording: Recording | None, audio: Audio | None) -> Iterator[Finding]:
    where = f"tracks.{number}"
    if find_isrc(track.isrc) is None:
        yield _found("isrc_invalid", f"{where}.isrc", f"{track.isrc[:32]!r} is no ISRC.")
    elif recording is None:
        yield _found("track_unknown", f"{where}.isrc", f"Add {track.isrc} to the catalogue first.")
    else:
        yield from _of_title(recording.title, f"{where}.title")
        yield from _of_name(recording.artist, f"{where}.artist")
        if not recording.duration_ms:
            yield _found("duration_missing", f"{where}.duration_ms", "Say how long it is.")
    if track.explicit is None:
        yield _found("explicit_missing", f"{where}.explicit", "Say explicit, clean or none.")
    roles = {re.sub(r"[^a-z]", "", each.role.casefold()) for each in track.credits}
    if not roles & AUTHORS:
        yield _found("credits_author", f"{where}.credits", "Name who wrote it.")
    if "mainartist" not in roles:
        yield _found("credits_main_artist", f"{where}.credits", "Name the main artist with the role MainArtist.")
    if audio is None:
        yield _found("audio_missing", f"{where}.audio", "Upload its audio.")
    elif audio.format not in LOSSLESS:
        yield _found("audio_lossy", f"{where}.audio", f"It is {audio.format}.")
    elif (
        (audio.sample_rate or SAMPLE_RATE_MIN) < SAMPLE_RATE_MIN
        or (audio.bits or BITS_MIN) < BITS_MIN
        or (audio.channels or 2) < 2
    ):
        yield _found(
            "audio_quality", f"{where}.audio", f"It has {audio.sample_rate} Hz, {audio.bits} bits, {audio.channels} ch."
        )


def _of_title(title: str, where: str) -> Iterator[Finding]:
    rules = (
        (_FEATURED, "title_featured_artist", "Move the guest into the credits, with the role FeaturedArtist."),
        (_PRODUCER, "title_producer", "Move the producer into the credits, with the role Producer."),
        (_PROMOTION, "title_promotion", "Leave out what advertises."),
        (_VERSION, "title_version", "Move what is in brackets into the version."),
    )
    for pattern, rule, message in rules:
        if pattern.search(title):
            yield _found(rule, where, f"{title[:80]!r}: {message}")
    letters = [each for each in title if each.isalpha()]
    if len(letters) > 4 and title.isupper():
        yield _found("title_capitals", where, f"{title[:80]!r}: write it in title case.")
    yield from _of_spaces(title, where)


def _of_name(name: str, where: str) -> Iterator[Finding]:
    if _FEATURED.search(name):
        yield _found("title_featured_artist", where, f"{name[:80]!r}: move the guest into the credits.")
    elif _JOINED.search(name):
        yield _found("artist_separators", where, f"{name[:80]!r}: name each artist among the credits.")
    yield from _of_spaces(name, where)


def _of_spaces(text: str, where: str) -> Iterator[Finding]:
    unseen = any(unicodedata.category(each) in ("Cc", "Cf", "Co") and each != "\u200d" for each in text)
    if text != text.strip() or "  " in text or unseen:
        yield _found("title_spaces", where, f"{text[:80]!r}: take out spaces and signs that nobody sees.")
