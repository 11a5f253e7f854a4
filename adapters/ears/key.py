"""In which key a recording is: its tuning, how strong each pitch is, and which of the 24 keys explains that best."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from adapters.ears import certainty
from adapters.ears.certainty import log_odds
from adapters.ears.network import chances, trained
from adapters.ears.spectrum import portions
from domain.analyses.findings import Mode, Scale

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

#: The registers in which pitch classes are counted apart: bass, middle, high, and all together (MIDI, from .. below).
REGISTERS = ((24, 48), (48, 72), (72, 96), (24, 96))
#: Moments at the beginning and at the end that are heard for themselves: four seconds, or a sixth of what there is.
END_MOMENTS = 22
#: A key is named surely after so many seconds and with so much change of harmony; what either lacks counts in powers
#: of two (decisions 0035 and 0134).
ENOUGH_SECONDS, ENOUGH_CHANGE = 24.0, 0.1
#: What the network of modes tells apart, in its order: the two scales first, and songs on dominant sevenths, which have
#: no name of their own; and those with a major third.
KINDS = ("major", "minor", "mixolydian", "lydian", "blues", "dorian", "phrygian")
#: Semitones from the tonic of each up to that of the major scale with its notes (on dominant sevenths, most of them).
SIGNATURES = (0, 3, 5, 7, 5, 10, 8)
MODES: dict[str, Mode] = {one: one for one in ("mixolydian", "lydian", "dorian", "phrygian")}
MAJOR_KINDS = frozenset({"major", "mixolydian", "lydian", "blues"})
#: A mode is named where it is at least so likely, and where its notes are those of the key that is named otherwise: no
#: further on the circle of fifths than one step, on dominant sevenths two.
MODE_MIN, STEPS_MAX = 0.7, 1
#: Of shorter excerpts most modes that were named were wrong.
MODE_SECONDS_MIN = 12.0
#: Modal music is rarer than in the material, where it is half: by so much in the logarithm of odds (one in twelve).
RARER = math.log(11)
#: Salience at which evidence counts half: a click in silence is no tonic.
SLIGHT = 1.0


class Key(Struct, frozen=True):
    """A key and how likely it is the one a listener would name."""

    tonic: int
    scale: Scale
    confidence: float
    #: The mode of the scale where it clearly is neither plain major nor plain minor.
    mode: Mode | None = None

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


def tuning_semitones(tonal: NDArray[np.floating]) -> float:
    """How far the notes in (moments, bins) magnitudes lie above the A4 = 440 Hz grid, -0.5..0.5 semitones."""
    return tuning_of(tuning_turn(tonal))


def tuning_of(turn: complex) -> float:
    """The tuning in semitones to which the sum of directions points."""
    return float(np.angle(turn) / (2 * np.pi)) if abs(turn) > 0 else 0.0


def tuning_turn(tonal: NDArray[np.floating]) -> complex:
    """The sum of the directions in which notes point; those of several stretches add up.

    `tonal` is (moments, bins) magnitudes, three bins a semitone. The spectral peaks, refined by a parabola through the
    log magnitudes, point in a circle whose turn is a semitone; the tuning is their mean direction (after Dressler &
    Streich 2007).
    """
    octave = 12 * BINS_PER_SEMITONE
    turn = 0j
    for _, block in portions(tonal):
        inner = np.log(block[:, octave - 1 : -octave + 1] + np.float32(1e-9))
        here = inner[:, 1:-1]
        row, column = np.nonzero((here > inner[:, :-2]) & (here >= inner[:, 2:]))
        if not row.size:
            continue
        left, middle, right = inner[row, column], inner[row, column + 1], inner[row, column + 2]
        offset = np.clip(0.5 * (left - right) / (left - 2 * middle + right - 1e-9), -0.5, 0.5)
        phase = (column + octave + offset) / BINS_PER_SEMITONE
        turn += complex(np.sum(np.exp(0.5 * middle) * np.exp(2j * np.pi * phase)))
    return turn


def pitch_salience(tonal: NDArray[np.floating], tuning: float) -> Array:
    """(moments, SEMITONES) how far each semitone from C1 stands out of its surroundings, 0 or more.

    The grid is moved onto the recording's own tuning (in semitones); each bin is then set against the mean and the
    spread of the octave around it, so that a soft high note counts like a loud low one (whitening after Müller & Ewert
    2010 and Mauch & Dixon 2010).
    """
    salience = np.empty((len(tonal), SEMITONES), np.float32)
    for start, block in portions(tonal):
        salience[start : start + len(block)] = _salience(block, tuning)
    return salience


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


def chroma(salience: NDArray[np.floating], lowest_midi: int = 24, highest_midi: int = 96) -> Array:
    """(moments, 12) the salience of each pitch class from C to B, summed over octaves of the given range."""
    part = salience[:, lowest_midi - LOWEST_MIDI : highest_midi - LOWEST_MIDI]
    folded: Array = part.reshape(len(part), part.shape[1] // 12, 12).sum(axis=1, dtype=np.float32)
    return folded


def key_probabilities(salience: NDArray[np.floating]) -> Float64:
    """(24,) how likely each key is, C major .. B major, then C minor .. B minor; uniform where nothing is tonal.

    A small network looks at the `evidence` from each of the twelve possible tonics in turn, so that it knows nothing of
    absolute pitch, and scores major and minor there; it was trained on composed songs, folk tunes and scores, and on
    drums, noise and speech, of which it was taught to expect nothing (`infra.training.key`).
    """
    return keys_in(evidence(salience))


def keys_in(heard: Array) -> Float64:
    """The same, from the `evidence` of some salience."""
    if not heard.any():
        return np.full(24, 1 / 24)
    return chances(trained("key")(_turned(heard)).T.ravel()).astype(np.float64)


def modes_in(heard: Array) -> Float64:
    """(7, 12) how likely each of the `KINDS` of music is on each tonic, from the `evidence`; uniform without any.

    A network of the same kind, trained on songs of all modes (`infra.training.modes`). Modal music counts as rarer than
    it was in the material.
    """
    if not heard.any():
        return np.full((len(KINDS), 12), 1 / (12 * len(KINDS)))
    scores = trained("mode")(_turned(heard)).T.copy()
    scores[2:] -= np.float32(RARER)
    return chances(scores.ravel()).astype(np.float64).reshape(len(KINDS), 12)


def modal_key(modes: Float64, key: Key) -> Key | None:
    """The key by its mode, or by the tonic of its dominant sevenths, if it clearly is in one; None of plain music.

    `modes` is what `modes_in` says, `key` what the music is named by otherwise.
    """
    kind, tonic = divmod(int(modes.argmax()), 12)
    name, likely = KINDS[kind], float(modes.max())
    plain = key.tonic + SIGNATURES[0 if key.scale == "major" else 1]
    # Seven semitones are a step on the circle of fifths.
    away = 7 * (tonic + SIGNATURES[kind] - plain) % 12
    if name in KINDS[:2] or likely < MODE_MIN or min(away, 12 - away) > STEPS_MAX + (name == "blues"):
        return None
    scale: Scale = "major" if name in MAJOR_KINDS else "minor"
    return Key(tonic, scale, likely, MODES.get(name))


def shows_mode(pitch_classes: Array, seconds: float) -> bool:
    """Whether so much of a piece was heard, and its harmony moves so much, that a mode can be told at all."""
    return seconds >= MODE_SECONDS_MIN and harmonic_change(pitch_classes) >= ENOUGH_CHANGE


def agreement(modes: Float64, key: Key) -> float:
    """How likely the network of modes finds the tonic of a key with the third of its scale, 0 .. 1."""
    alike = [kind for kind, name in enumerate(KINDS) if (name in MAJOR_KINDS) == (key.scale == "major")]
    return float(modes[alike, key.tonic].sum())


def _turned(heard: Array) -> Array:
    return np.stack([np.roll(heard, -tonic, axis=1).ravel() for tonic in range(12)])


def evidence(salience: NDArray[np.floating]) -> Array:
    """(10, 12) what speaks for each pitch class, C to B, in ten ways; about 0 where a class is no stronger than others.

    The strength of each class in four registers, over all moments alike, at the beginning and at the end; how often it
    is the deepest clear one; and how often its major and its minor triad sound.
    """
    classes = chroma(salience)
    count = len(classes)
    if not count or classes.max() <= 0:
        return np.zeros((10, 12), np.float32)
    rows = [_standing_out(chroma(salience, *register)) for register in REGISTERS]
    alike = classes / (classes.max(axis=1, keepdims=True) + np.float32(1e-3))
    end = max(1, min(count // 6, END_MOMENTS))
    rows += [_standing_out(part, slight=0.05) for part in (alike, alike[:end], alike[-end:])]
    bass = chroma(salience, *REGISTERS[0])
    deepest = np.bincount(bass.argmax(axis=1)[bass.max(axis=1) > 0], minlength=12)
    rows.append(12 * deepest / (deepest.sum() + 1e-9) - 1 if deepest.any() else np.zeros(12))
    rows += list(_triads(alike))
    return np.stack(rows).astype(np.float32)


def _standing_out(classes: Array, slight: float = SLIGHT) -> Float64:
    """(12,) the mean strength of each class over the mean of all, minus 1; drawn to 0 where there is hardly any."""
    mean = classes.mean(axis=0, dtype=np.float64)
    return np.asarray((12 * mean - mean.sum()) / (mean.sum() + slight))


@cache
def _triad_templates() -> Float64:
    """(12, 24) unit vectors of the twelve major and the twelve minor triads."""
    degrees = ((0, 4, 7), (0, 3, 7))
    triads = [np.roll(np.isin(np.arange(12), triad), root) for triad in degrees for root in range(12)]
    units: Float64 = np.stack(triads).T / np.sqrt(3)
    return units


def _triads(alike: Array) -> Float64:
    """(2, 12) how often the major and the minor triad on each class sound, over their mean, minus 1."""
    padded = np.pad(alike, ((2, 2), (0, 0)), mode="edge")
    total = np.zeros(24)
    for start, block in portions(alike):
        part = padded[start : start + len(block) + 4]
        smooth = sum(weight * part[at : at + len(block)] for at, weight in enumerate((0.125, 0.25, 0.25, 0.25, 0.125)))
        shape = np.asarray(smooth) / (np.linalg.norm(smooth, axis=1, keepdims=True) + 1e-9)
        raised = np.exp(12 * shape @ _triad_templates())
        sounding = raised / raised.sum(axis=1, keepdims=True) * (block.max(axis=1, keepdims=True) > 0)
        total += sounding.sum(axis=0)
    triads: Float64 = 24 * (total / len(alike)).reshape(2, 12) - 1
    return triads


def sureness(probability: float, agreed: float, pitch_classes: Array, seconds: float, share: float = 1.0) -> float:
    """How likely a key is right that the network finds `probability` likely in (moments, 12) pitch classes, 0 .. 1.

    The network judges what it hears as if it were the whole piece; but a held tone or a single chord has no key, after
    a few seconds listeners name another one than in the end, and other keys may hold for all but a `share` of it. And
    of modal music the network of modes may think otherwise: `agreed` is its `agreement`. Both judge less and less well
    the shorter the excerpt is.
    """
    odds, short, *rest = sureness_evidence(probability, pitch_classes, seconds, share)
    agreeing = log_odds(agreed)
    return certainty.earned("key", odds, short, *rest, agreeing, odds * short, agreeing * short)


def mode_sureness(probability: float, pitch_classes: Array, seconds: float) -> float:
    """How likely a key is right that is named by its mode, from how likely the network of modes finds it; 0 .. 1."""
    return certainty.earned("mode", *sureness_evidence(probability, pitch_classes, seconds)[:4])


def sureness_evidence(
    probability: float, pitch_classes: Array, seconds: float, share: float = 1.0
) -> tuple[float, float, float, float, float]:
    """What the sureness of a key is made of: log odds, what lacks of length and of change, change, and the share."""
    change = harmonic_change(pitch_classes) + 0.005
    short = min(0.0, math.log2(max(seconds, 0.01) / ENOUGH_SECONDS))
    unchanged = min(0.0, math.log2(change / ENOUGH_CHANGE))
    return log_odds(probability), short, unchanged, math.log2(change), math.log(max(share, 0.01))


def harmonic_change(pitch_classes: Array) -> float:
    """How far the moments of (moments, 12) pitch classes point away from their mean: 0 held still, 0.1 to 0.5 music."""
    strengths = pitch_classes.sum(axis=1)
    loud = pitch_classes[strengths > 0.1 * float(strengths.max(initial=0.0))]
    if not len(loud):
        return 0.0
    mean = (loud / np.linalg.norm(loud, axis=1, keepdims=True)).mean(axis=0, dtype=np.float64)
    return max(0.0, 1.0 - float(mean @ mean))


def ranked(probabilities: Float64, count: int = 3) -> tuple[Key, ...]:
    """The likeliest keys, likeliest first."""
    order = np.argsort(-probabilities)[:count]
    return tuple(Key(int(i) % 12, "major" if i < 12 else "minor", float(probabilities[i])) for i in order)
