"""One grid for a steady recording: the period and the phase that fit it from end to end.

The onset curve is taken apart at the beat's frequency and its multiples in short windows. If the music is steady, the
phases at one of these multiples lie on a straight line (Grosche and Müller, "Extracting predominant local pulse
information", 2011, look at the same phases one by one); its slope is the tempo, far more exactly than any lag, and how
far the windows stray from it says how steady the music is. A pattern that changes its accents moves the phase of the
beat, but not that of the smallest notes, so the multiple that holds together best is asked. The few windows of a player
who wanders may lie near a line by chance; then the onsets within them do not lie on the grid.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.ears.onsets import onset_frames
from adapters.ears.spectrum import FRAME_RATE

Array = NDArray[np.float32]
Times = NDArray[np.float64]
Complex = NDArray[np.complex128]

#: Seconds of a window at most, of which half lies between two, and how many there are at least.
WINDOW_SECONDS = 4.0
#: Multiples of the beat's frequency that may carry the smallest notes.
MULTIPLES = (1, 2, 3, 4, 6, 8)
#: How far the period may be from the one that was found by lag.
REACH = 0.012
#: A multiple below this share of the strongest says nothing.
WEAK = 0.15
#: The windows of a steady recording stray by less than this from the line: a share of the beat, and seconds.
STRAY_BEATS, STRAY_SECONDS = 0.025, 0.012
#: Windows of which so large a share (by strength) strays by more than three times that are another tempo or place.
LOST = 0.1
#: An onset is clear from so many times the mean of the curve on. Those of steady music keep so much of their phase:
#: 1 where all lie on the grid, 0 where they lie anywhere.
CLEAR, KEPT = 3.0, 0.5
#: Fewer windows than this show no line; a window of less than so many seconds shows nothing.
WINDOWS_MIN = 4
WINDOW_SECONDS_MIN = 0.8
#: A multiple says where the notes are if it has this share of the strength of the strongest that holds.
TELLING = 0.5
#: Beats are moved onto the onsets around them by at most so many seconds, together.
NUDGE_SECONDS = 0.04
#: Windows weaker than this share of the median one hold no rhythm of their own.
QUIET = 0.1


class Grid(NamedTuple):
    """The even row of beats that fits a recording: beat n is at `first + n * period` seconds."""

    period: float
    #: Standard error of the period in seconds.
    spread: float
    #: The phase of the smallest notes: one of them is at so many seconds, and they are `step` apart.
    first: float
    step: float
    #: How far the windows stray from the grid, in seconds (standard deviation).
    stray: float
    #: Whether one grid holds from end to end.
    holds: bool


def fit_grid(curve: Array, period: float) -> Grid | None:
    """The grid of a (frames,) onset curve near a period in seconds; None where there is too little to tell."""
    # Windows overlap by half, so that five halves make four of them.
    size = round(min(WINDOW_SECONDS * FRAME_RATE, 2 * len(curve) / (WINDOWS_MIN + 1)))
    if size < WINDOW_SECONDS_MIN * FRAME_RATE:
        return None
    starts = np.arange(0, max(1, len(curve) - size // 2), size // 2)
    if len(starts) < WINDOWS_MIN:
        return None
    starts = starts[starts + size // 2 <= len(curve)]
    centres: Times = ((starts + (size - 1) / 2) / FRAME_RATE).astype(np.float64)
    parts = {multiple: _demodulated(curve, starts, size, multiple / period) for multiple in MULTIPLES}
    strengths = {multiple: float(np.abs(part).sum()) for multiple, part in parts.items()}
    strongest = max(strengths.values())
    if strongest <= 0:
        return None
    onsets = onset_frames(curve, CLEAR * float(curve.mean())) / FRAME_RATE
    found: dict[int, Grid] = {}
    for multiple in MULTIPLES:
        if strengths[multiple] >= WEAK * strongest:
            fitted = _line(parts[multiple], centres, multiple, period)
            if fitted is not None:
                found[multiple] = fitted._replace(holds=fitted.holds and _kept(onsets, fitted.step) >= KEPT)
    if not found:
        return None
    holding = {multiple: strengths[multiple] for multiple, one in found.items() if one.holds}
    if not holding:
        return min(found.values(), key=lambda one: one.stray)
    telling = [multiple for multiple, strength in holding.items() if strength >= TELLING * max(holding.values())]
    return min((found[multiple] for multiple in telling), key=lambda one: one.spread)


def beats_of(grid: Grid, curve: Array, anchor: float) -> Times:
    """Frames of the beats of a grid of which one is near frame `anchor`, moved together onto the onsets."""
    period = grid.period * FRAME_RATE
    beats = together(curve, np.arange(anchor % period - period, len(curve) - 1, period))
    return from_begin(beats[(beats >= -0.5) & (beats <= len(curve) - 1)])


def from_begin(beats: Times) -> Times:
    """An even row of beats moved as a whole so that none lies before the recording, which nothing can."""
    return beats - min(float(beats[0]), 0.0) if len(beats) else beats


def together(curve: Array, beats: Times) -> Times:
    """An even row of beats (in frames) moved as a whole onto the onsets around them, perhaps a little beyond an end."""
    if len(beats) < 2:
        return beats
    reach = min(NUDGE_SECONDS * FRAME_RATE, float(beats[1] - beats[0]) / 8)
    nudges = np.arange(-reach, reach + 1e-9, 0.1)
    sharp = [float(_between_frames(curve, beats + nudge).mean()) for nudge in nudges]
    best = int(np.argmax(sharp))
    if 0 < best < len(nudges) - 1 and sharp[best] > 1.05 * float(np.mean(sharp)):
        beats = beats + nudges[best]
    return beats


def _between_frames(curve: Array, at: Times) -> Times:
    """(n,) the curve at places between its frames, its ends beyond them; it may be of hours, so it is not copied."""
    at = np.clip(at, 0, len(curve) - 1)
    before = np.minimum(at.astype(np.intp), len(curve) - 2)
    values: Times = curve[before] + (at - before) * (curve[before + 1].astype(np.float64) - curve[before])
    return values


def usual_place(grid: Grid, beats: Times) -> float:
    """The frame in the first beat of the grid at which most of some beats (in frames) lie."""
    period = grid.period * FRAME_RATE
    places = (beats % period) / period

    def around(place: int) -> Complex:
        turns = np.exp(2j * np.pi * (places - place / 24))
        near: Complex = turns[turns.real > np.cos(np.pi / 8)]
        return near

    best = int(np.argmax([len(around(place)) for place in range(24)]))
    return float((best / 24 + np.angle(around(best).mean()) / (2 * np.pi)) % 1 * period)


def _kept(onsets: Times, step: float) -> float:
    """How much of their phase some onsets (in seconds) keep in steps of so many seconds, 0 .. 1."""
    return float(abs(np.exp(2j * np.pi * onsets / step).mean())) if len(onsets) else 0.0


def _demodulated(curve: Array, starts: NDArray[np.intp], size: int, hertz: float) -> Complex:
    """(windows,) what each window holds at a frequency, its phase counted from the start of the recording."""
    taper = np.hanning(size + 2)[1:-1]
    parts = np.zeros(len(starts), np.complex128)
    for index, start in enumerate(starts):
        piece = curve[start : start + size]
        turn = np.exp(-2j * np.pi * hertz / FRAME_RATE * np.arange(start, start + len(piece)))
        weights = taper[: len(piece)]
        parts[index] = ((piece - piece.mean()) * weights * turn).sum()
    return parts


def _line(parts: Complex, centres: Times, multiple: int, period: float) -> Grid | None:
    """The straight line through the phases of one multiple, by strength; None with too few windows that sound."""
    weights = np.abs(parts)
    weights = np.where(weights > QUIET * np.median(weights), weights, 0.0)
    if np.count_nonzero(weights) < WINDOWS_MIN:
        return None
    weights /= weights.sum()
    turns = parts / np.maximum(np.abs(parts), 1e-12)
    hertz = multiple / period
    # First by search, for the line may turn many times; then by least squares on what is left.
    length = float(centres[-1] - centres[0]) + WINDOW_SECONDS
    trials = np.arange(-REACH * hertz, REACH * hertz + 1e-12, 1 / (6 * length))
    values = np.array([abs((weights * turns * np.exp(-2j * np.pi * trial * centres)).sum()) for trial in trials])
    away = float(trials[int(np.argmax(values))])
    for _ in range(2):
        turned = turns * np.exp(-2j * np.pi * away * centres)
        mean = (weights * turned).sum()
        left = np.angle(turned * np.conj(mean)) / (2 * np.pi)
        middle = float((weights * centres).sum())
        around = centres - middle
        slope = float((weights * around * left).sum() / max((weights * around**2).sum(), 1e-12))
        away += slope
    turned = turns * np.exp(-2j * np.pi * away * centres)
    phase = float(np.angle((weights * turned).sum())) / (2 * np.pi)
    left = np.angle(turned * np.exp(-2j * np.pi * phase)) / (2 * np.pi)
    step = 1 / (hertz + away)
    near = STRAY_BEATS * period
    bound = min(near, STRAY_SECONDS)
    lost = float(weights[np.abs(left) * step > 3 * bound].sum())
    stray = float(np.sqrt((weights * left**2).sum())) * step
    # The windows overlap by half, so that only every second one is news.
    news = max(1.0, 0.5 / float((weights**2).sum()))
    moment = float((weights * (centres - float((weights * centres).sum())) ** 2).sum())
    error = stray / step / np.sqrt(news * max(moment, 1e-9))
    # Where an eighth of a note is less than what may stray, any phases at all would seem to hold.
    kept = left[np.abs(left) * step <= 3 * bound]
    inner = weights[np.abs(left) * step <= 3 * bound]
    usual = float(np.sqrt((inner * kept**2).sum() / max(inner.sum(), 1e-12))) * step
    holds = lost <= LOST and usual <= bound and usual <= 0.1 * step
    beat = multiple * step
    return Grid(
        period=beat,
        spread=float(error) * step**2 * multiple,
        first=(-phase * step) % step,
        step=step,
        stray=stray,
        holds=holds,
    )
