"""How the beats are counted: the number in the time signature, and which beats begin a bar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.ears.beats import BEATS_AT_ONCE
from adapters.ears.network import chances, trained
from adapters.ears.spectrum import CHORD_RATE, FRAME_RATE
from adapters.ears.tempo import RATIOS, REPETITIONS, Pulse, features
from adapters.ears.trace import Trace

Array = NDArray[np.float32]
Times = NDArray[np.float64]

#: The upper numbers of time signatures that are told apart, in the order of the network's outputs.
METRES = (2, 3, 4, 5, 6, 7, 9, 12)
#: The material holds more marches and polkas than the world does: a bar of two is likelier half a bar of four.
PRIOR = np.log(np.array([0.35, 1, 1, 1, 1, 1, 1, 1], np.float32))
#: How sure the network of many grooves must be of a metre to overrule the other.
OVERRULED = 0.6
#: Beats before and after a beat that the network hears when it weighs whether the beat begins a bar.
AROUND = 4
#: Changes around a beat that the network of bars hears: the width in beats, and whether of all pitches (0) or the bass.
CHANGES = ((2, 0), (2, 1), (3, 0), (4, 0), (4, 1))
#: Widths in beats of the changes that are heard in what stands out, too, and of the chords whose root a bass may be.
CLEAR, ROOTED = (1, 2, 4, 8), (2, 4)
#: Semitones from C1 on that are the bass there.
BASS = 24
#: The same of what is struck, in all registers, on beats and between them: instruments enter and leave with bars.
ENTRIES = (4, 8)
#: Measures that the network of first beats knows: the rest is the network of bars' alone.
PLAIN = 16
#: All that is measured of a beat.
MEASURES = PLAIN + len(CHANGES) + 2 * len(CLEAR) + len(ROOTED) + len(ENTRIES)
#: What losing count costs, in the logarithm of a likelihood: less than once in a hundred beats.
RECOUNT_COST = 6.0
#: By how much, in the same, bars that were chosen fit better in all than the next best at the least.
HAIR = 0.1


class Metre(NamedTuple):
    """How bars are written and counted."""

    #: The upper and the lower number of the time signature.
    numerator: int
    unit: int
    #: 0 .. 1, how likely either network finds the upper number.
    by_songs: float
    by_grooves: float

    @property
    def beats(self) -> float:
        """Beats of the tempo in a bar: 2 in 6/8, where a beat is three eighths, and 3.5 in 7/8."""
        return 3.5 if self.numerator == 7 else beats_in(self.numerator)


def beats_in(numerator: int) -> int:
    """Beats of the tempo in a bar of any of the `METRES` but seven."""
    return {6: 2, 9: 3, 12: 4}.get(numerator, numerator)


def hear_metre(heard: Pulse, period: float) -> Metre:
    """The likeliest metre when beats are `period` seconds apart."""
    songs, grooves = metre_chances(heard, period)
    # The network of many grooves overrules the one of songs and scores where it is sure enough.
    return metre_of(int(np.argmax(grooves if float(grooves.max()) >= OVERRULED else songs)), songs, grooves)


def metre_of(index: int, songs: Array, grooves: Array) -> Metre:
    """One of the `METRES`, with what both networks think of it."""
    numerator = METRES[index]
    return Metre(numerator, 8 if numerator in {6, 7, 9, 12} else 4, float(songs[index]), float(grooves[index]))


def metre_chances(heard: Pulse, period: float) -> tuple[Array, Array]:
    """How likely each of the `METRES` is when beats are `period` seconds apart, to the one and to the other network."""
    measured = metre_features(heard, period)[None]
    songs, grooves = (chances(trained(name)(measured)[0] + PRIOR) for name in ("metre", "metre_wide"))
    return songs, grooves


def metre_features(heard: Pulse, period: float) -> Array:
    """(features,) what repeats, and how strongly beside the rest, at multiples and parts of the beat."""
    measured = features(heard, np.array([period], np.float32))[0]
    # Only where repetition is strong and where weak counts: a machine repeats everything, players nothing exactly.
    repeated = measured[: REPETITIONS * len(RATIOS)].reshape(REPETITIONS, len(RATIOS))
    shape = (repeated - repeated.mean(axis=1, keepdims=True)) / (repeated.std(axis=1, keepdims=True) + 0.02)
    gathered: Array = np.concatenate([shape.ravel(), measured[repeated.size :]]).astype(np.float32)
    return gathered


def beat_features(heard: Pulse, trace: Trace, beats: Times, *, plain: bool = False) -> Array:
    """(beats, features) what sounds on each beat and on its neighbours, for beats given in frames.

    `plain` is what the network of first beats knows, without what changes over several beats.
    """
    measured = _sounding_on(heard, trace, beats)[0]
    return _with_neighbours(measured[:, :PLAIN] if plain else measured, 0, len(beats))


def _sounding_on(heard: Pulse, trace: Trace, beats: Times) -> tuple[Array, dict[int, Array]]:
    """What sounds on each beat, set against the recording's mean, and how much changes there.

    (beats, measures), with `AROUND` rows of nothing before and after; and by width (beats,) of all pitches.
    """
    signals = heard.signals
    last = len(signals) - 1
    following = np.append(beats[1:], beats[-1] + (beats[-1] - beats[-2]))

    def strongest(at: Times, width: Times) -> Array:
        shifts = (-1.0, -0.5, 0.0, 0.5, 1.0)
        peaks: Array = np.maximum.reduce(
            [signals[np.clip(np.rint(at + shift * width), 0, last).astype(np.intp)] for shift in shifts]
        )
        return peaks.astype(np.float32)

    length = following - beats
    on = strongest(beats, 0.12 * length)
    between = strongest(beats + 0.5 * length, 0.2 * length)
    pitch = _pitch_between(trace.pitch, beats, following)
    low, all_pitches = pitch[:, :12], pitch[:, 12:]
    changes = {
        width: np.column_stack([changes_around(all_pitches, width), changes_around(low, width)]) for width in (2, 3, 4)
    }
    clear = _pitch_between(trace.salience, beats, following)
    bass, notes = clear[:, :12], clear[:, 12:]
    struck = np.log1p(np.column_stack([on, between]))
    standard = (struck - struck.mean(axis=0)) / (struck.std(axis=0) + 0.1)

    def measures() -> Iterator[NDArray[np.floating]]:
        yield from struck.T
        yield _novelty(all_pitches, 1)
        yield _novelty(low, 1)
        yield _novelty(all_pitches, 2)
        yield pitch[:, :12].sum(axis=1) / (pitch.sum(axis=1) + 1e-6)
        yield from (changes[width][:, column] for width, column in CHANGES)
        yield from (changes_around(notes, width) for width in CLEAR)
        yield from (changes_around(bass, width) for width in CLEAR)
        yield from (rooted(bass, notes, width) for width in ROOTED)
        yield from (entries_around(standard, width) for width in ENTRIES)

    # One after the other, because a recording may have many thousands of beats.
    padded = np.zeros((len(beats) + 2 * AROUND, MEASURES), np.float32)
    for column, measure in enumerate(measures()):
        centred = measure - measure.mean(dtype=np.float64)
        padded[AROUND:-AROUND, column] = centred / (centred.std() + 0.05)
    return padded, {width: change[:, 0] for width, change in changes.items()}


def _heaps(rows: Array, width: int) -> Iterator[tuple[int, NDArray[np.intp], Times]]:
    """Portions of (beats, n) rows: the first beat, the places of its beats in the heap, and their cumulated rows.

    A heap begins and ends `width` beats around its portion.
    """
    count = len(rows)
    for begin in range(0, count, BEATS_AT_ONCE):
        end = min(begin + BEATS_AT_ONCE, count)
        low, high = max(0, begin - width), min(count, end + width)
        heap = np.zeros((high - low + 1, rows.shape[1]))
        np.cumsum(rows[low:high], axis=0, dtype=np.float64, out=heap[1:])
        yield begin, np.arange(begin - low, end - low), heap


def entries_around(struck: Array, width: int) -> Times:
    """(beats,) how far (beats, n) strengths of `width` beats from each on are from those before; 0 at the ends."""
    count = len(struck)
    distance: Times = np.empty(count)
    for begin, at, heap in _heaps(struck, width):
        first, last = np.maximum(at - width, 0), np.minimum(at + width, len(heap) - 1)
        before = (heap[at] - heap[first]) / np.maximum(at - first, 1)[:, None]
        after = (heap[last] - heap[at]) / np.maximum(last - at, 1)[:, None]
        distance[begin : begin + len(at)] = np.linalg.norm(after - before, axis=1)
    distance[:width] = distance[max(0, count - width + 1) :] = 0.0
    return distance


def _with_neighbours(padded: Array, first: int, last: int) -> Array:
    """(beats, features) the measures of the beats from the first to before the last, and of those around each."""
    shifted = [padded[first + shift : last + shift] for shift in range(2 * AROUND + 1)]
    return np.concatenate(shifted, axis=1).astype(np.float32)


def changes_around(pitch: Array, width: int) -> Array:
    """(beats,) how much the pitch classes of `width` beats from each on differ from those before; 0 at the ends."""
    count = len(pitch)
    change: Times = np.empty(count)
    for begin, at, heap in _heaps(pitch, width):
        before = heap[at] - heap[np.maximum(at - width, 0)]
        after = heap[np.minimum(at + width, len(heap) - 1)] - heap[at]
        lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        change[begin : begin + len(at)] = 1 - (before * after).sum(axis=1) / (lengths + 1e-9)
    near = max(1, width // 2)
    change[:near] = change[count - near + 1 :] = 0.0
    rounded: Array = change.astype(np.float32)
    return rounded


def _pitch_between(pitch: NDArray[np.float16], starts: Times, stops: Times) -> Array:
    """(beats, 24) mean pitch classes of the bass and of everything while each beat lasts.

    Of (chords, 24) such strengths, or of (chords, semitones) from C1 on, of which the lowest `BASS` are the bass.
    """
    means = np.zeros((len(starts), 24), np.float32)
    chords = len(pitch)
    if not chords:
        return means
    scale = CHORD_RATE / FRAME_RATE
    for first in range(0, len(starts), BEATS_AT_ONCE):
        some = slice(first, first + BEATS_AT_ONCE)
        # Chord i lasts from i - 1/2 to i + 1/2.
        begin, end = (np.clip(times[some] * scale + 0.5, 0, chords) for times in (starts, stops))
        low, high = int(begin.min()), min(chords, int(end.max()) + 1)
        rows = pitch[low:high].astype(np.float64)
        if rows.shape[1] != 24:
            rows = np.hstack(
                [rows[:, :BASS].reshape(len(rows), -1, 12).sum(axis=1), rows.reshape(len(rows), -1, 12).sum(axis=1)]
            )
        heap = np.zeros((high - low + 1, 24))
        np.cumsum(rows, axis=0, out=heap[1:])
        total = _until(heap, end - low) - _until(heap, begin - low)
        means[some] = total / np.maximum((stops[some] - starts[some]) * scale, 1e-3)[:, None]
    return means


def rooted(bass: Array, notes: Array, width: int) -> Times:
    """(beats,) which part of the bass of each beat is the root of the triad that `width` beats from it on are."""
    part: Times = np.empty(len(notes))
    for begin, at, heap in _heaps(notes + bass, width):
        root = np.argmax((heap[np.minimum(at + width, len(heap) - 1)] - heap[at]) @ TRIADS.T, axis=1) % 12
        some = bass[begin : begin + len(at)]
        part[begin : begin + len(at)] = some[np.arange(len(at)), root] / (some.sum(axis=1, dtype=np.float64) + 1e-6)
    return part


def _triads() -> Times:
    """(24, 12) pitch classes of the major and the minor triads, of unit length."""
    rows = np.zeros((24, 12))
    for root in range(12):
        for row, third in ((root, 4), (root + 12, 3)):
            rows[row, [root, (root + third) % 12, (root + 7) % 12]] = 1.2, 1.0, 1.0
    unit: Times = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


TRIADS = _triads()


def _until(heap: Times, at: Times) -> Times:
    """(n, width) the cumulated rows up to fractional places."""
    whole = np.minimum(at.astype(np.intp), len(heap) - 2)
    cumulated: Times = heap[whole] + (at - whole)[:, None] * (heap[whole + 1] - heap[whole])
    return cumulated


def _novelty(pitch: Array, back: int) -> Array:
    """(beats,) how much each beat's pitch classes differ from those `back` beats before, 0 alike .. 1."""
    change = np.zeros(len(pitch), np.float32)
    for begin in range(back, len(pitch), BEATS_AT_ONCE):
        some = pitch[begin - back : begin + BEATS_AT_ONCE]
        unit = some / (np.linalg.norm(some, axis=1, keepdims=True) + 1e-6)
        change[begin : begin + BEATS_AT_ONCE] = 1 - (unit[back:] * unit[:-back]).sum(axis=1)
    return change


