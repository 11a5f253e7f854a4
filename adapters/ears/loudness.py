"""How loud a recording is, as broadcasters measure it, and the outline of its wave.

Sources: ITU-R BS.1770-4 (K-weighting, channel weights, gating, true peak), EBU Tech 3341 (momentary and short-term),
EBU Tech 3342 (loudness range).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from msgspec import Struct
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: BS.1770's offset, which makes a 997 Hz sine at 0 dBFS in one channel read -3.01 LKFS.
OFFSET = -0.691
#: The gating step: momentary blocks of 400 ms and short-term ones of 3 s both advance by 100 ms.
STEPS_PER_SECOND = 10
MOMENTARY_STEPS = 4
SHORT_TERM_STEPS = 30
ABSOLUTE_GATE = -70.0
#: How many points per second the outline of the wave keeps.
OUTLINE_PER_SECOND = 50

Numbers = TypeVar("Numbers", Float32, Float64)

SIDES = frozenset({"SL", "SR"})
BACKS = frozenset({"BL", "BR"})
LOW_FREQUENCY = frozenset({"LFE", "LFE2"})


class Loudness(Struct, frozen=True, kw_only=True):
    """What the meter read at the end; null where the recording is too short, or silent. Arrays are one value a step."""

    integrated: float | None
    range: float | None
    momentary_max: float | None
    short_term_max: float | None
    true_peak: float | None
    sample_peak: float | None
    rms: float | None
    clipped_share: float
    #: (steps,) LUFS of the 400 ms around each 100 ms step, -inf in silence.
    momentary: Float64
    #: (steps,) LUFS of the 3 s around each 100 ms step, -inf in silence.
    short_term: Float64
    #: (points,) lowest and highest sample of each 1/50 s over all channels.
    lows: Float32
    highs: Float32


def channel_weights(names: Sequence[str]) -> Float64:
    """The BS.1770-4 weight of each named channel: surrounds 1.41, the low-frequency channel none, the others 1.

    In layouts with both side and back pairs (7.1) only the sides lie within 60..120 degrees and get the weight.
    """
    surrounds = SIDES if SIDES & set(names) else BACKS
    weights = [0.0 if name in LOW_FREQUENCY else 1.41 if name in surrounds else 1.0 for name in names]
    return np.array(weights)


def k_weighting(rate: float) -> tuple[Float64, Float64]:
    """The two second-order sections (b0 b1 b2 a1 a2 each) of the K-weighting at any sample rate in Hz.

    BS.1770 prints them for 48 kHz only; these are its analogue prototypes (a 4 dB shelf at 1682 Hz, a high-pass at
    38 Hz) warped to `rate` by the bilinear transform, and equal the printed ones at 48 kHz to nine digits.
    """
    k = math.tan(math.pi * 1681.974450955533 / rate)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band, a0 = high**0.4996667741545416, 1 + k / q + k * k
    shelf = [high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k, 2 * (k * k - 1)]
    shelf = [*(value / a0 for value in shelf), (1 - k / q + k * k) / a0]
    k = math.tan(math.pi * 38.13547087602444 / rate)
    q = 0.5003270373238773
    a0 = 1 + k / q + k * k
    return np.array(shelf), np.array([1.0, -2.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0])


class _KFilter:
    """Both sections as one linear system, run many samples at a time.

    Inside a block of `SIZE` samples the answer is a matrix product (the impulse response as a Toeplitz matrix, plus
    what the state at the block's start still has to say). What blocks add to the state is gathered over `GROUP` of
    them in another product, and the states at the starts of groups follow from a doubling scan. That turns a recursion
    into matrix products, some hundred times faster in numpy than sample by sample.
    """

    SIZE = 64
    GROUP = 16

    def __init__(self, rate: float, channels: int) -> None:
        a, b, c, d = _state_space(k_weighting(rate))
        powers = [np.eye(4)]
        for _ in range(self.SIZE):
            powers.append(a @ powers[-1])
        response = np.array([d, *(float(c @ powers[i] @ b) for i in range(self.SIZE - 1))])
        lag = np.subtract.outer(np.arange(self.SIZE), np.arange(self.SIZE))
        self._forward = np.where(lag >= 0, response[np.abs(lag)], 0.0).T.astype(np.float32)
        self._observe = np.array([c @ powers[i] for i in range(self.SIZE)]).T.astype(np.float32)
        self._absorb = np.array([powers[self.SIZE - 1 - i] @ b for i in range(self.SIZE)]).astype(np.float32)
        steps = [np.linalg.matrix_power(powers[self.SIZE].T, block) for block in range(self.GROUP + 1)]
        nothing = np.zeros((4, 4))
        #: From what each block of a group adds, and from the state before it, to the states at all of its edges.
        self._gather = np.block(
            [
                [steps[edge - block - 1] if edge > block else nothing for edge in range(self.GROUP + 1)]
                for block in range(self.GROUP)
            ]
        )
        self._carry = np.hstack(steps)
        self._state = np.zeros((channels, 4))

    def run(self, samples: Float32) -> Float32:
        """The weighted signal of (channels, n) samples, n a multiple of `SIZE`; continues where the last call ended."""
        channels, count = samples.shape
        blocks = samples.reshape(-1, self.SIZE)
        weighted: Float32 = blocks @ self._forward
        weighted += self._states(blocks, channels).astype(np.float32) @ self._observe
        return weighted.reshape(channels, count)

    def reseat(self, seats: Sequence[int]) -> None:
        """Go on with the states of these channels; one beyond the last is new."""
        self._state = _seated(self._state, seats)

    def _states(self, blocks: Float32, channels: int) -> Float64:
        """The state at the start of each block, channel after channel."""
        count = len(blocks) // channels
        groups, (whole, left) = -(-count // self.GROUP), divmod(count, self.GROUP)
        added = np.zeros((channels, groups * self.GROUP, 4))
        added[:, :count] = (blocks @ self._absorb).reshape(channels, count, 4)
        edges = added.reshape(channels, groups, self.GROUP * 4) @ self._gather
        starts = np.concatenate([self._state[:, None], edges[:, :, -4:]], axis=1)
        reach, decay = 1, self._carry[:, -4:]
        while reach < starts.shape[1] and np.abs(decay).max() > 1e-14:
            starts[:, reach:] += starts[:, :-reach] @ decay
            reach, decay = 2 * reach, decay @ decay
        edges += starts[:, :-1] @ self._carry
        states = edges.reshape(channels, groups, self.GROUP + 1, 4)
        self._state = states[:, whole, left].copy() if left else starts[:, whole]
        begun: Float64 = states[:, :, : self.GROUP].reshape(channels, -1, 4)[:, :count].reshape(-1, 4)
        return begun


def _state_space(sections: Sequence[Float64]) -> tuple[Float64, Float64, Float64, float]:
    """The cascade of two sections as x' = Ax + Bu, y = Cx + Du (transposed direct form II)."""
    (a1, b1, c1, d1), (a2, b2, c2, d2) = (_section(section) for section in sections)
    a = np.block([[a1, np.zeros((2, 2))], [np.outer(b2, c1), a2]])
    return a, np.concatenate([b1, b2 * d1]), np.concatenate([d2 * c1, c2]), d1 * d2


def _section(coefficients: Float64) -> tuple[Float64, Float64, Float64, float]:
    b0, b1, b2, a1, a2 = coefficients
    return np.array([[-a1, 1.0], [-a2, 0.0]]), np.array([b1 - a1 * b0, b2 - a2 * b0]), np.array([1.0, 0.0]), float(b0)


class _TruePeak:
    """The highest point of the wave between the samples, by oversampling to at least 192 kHz (BS.1770-4, annex 2).

    A windowed-sinc interpolator runs only over stretches that could exceed the peak found so far. Its output is bounded
    twice: by the largest input times the sum of its absolute weights, and, since it is a straight line between two
    samples plus a sum of differences, by the largest input plus a multiple of the steepest step between neighbours.
    Music is mostly smooth, so the second bound spares nearly all of the work, and neither ever changes the answer.
    """

    TAPS = 24
    SIZE = 32
    #: Stretches that are interpolated before the bounds are asked again.
    AT_ONCE = 64

    def __init__(self, rate: float) -> None:
        factor = min(24, max(2, math.ceil(192_000 / rate)))
        phases = np.arange(1, factor) / factor
        time = np.arange(self.TAPS) - (self.TAPS // 2 - 1) - phases[:, None]
        window = np.kaiser(4097, 7.0)[np.rint((time / self.TAPS + 0.5) * 4096).astype(int)]
        weights = np.sinc(time) * window
        weights /= weights.sum(axis=1, keepdims=True)
        self._gain = float(np.abs(weights).sum(axis=1).max())
        straight = np.maximum(1 - np.abs(time), 0)
        self._swing = float(np.abs(np.cumsum(weights - straight, axis=1)).sum(axis=1).max())
        matrix = np.zeros((self.SIZE + self.TAPS - 1, self.SIZE, factor - 1), np.float32)
        for start in range(self.SIZE):
            matrix[start : start + self.TAPS, start] = weights.T
        self._matrix = matrix.reshape(self.SIZE + self.TAPS - 1, -1)
        self._tail: Float32 | None = None
        self.highest = 0.0

    def push(self, samples: Float32) -> None:
        """Take (channels, n) samples; n may be anything."""
        channels = samples.shape[0]
        if self._tail is None:
            self._tail = np.zeros((channels, self.TAPS - 1), np.float32)
        joined = np.concatenate([self._tail, samples], axis=1)
        usable = (joined.shape[1] - self.TAPS + 1) // self.SIZE * self.SIZE
        self._tail = joined[:, usable:].copy()
        if not usable:
            return
        bounds = self._bounds(joined, usable)
        stretches = sliding_window_view(joined, self.SIZE + self.TAPS - 1, axis=1)[:, : usable : self.SIZE]
        for channel in range(channels):
            hopeful = np.flatnonzero(bounds[channel] > self.highest)
            order = hopeful[np.argsort(-bounds[channel, hopeful])]
            for start in range(0, order.size, self.AT_ONCE):
                chosen = order[start : start + self.AT_ONCE]
                if bounds[channel, chosen[0]] <= self.highest:
                    break
                between = stretches[channel, np.sort(chosen)] @ self._matrix
                self.highest = max(self.highest, float(between.max()), -float(between.min()))

    def reseat(self, seats: Sequence[int]) -> None:
        """Go on with the last samples of these channels; one beyond the last is new."""
        if self._tail is not None:
            self._tail = _seated(self._tail, seats)

    def _bounds(self, joined: Float32, usable: int) -> Float32:
        """(channels, stretches) what no point between the samples of each stretch can exceed."""
        size = min(usable + self.SIZE, joined.shape[1])
        level, step = np.zeros((2, len(joined), usable + self.SIZE), np.float32)
        np.abs(joined[:, :size], out=level[:, :size])
        np.subtract(joined[:, 1:size], joined[:, : size - 1], out=step[:, : size - 1])
        loud, steep = _octets(level), _octets(np.abs(step, out=step))
        self.highest = max(self.highest, float(loud.max()))
        # Seven octets hold the 55 samples that feed a stretch; the points lie between those of the second to the sixth.
        widest, steepest = _largest(loud, 0, 7), _largest(steep, 0, 7)
        bounds: Float32 = np.minimum(widest * self._gain, _largest(loud, 1, 5) + self._swing * steepest)
        return bounds

    def finish(self) -> float:
        """The highest absolute value over all that was pushed, as a linear amplitude."""
        if self._tail is not None:
            self.push(np.zeros((self._tail.shape[0], self.SIZE + self.TAPS), np.float32))
        return self.highest


def _seated(rows: Numbers, seats: Sequence[int]) -> Numbers:
    """The chosen rows of (channels, n) values; the one beyond the last is all zeros."""
    return np.concatenate([rows, np.zeros_like(rows[:1])])[list(seats)]


def _octets(values: Float32) -> Float32:
    """(channels, n / 8) the largest of every eight of (channels, n) values."""
    # Neighbours are compared everywhere, which is wasteful and still faster than going through rows of eight.
    pairs = np.maximum(values[:, :-1], values[:, 1:])
    fours = np.maximum(pairs[:, :-2], pairs[:, 2:])
    eights: Float32 = np.maximum(fours[:, ::8], fours[:, 4::8])
    return eights


def _largest(octets: Float32, first: int, count: int) -> Float32:
    """(channels, stretches) the largest of `count` octets from the `first` of each stretch of four on."""
    stretches = octets.shape[1] // 4 - 1
    largest: Float32 = np.maximum.reduce([octets[:, first + at :: 4][:, :stretches] for at in range(count)])
    return largest


class Meter:
    """Listens to blocks of samples as they are decoded and remembers only sums per 100 ms."""

    def __init__(self, rate: int, channels: Sequence[str]) -> None:
        self._rate = rate
        self._names = tuple(channels)
        self._weights = channel_weights(channels)
        self._filter = _KFilter(rate, len(channels))
        self._peak = _TruePeak(rate)
        self._pending = np.zeros((len(channels), 0), np.float32)
        self._steps = _Sums(rate / STEPS_PER_SECOND)
        self._outline = _Outline(rate / OUTLINE_PER_SECOND)
        self._values = 0
        self._squares = 0.0
        self._sample_peak = 0.0
        self._clipped = 0

    def push(self, samples: Float32, channels: Sequence[str] | None = None) -> None:
        """Take (channels, n) samples, full scale 1.0, at the recording's rate; `channels`: if they changed."""
        if not samples.shape[1]:
            return
        if channels is not None and tuple(channels) != self._names:
            self._reseat(tuple(channels))
        planes = np.ascontiguousarray(samples, np.float32)
        self._values += planes.size
        flat = planes.reshape(-1)
        self._squares += float(np.dot(flat, flat))
        top = self._outline.push(planes)
        self._sample_peak = max(self._sample_peak, top)
        if top >= _FULL_SCALE:
            self._clipped += _clipped_samples(planes)
        self._peak.push(planes)
        joined = np.concatenate([self._pending, planes], axis=1) if self._pending.size else planes
        usable = joined.shape[1] // _KFilter.SIZE * _KFilter.SIZE
        self._pending = joined[:, usable:].copy()
        if usable:
            self._measure(np.ascontiguousarray(joined[:, :usable]), usable)

    def _reseat(self, names: tuple[str, ...]) -> None:
        """Go on with other channels: those that stay keep what the filters know of them, new ones begin in silence."""
        old = {name: index for index, name in reversed(list(enumerate(self._names)))}
        seats = [old.get(name, len(self._names)) for name in names]
        self._names, self._weights = names, channel_weights(names)
        self._pending = _seated(self._pending, seats)
        self._filter.reseat(seats)
        self._peak.reseat(seats)

    def _measure(self, samples: Float32, count: int) -> None:
        weighted = self._filter.run(samples)[:, :count]
        np.square(weighted, out=weighted)
        power = self._weights.astype(np.float32) @ weighted
        self._steps.push(power)

    def finish(self) -> Loudness:
        """The readings, once everything has been pushed."""
        left = self._pending.shape[1]
        if left:
            padded = np.zeros((self._pending.shape[0], _KFilter.SIZE), np.float32)
            padded[:, :left] = self._pending
            self._measure(padded, left)
            self._pending = self._pending[:, :0]
        powers = self._steps.means()
        momentary, short_term = _windows(powers, MOMENTARY_STEPS), _windows(powers, SHORT_TERM_STEPS)
        count = self._values
        lows, highs = self._outline.finish()
        return Loudness(
            integrated=integrated(momentary),
            range=loudness_range(short_term),
            momentary_max=_loudest(momentary),
            short_term_max=_loudest(short_term),
            true_peak=_decibels(self._peak.finish()),
            sample_peak=_decibels(self._sample_peak),
            rms=_decibels(math.sqrt(self._squares / count)) if count else None,
            clipped_share=self._clipped / count if count else 0.0,
            momentary=_centred(powers, MOMENTARY_STEPS),
            short_term=_centred(powers, SHORT_TERM_STEPS),
            lows=lows,
            highs=highs,
        )


def integrated(momentary_power: Float64) -> float | None:
    """The gated loudness in LUFS of (blocks,) mean squares of 400 ms each; null if none passes the gate at -70 LUFS."""
    loud = momentary_power[momentary_power > _power(ABSOLUTE_GATE)]
    if not loud.size:
        return None
    loud = loud[loud > loud.mean() * 10 ** (-10 / 10)]
    return _lufs(float(loud.mean()))


def loudness_range(short_term_power: Float64) -> float | None:
    """The LRA in LU of (blocks,) mean squares of 3 s each; null if none passes the gates.

    It spans the 10th to the 95th percentile of what lies above -70 LUFS and above 20 LU below the mean (EBU Tech 3342).
    """
    loud = short_term_power[short_term_power > _power(ABSOLUTE_GATE)]
    if not loud.size:
        return None
    loud = loud[loud > loud.mean() * 10 ** (-20 / 10)]
    low, high = np.percentile(10 * np.log10(loud), [10, 95])
    return float(high - low)


def _windows(powers: Float64, steps: int) -> Float64:
    """The means of every run of `steps` whole steps; empty if the recording is shorter than one run."""
    if powers.size < steps:
        return np.zeros(0)
    sums: Float64 = np.concatenate([[0.0], np.cumsum(powers)])
    return np.maximum((sums[steps:] - sums[:-steps]) / steps, 0.0)


def _centred(powers: Float64, steps: int) -> Float64:
    """The loudness in LUFS of the run of `steps` around each step, shortened at the ends, for curves and pictures."""
    sums = np.concatenate([[0.0], np.cumsum(powers)])
    here = np.arange(powers.size)
    first, last = np.maximum(here - steps // 2, 0), np.minimum(here + (steps + 1) // 2, powers.size)
    with np.errstate(divide="ignore"):
        return np.asarray(OFFSET + 10 * np.log10(np.maximum((sums[last] - sums[first]) / (last - first), 0.0)))


def _loudest(powers: Float64) -> float | None:
    return _lufs(float(powers.max())) if powers.size else None


def _lufs(power: float) -> float | None:
    return OFFSET + 10 * math.log10(power) if power > 1e-20 else None


def power_of(lufs: Float64) -> Float64:
    """The mean square behind a loudness in LUFS."""
    power: Float64 = 10 ** ((lufs - OFFSET) / 10)
    return power


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - OFFSET) / 10))


