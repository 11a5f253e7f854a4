"""Which chords sound when: triads and sevenths along the beats, smoothed by how chords like to last."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from adapters.ears.key import NOTE_NAMES, chroma
from adapters.ears.spectrum import portions
from adapters.ears.structure import averages
from domain.analyses.findings import Chord

Array = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: Each kind of chord: its suffix, its degrees in semitones above the root, how much rarer than a triad it is (nats).
KINDS = (
    ("", (0, 4, 7), 0.0),
    ("m", (0, 3, 7), 0.0),
    ("7", (0, 4, 7, 10), 0.9),
    ("m7", (0, 3, 7, 10), 0.9),
    ("maj7", (0, 4, 7, 11), 1.1),
)
#: Steps that are weighed at once, so that hours of music need little more memory than minutes.
STEPS_AT_ONCE = 1024
NO_CHORD = "N"
NAMES = (*(note + suffix for suffix, _, _ in KINDS for note in NOTE_NAMES), NO_CHORD)

#: How strongly a template's fit speaks, how dear a change of chord is, and from which fit on a chord is one (nats).
SHARPNESS = 14.0
CHANGE = 3.2
SILENT_FIT = 0.55


def hear_chords(salience: NDArray[np.floating], rate: float, beats: Float64, seconds: float) -> tuple[Chord, ...]:
    """The chords of a recording, each from its start to its end in seconds, without gaps.

    `salience` is (moments, semitones) at `rate` per second; chords change on `beats` (seconds) where there are any and
    on a half-second grid where there are none. Templates after Fujishima 1999, smoothed by the Viterbi path through a
    model in which every chord is likely to stay (Sheh & Ellis 2003).
    """
    if not len(salience):
        return ()
    edges = _edges(beats, seconds)
    fit = _fits(averages(chroma(salience, 36, 96), rate, edges), averages(chroma(salience, 24, 48), rate, edges))
    path = _smoothest(fit)
    likely = _likelihoods(fit, path)
    changes = np.flatnonzero(np.diff(path)) + 1
    starts, ends = np.concatenate([[0], changes]), np.concatenate([changes, [len(path)]])
    return tuple(
        Chord(
            start=round(float(edges[start]), 3),
            end=round(float(edges[end]), 3),
            name=NAMES[path[start]],
            confidence=round(float(likely[start:end].mean()), 3),
        )
        for start, end in zip(starts, ends, strict=True)
    )


def progression(chords: tuple[Chord, ...], bars_seconds: float) -> tuple[str, ...]:
    """The four chords in a row that come back most often, or nothing if no row comes back three times.

    Chords shorter than a third of a bar are passing ones and do not count.
    """
    names = [chord.name for chord in chords if chord.name != NO_CHORD and chord.end - chord.start > bars_seconds / 3]
    names = [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]
    rows: dict[tuple[str, ...], int] = {}
    for start in range(len(names) - 3):
        row = tuple(names[start : start + 4])
        rows[row] = rows.get(row, 0) + 1
    if not rows:
        return ()
    best = max(rows, key=lambda row: rows[row])
    return best if rows[best] >= 3 else ()


def _edges(beats: Float64, seconds: float) -> Float64:
    inside = beats[(beats > 0.05) & (beats < seconds - 0.05)]
    if len(inside) < 4:
        inside = np.arange(0.5, seconds - 0.25, 0.5)
    edges: Float64 = np.concatenate([[0.0], inside, [seconds]])
    return edges


@cache
def _templates() -> Float64:
    """(kinds * 12, 12) unit vectors; upper degrees weigh a little less, as they do in voicings."""
    weights = {0: 1.0, 3: 0.9, 4: 0.9, 7: 0.9, 10: 0.7, 11: 0.7}
    rows: list[Float64] = []
    for _, degrees, _ in KINDS:
        shape = np.zeros(12)
        for degree in degrees:
            shape[degree] = weights[degree]
        rows.extend(np.roll(shape / np.linalg.norm(shape), root) for root in range(12))
    return np.array(rows)


def _fits(held: Float64, bass: Float64) -> Array:
    """(steps, chords) log odds of each chord and of none."""
    fit = np.empty((len(held), len(NAMES)), np.float32)
    rarity = np.repeat([rarity for _, _, rarity in KINDS], 12)
    roots = np.tile(np.arange(12), len(KINDS))
    for start in range(0, len(held), STEPS_AT_ONCE):
        some = slice(start, start + STEPS_AT_ONCE)
        length = np.linalg.norm(held[some], axis=1, keepdims=True)
        low = bass[some] / np.maximum(bass[some].max(axis=1, keepdims=True), 1e-9)
        matching = SHARPNESS * (held[some] / np.maximum(length, 1e-9)) @ _templates().T
        fit[some, :-1] = matching + 1.5 * low[:, roots] - rarity
        fit[some, -1] = np.where(length[:, 0] < 1e-6, 100.0, SHARPNESS * SILENT_FIT + 1.0)
    return fit


def _likelihoods(fit: Array, path: NDArray[np.int64]) -> Float64:
    """(steps,) how likely the chord of the path is at each step, by its fit alone."""
    likely = np.empty(len(fit))
    for start, block in portions(fit, STEPS_AT_ONCE):
        some = slice(start, start + len(block))
        odds = np.exp(block - block.max(axis=1, keepdims=True))
        likely[some] = odds[np.arange(len(block)), path[some]] / odds.sum(axis=1)
    return likely


def _smoothest(fit: Array) -> NDArray[np.int64]:
    """The likeliest path of chords when each change costs `CHANGE` nats."""
    steps, chords = fit.shape
    came_from = np.zeros((steps, chords), np.int8)
    score = fit[0].astype(np.float64)
    stay = np.arange(chords)
    for step in range(1, steps):
        best = int(score.argmax())
        changed = score[best] - CHANGE
        came_from[step] = np.where(score >= changed, stay, best)
        score = np.maximum(score, changed) + fit[step]
    path = np.zeros(steps, np.int64)
    path[-1] = score.argmax()
    for step in range(steps - 1, 0, -1):
        path[step - 1] = came_from[step, path[step]]
    return path
