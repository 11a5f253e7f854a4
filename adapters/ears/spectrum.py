"""The one spectrogram all percepts share, computed in a single streaming pass over the mono signal.

Sound comes in through `Listener.feed` in blocks of any size, and only features stay: about 11 kB per second of music,
never the samples. Ten minutes of them are a chapter, of which `trace.py` keeps a quarter. Whoever works on long tables
goes through in portions (`portions`), for a copy in double precision would be eight times as much. Three clocks tick:

- **frames**, every 256 samples (86.13 per second, 46 ms windows): what rhythm needs;
- **moments**, every 4th frame (21.5 per second): broadband descriptors of the same windows;
- **chords**, every 16th frame (5.38 per second): a log-frequency spectrum fine enough for tuning, key and chords.

Item i of a clock is centred on sample i * hop; its time is `i / rate` of that clock. Before the first and after the
last sample there is silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import DTypeLike, NDArray

from adapters.ears.decode import ANALYSIS_RATE
from adapters.ears.tapping import Tapper

Array = NDArray[np.float32]

HOP = 256
WINDOW = 1024
FRAME_RATE = ANALYSIS_RATE / HOP
MOMENT_EVERY = 4
MOMENT_RATE = FRAME_RATE / MOMENT_EVERY
CHORD_EVERY = 16
CHORD_RATE = FRAME_RATE / CHORD_EVERY

#: Log-spaced bands for rhythm: centre frequencies in Hz are `band_centres()`.
BANDS = 40
BAND_LOWEST, BAND_HIGHEST = 30.0, 10_500.0
#: Where the decibel scale of `levels` ends: -120 dB of full scale.
FLOOR = 1e-12

#: The log-frequency spectrum: three bins a semitone from C1 (32.7 Hz) up to two thirds above B8 (8104 Hz).
BINS_PER_OCTAVE = 36
TONAL_LOWEST_MIDI = 24
TONAL_OCTAVES = 8
TONAL_BINS = BINS_PER_OCTAVE * TONAL_OCTAVES
#: Above this bin a 372 ms window tells semitones apart; below it one of 1.49 s at an eighth of the rate is used.
TONAL_WINDOW = 8192
LOW_DECIMATION = 8
LOW_WINDOW = 4096
LOW_OCTAVES = 3
#: Bins of the two transforms that reach beyond the highest pitch each is asked for, bell and all.
TONAL_TOP = 3136
LOW_TOP = 420

#: A chapter of the recording is ten minutes long; features of all of it are there at once.
CHAPTER_CHORDS = round(600 * CHORD_RATE)

#: Bytes of address space that a table begins with: more than glibc ever takes from its own heap.
ROOM = 33 << 20
#: Chords handled at once: the working set of a batch stays within a few megabytes.
BATCH = 16
STEP = HOP * CHORD_EVERY
#: Samples around a centre that the widest window reaches.
REACH = LOW_WINDOW * LOW_DECIMATION // 2 + 64


class Spectra(Struct, frozen=True):
    """The spectrogram of a recording, or of a chapter of it; time runs along the first axis everywhere."""

    #: Seconds of mono sound that were heard.
    seconds: float
    #: (frames, BANDS) power in each log-spaced band, dB re full scale, -120 .. about 0, at FRAME_RATE.
    levels: NDArray[np.float16]
    #: (frames,) root mean square of the window, full scale 1, at FRAME_RATE.
    rms: Array
    #: (moments,) spectral centroid of the magnitudes in Hz, 0 in silence, at MOMENT_RATE (as the next three).
    centroid: Array
    #: (moments,) frequency in Hz below which 85 % of the power lies, 0 in silence.
    rolloff: Array
    #: (moments,) geometric over arithmetic mean of the power spectrum, 0 tonal .. 1 noise, 0 in silence.
    flatness: Array
    #: (moments,) share of neighbouring samples between which the sign changes, 0 .. 1.
    crossings: Array
    #: (chords, TONAL_BINS) magnitude at `tonal_midi()` pitches, linear; a sine at full scale reads about 1. CHORD_RATE.
    tonal: NDArray[np.float16]


@cache
def band_centres() -> Array:
    """(BANDS,) centre frequency in Hz of each band of `levels`."""
    return _band_edges()[1:-1].astype(np.float32)


def portions(values: NDArray[np.floating], rows: int = 1024) -> Iterator[tuple[int, Array]]:
    """(first row, float32 copy of at most `rows` rows) one after another, so that no copy of the whole is ever made."""
    for start in range(0, len(values), rows):
        yield start, values[start : start + rows].astype(np.float32)


@cache
def tonal_midi() -> Array:
    """(TONAL_BINS,) pitch of each bin of `tonal` as a fractional MIDI number: 24, 24.33, ...; 69 is A4 at 440 Hz."""
    return (TONAL_LOWEST_MIDI + np.arange(TONAL_BINS) * 12 / BINS_PER_OCTAVE).astype(np.float32)


class Listener:
    """Hears mono sound at `ANALYSIS_RATE` in any portions; `finish` gives the features of all of it."""

    def __init__(self) -> None:
        self._samples = 0
        self._chords = 0
        #: Chords that were given away in chapters.
        self._given = 0
        # The silence before the beginning, so that the first windows are centred on the first sample.
        self._buffer: Array = np.zeros(REACH, np.float32)
        self._pending: list[Array] = []
        self._pending_samples = 0
        self._tapper = Tapper()
        self._levels = Rows(BANDS, np.float16)
        self._rms = Rows(1, np.float32)
        self._described = Rows(4, np.float32)
        self._tonal = Rows(TONAL_BINS, np.float16)

    def feed(self, mono: Array) -> None:
        """Listen to (n,) more samples."""
        self._tapper.feed(mono)
        self._pending.append(mono)
        self._pending_samples += len(mono)
        self._samples += len(mono)
        if len(self._buffer) + self._pending_samples >= _span(BATCH):
            self._digest()

    def chapter(self) -> Spectra | None:
        """The features of what came since the last chapter, if that is one; `finish` gives only what follows."""
        count = self._chords - self._given
        return self._taken(count) if count >= CHAPTER_CHORDS else None

    def finish(self) -> Spectra:
        """The features of everything heard; the listener is spent."""
        chords = -(-self._samples // STEP)
        needed = (chords - self._chords) * STEP + 2 * REACH
        self._pending.append(np.zeros(max(0, needed - len(self._buffer) - self._pending_samples), np.float32))
        self._digest(chords)
        return self._taken(chords - self._given)

    def taps(self) -> NDArray[np.float64]:
        """(taps,) seconds at which aubio's beat tracker tapped along so far, chapters or not, see `tapping.py`."""
        return self._tapper.finish()

    def _taken(self, chords: int) -> Spectra:
        """The features of so many chords since the last chapter."""
        samples = min(chords * STEP, self._samples - self._given * STEP)
        frames = -(-samples // HOP)
        moments = -(-frames // MOMENT_EVERY)
        centroid, rolloff, flatness, crossings = np.ascontiguousarray(self._described.taken(moments).T)
        self._given += chords
        return Spectra(
            seconds=samples / ANALYSIS_RATE,
            levels=self._levels.taken(frames),
            rms=self._rms.taken(frames).ravel(),
            centroid=centroid,
            rolloff=rolloff,
            flatness=flatness,
            crossings=crossings,
            tonal=self._tonal.taken(chords),
        )

    def _digest(self, chords_total: int | None = None) -> None:
        buffer = np.concatenate([self._buffer, *self._pending])
        self._pending, self._pending_samples = [], 0
        start = 0
        while True:
            count = min(BATCH, (len(buffer) - start - 2 * REACH) // STEP)
            if chords_total is not None:
                count = min(count, chords_total - self._chords)
            if count <= 0 or (chords_total is None and count < BATCH):
                break
            features = _features(buffer[start : start + _span(count)], count)
            for rows, part in zip((self._levels, self._rms, self._described, self._tonal), features, strict=True):
                rows.add(part)
            self._chords += count
            start += count * STEP
        self._buffer = buffer[start:].copy()


class Rows:
    """A table that grows at its end in place, and leaves no hole behind when it is gone.

    It asks for more than it will mostly need. So large a block comes straight from the kernel, page by page as it is
    written to; it is moved by page tables, never copied, and given back as a whole.
    """

    def __init__(self, width: int, kind: DTypeLike) -> None:
        self._table = self._new(width, kind)
        self._count = 0

    @staticmethod
    def _new(width: int, kind: DTypeLike) -> NDArray[Any]:
        return np.zeros((ROOM // (width * np.dtype(kind).itemsize), width), kind)

    def add(self, rows: NDArray[Any]) -> None:
        """Append (n, width) rows."""
        needed = self._count + len(rows)
        if needed > len(self._table):
            self._table.resize((needed + needed // 8, self._table.shape[1]), refcheck=False)
        self._table[self._count : needed] = rows
        self._count = needed

    def taken(self, count: int | None = None) -> NDArray[Any]:
        """The first `count` rows, or all there are; the table is empty afterwards."""
        table, kept = self._table, self._count if count is None else min(count, self._count)
        self._table, self._count = self._new(table.shape[1], table.dtype), 0
        table.resize((kept, table.shape[1]), refcheck=False)
        return table


def _span(chords: int) -> int:
    return chords * STEP + 2 * REACH


def _features(sound: Array, chords: int) -> tuple[Array, Array, Array, Array]:
    """Features of `chords` * STEP samples in the middle of `sound`, which reaches REACH further on both sides."""
    frames = chords * CHORD_EVERY
    near = sound[REACH - WINDOW // 2 :]
    windows = np.lib.stride_tricks.sliding_window_view(near, WINDOW)[: frames * HOP : HOP]
    spectrum = np.fft.rfft(windows * _hann(WINDOW))
    power = spectrum.real**2 + spectrum.imag**2
    power *= np.float32(1 / (WINDOW / 4) ** 2)  # a sine at full scale reads 1
    levels = 10 * np.log10(power @ _band_filters() + np.float32(FLOOR))
    # Each window is four hops, so their sums of squares are shared by four windows.
    squares = np.square(near[: (frames + WINDOW // HOP - 1) * HOP]).reshape(-1, HOP).sum(axis=1)
    rms = np.sqrt(sum(squares[hop : hop + frames] for hop in range(WINDOW // HOP)) / WINDOW)[:, None]
    described = _described(windows[::MOMENT_EVERY], power[::MOMENT_EVERY])
    return levels, rms, described, _tonal(sound, chords)


def _described(windows: Array, power: NDArray[np.floating]) -> Array:
    """(moments, 4): centroid, roll-off, flatness, zero crossings of (moments, WINDOW) sound and its power spectrum."""
    hertz = (np.arange(power.shape[1]) * (ANALYSIS_RATE / WINDOW)).astype(np.float32)
    magnitude = np.sqrt(power)
    total = magnitude.sum(axis=1)
    audible = total > 1e-5
    centroid = np.where(audible, magnitude @ hertz / np.maximum(total, 1e-20), 0)
    heap = np.cumsum(power, axis=1)
    rolloff = np.where(audible, hertz[np.argmax(heap >= 0.85 * heap[:, -1:], axis=1)], 0)
    # The lowest bins are left out: they hold rumble and offset, which would make silence look tonal.
    shaped = power[:, 2:] + np.float32(FLOOR)
    flatness = np.where(audible, np.exp(np.log(shaped).mean(axis=1)) / shaped.mean(axis=1), 0)
    positive = windows >= 0
    crossings = (positive[:, 1:] != positive[:, :-1]).mean(axis=1)
    return np.stack([centroid, rolloff, flatness, crossings], axis=1).astype(np.float32)


def _tonal(sound: Array, chords: int) -> Array:
    """(chords, TONAL_BINS) magnitudes from two windows, the long one for the lowest octaves."""
    near = sound[REACH - TONAL_WINDOW // 2 :]
    windows = np.lib.stride_tricks.sliding_window_view(near, TONAL_WINDOW)[: chords * STEP : STEP]
    high = np.abs(np.fft.rfft(windows * _hann(TONAL_WINDOW))[:, :TONAL_TOP])
    # An eighth of the rate is plenty below 250 Hz; `slow` sample k is centred on sound sample k * 8 + 32.
    taps = _decimator()
    # Eight samples at a time meet all eight eighths of the low-pass; the shares of one output lie on a diagonal.
    shares = (
        sound[: len(sound) // LOW_DECIMATION * LOW_DECIMATION].reshape(-1, LOW_DECIMATION)
        @ taps.reshape(-1, LOW_DECIMATION).T
    )
    count = len(shares) - shares.shape[1] + 1
    slow = np.add.reduce([shares[part : part + count, part] for part in range(shares.shape[1])])
    first = (REACH - len(taps) // 2) // LOW_DECIMATION - LOW_WINDOW // 2
    windows = np.lib.stride_tricks.sliding_window_view(slow[first:], LOW_WINDOW)[:: STEP // LOW_DECIMATION][:chords]
    low = np.abs(np.fft.rfft(windows * _hann(LOW_WINDOW))[:, :LOW_TOP])
    tonal = np.empty((chords, TONAL_BINS), np.float32)
    for octave, (first_bin, filters) in enumerate(_tonal_filters()):
        spectrum = low if octave < LOW_OCTAVES else high
        part = slice(octave * BINS_PER_OCTAVE, (octave + 1) * BINS_PER_OCTAVE)
        tonal[:, part] = spectrum[:, first_bin : first_bin + len(filters)] @ filters
    return tonal


@cache
def _hann(length: int) -> Array:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


@cache
def _decimator() -> Array:
    """A low-pass of 64 taps that is flat below 300 Hz and 60 dB down where an eighth of the rate would fold."""
    offsets = np.arange(64) - 31.5
    cutoff = 0.9 / (2 * LOW_DECIMATION)
    taps = 2 * cutoff * np.sinc(2 * cutoff * offsets) * np.blackman(64)
    normal: Array = (taps / taps.sum()).astype(np.float32)
    return normal


def _band_edges() -> NDArray[np.float64]:
    return np.geomspace(BAND_LOWEST, BAND_HIGHEST, BANDS + 2)


@cache
def _band_filters() -> Array:
    """(WINDOW / 2 + 1, BANDS) triangles on a log axis, each summing to one bin so that no band is empty."""
    hertz = np.arange(WINDOW // 2 + 1) * ANALYSIS_RATE / WINDOW
    edges = _band_edges()
    # At the bottom the bands are narrower than a bin: widen them to one bin on each side.
    bin_width = ANALYSIS_RATE / WINDOW
    lower = np.minimum(edges[:-2], edges[1:-1] - bin_width)
    upper = np.maximum(edges[2:], edges[1:-1] + bin_width)
    rising = (hertz[:, None] - lower) / (edges[1:-1] - lower)
    falling = (upper - hertz[:, None]) / (upper - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


@cache
def _tonal_filters() -> tuple[tuple[int, Array], ...]:
    """For each octave the first bin of its transform it needs, and (bins, BINS_PER_OCTAVE) weights of the bins.

    The weights of a pitch are a Gaussian bell around it, as wide as a third of a semitone or a bin of the transform.
    """
    octaves = []
    for octave in range(TONAL_OCTAVES):
        low = octave < LOW_OCTAVES
        window, rate = (LOW_WINDOW, ANALYSIS_RATE / LOW_DECIMATION) if low else (TONAL_WINDOW, float(ANALYSIS_RATE))
        midi = tonal_midi()[octave * BINS_PER_OCTAVE : (octave + 1) * BINS_PER_OCTAVE].astype(np.float64)
        centres = 440.0 * 2 ** ((midi - 69) / 12)
        hertz = np.arange(LOW_TOP if low else TONAL_TOP) * rate / window
        spread = np.maximum(centres * (2 ** (1 / BINS_PER_OCTAVE) - 1) * 0.5, rate / window * 0.5)
        bells = np.exp(-0.5 * ((hertz[:, None] - centres) / spread) ** 2)
        bells[bells < 1e-4] = 0
        # What the main lobe of the window leaves of a sine exactly on the pitch, so that it reads 1 in every bin.
        offsets = (hertz[:, None] - centres) * window / rate
        lobe = np.abs(np.sinc(offsets) / (1 - np.where(np.abs(np.abs(offsets) - 1) < 1e-6, 0.999, offsets) ** 2))
        weights = bells / (bells * lobe).sum(axis=0) / (window / 4)
        used = np.flatnonzero(bells.any(axis=1))
        octaves.append((int(used[0]), weights[used[0] : used[-1] + 1].astype(np.float32)))
    return tuple(octaves)