def _decibels(amplitude: float) -> float | None:
    return 20 * math.log10(amplitude) if amplitude > 1e-10 else None


#: A 16-bit converter's last step below full scale; louder than that, a run of samples has hit the ceiling.
_FULL_SCALE = 32766 / 32768


def _clipped_samples(planes: Float32) -> int:
    """How many samples sit in runs of three or more at full scale; a lone peak there is no fault."""
    at_top: NDArray[np.bool_] = np.abs(planes) >= _FULL_SCALE
    padded = np.pad(at_top, ((0, 0), (2, 2)))
    runs: NDArray[np.bool_] = np.logical_and.reduce([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]])
    return int((runs[:, :-2] | runs[:, 1:-1] | runs[:, 2:]).sum())


class _Sums:
    """Sums per step, where a step need not be a whole number of samples (11,025 Hz has 1102.5 in 100 ms)."""

    def __init__(self, size: float) -> None:
        self._size = size
        self._done: list[Float64] = []
        self._partial = 0.0
        self._position = 0
        self._steps = 0

    def push(self, values: Float32) -> None:
        """Add (n,) values."""
        end = self._position + values.size
        last = int(end / self._size + 1e-9)
        edges = np.rint(np.arange(self._steps + 1, last + 1) * self._size).astype(np.int64) - self._position
        edges = edges[edges <= values.size]
        starts = np.concatenate([[0], edges]).astype(np.int64)
        inside = starts < values.size
        sums = np.zeros(starts.size)
        # In single precision, but pairwise: the error of a step stays below a millionth.
        sums[inside] = np.add.reduceat(values, starts[inside])
        sums[0] += self._partial
        self._done.append(sums[:-1])
        self._partial = float(sums[-1])
        self._steps += edges.size
        self._position = end

    def means(self) -> Float64:
        """The mean of each whole step; what is left over at the end counts for none."""
        sums: Float64 = np.concatenate(self._done) if self._done else np.zeros(0)
        edges: Float64 = np.rint(np.arange(sums.size + 1) * self._size)
        means: Float64 = sums / np.diff(edges)
        return means


