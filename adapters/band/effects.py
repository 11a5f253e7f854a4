"""The hall, the echo, the chorus, and what keeps a mix together.

Sources: Jot and Chaigne, Digital delay networks for designing artificial reverberators (1991); Dattorro, Effect design
part 2 (1997), for the chorus; Giannoulis, Massberg and Reiss, Digital dynamic range compressor design (2012).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import fft, ndimage, signal

from adapters.band.waves import RATE, Array, Sound

#: Delay lines of the hall in samples, prime to one another: 26 to 68 ms.
LINES = (1151, 1361, 1543, 1777, 2003, 2311, 2633, 2999)
#: Samples for which one value of a gain is reckoned; a gain glides between them.
STEP = 64
#: What is no sound any more: -240 dBFS.
NOTHING = 1e-12
#: Samples that are worked on at once.
PIECE = 1 << 17


@lru_cache(maxsize=16)
def hall_response(seconds: float, bright: float) -> Sound:
    """(2, samples) what a network of eight delay lines answers to one click: 60 dB down after `seconds`.

    The lines feed one another through a Householder matrix, each losing high tones at every turn (one pole at
    `bright` Hz). The response has unit energy.
    """
    count = round(min(seconds * 1.15, 6.0) * RATE)
    block = min(LINES)
    size = len(LINES)
    mixing = np.eye(size) - 2.0 / size
    gains = np.array([10 ** (-3 * line / RATE / seconds) for line in LINES])
    pole = float(np.exp(-2 * np.pi * bright / RATE))
    padded = count + max(LINES) + block
    lines = np.zeros((size, padded))
    lines[:, 0] = 1.0
    lines[::2, 0] = -1.0
    state = np.zeros((size, 1))
    left = np.array([1.0, 1, -1, -1, 1, 1, -1, -1])
    right = np.array([1.0, -1, 1, -1, 1, -1, 1, -1])
    out = np.zeros((2, padded))
    for start in range(0, count, block):
        # What comes out of each line now went into it a line's length ago.
        taken = np.zeros((size, block))
        for line, length in enumerate(LINES):
            first = start - length
            if first + block > 0:
                lo = max(0, first)
                taken[line, lo - first :] = lines[line, lo : first + block]
        damped, state = signal.lfilter([1 - pole], [1, -pole], taken * gains[:, None], axis=1, zi=state)
        lines[:, start : start + block] += mixing @ damped
        out[0, start : start + block] = left @ taken
        out[1, start : start + block] = right @ taken
    response = out[:, :count]
    response = signal.sosfilt(signal.butter(2, 180.0, "high", fs=RATE, output="sos"), response)
    fade = min(count, RATE // 10)
    response[:, count - fade :] *= np.linspace(1, 0, fade) ** 2
    return np.asarray(response / np.sqrt((response**2).sum() / 2), dtype=np.float32)


def convolve_into(target: Sound, send: Sound, response: Sound, *, delay: int = 0) -> None:
    """Add what a room answers to (samples,) `send` to (2, samples) `target`, by overlapping blocks."""
    size = fft.next_fast_len(max(1 << 17, 2 * response.shape[1]), real=True)
    step = size - response.shape[1] + 1
    answers = fft.rfft(response, size, axis=1)
    total = target.shape[1]
    for start in range(0, len(send), step):
        piece = send[start : start + step]
        if not piece.any():
            continue
        spectrum = fft.rfft(piece, size)
        first = start + delay
        room = min(size, total - first)
        if room <= 0:
            break
        for side in range(2):
            target[side, first : first + room] += fft.irfft(spectrum * answers[side], size)[:room]


def _last_sounding(send: Sound) -> int:
    """The last sample of a sound, looked for from the end: an index of them all would be twice as large as it."""
    piece = 1 << 16
    for stop in range(len(send), 0, -piece):
        start = max(0, stop - piece)
        found = np.flatnonzero(np.abs(send[start:stop]) > NOTHING)
        if len(found):
            return start + int(found[-1])
    return 0


def echo_into(target: Sound, send: Sound, delay: int, feedback: float, bright: float) -> None:
    """Add an echo that goes from left to right and darkens at each turn to (2, samples) `target`."""
    pole = float(np.exp(-2 * np.pi * bright / RATE))
    before = np.zeros(delay, dtype=np.float32)
    state = np.zeros(1)
    side = 0
    end = _last_sounding(send)
    for start in range(0, target.shape[1], delay):
        room = min(delay, target.shape[1] - start)
        target[side, start : start + room] += before[:room]
        target[1 - side, start : start + room] += np.float32(0.35) * before[:room]
        damped, state = signal.lfilter([1 - pole], [1, -pole], before, zi=state)
        before = np.zeros(delay, dtype=np.float32)
        piece = send[start : start + delay]
        before[: len(piece)] = piece
        before += (feedback * damped).astype(np.float32)
        side = 1 - side
        if start > end and float(np.abs(before).max()) < 1e-5:
            break


def chorus(sound: Sound, depth: float) -> None:
    """Widen (2, samples) in place: each side gets a copy of itself that wavers by a few milliseconds.

    The copies of both sides waver against each other, so that their sum loses nothing.
    """
    if depth <= 0 or sound.shape[1] < RATE // 10:
        return
    count = sound.shape[1]
    piece, reach = 1 << 17, round(0.02 * RATE)
    # From the end to the beginning, so that what a piece listens back to is still dry, and no copy of all is kept.
    for start in reversed(range(0, count, piece)):
        end, first = min(count, start + piece), max(0, start - reach)
        index = np.arange(start, end)
        wave = 0.0032 * RATE * np.sin(2 * np.pi * 0.63 / RATE * index)
        for side, sign in ((0, 1.0), (1, -1.0)):
            dry = sound[side, first:end].copy()
            place = np.maximum(index - (0.011 * RATE + sign * wave), 0)
            whole = place.astype(np.int32)
            part = (place - whole).astype(np.float32)
            whole -= first
            here = dry[whole]
            part *= dry[np.minimum(whole + 1, len(dry) - 1)] - here
            part += here
            sound[side, start:end] += np.float32(0.7 * depth) * part
    sound *= np.float32(1 / (1 + 0.35 * depth))


def duck(sound: Sound, at: Sequence[int], decibels: float, seconds: float) -> None:
    """Make room in (2, samples), in place, for a kick at each of these samples, which ascend."""
    if decibels <= 0 or not at:
        return
    attack = round(0.004 * RATE)
    fall = np.linspace(0, 1, attack)
    back = 0.5 * (1 + np.cos(np.linspace(0, np.pi, round(seconds * RATE))))
    shape = (10 ** (-decibels / 20 * np.concatenate([fall * fall * (3 - 2 * fall), back]))).astype(np.float32)
    for begin in range(0, sound.shape[1], PIECE):
        gain = np.ones(min(PIECE, sound.shape[1] - begin), dtype=np.float32)
        first = bisect_left(at, begin - len(shape))
        for place in at[first : bisect_left(at, begin + PIECE + attack)]:
            start = place - attack - begin
            dip = shape[max(0, -start) :][: max(0, len(gain) - max(0, start))]
            near = gain[max(0, start) : max(0, start) + len(dip)]
            np.minimum(near, dip, out=near)
        sound[:, begin : begin + PIECE] *= gain


def compress(sound: Sound, *, threshold: float, ratio: float, attack: float, release: float) -> None:
    """Hold (2, samples) together in place: above `threshold` dB, `ratio` dB more come out as one."""
    blocks = sound.shape[1] // STEP
    levels = np.zeros(blocks)
    for side in range(2):
        part = sound[side, : blocks * STEP].reshape(blocks, STEP)
        levels = np.maximum(levels, np.einsum("ij,ij->i", part, part) / STEP)
    over = np.maximum(0.0, 10 * np.log10(levels + 1e-12) - threshold)
    wanted = (over * (1 / ratio - 1)).tolist()
    down, up = float(np.exp(-STEP / RATE / attack)), float(np.exp(-STEP / RATE / release))
    held, gains = 0.0, []
    for value in wanted:
        pace = down if value < held else up
        held = pace * held + (1 - pace) * value
        gains.append(held)
    apply_gain(sound, 10 ** (np.array(gains) / 20))


def apply_gain(sound: Sound, steps: Array) -> None:
    """Multiply (2, samples) in place by a gain that is known every `STEP` samples and glides between."""
    count = sound.shape[1]
    piece = 1 << 11
    places = np.arange(len(steps)) * STEP + STEP // 2
    for start in range(0, count, piece * STEP):
        index = np.arange(start, min(count, start + piece * STEP))
        sound[:, index[0] : index[-1] + 1] *= np.interp(index, places, steps).astype(np.float32)


def peaks_between(sound: Sound, least: float) -> Array:
    """For each `STEP` samples of (2, samples), the highest point of the wave, between samples too where that matters.

    Only stretches whose samples come near `least` are interpolated, four points for one.
    """
    blocks = -(-sound.shape[1] // STEP)
    peaks = np.zeros(blocks)
    for start in range(0, sound.shape[1], PIECE):
        highest = np.abs(sound[:, start : start + PIECE]).max(axis=0)
        edges = np.arange(0, len(highest), STEP)
        peaks[start // STEP : start // STEP + len(edges)] = np.maximum.reduceat(highest, edges)
    loud = np.flatnonzero(ndimage.maximum_filter1d(peaks, 3) > least * 0.75)
    taps = 24
    kernel = signal.firwin(4 * taps * 2 + 1, 0.25, window=("kaiser", 8.0)) * 4
    phases = [kernel[offset : offset + 8 * taps : 4].astype(np.float32) for offset in (1, 2, 3)]
    for first in range(0, len(loud), 2048):
        some = loud[first : first + 2048]
        index = (some * STEP)[:, None] + np.arange(-taps, STEP + taps)[None, :]
        outside = (index < 0) | (index >= sound.shape[1])
        for side in sound:
            rows = side.take(index, mode="clip")
            rows[outside] = 0
            for phase in phases:
                filtered = signal.oaconvolve(rows, phase[None, :], mode="valid", axes=1)
                peaks[some] = np.maximum(peaks[some], np.abs(filtered).max(axis=1))
    return peaks


def limit(sound: Sound, ceiling: float) -> None:
    """Keep every point of the wave of (2, samples) under `ceiling`, in place, looking ahead by five milliseconds.

    The gain that a stretch needs is held over its neighbours and then averaged over as many, so it is never more than
    needed where the peak is; what was taken comes back slowly.
    """
    peaks = peaks_between(sound, ceiling)
    needed = np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9))
    width = 7
    held = ndimage.minimum_filter1d(needed, width, mode="nearest")
    release = float(np.exp(-STEP / RATE / 0.06))
    gain, gains = 1.0, []
    for value in held.tolist():
        gain = value if value < gain else value + release * (gain - value)
        gains.append(gain)
    smooth = ndimage.uniform_filter1d(np.array(gains), width - 2, mode="nearest")
    # Between two centres the glide may pass over a dip of one stretch; its neighbours are held with it.
    apply_gain(sound, np.minimum(smooth, ndimage.minimum_filter1d(needed, 3, mode="nearest")))
