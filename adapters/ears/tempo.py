"""How fast the music goes: which periods the onsets keep, and which of them people would tap to.

Periods are found in the autocorrelation of onset curves in several registers (Percival and Tzanetakis, "Streamlined
tempo estimation based on autocorrelation and cross-correlation with pulses", 2014; Grosche and Müller, "Extracting
predominant local pulse information", 2011). Which of the related periods is the beat is decided by a small network
that was trained on composed music (`infra/training`), because fixed preferences for moderate tempi are what makes
estimators answer half or double (Gouyon et al., "An experimental comparison of audio tempo induction", 2006).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.ears import certainty
from adapters.ears.certainty import log_odds
from adapters.ears.network import chances, trained
from adapters.ears.onsets import CHUNK, salient
from adapters.ears.spectrum import CHORD_RATE, FRAME_RATE, portions
from adapters.ears.tapping import tapped_period
from adapters.ears.trace import Trace

Array = NDArray[np.float32]

#: Beats per minute that are considered, and the step of the grid of periods (half a per cent).
SLOWEST, FASTEST = 34.0, 260.0
GRID: Array = np.exp(np.arange(np.log(60 / FASTEST), np.log(60 / SLOWEST), 0.005)).astype(np.float32)

#: Frames of one look at the rhythm (23.8 s) and between two looks; lags up to half of one are compared.
LOOK = 2048
LOOK_EVERY = 1024
LAGS = 1040
#: Candidates that are weighed at most.
CANDIDATES = 18

#: Multiples of the beat at which repetition is looked up.
RATIOS = (1 / 8, 1 / 6, 1 / 4, 1 / 3, 3 / 8, 1 / 2, 2 / 3, 3 / 4, 1, 4 / 3, 3 / 2, 2, 5 / 2, 3, 7 / 2, 4, 5, 6, 8)
#: Autocorrelations that are looked up: four curves, low against the rest, harmony.
REPETITIONS = 6
#: Multiples of the beat's frequency at which the onset curves are looked up.
HARMONICS = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 1, 3 / 2, 2, 3, 4, 6, 8)
#: The network of many grooves overrules the one of songs and scores when it is at least this sure.
OVERRULED = 0.9
#: And of tempi from this one on, in beats a minute, where it finds half as fast so many times as likely: rhythms of the
#: Caribbean in the nineties were taken for quick rock.
QUICK, HALVED = 150.0, 1.5
#: Where the choice of grooves is so many times as fast as that of songs, both are asked: one counts beats in threes and
#: the other in twos or fours; one taps ballads half as fast; one tells the beats of a quick waltz from its bars.
AT_ODDS = (3 / 2, 2 / 3, 4 / 3, 3 / 4, 1 / 2, 3)
#: No tempo is named where the network of sureness finds it less likely than this that there is a beat.
BEAT_SURE = 0.1
#: How aubio's taps may relate to the beat.
TAPPED = (1 / 3, 1 / 2, 2 / 3, 1, 3 / 2, 2, 3)


class Pulse(NamedTuple):
    """How the onsets of a recording repeat."""

    #: (frames,) onset curve of all registers, of unit mean.
    curve: Array
    #: (frames, 6) attacks in each register and change of harmony; each of unit mean.
    signals: NDArray[np.float16]
    #: (6, LAGS) mean normalised autocorrelation by lag in frames: the four curves, low against the rest, harmony.
    repetition: Array
    #: (4, bins) mean magnitude spectrum of the curves, and its bin width in Hz.
    spectrum: Array
    bin_hertz: float
    #: (looks, LAGS) autocorrelation of all registers in each look, for tempo over time.
    looks: Array
    #: Onsets per second that stand out.
    onset_rate: float
    #: Seconds between the taps of aubio's tracker, None where it tapped too rarely.
    tapped: float | None


class Candidate(NamedTuple):
    """A period in seconds and how likely it is the one people tap."""

    period: float
    probability: float
    #: The mean of how likely both networks find it, before anything else is known.
    by_both: float = 0.0


def pulse(trace: Trace) -> Pulse:
    """The repetition in the attacks of a recording, together with changes of harmony."""
    onsets = _Onsets(trace)
    size = 4096
    starts = range(0, max(1, onsets.frames - LOOK // 2), LOOK_EVERY)
    repetition, looks, spectrum = np.zeros((REPETITIONS, LAGS)), [], np.zeros((4, size // 2 + 1))
    taper = np.hanning(LOOK + 2)[1:-1, None]
    weight_total = 0.0
    for start in starts:
        part = np.zeros((LOOK, 5), np.float32)
        stop = min(start + LOOK, onsets.frames)
        piece, change = onsets.curves(start, stop), onsets.harmony(start, stop)
        length = len(piece)
        part[:length, :4] = piece - piece.mean(axis=0)
        part[:length, 4] = change - change.mean()
        transformed = np.fft.rfft(part, size, axis=0)
        power = transformed.real**2 + transformed.imag**2
        crossed = (transformed[:, 1] * (transformed[:, 2] + transformed[:, 3]).conj()).real
        correlation = np.fft.irfft(np.column_stack([power[:, :4], crossed, power[:, 4]]), axis=0)[:LAGS].T
        correlation /= np.maximum(1 - np.arange(LAGS) / length, 0.15)
        energies = correlation[:, 0].copy()
        energies[4] = np.sqrt(abs(energies[1] * (energies[2] + energies[3]))) + 1e-9
        correlation /= np.maximum(energies, 1e-9)[:, None]
        weight = float(piece[:, 0].sum()) + 1e-6
        weight_total += weight
        repetition += weight * correlation
        looks.append(correlation[0].astype(np.float32))
        shaped = part[:, :4] * (taper if length == LOOK else 1.0)
        magnitude = np.abs(np.fft.rfft(shaped, size, axis=0)).T
        spectrum += weight * magnitude / (np.sqrt((magnitude**2).mean(axis=1, keepdims=True)) + 1e-9)
    total = onsets.total()
    threshold = total.mean() + 0.5 * total.std()
    rising = (total[1:-1] > total[:-2]) & (total[1:-1] >= total[2:]) & (total[1:-1] > threshold)
    return Pulse(
        curve=total,
        signals=onsets.signals(),
        repetition=(repetition / weight_total).astype(np.float32),
        spectrum=(spectrum / weight_total).astype(np.float32),
        bin_hertz=FRAME_RATE / size,
        looks=np.array(looks),
        onset_rate=float(rising.sum() / max(trace.seconds, 0.1)),
        tapped=tapped_period(trace.taps),
    )


class _Onsets:
    """The curves that stand for the onsets of a recording, made anew for the frames that are asked for.

    Of hours of music they would take more room than all that is kept of it.
    """

    def __init__(self, trace: Trace) -> None:
        self._strengths = trace.strengths
        self.frames = len(trace.strengths)
        self._changes = _changes(trace)
        kernel = np.hanning(7)[1:-1]
        self._kernel = kernel / kernel.sum()
        curves, registers, harmony = np.zeros(4), np.zeros(self._strengths.shape[1]), 0.0
        for start, stop in self._portions():
            raw, stands_out = self._raw(start, stop)
            curves += raw.sum(axis=0, dtype=np.float64)
            registers += stands_out.sum(axis=0, dtype=np.float64)
            harmony += float(self.harmony(start, stop).sum(dtype=np.float64))
        means = curves / max(self.frames, 1)
        # The three registers are weighed alike in the sum, or a loud hi-hat would drown the bass drum.
        self._scale = (np.array([0, *[0.1 * means[1:].mean()] * 3]) + means + 1e-9).astype(np.float32)
        registers /= max(self.frames, 1)
        # Those that hardly ever sound count less.
        self._signal_scale = np.append(
            registers + 0.05 * registers.max() + 1e-9, 1.05 * harmony / max(self.frames, 1) + 1e-9
        ).astype(np.float32)

    def curves(self, start: int, stop: int) -> Array:
        """(frames, 4) onset curves: all registers, low, middle, high; over all frames each has a mean of 1."""
        curves: Array = self._raw(start, stop)[0] / self._scale
        return curves

    def total(self) -> Array:
        """(frames,) the first of the curves, of the whole recording."""
        total = np.empty(self.frames, np.float32)
        for start, stop in self._portions():
            total[start:stop] = self.curves(start, stop)[:, 0]
        return total

    def signals(self) -> NDArray[np.float16]:
        """(frames, 6) attacks and changes of harmony, of the whole recording, over all frames each with a mean of 1."""
        signals = np.empty((self.frames, len(self._signal_scale)), np.float16)
        for start, stop in self._portions():
            rows = np.column_stack([self._raw(start, stop)[1], self.harmony(start, stop)]) / self._signal_scale
            signals[start:stop] = np.minimum(rows, np.float32(np.finfo(np.float16).max))
        return signals

    def harmony(self, start: int, stop: int) -> Array:
        """(frames,) how much the harmony changes, spread over the frames between chords."""
        if len(self._changes) < 3:
            return np.zeros(stop - start, np.float32)
        times = np.arange(start, stop) * (CHORD_RATE / FRAME_RATE)
        spread: Array = np.interp(times, np.arange(len(self._changes)), self._changes).astype(np.float32)
        return spread

    def _raw(self, start: int, stop: int) -> tuple[Array, Array]:
        """(frames, 4) sums of registers, smoothed, and (frames, registers) what stands out, from which they are."""
        reach = len(self._kernel) // 2
        first, last = max(0, start - reach), min(self.frames, stop + reach)
        stands_out = salient(self._strengths, start=first, stop=last)
        inside = slice(start - first, stop - first)
        curves = np.empty((stop - start, 4), np.float32)
        for column, registers in enumerate((slice(None), slice(0, 1), slice(1, 3), slice(3, None))):
            smooth = np.convolve(stands_out[:, registers].sum(axis=1), self._kernel)[reach : reach + len(stands_out)]
            curves[:, column] = smooth[inside]
        return curves, stands_out[inside]

    def _portions(self) -> Iterator[tuple[int, int]]:
        for start in range(0, self.frames, CHUNK):
            yield start, min(start + CHUNK, self.frames)


def _changes(trace: Trace) -> Array:
    """(chords,) how much the pitch classes differ between the chord before and the one after, 0 alike .. 1."""
    change = np.zeros(len(trace.pitch), np.float32)
    for start, block in portions(trace.pitch):
        first = max(0, start - 2)
        folded = trace.pitch[first : start + len(block), 12:].astype(np.float32)
        folded /= np.linalg.norm(folded, axis=1, keepdims=True) + 1e-6
        change[first + 1 : start + len(block) - 1] = 1 - (folded[2:] * folded[:-2]).sum(axis=1)
    return change


def at_lags(rows: Array, lags: Array, tolerance: float = 0.012) -> Array:
    """(rows, n) the highest value of each row within `tolerance` of each fractional lag; 0 beyond the end."""
    offsets = np.array([-1, -0.5, 0, 0.5, 1]) * tolerance
    wanted = lags[:, None] * (1 + offsets)
    limit = rows.shape[1] - 2
    index = np.minimum(wanted.astype(np.intp), limit)
    share = np.clip(wanted - index, 0, 1).astype(np.float32)
    values = rows[:, index] * (1 - share) + rows[:, index + 1] * share
    found: Array = np.where(lags <= limit, values.max(axis=2), 0).astype(np.float32)
    return found


def salience(repetition: Array) -> Array:
    """(rows, GRID) how well each period of the grid and its first multiples repeat in (rows, LAGS) autocorrelations."""
    frames = GRID * FRAME_RATE
    total = np.zeros((len(repetition), len(GRID)), np.float32)
    for multiple, weight in ((0.5, 0.4), (1, 1.0), (2, 1.0), (3, 0.6), (4, 1.0)):
        total += weight * at_lags(repetition, (frames * multiple).astype(np.float32), 0.004)
    return total


def candidate_periods(heard: Pulse) -> Array:
    """(n,) periods in seconds worth weighing, best first: peaks of salience, and their simple relatives."""
    rows = salience(heard.repetition[:4])
    overall = rows[0] + 0.5 * rows[1:].mean(axis=0)
    seeds = [] if heard.tapped is None else [float(np.clip(heard.tapped, GRID[0], GRID[-1]))]
    for row, count in ((overall, 6), (rows[0], 4), (rows[1], 2), (rows[2], 2), (rows[3], 2)):
        inner = np.flatnonzero((row[1:-1] > row[:-2]) & (row[1:-1] >= row[2:])) + 1
        seeds += [float(GRID[index]) for index in inner[np.argsort(-row[inner])][:count]]
    family = [seed * factor for seed in seeds for factor in (1, 2, 0.5, 3, 1 / 3, 1.5, 2 / 3, 4, 0.25)]
    family = [refined(heard.repetition[0], period) for period in family if GRID[0] <= period <= GRID[-1]]
    values = np.interp(family, GRID, overall)
    kept: list[float] = []
    for index in np.argsort(-values, kind="stable"):
        period = family[int(index)]
        if all(abs(np.log(period / other)) > 0.03 for other in kept):
            kept.append(period)
        if len(kept) == CANDIDATES:
            break
    return np.array(kept, np.float32)


def refined(repetition: Array, period: float, reach: float = 0.025) -> float:
    """The period near `period` (seconds) whose multiples repeat best, to a tenth of a per cent."""
    trials = period * np.exp(np.arange(-reach, reach + 1e-9, 0.001))
    multiples = [multiple for multiple in (1, 2, 4, 8) if multiple * period * FRAME_RATE < LAGS * 0.95]
    value = sum(np.interp(trials * FRAME_RATE * multiple, np.arange(LAGS), repetition) for multiple in multiples)
    return float(trials[int(np.argmax(value))])


def features(heard: Pulse, periods: Array) -> Array:
    """(candidates, features) what the network knows about each period: repetition, spectrum and speed around it."""
    frames = periods * FRAME_RATE
    ratios = np.array(RATIOS, np.float32)
    lags = (frames[:, None] * ratios).astype(np.float32).ravel()
    repeated = at_lags(heard.repetition, lags).reshape(REPETITIONS, len(periods), len(ratios))
    bins = (np.array(HARMONICS, np.float32) / periods[:, None] / heard.bin_hertz).astype(np.float32).ravel()
    pitched = at_lags(heard.spectrum, bins).reshape(4, len(periods), len(HARMONICS))
    octave = np.log2(60 / periods / 120)
    speed = np.stack(
        [
            octave,
            octave**2,
            *(np.exp(-0.5 * ((octave - centre) / 0.2) ** 2) for centre in np.arange(-1.2, 1.01, 0.2)),
            np.log2(heard.onset_rate * periods + 0.05),
            np.full(len(periods), np.log2(heard.onset_rate + 0.05)),
        ],
        axis=1,
    )
    apart = np.full(len(periods), 9.0) if heard.tapped is None else np.log(heard.tapped / periods)
    agreed = np.exp(-0.5 * ((apart[:, None] - np.log(TAPPED)) / 0.03) ** 2)
    parts = [
        repeated.transpose(1, 0, 2).reshape(len(periods), -1),
        pitched.transpose(1, 0, 2).reshape(len(periods), -1),
        speed,
        agreed,
    ]
    gathered: Array = np.concatenate(parts, axis=1).astype(np.float32)
    return gathered


def sureness_features(heard: Pulse, periods: Array, likely: Array, seconds: float) -> Array:
    """(features,) by what a listener would judge whether there is a beat at all and whether it was understood."""
    order = np.argsort(-likely, kind="stable")
    best = float(periods[order[0]])
    spread = -float((likely * np.log(likely + 1e-9)).sum())
    second = float(likely[order[1]]) if len(order) > 1 else 0.0
    lags = (best * FRAME_RATE * np.array([0.5, 1, 1.5, 2, 3, 4, 6, 8])).astype(np.float32)
    repeated = at_lags(heard.repetition, lags)
    bins = (np.array([0.5, 1, 2, 3, 4]) / best / heard.bin_hertz).astype(np.float32)
    pitched = at_lags(heard.spectrum[:1], bins)[0]
    ground = float(np.median(heard.repetition[0, 20:]))
    apart = 9.0 if heard.tapped is None else np.log(heard.tapped / best)
    agreed = np.exp(-0.5 * ((apart - np.log(np.array(TAPPED))) / 0.03) ** 2)
    gathered: Array = np.concatenate(
        [
            [likely[order[0]], second, spread, np.log2(60 / best / 120), np.log2(heard.onset_rate + 0.05)],
            [np.log2(seconds + 0.1), np.log2(seconds / best + 0.1), ground, float(heard.repetition[0, 20:].max())],
            repeated[:4].ravel(),
            pitched,
            agreed,
        ]
    ).astype(np.float32)
    return gathered


def _halved(periods: Array, usual: Array, wide: Array) -> bool:
    """Whether the one network's choice is quick and the other would rather tap half as fast."""
    first, other = int(np.argmax(usual)), int(np.argmax(wide))
    half = abs(math.log(float(periods[other]) / float(periods[first]) / 2)) < 0.03
    return half and 60 / float(periods[first]) >= QUICK and float(wide[other]) >= HALVED * float(wide[first])


