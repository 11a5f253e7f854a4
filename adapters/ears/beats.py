"""When the beats fall: the path through the onsets that best keeps the tempo.

Dynamic programming over the onset curve (Ellis, "Beat tracking by dynamic programming", JNMR 2007) with a period that
may move over time, found by following the strongest periodicity from look to look (Viterbi).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adapters.ears.network import Network, chances, trained
from adapters.ears.onsets import CHUNK
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
TIGHTNESS = 30.0
#: Parts of a beat among which the place of the tap is looked for: enough for triplets and sixteenths.
PARTS = 12
#: Beats that are looked at together; an even number.
BEATS_AT_ONCE = 512
#: Beats are moved away from the strongest onsets only when it is this likely.
PHASE_SURE = 0.5
#: The network of many grooves overrules the one of songs and scores when it is at least this sure.
OVERRULED = 0.75


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
    spread = np.empty(frames, np.float32)
    for start in range(0, frames, CHUNK):
        at = np.arange(start, min(start + CHUNK, frames))
        spread[start : start + CHUNK] = np.interp(at, centres, periods) * FRAME_RATE
    return spread


def follow(curve: Array, periods: Array, tightness: float = TIGHTNESS) -> NDArray[np.intp]:
    """Frames of the beats in a (frames,) onset curve, given (frames,) frames per beat; empty without onsets."""
    deviation = float(curve.std())
    frames = len(curve)
    if frames < 3 or deviation < 1e-6:
        return np.zeros(0, np.intp)
    shortest, longest = int(max(2, periods.min() * 0.6)), int(np.ceil(periods.max() * 1.6))
    lags = np.arange(shortest, longest + 1)
    # The scores of the last `longest` frames; for each frame the way back to the beat before, 0 where there is none.
    recent = np.zeros(longest)
    back = np.zeros(frames, np.int16)
    # No lag is shorter than `shortest`, so that many frames can be decided at once.
    for start in range(0, frames, shortest):
        block = np.arange(start, min(start + shortest, frames))
        arriving = recent[(block - start)[:, None] - lags + longest]
        stretch = np.log(lags / periods[block][:, None])
        arriving = arriving - tightness * stretch**2
        choice = np.argmax(arriving, axis=1)
        best = arriving[np.arange(len(block)), choice]
        linked = (best > 0) & (block >= lags[choice])
        scores = (curve[block] / deviation).astype(np.float64) + np.where(linked, best, 0)
        recent = np.concatenate([recent, scores])[-longest:]
        back[block] = np.where(linked, lags[choice], 0)
    tail = min(frames, longest, int(np.ceil(periods[-1])))
    path = [frames - tail + int(np.argmax(recent[-tail:]))]
    while back[path[-1]]:
        path.append(path[-1] - int(back[path[-1]]))
    return np.array(path[::-1], np.intp)


def folded(signals: NDArray[np.floating], beats: Times) -> Array:
    """(2 * PARTS, n) mean of (frames, n) signals over pairs of beats, each beat (in frames) cut into PARTS."""
    if len(beats) < 3:
        return np.zeros((2 * PARTS, signals.shape[1]), np.float32)
    count = (len(beats) - 1) // 2 * 2
    # The strongest value within a part, not the one in its middle: attacks are narrower than parts.
    width = np.diff(beats).mean() / PARTS / 2
    total = np.zeros((2 * PARTS, signals.shape[1]))
    for first in range(0, count, BEATS_AT_ONCE):
        places = np.arange(first * PARTS, min(first + BEATS_AT_ONCE, count) * PARTS) / PARTS
        at = np.interp(places, np.arange(len(beats)), beats)
        sampled = np.maximum.reduce(
            [
                signals[np.clip(np.rint(at + shift), 0, len(signals) - 1).astype(np.intp)]
                for shift in (-width * 0.7, 0.0, width * 0.7)
            ]
        )
        total += sampled.reshape(-1, 2 * PARTS, signals.shape[1]).sum(axis=0, dtype=np.float64)
    mean: Array = (total / (count // 2)).astype(np.float32)
    return mean


def rotations(profile: Array) -> Array:
    """(2 * PARTS, features) the folded profile as it looks when the beat is at each of its places."""
    return turned(scaled(profile))


def scaled(profile: Array) -> Array:
    """The same (2 * PARTS, n) profile, each signal of which has a mean of 1."""
    even: Array = profile / (profile.mean(axis=0) + np.float32(1e-6))
    return even


def turned(pattern: Array) -> Array:
    """(2 * PARTS, features) a pattern as it looks from each of its places."""
    return np.stack([np.roll(pattern, -place, axis=0).ravel() for place in range(len(pattern))]).astype(np.float32)


def in_phase(signals: NDArray[np.floating], beats: Times) -> Times:
    """The same beats (in frames) moved to the place in the pattern where people would tap, from (frames, n) signals."""
    if len(beats) < 4:
        return beats
    turned = rotations(folded(signals, beats))
    likely = places(trained("phase_wide"), turned)
    if float(likely.max()) < OVERRULED:
        likely = places(trained("phase"), turned)
    place = int(np.argmax(likely))
    return beats if place == 0 or likely[place] < PHASE_SURE else moved(beats, place, len(signals))


def moved(beats: Times, place: int, frames: int) -> Times:
    """The same beats (in frames), later by a `place` of PARTS between two of them; those within a recording."""
    if place == 0:
        return beats
    shift = place / PARTS if place <= PARTS // 2 else place / PARTS - 1
    index = np.arange(len(beats) + 1.0) - 1 + (shift % 1)
    period = np.median(np.diff(beats))
    extended = np.concatenate([[beats[0] - period], beats, [beats[-1] + period]])
    later = np.interp(index, np.arange(len(extended)) - 1.0, extended)
    inside: Times = later[(later >= 0) & (later <= frames - 1)]
    return inside


def places(network: Network, turned: Array) -> Array:
    """(PARTS,) how likely each place in a beat is the one people tap, from (2 * PARTS, features) rotations."""
    likely = chances(network(turned)[:, 0])
    return likely[:PARTS] + likely[PARTS:]


def sharpened(curve: Array, beats: Times) -> Times:
    """Seconds of beats given in frames; where one is on a peak of the onset curve, the peak is read between frames."""
    whole = np.rint(beats).astype(np.intp)
    inner = np.clip(whole, 1, max(1, len(curve) - 2))
    left, middle, right = curve[inner - 1], curve[inner], curve[inner + 1]
    bend = left - 2 * middle + right
    peak = (middle >= left) & (middle >= right) & (bend < -1e-9)
    offset = np.where(peak, 0.5 * (left - right) / np.where(peak, bend, -1.0), beats - whole)
    times: Times = (whole + np.clip(offset, -0.5, 0.5)) / FRAME_RATE
    return np.maximum(times, 0.0)
