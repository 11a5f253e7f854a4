"""Where beats lie, how they are counted and which begin bars: one decision, because each depends on the others.

A pattern may have its strongest strokes between the beats, a shuffle's triplets look like 6/8, and a bar of four
holds two of two. So every reading (a place of the beats in their pattern, a metre, a first beat) is weighed as a
whole: by the networks of places and of metres, by how well the beats then look like first ones and others to
networks of what sounds on a beat and around it, and by how much the harmony changes where bars begin (Goto, "An
audio-based real-time beat tracking system for music with or without drum-sounds", 2001; Durand et al., "Downbeat
tracking with multiple features and deep neural networks", 2015). The weights of the sum are a conditional logit
(McFadden, 1974) that is fitted in `infra.training.bars`; its shares say how likely a reading is.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.ears.beats import PARTS, folded, moved, places, rotations
from adapters.ears.cutting import places_of_cut
from adapters.ears.lasting import lasting_rotations
from adapters.ears.metre import METRES, Metre, bar_odds, beats_in, metre_of
from adapters.ears.network import WEIGHTS, trained
from adapters.ears.spectrum import FRAME_RATE
from adapters.ears.tempo import Pulse
from adapters.ears.trace import Trace

Array = NDArray[np.float32]
Times = NDArray[np.float64]

#: Places in the beat that one network finds at least so likely are weighed, and always both halves.
PLACE_MIN = 0.03
#: Metres that one network finds at least so likely are weighed.
METRE_MIN = 0.01
#: Bars of three begin in two ways in turn when their bass is so many standard deviations apart and their log odds of
#: beginning a bar so far: none of 47 quick waltzes and every fifth slow piece in six eighths (decision 0136).
BASS_APART, ODDS_APART = 0.5, 0.7
#: In fewer beats than eight bars of six have, bars of three are apart by chance.
SIXES_MIN = 48
#: A network of places knows one from this likelihood on; a stroke of the bass has this share of the strong ones; and
#: clearly more beats have one when they are so many times as many.
KNOWN, STROKE, CLEARLY = 0.6, 0.25, 1.5
#: Metres whose beats are three eighths; the registers of attacks among the signals; and a usual beat.
THREES, REGISTERS, USUAL_SECONDS = (6, 9, 12), 5, 0.5
#: Something is new on a beat that differs from the one before this many times as much as beats usually do, and by this
#: much more (of the logarithm of strengths). So many beats at either end show that a recording begins and ends only.
UNUSUAL, CLEAR_STEP, AT_ENDS = 2.0, 0.05, 6
#: How far around a beat, its quarters and its half something is struck there, in beats.
REACHES = (0.12, 0.1, 0.2, 0.1)
#: What is added to how much is new at each of the first beats that are weighed.
LITTLE_NEW = 0.1
#: Chances below this count as this.
SLIGHT = 1e-3


class Reading(NamedTuple):
    """One way to count a row of beats."""

    #: How far the beats are from where they were followed, in PARTS of a beat.
    place: int
    #: Which of the METRES, and which of the first beats of the row begins a bar.
    metre: int
    first: int
    #: What speaks for it, in the order of `EVIDENCE`.
    evidence: tuple[float, ...]


#: What the weights belong to.
EVIDENCE = (
    "place, songs", "place, grooves", "as followed", "half a beat later", "metre, songs", "metre, grooves", "of two",
    "of three", "of five", "of six", "of nine", "of twelve", "all beats", "first beats", "harmony",
    "threes, even", "threes, slow", "place, lasting", "cut at bars", "something new",
)  # fmt: skip
#: The place of the last of these, which is weighed for first beats alone, and of what a cut says.
NEWS = len(EVIDENCE) - 1
AT_CUT = NEWS - 1


class Count(NamedTuple):
    """The likeliest reading, and how likely it, its metre, and its first beats whatever they are called, are."""

    #: Frames of the beats, and the logarithm of the odds that each begins a bar.
    beats: Times
    odds: Array
    metre: Metre
    first: int
    likely: float
    metre_likely: float


@cache
def weights() -> tuple[float, ...]:
    """The fitted weights, in the order of `EVIDENCE`."""
    return msgspec.json.decode((WEIGHTS / "count.json").read_bytes(), type=tuple[float, ...])


def count(
    heard: Pulse, trace: Trace, beats: Times, chances: tuple[Array, Array], between_cuts: int | None = None
) -> Count | None:
    """The likeliest reading of a row of beats (in frames), by two networks' chances of each metre; None of too few.

    `between_cuts` is how many beats long the recording is where it was cut at beats, None elsewhere.
    """
    found, rows = readings(heard, trace, beats, chances, between_cuts)
    if not found:
        return None
    weighed = np.array([one.evidence for one in found]) * np.array(weights())
    # What is new says only which beat is the first. A cut says this and where beats lie, but not how many make a bar:
    # whole bars of four are whole bars of two.
    by_place, by_metre, by_first = (_shares(weighed[:, :upto].sum(axis=1)) for upto in (NEWS, AT_CUT, len(EVIDENCE)))
    # First where the beats lie, then how many make a bar, then which is the first: each over all that is left open.
    left = _at_place(heard, found, rows, by_place)
    metres = np.array([one.metre for one in found])
    left = left[metres[left] == np.argmax(np.bincount(metres[left], by_metre[left]))]
    chosen = int(left[np.argmax(by_first[left])])
    best = found[chosen]
    row, odds = rows[best.place]
    metre, metre_likely = metre_of(best.metre, *chances), float(by_metre[metres == best.metre].sum())
    return Count(row, odds, metre, best.first, float(by_first[chosen]), metre_likely)


def _shares(scores: Times) -> Times:
    """(n,) how likely each of (n,) readings is by the sum of what speaks for it."""
    raised = np.exp(scores - scores.max())
    shares: Times = raised / raised.sum()
    return shares


def _at_place(
    heard: Pulse, found: list[Reading], rows: dict[int, tuple[Times, Array]], shares: Times
) -> NDArray[np.intp]:
    """Which readings have the likeliest place.

    Where neither network of places knows, nor a cut says it, the place at which clearly more beats have a stroke of
    the bass.
    """
    place = np.array([one.place for one in found])
    best = int(np.argmax(np.bincount(place, shares)))
    known = float(np.exp(max(max(one.evidence[:2]) for one in found))) >= KNOWN
    if not known and not any(one.evidence[AT_CUT] for one in found if one.place == best):
        bass = heard.signals[:, 0]
        level = STROKE * float(np.percentile(bass, 95))
        near = np.arange(-2, 3)
        stroked: dict[int, float] = {}
        for one, (beats, _) in rows.items():
            at = np.clip(np.rint(beats).astype(np.intp)[:, None] + near, 0, len(bass) - 1)
            stroked[one] = float((bass[at].max(axis=1) > level).mean())
        most = max(stroked, key=lambda one: stroked[one])
        best = most if stroked[most] > CLEARLY * stroked[best] else best
    return np.flatnonzero(place == best)


def readings(
    heard: Pulse, trace: Trace, beats: Times, chances: tuple[Array, Array], between_cuts: int | None = None
) -> tuple[list[Reading], dict[int, tuple[Times, Array]]]:
    """Every reading worth weighing, and for each place the moved beats with their odds; none of fewer than four."""
    if len(beats) < 4:
        return [], {}
    pattern = folded(heard.signals, beats)
    attacks = rotations(pattern)
    songs, grooves = (places(trained(name), attacks) for name in ("phase", "phase_wide"))
    lasting = places(trained("phase_lasting"), lasting_rotations(pattern, trace, beats))
    profile = pattern[:, :REGISTERS].sum(axis=1)
    slow = float(np.log2(np.median(np.diff(beats)) / FRAME_RATE / USUAL_SECONDS))
    counted = _counted(chances)
    at_cut = places_of_cut(beats) if between_cuts else set()
    found: list[Reading] = []
    rows: dict[int, tuple[Times, Array]] = {}
    for place in _weighed(songs, grooves, at_cut):
        row = moved(beats, place, len(heard.signals))
        if len(row) < 4:
            continue
        odds, changes = bar_odds(heard, trace, row)
        rows[place] = (row, odds.mean(axis=1))
        new, lasts = news(heard.signals, row), _log(lasting[place])
        begun = round(float(row[0]) / float(np.median(np.diff(row))))
        known = _log(songs[place]), _log(grooves[place]), float(place == 0), float(place == PARTS // 2)
        for index in counted:
            kinds = (float(METRES[index] == number) for number in (2, 3, 5, 6, 9, 12))
            in_threes = float(METRES[index] in THREES)
            named = (_log(chances[0][index]), _log(chances[1][index]), *kinds)
            feel = in_threes * _even(profile, place), in_threes * slow
            length = beats_in(METRES[index])
            for first in range(length if len(row) >= 2 * length else 0):
                bars = _bars(odds, changes[min(length, 4)], first, length)
                cut = place in at_cut and (between_cuts or 0) % length == 0
                begins = float(cut and (first + begun) % length == 0)
                evidence = (*known, *named, *bars, *feel, lasts, begins, _share_of_news(new, first, length))
                found.append(Reading(place, index, first, evidence))
    return found, rows


def _counted(chances: tuple[Array, Array]) -> list[int]:
    """Which of the METRES are weighed: what in threes looks like six may be the triplets of four, and of twelve."""
    likely = {number for index, number in enumerate(METRES) if max(c[index] for c in chances) >= METRE_MIN}
    likely |= {4, 6, 12} if likely & {6, 12} else set()
    return [index for index, number in enumerate(METRES) if number != 7 and number in likely]


def _even(profile: Array, place: int) -> float:
    """The logarithm of how strong the second third of a beat is beside the last, which alone a shuffle has."""
    second, last = (
        float(profile[[(place + part) % (2 * PARTS), (place + part + PARTS) % (2 * PARTS)]].sum())
        for part in (PARTS // 3, 2 * PARTS // 3)
    )
    return float(np.log((second + 0.1) / (last + 0.1)))


def _weighed(songs: Array, grooves: Array, at_cut: set[int]) -> list[int]:
    """The places that are weighed."""
    likely = np.maximum(songs, grooves) >= PLACE_MIN
    return [place for place in range(PARTS) if likely[place] or place in {0, PARTS // 2} | at_cut]


def _bars(odds: Array, changes: Array, first: int, length: int) -> tuple[float, ...]:
    """What speaks for first beats at every `length` from `first` on.

    The mean logarithm of the likelihood of all beats to the one network, the mean odds of the first ones to the other;
    and how much more the harmony changes there than elsewhere, in standard deviations.
    """
    begins = slice(first, None, length)
    by_beats, by_bars = odds.T
    all_beats = float((by_beats[begins].sum() - np.logaddexp(0.0, by_beats).sum()) / len(by_beats))
    change = float((changes[begins].mean() - changes.mean()) / (changes.std() + 0.02))
    return all_beats, float(by_bars[begins].mean()), change


def news(signals: NDArray[np.floating], beats: Times) -> Times:
    """(beats,) how much more than usual what is struck on each beat (in frames) differs from the one before.

    Where all bars are alike, players who enter and leave every four or eight bars are all that says where they begin.
    """
    length = np.diff(beats, append=2 * beats[-1] - beats[-2])
    struck = np.empty((len(beats), 4, signals.shape[1]), np.float32)
    for quarter, reach in enumerate(REACHES):
        middles = beats + quarter / 4 * length
        near = [np.rint(middles + part * reach * length).astype(np.intp) for part in (-1.0, -0.5, 0.0, 0.5, 1.0)]
        peaks = np.maximum.reduce([signals[np.clip(at, 0, len(signals) - 1)] for at in near])
        struck[:, quarter] = np.log1p(peaks, dtype=np.float32)
    step: Times = np.zeros(len(beats))
    step[1:] = np.abs(np.diff(struck, axis=0)).mean(axis=(1, 2), dtype=np.float64)
    new: Times = np.maximum(step - UNUSUAL * float(np.median(step[1:])) - CLEAR_STEP, 0.0)
    new[:AT_ENDS] = new[max(0, len(new) - AT_ENDS) :] = 0.0
    return new


def _share_of_news(new: Times, first: int, length: int) -> float:
    """The logarithm of how much of what is new comes at every `length` beats from `first`, beside a fair share."""
    here, total = float(new[first::length].sum()), float(new.sum())
    return float(np.log((here + LITTLE_NEW) * length / (total + length * LITTLE_NEW)))


def eighths_of_six(heard: Pulse, trace: Trace, beats: Times) -> bool:
    """Whether beats in three (in frames) are the eighths of a slower beat: every second bar begins another way.

    A bass drum on the first and a snare drum on the fourth eighth are one bar of six; a waltz has bars alike.
    """
    if len(beats) < SIXES_MIN:
        return False
    odds = bar_odds(heard, trace, beats)[0].mean(axis=1)
    sixths = np.array([odds[place::6].mean() for place in range(6)])
    best = int(np.argmax(sixths))
    other = (best + 3) % 6
    low = np.log1p(heard.signals[np.rint(beats).astype(np.intp), 0].astype(np.float32))
    bass = abs(float(low[best::6].mean() - low[other::6].mean())) / (float(low.std()) + 0.05)
    return bass >= BASS_APART and float(sixths[best] - sixths[other]) >= ODDS_APART


def _log(chance: float) -> float:
    return float(np.log(max(chance, SLIGHT)))