def _at_odds(periods: Array, usual: Array, wide: Array) -> bool:
    """Whether the tempi that the two choose are in a ratio of `AT_ODDS`."""
    faster = math.log(float(periods[int(np.argmax(usual))]) / float(periods[int(np.argmax(wide))]))
    return min(abs(faster - math.log(ratio)) for ratio in AT_ODDS) < 0.03


def _weighed(periods: Array, usual: Array, wide: Array) -> Array:
    """How likely each period is tapped by the network that is trusted here, or by both where they are at odds."""
    if float(wide.max()) >= OVERRULED or _halved(periods, usual, wide):
        return wide
    both: Array = (usual + wide) / np.float32(2)
    return both if _at_odds(periods, usual, wide) else usual


def hear_tempo(heard: Pulse, periods: Array, seconds: float) -> list[Candidate]:
    """The periods and how likely each is tapped, likeliest first; none where there hardly is a beat."""
    measured = features(heard, periods)
    usual, wide = (chances(trained(name)(measured)[:, 0]) for name in ("tempo", "tempo_wide"))
    likely = _weighed(periods, usual, wide)
    order = np.argsort(-likely, kind="stable")
    network = float(chances(trained("sureness")(sureness_features(heard, periods, likely, seconds)[None])[0])[1])
    if network < BEAT_SURE:
        return []
    # What both networks think of the chosen period: where they differ, one of them must be wrong.
    chosen = order[0]
    sure = certainty.earned("tempo", log_odds(network), log_odds(float(usual[chosen])), log_odds(float(wide[chosen])))
    # What the best one lacks goes to the others, but they cannot be likelier than the chance that there is a beat.
    rest = float(likely[order[1:]].sum())
    left = min(rest, 1 - sure)
    # And none is likelier than the chosen one, or it would have been chosen.
    shares = [sure, *(min(sure, float(likely[index]) / max(rest, 1e-9) * left) for index in order[1:])]
    both = (usual + wide) / 2
    return [
        Candidate(float(periods[index]), share, float(both[index])) for index, share in zip(order, shares, strict=True)
    ]
