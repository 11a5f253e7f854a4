"""When the beats fall: the path through the onsets that best keeps the tempo.

Dynamic programming over the onset curve (Ellis, "Beat tracking by dynamic programming", JNMR 2007) with a period that
may move over time, found by following the strongest periodicity from look to look (Viterbi).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adapters.ears.spectrum import FRAME_RATE
from adapters.ears.tempo import LAGS, LOOK, LOOK_EVERY, at_lags

Array = NDArray[np.float32]
Times = NDArray[np.float64]

#: How far the tempo may move from the overall one, as a factor, and the step of the search.
DRIFT = 1.3
DRIFT_STEP = 0.005
#: What a change of the logarithm of the period from look to look costs, against repetition of at most 1.
DRIFT_COST = 6.0
#: How strictly beats keep the period, against onset curves of unit deviation.
TIGHTNESS = 110.0
#: The window of an attack is centred on it, yet its rise is seen half a lag early.
ATTACK_FRAMES = 0.0


def local_periods(looks: Array, period: float) -> Array:
    """(looks,) seconds per beat in each look of (looks, LAGS) autocorrelations, near the overall `period`."""
    shifts = np.arange(-np.log(DRIFT), np.log(DRIFT) + 1e-9, DRIFT_STEP)
    trials = (period * np.exp(shifts) * FRAME_RATE).astype(np.float32)
    value = np.zeros((len(looks), len(trials)), np.float32)
    for multiple, weight in ((1, 1.0), (2, 1.0), (4, 1.0)):
        if multiple * trials[-1] < LAGS - 2:
            value += weight * at_lags(looks, trials * multiple, 0.002)
    value -= 0.15 * np.abs(shifts / np.log(DRIFT)).astype(np.float32)
    cost = DRIFT_COST * np.abs(shifts[:, None] - shifts[None, :]).astype(np.float32)
    best, back = value[0], np.zeros(value.shape, np.intp)
    for look in range(1, len(value)):
        arriving = best[None, :] - cost
        back[look] = np.argmax(arriving, axis=1)
        best = value[look] + arriving[np.arange(len(trials)), back[look]]
    path = [int(np.argmax(best))]
    for look in range(len(value) - 1, 0, -1):
        path.append(int(back[look][path[-1]]))
    found: Array = (trials[path[::-1]] / FRAME_RATE).astype(np.float32)
    return found


def frame_periods(periods: Array, frames: int) -> Array:
    """(frames,) frames per beat everywhere, between the centres of the looks."""
    centres = np.arange(len(periods)) * LOOK_EVERY + min(LOOK, frames) / 2
    spread: Array = (np.interp(np.arange(frames), centres, periods) * FRAME_RATE).astype(np.float32)
    return spread


def follow(curve: Array, periods: Array, tightness: float = TIGHTNESS) -> NDArray[np.intp]:
    """Frames of the beats in a (frames,) onset curve, given (frames,) frames per beat; empty without onsets."""
    deviation = float(curve.std())
    frames = len(curve)
    if frames < 3 or deviation < 1e-6:
        return np.zeros(0, np.intp)
    onset = (curve / deviation).astype(np.float64)
    shortest, longest = int(max(2, periods.min() * 0.6)), int(np.ceil(periods.max() * 1.6))
    lags = np.arange(shortest, longest + 1)
    padded = np.full(frames + longest, 0.0)
    back = np.full(frames, -1, np.intp)
    # No lag is shorter than `shortest`, so that many frames can be decided at once.
    for start in range(0, frames, shortest):
        block = np.arange(start, min(start + shortest, frames))
        arriving = padded[block[:, None] - lags + longest]
        stretch = np.log(lags / periods[block][:, None])
        arriving = arriving - tightness * stretch**2 * (1 / 10)
        choice = np.argmax(arriving, axis=1)
        best = arriving[np.arange(len(block)), choice]
        previous = block - lags[choice]
        linked = (best > 0) & (previous >= 0)
        padded[block + longest] = onset[block] + np.where(linked, best, 0)
        back[block] = np.where(linked, previous, -1)
    score = padded[longest:]
    tail = max(0, frames - int(np.ceil(periods[-1])))
    path = [tail + int(np.argmax(score[tail:]))]
    while back[path[-1]] >= 0:
        path.append(int(back[path[-1]]))
    return np.array(path[::-1], np.intp)


def sharpened(curve: Array, beats: NDArray[np.intp]) -> Times:
    """Seconds of the beats with the peaks of the onset curve read between frames (parabola through three points)."""
    inner = np.clip(beats, 1, max(1, len(curve) - 2))
    left, middle, right = curve[inner - 1], curve[inner], curve[inner + 1]
    bend = left - 2 * middle + right
    peak = (middle >= left) & (middle >= right) & (bend < -1e-9)
    offset = np.where(peak, 0.5 * (left - right) / np.where(peak, bend, -1.0), 0.0)
    times: Times = (beats + np.clip(offset, -0.5, 0.5) + ATTACK_FRAMES) / FRAME_RATE
    return np.maximum(times, 0.0)
