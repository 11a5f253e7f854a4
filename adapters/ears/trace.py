"""What stays of a recording: the few numbers a second that every percept can still be heard from.

The spectrogram comes in chapters of ten minutes. From each this keeps attacks, pitches and colours, some 3 kB per
second of music instead of 11, and lets the rest go. What must be known of the whole recording to do that, its loud
moments and its tuning, is taken from the chapters heard so far; a recording of one chapter is known as a whole.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from adapters.ears.key import pitch_salience, tuning_of, tuning_turn
from adapters.ears.onsets import LAG, REGISTERS, attacks, loudest_db
from adapters.ears.silence import Span, sounding
from adapters.ears.spectrum import (
    BANDS,
    CHORD_EVERY,
    CHORD_RATE,
    MOMENT_EVERY,
    Listener,
    Rows,
    Spectra,
    portions,
)

Array = NDArray[np.float32]
Half = NDArray[np.float16]

#: Semitones from C1 on of which the salience stays: six octaves, beyond which nothing names a key or a chord.
PITCHES = 72
#: Coefficients of the cepstrum that stay: the colour of a sound.
CEPSTRUM = 12
#: Every so many frames are asked for the power in each band; a fourth tells a mean as well as all of them.
POWER_EVERY = 4
#: Moments in a chord.
MOMENTS = CHORD_EVERY // MOMENT_EVERY
#: Octaves of `pitch` that count as low: up to B3.
LOW_OCTAVES = 3


class Trace(Struct, frozen=True):
    """What is known of a whole recording; time runs along the first axis everywhere."""

    #: Seconds of mono sound that were heard.
    seconds: float
    #: The level in dB that the loudest band reaches in the loud moments.
    loudest: float
    #: How far the recording's notes lie above the A4 = 440 Hz grid, -0.5 .. 0.5 semitones.
    tuning: float
    #: (BANDS,) mean power in each band.
    power: NDArray[np.float64]
    #: (frames, registers) strength of attack, >= 0, about 1 where something loud begins.
    strengths: Half
    #: (frames,) root mean square of the window, full scale 1.
    rms: Half
    #: (moments,) spectral centroid in Hz, and flatness, 0 tonal .. 1 noise; 0 in silence.
    centroid: Half
    flatness: Half
    #: (moments, CEPSTRUM) cepstrum of the band levels, its first coefficient their mean in dB.
    cepstrum: Half
    #: (chords, BANDS) mean level in each band in dB.
    levels: Half
    #: (chords, 24) strength of each pitch class in the bass and in all octaves, from the roots of magnitudes.
    pitch: Half
    #: (chords, PITCHES) how far each semitone from C1 stands out of its surroundings.
    salience: Half
    #: (taps,) seconds at which aubio's beat tracker tapped along.
    taps: NDArray[np.float64]

    def within(self, span: Span) -> Trace:
        """What rhythm needs of the recording, as if it had nothing outside the span."""
        if span == (0, len(self.pitch)):
            return self
        frames = slice(span.first * CHORD_EVERY, span.last * CHORD_EVERY)
        end = min(self.seconds, span.last / CHORD_RATE)
        return replace(
            self,
            seconds=end - span.seconds,
            strengths=self.strengths[frames],
            rms=self.rms[frames],
            cepstrum=self.cepstrum[span.first * MOMENTS : span.last * MOMENTS],
            pitch=self.pitch[span.first : span.last],
            salience=self.salience[span.first : span.last],
            taps=self.taps[(self.taps >= span.seconds) & (self.taps <= end)] - span.seconds,
        )


class Tracer:
    """Hears mono sound at `ANALYSIS_RATE` in any portions; `finish` gives the trace of all of it."""

    def __init__(self) -> None:
        self._listener = Listener()
        self._memory = Memory()

    def feed(self, mono: Array) -> None:
        """Listen to (n,) more samples."""
        self._listener.feed(mono)
        if (chapter := self._listener.chapter()) is not None:
            self._memory.add(chapter)

    def finish(self) -> Trace:
        """The trace of everything heard; the tracer is spent."""
        self._memory.add(self._listener.finish())
        return self._memory.trace(self._listener.taps())


def trace_of(spectra: Spectra, taps: NDArray[np.float64]) -> Trace:
    """The trace of a recording whose spectrogram is there as a whole."""
    memory = Memory()
    memory.add(spectra)
    return memory.trace(taps)


class Memory:
    """Takes chapter after chapter and keeps of each what stays."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._loudest = -120.0
        self._turn = 0j
        self._power = np.zeros(BANDS)
        self._powers = 0
        self._edge: Half = np.zeros((0, BANDS), np.float16)
        self._strengths = Rows(len(REGISTERS), np.float16)
        self._rms = Rows(1, np.float16)
        self._described = Rows(2, np.float16)
        self._cepstrum = Rows(CEPSTRUM, np.float16)
        self._levels = Rows(BANDS, np.float16)
        self._pitch = Rows(24, np.float16)
        self._salience = Rows(PITCHES, np.float16)

    def add(self, chapter: Spectra) -> None:
        """Remember what follows; every chapter but the last is a whole number of chords long."""
        self._seconds += chapter.seconds
        self._rms.add(chapter.rms[:, None])
        self._described.add(np.column_stack([chapter.centroid, chapter.flatness]))
        self._add_levels(chapter)
        self._add_pitches(chapter)

    def _add_levels(self, chapter: Spectra) -> None:
        span = sounding(chapter.rms, len(chapter.tonal))
        # Of silence around the music nothing is to be learned, so it does not count among the moments.
        loud = loudest_db(chapter.levels[span.first * CHORD_EVERY : span.last * CHORD_EVERY])
        self._loudest = max(self._loudest, loud)
        joined = np.concatenate([self._edge, chapter.levels])
        self._strengths.add(attacks(joined, self._loudest)[len(self._edge) :])
        self._edge = joined[-LAG:].copy()
        for _, block in portions(chapter.levels[::POWER_EVERY]):
            self._power += (10 ** (block / 10)).sum(axis=0, dtype=np.float64)
            self._powers += len(block)
        cosines = cosine_shapes(BANDS).astype(np.float32) / np.float32(BANDS)
        for _, block in portions(chapter.levels, 1024 * CHORD_EVERY):
            self._cepstrum.add(_means(block @ cosines, MOMENT_EVERY))
            self._levels.add(_means(block, CHORD_EVERY))

    def _add_pitches(self, chapter: Spectra) -> None:
        self._turn += tuning_turn(chapter.tonal)
        tuning = tuning_of(self._turn)
        for _, block in portions(chapter.tonal):
            self._salience.add(pitch_salience(block, tuning)[:, :PITCHES])
            octaves = np.sqrt(block).reshape(len(block), -1, 12, 3).sum(axis=3)
            self._pitch.add(np.hstack([octaves[:, :LOW_OCTAVES].sum(axis=1), octaves.sum(axis=1)]))

    def trace(self, taps: NDArray[np.float64]) -> Trace:
        """All that was remembered; the memory is empty afterwards."""
        centroid, flatness = np.ascontiguousarray(self._described.taken().T)
        return Trace(
            seconds=self._seconds,
            loudest=self._loudest,
            tuning=tuning_of(self._turn),
            power=self._power / max(self._powers, 1),
            strengths=self._strengths.taken(),
            rms=self._rms.taken().ravel(),
            centroid=centroid,
            flatness=flatness,
            cepstrum=self._cepstrum.taken(),
            levels=self._levels.taken(),
            pitch=self._pitch.taken(),
            salience=self._salience.taken(),
            taps=taps,
        )


def cosine_shapes(bands: int) -> NDArray[np.float64]:
    """(bands, CEPSTRUM) the first cosines of the discrete cosine transform."""
    shapes: NDArray[np.float64] = np.cos(np.pi / bands * np.outer(np.arange(bands) + 0.5, np.arange(CEPSTRUM)))
    return shapes


def _means(rows: Array, every: int) -> Array:
    """The mean of every so many rows; what is missing at the end is like the last one."""
    padded = np.pad(rows, ((0, -len(rows) % every), (0, 0)), mode="edge") if len(rows) % every else rows
    means: Array = padded.reshape(-1, every, rows.shape[1]).mean(axis=1)
    return means
