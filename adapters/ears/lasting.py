"""How long what is struck lasts: a bass drum dies away at once, a bass between its strokes holds until its note ends.

Attacks alone do not tell the two apart where the bass is the louder one, and a bass that hums into the next stroke
hides the drum. So the level of five registers over a pair of beats is looked at besides. It is read from the cepstrum
that stays of a recording anyway: 21 times a second, which many beats together make as fine as the parts of a beat.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from adapters.ears.beats import BEATS_AT_ONCE, PARTS, scaled, turned
from adapters.ears.spectrum import BANDS, MOMENT_EVERY, band_centres
from adapters.ears.trace import CEPSTRUM, Trace

Array = NDArray[np.float32]
Times = NDArray[np.float64]

#: Upper edges in Hz of the registers whose level is followed: deepest bass, bass drum, body, voices, air.
UPPER_EDGES = (65.0, 140.0, 450.0, 1800.0, 20_000.0)
#: Levels in dB beside the loudest band of the recording: what is softer or louder counts as this.
SOFTEST, LOUDEST = -60.0, 10.0
#: The same of the whole sound beside its loudest window, and the level of no sound at all.
RANGE_DB, NO_SOUND = 60.0, 1e-5
#: By what levels above their mean are divided to be of the size of attacks.
TEN_DB = 10.0


def lasting_rotations(pattern: Array, trace: Trace, beats: Times) -> Array:
    """(2 * PARTS, features) a folded pattern with the levels over its beats, as it looks from each of its places."""
    return turned(np.hstack([scaled(pattern), folded_levels(trace, beats)]))


def register_levels(cepstrum: NDArray[np.floating], loudest: float) -> Array:
    """(moments, 5) level of each register in dB beside the `loudest` band, from (moments, CEPSTRUM) of `Trace`."""
    levels: Array = np.clip(cepstrum.astype(np.float32) @ _registers() - np.float32(loudest), SOFTEST, LOUDEST)
    return levels


def folded_levels(trace: Trace, beats: Times) -> Array:
    """(2 * PARTS, 6) how far above their mean five registers and the whole sound are over a pair of beats, in 10 dB.

    The mean of all pairs of the beats (in frames), each beat cut into PARTS; zeros of fewer than three.
    """
    if len(beats) < 3:
        return np.zeros((2 * PARTS, len(UPPER_EDGES) + 1), np.float32)
    count = (len(beats) - 1) // 2 * 2
    softest = 20 * np.log10(float(trace.rms.max()) + NO_SOUND) - RANGE_DB
    total = np.zeros((2 * PARTS, len(UPPER_EDGES) + 1))
    for first in range(0, count, BEATS_AT_ONCE):
        places = np.arange(first * PARTS, min(first + BEATS_AT_ONCE, count) * PARTS) / PARTS
        at = np.interp(places, np.arange(len(beats)), beats)
        # A moment is the mean of its frames, so it lies in the middle of them.
        moments = slice(max(0, int(at[0] / MOMENT_EVERY) - 1), int(at[-1] / MOMENT_EVERY) + 2)
        frames = slice(max(0, int(at[0]) - 1), int(at[-1]) + 2)
        levels = register_levels(trace.cepstrum[moments], trace.loudest)
        middles = (moments.start + np.arange(len(levels))) * MOMENT_EVERY + (MOMENT_EVERY - 1) / 2
        whole = np.maximum(20 * np.log10(trace.rms[frames].astype(np.float32) + NO_SOUND), softest)
        columns = [np.interp(at, middles, level) for level in levels.T]
        columns.append(np.interp(at, frames.start + np.arange(len(whole)), whole))
        total += np.column_stack(columns).reshape(-1, 2 * PARTS, len(columns)).sum(axis=0)
    mean = total / (count // 2)
    above: Array = ((mean - mean.mean(axis=0)) / TEN_DB).astype(np.float32)
    return above


@cache
def _registers() -> Array:
    """(CEPSTRUM, 5) what turns a cepstrum back into the mean level of the bands of each register."""
    cosines = 2 * np.cos(np.pi / BANDS * np.outer(np.arange(CEPSTRUM), np.arange(BANDS) + 0.5))
    cosines[0] /= 2
    register = np.searchsorted(UPPER_EDGES, band_centres())
    means = [cosines[:, register == number].mean(axis=1) for number in range(len(UPPER_EDGES))]
    shapes: Array = np.column_stack(means).astype(np.float32)
    return shapes