def bar_positions(evidence: Array, length: int) -> NDArray[np.intp]:
    """(beats,) place of each beat in its bar of `length` beats, 0 the first, from (beats,) log odds of being it.

    The count goes on from beat to beat; it may start anew where the evidence for that outweighs `RECOUNT_COST`.
    """
    count = len(evidence)
    score = np.zeros((count, length))
    back = np.zeros((count, length), np.intp)
    gain = np.zeros((count, length))
    gain[:, 0] = evidence
    score[0] = gain[0]
    for beat in range(1, count):
        onward = np.roll(score[beat - 1], 1)
        anew = float(score[beat - 1].max()) - RECOUNT_COST
        back[beat] = (np.arange(length) - 1) % length
        jump = anew > onward
        back[beat][jump] = int(np.argmax(score[beat - 1]))
        score[beat] = np.where(jump, anew, onward) + gain[beat]
    positions = np.zeros(count, np.intp)
    positions[-1] = int(np.argmax(score[-1]))
    for beat in range(count - 1, 0, -1):
        positions[beat - 1] = back[beat][positions[beat]]
    return positions


def favoured(evidence: Array, first: int, length: int) -> Array:
    """(beats,) log odds of beginning a bar, so that bars which begin at `first` fit better than any others, by a hair.

    They were chosen for more than these odds; the count still starts anew where these change on the way. It is by sums
    that they fit: where odds are low everywhere, a place with one bar less would seem to fit better.
    """
    sums = [float(evidence[place::length].sum(dtype=np.float64)) for place in range(min(length, len(evidence)))]
    raised = evidence.copy()
    bars = len(raised[first::length])
    raised[first::length] += np.float32((max(sums) - sums[first] + HAIR) / bars)
    return raised


def bar_margin(evidence: Array, places: NDArray[np.intp], length: int) -> float:
    """How much better bars fit that begin where `places` is 0 than at any other place, in log odds for each bar."""
    firsts = [float(evidence[places == place].sum()) for place in range(length)]
    return (firsts[0] - max(firsts[1:], default=0.0)) / max(1, int(np.count_nonzero(places == 0)))


def bar_odds(heard: Pulse, trace: Trace, beats: Times) -> tuple[Array, dict[int, Array]]:
    """What says that each beat (in frames) begins a bar.

    (beats, 2) logarithm of the odds to the network of first beats, and to that which knows wrong places and longer
    changes as well; and by width in beats (beats,) how much all pitches change there.
    """
    sounding, changes = _sounding_on(heard, trace, beats)
    measured = (sounding[:, :PLAIN], sounding)
    odds = np.empty((len(beats), 2), np.float32)
    for column, name in enumerate(("downbeat", "bars")):
        network = trained(name)
        for first in range(0, len(beats), BEATS_AT_ONCE):
            last = min(first + BEATS_AT_ONCE, len(beats))
            scores = network(_with_neighbours(measured[column], first, last))
            odds[first:last, column] = scores[:, 1] - scores[:, 0]
    return odds, changes
