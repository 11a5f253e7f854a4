"""From many channels to the one signal that rhythm and harmony are heard in, with nothing lost between the channels.

The mean of the channels loses what is out of phase between them. What they have in common (mid) and what they differ
in (side) are therefore added a quarter of a wave apart: at every frequency their energies then add up, which for panned
sound is the mean energy of the channels, however they are signed. Where the side is far weaker than the middle it is
mostly the room, and counts less. A constant offset is no sound, and goes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

#: Taps of the quarter-wave shifter: at 22,050 Hz it holds from 30 Hz on.
TAPS = 2047
#: Samples on each side whose mean counts as offset: 0.19 s, so that 30 Hz keeps its level within 3 %.
AROUND = 4096
#: What lies so far below the rest is nothing: the last bits of a lossy coder.
NOTHING = 1e-7
#: What stays of the energies of one portion (0.7 s) when the next is weighed against the middle.
MEMORY = 0.7
LOW_FREQUENCY = frozenset({"LFE", "LFE2"})
#: Channels whose mid and side have less than this share of their power cancel each other.
CANCELLED = 0.001


def folded(samples: Samples, names: Sequence[str]) -> Samples:
    """(2, n) mid and side of (channels, n) named channels, or (1, n) where there is no side; LFE left out."""
    if len(samples) == 1:
        return samples
    if tuple(names) == ("FL", "FR"):
        return np.stack([(samples[0] + samples[1]) / 2, (samples[0] - samples[1]) / 2])
    kept = [index for index, name in enumerate(names) if name not in LOW_FREQUENCY] or list(range(len(names)))
    signs = _signs([names[index] for index in kept])
    chosen = samples[kept] if len(kept) < len(samples) else samples
    weights = np.stack([np.ones(len(kept)), signs]).astype(np.float32) / np.float32(len(kept))
    pair: Samples = (weights @ chosen).astype(np.float32, copy=False)
    powers = [float(np.vdot(channel, channel)) for channel in chosen]
    if float(np.vdot(pair, pair)) < CANCELLED * sum(powers) / len(powers):
        strongest = chosen[powers.index(max(powers))]
        return np.stack([strongest, np.zeros_like(strongest)])
    return pair


def _signs(names: Sequence[str]) -> NDArray[np.float64]:
    """+1 for channels on the left, -1 for those on the right, 0 for those in the middle."""
    if not any("L" in name for name in names):
        return np.array([1.0 if index % 2 == 0 else -1.0 for index in range(len(names))])
    return np.array([1.0 if "L" in name else -1.0 if "R" in name else 0.0 for name in names])


class Mixer:
    """Takes mid and side in portions of any size and gives the one signal, later by `AROUND` samples."""

    def __init__(self) -> None:
        self._buffer: Samples = np.zeros((2, 0), np.float32)
        #: Samples at the start of the buffer that were given out already and are kept for their neighbours.
        self._given = 0
        #: Energies of mid and side lately, and how much of the side counts.
        self._energies = np.zeros(2)
        self._share: float | None = None

    def push(self, pair: Samples) -> Samples:
        """(m,) what can be said so far, after (1, n) or (2, n) more samples of mid and side."""
        both = pair if len(pair) == 2 else np.concatenate([pair, np.zeros_like(pair)])
        self._buffer = np.concatenate([self._buffer, both], axis=1)
        return self._emit(self._buffer.shape[1] - AROUND)

    def finish(self) -> Samples:
        """(m,) the rest."""
        return self._emit(self._buffer.shape[1])

    def _emit(self, stop: int) -> Samples:
        if stop <= self._given:
            return np.zeros(0, np.float32)
        mid, side = self._buffer
        first = self._given
        mixed: Samples = mid[first:stop] - _offset(mid, first, stop)
        mixed += self._weights(mid[first:stop], side[first:stop]) * _shifted(side, first, stop)
        kept = max(0, stop - AROUND)
        self._buffer, self._given = self._buffer[:, kept:].copy(), stop - kept
        return mixed

    def _weights(self, mid: Samples, side: Samples) -> Samples:
        """(n,) how much of the side counts: all of it from where it is as strong as the middle."""
        self._energies = MEMORY * self._energies + [np.var(mid), np.var(side)]
        middle, sides = self._energies.tolist()
        share = min(1.0, 2 * sides / (middle + sides)) ** 2 if sides > 0 else 0.0
        before, self._share = share if self._share is None else self._share, share
        return np.linspace(before, share, len(mid), dtype=np.float32)


def _offset(values: Samples, first: int, stop: int) -> Samples:
    """(stop - first,) the mean of `AROUND` samples on both sides of each, of those there are."""
    heap = np.zeros(len(values) + 1)
    np.cumsum(values, dtype=np.float64, out=heap[1:])
    if first >= AROUND and stop + AROUND < len(values):
        # Away from the ends, where nearly all samples are, nothing needs to be looked up one by one.
        sums = heap[first + AROUND + 1 : stop + AROUND + 1] - heap[first - AROUND : stop - AROUND]
        inner: Samples = (sums / (2 * AROUND + 1)).astype(np.float32)
        return inner
    at = np.arange(first, stop)
    low, high = np.maximum(at - AROUND, 0), np.minimum(at + AROUND + 1, len(values))
    mean: Samples = ((heap[high] - heap[low]) / (high - low)).astype(np.float32)
    return mean


def _shifted(values: Samples, first: int, stop: int) -> Samples:
    """(stop - first,) the values a quarter of a wave earlier at every frequency."""
    reach = TAPS // 2
    begin, end = max(0, first - reach), min(len(values), stop + reach)
    part = values[begin:end]
    if not len(part) or max(float(part.max()), -float(part.min())) < NOTHING:
        return np.zeros(stop - first, np.float32)
    # The ends repeat, so that an offset that differs between the channels makes no stroke there.
    part = np.pad(part - part.mean(), (reach - (first - begin), reach - (end - stop)))
    size = _smooth(len(part))
    whole = np.fft.irfft(np.fft.rfft(part, size) * _quarter_wave(size), size)
    shifted: Samples = whole[TAPS - 1 : TAPS - 1 + stop - first].astype(np.float32, copy=False)
    return shifted


@cache
def _quarter_wave(size: int) -> NDArray[np.complex64]:
    """The spectrum of the shifter: an ideal Hilbert transformer under a Hamming window."""
    offsets = np.arange(TAPS) - TAPS // 2
    odd = offsets % 2 != 0
    taps = np.where(odd, -2 / (np.pi * np.where(odd, offsets, 1)), 0.0) * np.hamming(TAPS)
    return np.fft.rfft(taps, size).astype(np.complex64)


def _smooth(least: int) -> int:
    """The next size that Fourier transforms are quick at: 2, 3 and 5 are its only factors."""
    best = 1 << (least - 1).bit_length()
    for threes in (1, 3, 9):
        for fives in (1, 5):
            odd = threes * fives
            best = min(best, odd << max(0, (-(-least // odd) - 1).bit_length()))
    return best
