"""In which key a recording is: its tuning, how strong each pitch is, and which of the 24 keys explains that best."""

from __future__ import annotations

from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Array = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: The pitch of semitone 0 of a salience matrix: C1.
LOWEST_MIDI = 24
SEMITONES = 96
BINS_PER_SEMITONE = 3

NOTE_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
#: The wheel of keys by which DJs mix: a step is a fifth, B is major and A its relative minor.
CAMELOT_MAJOR = tuple(f"{(7 * tonic + 7) % 12 + 1}B" for tonic in range(12))
CAMELOT_MINOR = tuple(f"{(7 * tonic + 4) % 12 + 1}A" for tonic in range(12))

#: How often each degree of the scale is heard, major and minor (Albrecht & Shanahan 2013, from 982 pieces).
PROFILES = np.array(
    [
        [0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081],
        [0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052],
    ]
)


class Key(Struct, frozen=True):
    """A key and how likely it is the one a listener would name."""

    tonic: int
    scale: Literal["major", "minor"]
    confidence: float

    @property
    def name(self) -> str:
        """The tonic by name, spelled as most scores of such pieces do."""
        return NOTE_NAMES[self.tonic]

    @property
    def notation(self) -> str:
        """The short form: C for C major, Cm for C minor."""
        return self.name + ("m" if self.scale == "minor" else "")

    @property
    def camelot(self) -> str:
        """The place on the mixing wheel, such as 8B for C major and 8A for A minor."""
        return (CAMELOT_MAJOR if self.scale == "major" else CAMELOT_MINOR)[self.tonic]


def tuning_semitones(tonal: Array) -> float:
    """How far the recording's notes lie above the A4 = 440 Hz grid, -0.5..0.5 semitones.

    `tonal` is (moments, bins) magnitudes, three bins a semitone. The spectral peaks, refined by a parabola through the
    log magnitudes, point in a circle whose turn is a semitone; the answer is their mean direction (after Dressler &
    Streich 2007).
    """
    octave = 12 * BINS_PER_SEMITONE
    turn = 0j
    for block in _blocks(tonal):
        inner = np.log(block[:, octave - 1 : -octave + 1] + np.float32(1e-9))
        here = inner[:, 1:-1]
        row, column = np.nonzero((here > inner[:, :-2]) & (here >= inner[:, 2:]))
        if not row.size:
            continue
        left, middle, right = inner[row, column], inner[row, column + 1], inner[row, column + 2]
        offset = np.clip(0.5 * (left - right) / (left - 2 * middle + right - 1e-9), -0.5, 0.5)
        phase = (column + octave + offset) / BINS_PER_SEMITONE
        turn += complex(np.sum(np.exp(0.5 * middle) * np.exp(2j * np.pi * phase)))
    return float(np.angle(turn) / (2 * np.pi)) if abs(turn) > 0 else 0.0


def pitch_salience(tonal: Array, tuning: float) -> Array:
    """(moments, SEMITONES) how far each semitone from C1 stands out of its surroundings, 0 or more.

    The grid is moved onto the recording's own tuning (in semitones); each bin is then set against the mean and the
    spread of the octave around it, so that a soft high note counts like a loud low one (whitening after Müller & Ewert
    2010 and Mauch & Dixon 2010).
    """
    return np.concatenate(
        [_salience(block, tuning) for block in _blocks(tonal)] or [np.zeros((0, SEMITONES), np.float32)]
    )


def _salience(block: Array, tuning: float) -> Array:
    bins = block.shape[1]
    place = np.arange(bins) + tuning * BINS_PER_SEMITONE
    below = np.clip(np.floor(place).astype(int), 0, bins - 2)
    share = (place - below).astype(np.float32)
    moved = block[:, below] * (1 - share) + block[:, below + 1] * share
    np.maximum(moved, 0, out=moved)
    mean, spread = _surroundings(moved)
    clear = np.maximum(moved - mean, 0) / np.maximum(spread, np.float32(1e-7))
    # What does not rise above -80 dB is the coder's or the converter's, not the music's.
    clear[moved < np.float32(1e-4)] = 0
    salience: Array = clear[:, ::BINS_PER_SEMITONE].copy()
    salience += clear[:, 1::BINS_PER_SEMITONE]
    salience[:, 1:] += clear[:, 2:-1:BINS_PER_SEMITONE]
    return salience


def _surroundings(values: Array) -> tuple[Array, Array]:
    """The running mean and standard deviation over an octave along the second axis."""
    width = 12 * BINS_PER_SEMITONE + 1
    padded = np.pad(values.astype(np.float64), ((0, 0), (width // 2, width // 2)), mode="edge")
    sums = np.cumsum(np.pad(padded, ((0, 0), (1, 0))), axis=1)
    squares = np.cumsum(np.pad(padded * padded, ((0, 0), (1, 0))), axis=1)
    mean = (sums[:, width:] - sums[:, :-width]) / width
    spread = np.sqrt(np.maximum((squares[:, width:] - squares[:, :-width]) / width - mean * mean, 0))
    return mean.astype(np.float32), spread.astype(np.float32)


def chroma(salience: Array, lowest_midi: int = 24, highest_midi: int = 96) -> Array:
    """(moments, 12) the salience of each pitch class from C to B, summed over octaves of the given range."""
    part = salience[:, lowest_midi - LOWEST_MIDI : highest_midi - LOWEST_MIDI]
    folded: Array = part.reshape(len(part), -1, 12).sum(axis=1)
    return folded


def key_probabilities(salience: Array) -> Float64:
    """(24,) how likely each key is, C major .. B major, then C minor .. B minor; uniform where nothing is tonal."""
    evidence = np.zeros(24)
    for lowest, highest in ((24, 96), (36, 84)):
        heard = chroma(salience, lowest, highest).mean(axis=0, dtype=np.float64) if len(salience) else np.zeros(12)
        if heard.sum() <= 0:
            return np.full(24, 1 / 24)
        evidence += _fit(heard)
    odds = np.exp(SHARPNESS * (evidence - evidence.max()))
    likely: Float64 = odds / odds.sum()
    return likely


#: What turns a difference in correlation into odds.
SHARPNESS = 8.0


def _fit(heard: Float64) -> Float64:
    """(24,) Pearson's correlation of twelve strengths with each key's profile (Krumhansl & Schmuckler)."""
    centred = heard - heard.mean()
    centred /= np.linalg.norm(centred) + 1e-9
    fits: list[float] = []
    for profile in PROFILES:
        shape = profile - profile.mean()
        shape /= np.linalg.norm(shape)
        fits.extend(float(centred @ np.roll(shape, tonic)) for tonic in range(12))
    return np.array(fits)


def ranked(probabilities: Float64, count: int = 3) -> tuple[Key, ...]:
    """The likeliest keys, likeliest first."""
    order = np.argsort(-probabilities)[:count]
    return tuple(Key(int(i) % 12, "major" if i < 12 else "minor", float(probabilities[i])) for i in order)


def _blocks(tonal: Array) -> list[Array]:
    return [tonal[start : start + 4096] for start in range(0, len(tonal), 4096)]