class _Outline:
    """The lowest and highest sample per step over all channels."""

    def __init__(self, size: float) -> None:
        self._size = max(1, round(size))
        self._lows: list[Float32] = []
        self._highs: list[Float32] = []
        self._left = self._size

    def push(self, planes: Float32) -> float:
        """Take (channels, n) samples; the largest absolute value among them."""
        starts = np.concatenate([[0], np.arange(self._left, planes.shape[1], self._size)])
        lows = np.minimum.reduceat(planes, starts, axis=1).min(axis=0)
        highs = np.maximum.reduceat(planes, starts, axis=1).max(axis=0)
        top = float(max(highs.max(), -lows.min()))
        if self._left < self._size:
            # The first of them still belong to the step that the last ones began.
            self._lows[-1][-1] = min(self._lows[-1][-1], lows[0])
            self._highs[-1][-1] = max(self._highs[-1][-1], highs[0])
            lows, highs = lows[1:], highs[1:]
        if lows.size:
            self._lows.append(lows)
            self._highs.append(highs)
        self._left = self._size - (planes.shape[1] - self._left) % self._size
        return top

    def finish(self) -> tuple[Float32, Float32]:
        """All points; the last one may stand for less than a whole step."""
        if not self._lows:
            return np.zeros(0, np.float32), np.zeros(0, np.float32)
        return np.concatenate(self._lows), np.concatenate(self._highs)
