"""Scales, roman numerals and voice leading."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLATS = {"DB": 1, "EB": 3, "GB": 6, "AB": 8, "BB": 10, "CB": 11, "FB": 4, "E#": 5, "B#": 0}

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
}
#: Five tones of each family that are never a semitone apart.
PENTATONICS = {"major": (0, 2, 4, 7, 9), "minor": (0, 3, 5, 7, 10)}

#: Semitones above the root, by what follows the numeral; "m" and "M" stand for the numeral's own case.
QUALITIES = {
    "M": (0, 4, 7),
    "m": (0, 3, 7),
    "M7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
    "Mmaj7": (0, 4, 7, 11),
    "mmaj7": (0, 3, 7, 11),
    "M9": (0, 4, 7, 10, 14),
    "m9": (0, 3, 7, 10, 14),
    "Mmaj9": (0, 4, 7, 11, 14),
    "M6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "Madd9": (0, 4, 7, 14),
    "madd9": (0, 3, 7, 14),
    "Msus2": (0, 2, 7),
    "msus2": (0, 2, 7),
    "Msus4": (0, 5, 7),
    "msus4": (0, 5, 7),
    "mdim": (0, 3, 6),
    "m7b5": (0, 3, 6, 10),
    "M5": (0, 7),
    "m5": (0, 7),
}
SUFFIXES = {
    "M": "",
    "m": "m",
    "M7": "7",
    "m7": "m7",
    "Mmaj7": "maj7",
    "mmaj7": "m(maj7)",
    "M9": "9",
    "m9": "m9",
    "Mmaj9": "maj9",
    "M6": "6",
    "m6": "m6",
    "Madd9": "add9",
    "madd9": "m(add9)",
    "Msus2": "sus2",
    "msus2": "sus2",
    "Msus4": "sus4",
    "msus4": "sus4",
    "mdim": "dim",
    "m7b5": "m7b5",
    "M5": "5",
    "m5": "5",
}
DEGREES = {"i": 0, "ii": 1, "iii": 2, "iv": 3, "v": 4, "vi": 5, "vii": 6}
NUMERAL = re.compile(r"([b#]?)([ivIV]+)(.*)")


class UnknownKey(ValueError):
    """A key that is no key."""


class Harmony(NamedTuple):
    """A chord before it is voiced."""

    numeral: str
    symbol: str
    root: int
    #: Pitch classes, the root first.
    tones: tuple[int, ...]


def family(mode: str) -> str:
    """Whether a mode is a kind of "major" or of "minor", by its third."""
    return "major" if 4 in SCALES[mode] else "minor"


def parse_key(text: str) -> tuple[int, str]:
    """The tonic (0 is C) and "major" or "minor" of a text like "F# Minor", "Bb major" or "Am"."""
    match = re.fullmatch(r"\s*([A-Ga-g][#b♯♭]?)[\s-]*(major|minor|maj|min|m|)\s*", text, re.IGNORECASE)
    if match is None:
        raise UnknownKey(f"{text!r} is not a key. Write one like 'C Minor' or 'F# Major'.")
    name = match[1].upper().replace("♯", "#").replace("♭", "B")
    tonic = NAMES.index(name) if name in NAMES else FLATS.get(name)
    if tonic is None:
        raise UnknownKey(f"{text!r} is not a key. Write one like 'C Minor' or 'F# Major'.")
    scale = match[2]
    minor = scale == "m" or scale.lower() in {"minor", "min"}
    return tonic, "minor" if minor else "major"


def key_name(tonic: int, mode: str) -> str:
    """How a key is told: "A Minor"."""
    return f"{NAMES[tonic]} {family(mode).capitalize()}"


def harmony(numeral: str, tonic: int, mode: str) -> Harmony:
    """The chord of a roman numeral, whose degrees are those of major or of natural minor.

    The colour of a mode shows in some chords: dorian has a major fourth degree, harmonic minor a major fifth, and
    phrygian takes the flat second for the fifth. Capitals are major, small letters minor; what may follow is in
    `QUALITIES`. Raises `ValueError` for what is none.
    """
    numeral = _coloured(numeral, mode)
    match = NUMERAL.fullmatch(numeral)
    if match is None or match[2].lower() not in DEGREES:
        raise ValueError(f"{numeral!r} is not a numeral")
    scale = SCALES[family(mode)]
    root = tonic + scale[DEGREES[match[2].lower()]] + {"b": -1, "#": 1, "": 0}[match[1]]
    quality = ("M" if match[2].isupper() else "m") + match[3]
    if quality not in QUALITIES:
        raise ValueError(f"{numeral!r} has a quality that is not known")
    tones = tuple((root + step) % 12 for step in QUALITIES[quality])
    return Harmony(numeral, NAMES[root % 12] + SUFFIXES[quality], root % 12, tones)


def _coloured(numeral: str, mode: str) -> str:
    degree = NUMERAL.fullmatch(numeral)
    if degree is None:
        return numeral
    if mode == "dorian" and degree[2] == "iv":
        return numeral.replace("iv", "IV")
    if mode == "harmonic minor" and degree[2] == "v":
        return numeral.replace("v", "V")
    if mode == "phrygian" and degree[2].lower() == "v":
        return "bII"
    return numeral


def voice(chord: Harmony, before: Sequence[int], low: int, high: int, count: int) -> tuple[int, ...]:
    """Pitches for the chord between `low` and `high`, each voice moving as little as it can from the chord `before`.

    `count` voices if the chord has so many tones: the root is left out first, which the bass has, then the fifth;
    the tonic keeps its root.
    No two voices are a semitone apart, none below middle C less than a minor third from its neighbour, no two are
    the same.
    """
    tones = _kept(chord, count)
    candidates = [pitch for pitch in range(low, high + 1) if pitch % 12 in tones]
    size = len(tones)
    best, least = None, float("inf")
    centre = (low + high) / 2
    for pitches in combinations(candidates, size):
        if len({pitch % 12 for pitch in pitches}) < size or pitches[-1] - pitches[0] > 19:
            continue
        gaps = [upper - lower for lower, upper in pairwise(pitches)]
        if any(gap < 2 or (gap < 3 and lower < 60) for gap, lower in zip(gaps, pitches, strict=False)):
            continue
        cost = 0.15 * abs(sum(pitches) / size - centre) + 0.3 * max(0, pitches[-1] - pitches[0] - 14)
        if before:
            cost += sum(min(abs(pitch - other) for other in before) for pitch in pitches) / size
            cost += 0.7 * abs(pitches[-1] - before[-1]) / 2
        if cost < least:
            best, least = pitches, cost
    if best is None:
        return voice(chord, before, low - 2, high + 3, count)
    return best


def _kept(chord: Harmony, count: int) -> tuple[int, ...]:
    tones = list(dict.fromkeys(chord.tones))
    fifth = (chord.root + 7) % 12
    # A minor ninth without its root is the relative major, so the chord of the tonic keeps it.
    for spare in (
        (fifth, chord.root) if chord.numeral.rstrip("0123456789adjmsu").lower() == "i" else (chord.root, fifth)
    ):
        if len(tones) > count and spare in tones:
            tones.remove(spare)
    return tuple(tones[:count])


def nearest(tones: Sequence[int], pitch: int, low: int, high: int) -> int:
    """The pitch of one of these pitch classes that lies nearest, within the range; the lower one of two."""
    options = [each for each in range(low, high + 1) if each % 12 in tones]
    return min(options, key=lambda each: (abs(each - pitch), each))


def clashes(pitch: int, tones: Sequence[int]) -> bool:
    """Whether a pitch lies a semitone (or its octaves) from a chord's tone without being one itself."""
    tone = pitch % 12
    return tone not in tones and any((tone - other) % 12 in {1, 11} for other in tones)
