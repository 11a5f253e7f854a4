"""The master: glued, warmed, brought to -14 LUFS and kept under -1 dBTP, both by the meter of the ears."""

from __future__ import annotations

import numpy as np
from scipy import signal

from adapters.band import effects
from adapters.band.genres import profile_of
from adapters.band.score import Score
from adapters.band.waves import RATE, Array, Sound
from adapters.ears.loudness import Loudness, Meter
from domain.kernel import Value

TARGET_LUFS = -14.0
TOLERANCE_LU = 0.3
CEILING_DBTP = -1.0
#: The limiter aims lower by what its own interpolation may miss.
MARGIN_DB = 0.15
#: Samples that are filtered at once.
PIECE = 1 << 18


class Levels(Value):
    """What the meter read of the master."""

    lufs: float
    true_peak_dbtp: float
    loudness_range_lu: float | None


def measure(sound: Sound) -> Loudness:
    """Loudness and true peak of (2, samples)."""
    meter = Meter(RATE, ("FL", "FR"))
    for start in range(0, sound.shape[1], PIECE):
        meter.push(np.ascontiguousarray(sound[:, start : start + PIECE]))
    return meter.finish()


def master(score: Score, mix: Sound) -> Levels:
    """Master (2, samples) in place, and say how loud it became.

    Raises `ValueError` for silence.
    """
    desk = profile_of(score.genre).mix
    level = 10 * np.log10(float(np.mean([np.dot(side, side) / len(side) for side in mix])) + 1e-12)
    effects.compress(mix, threshold=level + 2.0, ratio=2.0, attack=0.02, release=0.15)
    _warm(mix, desk.glue + 2.0 * score.drive, level)
    # After what bends the wave, which makes a constant out of a kick that pushes further than it pulls.
    _filter(mix, desk.bandwidth * 2.0 ** (0.5 * score.brightness), desk.presence)
    read = measure(mix)
    if read.integrated is None:
        raise ValueError("There is nothing to master: the mix is silent.")
    gain, ceiling = TARGET_LUFS - read.integrated, CEILING_DBTP - MARGIN_DB
    mix *= np.float32(10 ** (gain / 20))
    for _ in range(4):
        effects.limit(mix, 10 ** (ceiling / 20))
        read = measure(mix)
        assert read.integrated is not None
        assert read.true_peak is not None
        short = TARGET_LUFS - read.integrated
        if abs(short) <= TOLERANCE_LU and read.true_peak <= CEILING_DBTP:
            break
        # What the limiter took is given back, and it takes a little again.
        mix *= np.float32(10 ** (min(short * 1.15, 3.0) / 20))
        ceiling -= max(0.0, read.true_peak - CEILING_DBTP) + 0.02 if read.true_peak > CEILING_DBTP else 0.0
    else:
        # What was given back last has met no limiter.
        read = measure(mix)
    if read.true_peak is not None and read.true_peak > CEILING_DBTP:
        # The tries are used up; a hundredth less of loudness is nothing, a peak too high is one.
        mix *= np.float32(10 ** ((CEILING_DBTP - 0.01 - read.true_peak) / 20))
        read = measure(mix)
    lufs, peak = read.integrated, read.true_peak
    assert lufs is not None
    assert peak is not None
    return Levels(lufs=round(lufs, 2), true_peak_dbtp=round(peak, 2), loudness_range_lu=read.range)


#: Where a mix begins to gain presence (Hz).
PRESENCE_HERTZ = 1500.0


def shelf(decibels: float) -> Array:
    """A shelf of the first order: the sound, and of what is high some more of it."""
    b, a = signal.butter(1, PRESENCE_HERTZ, "high", fs=RATE)
    more = 10 ** (decibels / 20) - 1
    return np.array([[a[0] + more * b[0], a[1] + more * b[1], 0.0, a[0], a[1], 0.0]])


def _filter(mix: Sound, bandwidth: float, presence: float) -> None:
    """Take away what is no sound (below 22 Hz), the sides of the low end, and what the medium would not keep."""
    high = np.concatenate([signal.butter(2, 22.0, "high", fs=RATE, output="sos"), shelf(presence)])
    low = signal.butter(2, bandwidth, "low", fs=RATE, output="sos") if 0 < bandwidth < 19_000 else None
    width = signal.butter(1, 120.0, "high", fs=RATE, output="sos")
    states = [np.zeros((len(high), 2)) for _ in range(2)]
    others = [np.zeros((1, 2)) for _ in range(2)]
    side_state = np.zeros((1, 2))
    for start in range(0, mix.shape[1], PIECE):
        piece = mix[:, start : start + PIECE]
        middle, side = (piece[0] + piece[1]) * 0.5, (piece[0] - piece[1]) * 0.5
        side, side_state = signal.sosfilt(width, side, zi=side_state)
        for number, sound in enumerate((middle + side, middle - side)):
            heard, states[number] = signal.sosfilt(high, sound, zi=states[number])
            if low is not None:
                heard, others[number] = signal.sosfilt(low, heard, zi=others[number])
            piece[number] = heard


def _warm(mix: Sound, decibels: float, level: float) -> None:
    """Round the highest peaks off, in place: a soft knee some decibels above the mean level."""
    knee = np.float32(10 ** ((level + 18.0 - max(0.0, decibels)) / 20))
    for start in range(0, mix.shape[1], PIECE):
        piece = mix[:, start : start + PIECE]
        piece /= knee
        np.tanh(piece, out=piece)
        piece *= knee
