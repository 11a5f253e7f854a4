"""Where sounds begin: how strongly each moment of the music is an onset, in five registers.

The measure is the spectral flux of compressed band levels with a look at the neighbouring bands before the moment, so
that vibrato is not taken for a row of onsets (Böck and Widmer, "Maximum filter vibrato suppression for onset
detection", DAFx 2013), relative to its local mean (Bello et al., "A tutorial on onset detection", 2005).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adapters.ears.spectrum import FRAME_RATE, band_centres

Array = NDArray[np.float32]

#: Upper edges in Hz of the registers: kick and bass, body, voices, presence, air.
REGISTERS = (140.0, 450.0, 1800.0, 5500.0, 20_000.0)
#: Frames between the two spectra that are compared: 23 ms, half a window, the steepest part of an attack.
LAG = 2
#: What lies this far below the loud moments of the recording is not heard as an attack.
RANGE_DB = 60.0
#: Seconds over which the local mean is taken.
MEAN_SECONDS = 1.2
#: Below this level nothing is sound: dither and hum of an empty line.
SILENCE_DB = -85.0
#: Frames handled at once, so that the working set of a long recording stays small.
CHUNK = 1 << 14


def loudest_db(levels: NDArray[np.float16]) -> float:
    """The level in dB that the loudest band reaches in the loud moments of (frames, bands) levels."""
    if not len(levels):
        return -120.0
    return float(np.percentile(levels.max(axis=1).astype(np.float32), 95))


def attacks(levels: NDArray[np.float16], loudest: float | None = None) -> Array:
    """(frames, registers) strength of attack, >= 0, about 1 where something loud begins; 0 in silence.

    What counts as loud is `loudest`, or what is in these levels.
    """
    loudest = loudest_db(levels) if loudest is None else loudest
    strengths = np.zeros((len(levels), len(REGISTERS)), np.float32)
    if loudest < SILENCE_DB or len(levels) <= LAG:
        return strengths
    weights = _register_weights()
    floor = 10 ** (-RANGE_DB / 20)
    for start in range(0, len(levels), CHUNK):
        first = max(0, start - LAG)
        part = levels[first : start + CHUNK].astype(np.float32) - np.float32(loudest)
        loud = np.log1p(np.exp(part * np.float32(np.log(10) / 20)) / np.float32(floor))
        before = loud[:-LAG].copy()
        np.maximum(before[:, 1:], loud[:-LAG, :-1], out=before[:, 1:])
        np.maximum(before[:, :-1], loud[:-LAG, 1:], out=before[:, :-1])
        rise = np.maximum(loud[LAG:] - before, 0) @ weights
        strengths[first + LAG : first + LAG + len(rise)] = rise
    return strengths


def salient(
    strengths: NDArray[np.floating], seconds: float = MEAN_SECONDS, start: int = 0, stop: int | None = None
) -> Array:
    """(frames, ...) strengths above their local mean of `seconds`, half-wave rectified; of some frames or of all."""
    stop = len(strengths) if stop is None else stop
    above = local_mean(strengths, int(seconds * FRAME_RATE), start, stop)
    np.subtract(strengths[start:stop], above, out=above)
    return np.maximum(above, 0, out=above)


def onset_curve(strengths: NDArray[np.floating]) -> Array:
    """(frames,) what stands out in all registers together, made in portions."""
    curve = np.empty(len(strengths), np.float32)
    for start in range(0, len(curve), CHUNK):
        stop = min(start + CHUNK, len(curve))
        curve[start:stop] = salient(strengths, start=start, stop=stop).sum(axis=1)
    return curve


def local_mean(values: NDArray[np.floating], width: int, first: int = 0, last: int | None = None) -> Array:
    """(frames, ...) mean over `width` frames centred on each frame, over what there is at the ends."""
    last = len(values) if last is None else last
    mean = np.empty((last - first, *values.shape[1:]), np.float32)
    for start in range(first, last, CHUNK):
        index = np.arange(start, min(start + CHUNK, last))
        low, high = np.maximum(index - width // 2, 0), np.minimum(index + width // 2 + 1, len(values))
        heap = np.zeros((high[-1] - low[0] + 1, *values.shape[1:]))
        np.cumsum(values[low[0] : high[-1]], axis=0, out=heap[1:])
        counts = (high - low).reshape(-1, *(1,) * (values.ndim - 1))
        mean[index - first] = (heap[high - low[0]] - heap[low - low[0]]) / counts
    return mean


def onset_frames(curve: Array, threshold: float) -> NDArray[np.intp]:
    """Frames where the (frames,) onset curve peaks above `threshold`, at least 50 ms apart."""
    if len(curve) < 3:
        return np.zeros(0, np.intp)
    middle = curve[1:-1]
    peaks = np.flatnonzero((middle > curve[:-2]) & (middle >= curve[2:]) & (middle > threshold)) + 1
    kept: list[int] = []
    for frame in peaks.tolist():
        if kept and frame - kept[-1] < 0.05 * FRAME_RATE:
            if curve[frame] > curve[kept[-1]]:
                kept[-1] = frame
        else:
            kept.append(frame)
    return np.asarray(kept, np.intp)


def _register_weights() -> Array:
    """(bands, registers) the share of each band in its register; each register's shares add up to 1."""
    register = np.searchsorted(REGISTERS, band_centres())
    member = (register[:, None] == np.arange(len(REGISTERS))).astype(np.float32)
    shares: Array = member / member.sum(axis=0)
    return shares
