"""Everything rhythm in one hearing: onsets, tempo, beats, metre and bars of a recording."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from adapters.ears import certainty
from adapters.ears.beats import follow, frame_periods, in_phase, local_periods, sharpened
from adapters.ears.certainty import log_odds
from adapters.ears.counting import count, eighths_of_six
from adapters.ears.cutting import beats_between_cuts
from adapters.ears.grid import Grid, beats_of, fit_grid, from_begin, together, usual_place
from adapters.ears.metre import Metre, bar_margin, bar_positions, favoured, hear_metre, metre_chances
from adapters.ears.onsets import onset_curve, onset_frames
from adapters.ears.silence import audible, sounding
from adapters.ears.spectrum import FRAME_RATE
from adapters.ears.tempo import Candidate, Pulse, candidate_periods, hear_tempo, pulse
from adapters.ears.trace import Trace

Array = NDArray[np.float32]
Times = NDArray[np.float64]

#: Local tempi that spread over more than this are reported as variable.
VARIABLE = 0.04
#: Onsets weaker than this share of the strongest are no strokes, nor are those a far stronger one just before hides.
GHOST = 0.1
HIDDEN = 0.35
HIDDEN_SECONDS = 0.15
#: A lone pulse has at least so many strokes, and so large a share of them within 6 % of its period.
STROKES_MIN = 6
EVEN = 0.9
#: Lone strokes slower than this may be every other beat, as a snare drum's; quicker ones are the beat.
LONE_SECONDS_MAX = 1.05
#: Lone strokes that vary by less than this share of their strength, in all registers and in harmony, show no bars; then
#: all that speaks for a metre is that most music is counted in four.
ALIKE = 0.2
ALIKE_METRE_SURE = 0.5
#: Beats of three that come so quickly may be eighths where both networks of tempi together find three of them so likely
#: one beat; candidates this near in the logarithm are one.
EIGHTHS_SECONDS_MAX, EIGHTHS_SURE, SLOW_MIN = 0.6, 0.85, 0.05
SAME = 0.03
#: Beats were followed well where there are so many, onsets under them are so many times as strong as the mean moment,
#: the mean beat is so near to the median one in the logarithm, and so near to the tempo by which they were followed.
FOLLOWED_MIN, STRUCK, EVENLY, ASTRAY = 6, 3.5, 0.02, 0.1
#: How strictly beats keep a tempo that is known.
STRICTLY = 60.0
#: Log odds a bar by which first beats must fit better to be clear.
MARGIN_HALF = 2.0


class Rhythm(Struct, frozen=True):
    """What can be said about the rhythm of a recording; None and empty where nothing honest can."""

    #: Beats per minute as people would tap them (dotted quarters in compound time), None without a beat.
    bpm: float | None
    #: 0 .. 1: how likely `bpm` is within 4 % of what people would say.
    bpm_confidence: float
    #: The standard error of `bpm` where one grid holds, elsewhere the standard deviation of local tempi.
    bpm_stdev: float | None
    #: Whether all beats lie on one even grid.
    on_grid: bool
    #: (bpm, likelihood) of this and other readings, likeliest first.
    candidates: tuple[tuple[float, float], ...]
    #: Whether the tempo changes or wanders by more than 4 %; None without a beat.
    tempo_varies: bool | None
    #: 0 .. 1: how steady the local tempo is (1 is a machine); None without a beat.
    stability: float | None
    #: Seconds of beats, of the first beats of bars, and of all clear onsets.
    beats: Times
    downbeats: Times
    onsets: Times
    #: The numbers of the time signature: (6, 8) for 6/8. None without a beat.
    beats_per_bar: int | None
    beat_unit: int | None
    #: 0 .. 1: how likely `beats_per_bar` is right.
    metre_confidence: float
    #: 0 .. 1: how likely the bars begin where `downbeats` says.
    downbeat_confidence: float


def hear_rhythm(trace: Trace) -> Rhythm:
    """Listen to the rhythm in what stayed of a recording; never raises, whatever the sound."""
    span = sounding(trace.rms, len(trace.pitch))
    inside = trace.within(span)
    rhythm = _heard_in(inside, whole=inside is trace)
    beats, downbeats = audible(rhythm.beats, inside.rms), audible(rhythm.downbeats, inside.rms)
    later = span.seconds
    return replace(rhythm, beats=beats + later, downbeats=downbeats + later, onsets=rhythm.onsets + later)


def _heard_in(trace: Trace, *, whole: bool) -> Rhythm:
    """The rhythm of a trace, which is `whole` where no silence around the music was left out."""
    onsets = _clear_onsets(trace.strengths)
    if len(onsets) < 4:
        return _unmeasured(onsets)
    heard = pulse(trace)
    lone = lone_strokes(heard)
    periods = _audible_periods(candidate_periods(heard), lone)
    tempo = hear_tempo(heard, periods, trace.seconds) if len(periods) else []
    if not tempo:
        return _unmeasured(onsets)
    row = row_at(heard, tempo[0].period)
    counted = _counted(heard, trace, row, whole=whole)
    quick = counted.metre.numerator == 3 and row.period <= EIGHTHS_SECONDS_MAX
    if quick and _may_be_slower(tempo) and eighths_of_six(heard, trace, row.beats):
        tempo = _slowed(tempo)
        row = row_at(heard, tempo[0].period)
        counted = _counted(heard, trace, row, whole=whole)
    if counted.metre.numerator == 7:
        counted = _in_seven(heard, row, counted)
    period, spread, steady = row.period, row.spread, row.grid
    beats, downbeats, metre = counted.beats, counted.downbeats, counted.metre
    metre_sure = _metre_sureness(counted, tempo[0].probability, lone)
    local = _local_tempi(beats)
    if steady is not None:
        spread = 0.0
    elif len(local):
        spread = max(spread, float(np.percentile(local, 90) / np.percentile(local, 10)) - 1)
    first = (60 / period, tempo[0].probability)
    return Rhythm(
        bpm=60 / period,
        bpm_confidence=tempo[0].probability,
        bpm_stdev=60 / period**2 * steady.spread if steady else (float(local.std()) if len(local) else None),
        on_grid=steady is not None,
        candidates=(first, *((60 / one.period, one.probability) for one in tempo[1:6])),
        tempo_varies=spread > VARIABLE,
        stability=float(np.clip(1 - spread / 0.2, 0, 1)),
        beats=beats,
        downbeats=downbeats,
        onsets=onsets / FRAME_RATE,
        beats_per_bar=metre.numerator,
        beat_unit=metre.unit,
        metre_confidence=metre_sure,
        downbeat_confidence=_bars_sureness(counted, metre_sure, tempo[0].probability),
    )


class Counted(NamedTuple):
    """Seconds of the beats and of the first beats of bars, and how bars are counted."""

    beats: Times
    downbeats: Times
    metre: Metre
    #: By how much these first beats fit better than any others, and how likely reading and metre are among all.
    margin: float = 0.0
    likely: float = 0.5
    metre_likely: float = 0.5
    #: Whether the recording is whole beats long, which has then been weighed as well.
    cut: bool = False


class Row(NamedTuple):
    """Beats that keep the tempo, though they may all lie between those that people tap."""

    #: Frames of the beats, seconds from one to the next, and the same in each look.
    beats: Times
    period: float
    locally: Array
    #: How far the local periods spread, and the grid that the beats lie on, None where they are followed one by one.
    spread: float
    grid: Grid | None


def row_at(heard: Pulse, period: float) -> Row:
    """The beats that are about so many seconds apart."""
    locally = local_periods(heard.looks, period)
    spread = float(np.percentile(locally, 90) / np.percentile(locally, 10)) - 1
    # What is at another tempo has no phase at this one that could stray: a change is seen by the lags.
    grid = fit_grid(heard.curve, period) if spread <= VARIABLE else None
    followed = follow(heard.curve, frame_periods(locally, len(heard.curve))).astype(np.float64)
    if grid is None or not grid.holds:
        tempo = _as_followed(heard.curve, followed, period)
        # Loosely first, for the tempo may be another one, then as strictly as players keep it.
        again = follow(heard.curve, frame_periods(locally * np.float32(tempo / period), len(heard.curve)), STRICTLY)
        return Row(again.astype(np.float64), tempo, locally, spread, None)
    anchor = usual_place(grid, followed) if len(followed) else grid.first * FRAME_RATE
    return Row(beats_of(grid, heard.curve, anchor), grid.period, locally, spread, grid)


def _as_followed(curve: Array, beats: Times, period: float) -> float:
    """Seconds from one to the next of beats (in frames) that were followed well, else the period they were followed by.

    Of players who wander the lags find some tempo that they played now and then, not that of most of the beats.
    """
    if len(beats) < FOLLOWED_MIN:
        return period
    apart = np.diff(beats) / FRAME_RATE
    mean, median = float(apart.mean()), float(np.median(apart))
    well = float(curve[beats.astype(np.intp)].mean()) >= STRUCK
    near = abs(math.log(mean / period)) <= ASTRAY and abs(math.log(mean / median)) <= EVENLY
    return mean if well and near else period


def _may_be_slower(tempo: list[Candidate]) -> bool:
    """Whether three beats of the first are likely enough one, and likelier than two, as eighths of a waltz would be."""
    two, three = (
        max((one.by_both for one in tempo if abs(math.log(one.period / tempo[0].period / beats)) < SAME), default=0.0)
        for beats in (2, 3)
    )
    return three >= max(SLOW_MIN, two)


def _slowed(tempo: list[Candidate]) -> list[Candidate]:
    """The candidates when three beats of the first are one."""
    first = tempo[0]
    slow = Candidate(3 * first.period, first.probability * EIGHTHS_SURE)
    others = [one for one in tempo[1:] if abs(math.log(one.period / slow.period)) > SAME]
    quick = Candidate(first.period, first.probability * (1 - EIGHTHS_SURE))
    ordered = sorted([quick, *others], key=lambda one: -one.probability)
    return [slow, *(one._replace(probability=min(one.probability, slow.probability)) for one in ordered)]


def _counted(heard: Pulse, trace: Trace, row: Row, *, whole: bool) -> Counted:
    """The beats of a row where people tap them, counted in bars."""
    period, grid = row.period, row.grid
    metre, chances = hear_metre(heard, period), metre_chances(heard, period)
    cut = beats_between_cuts(trace.seconds, grid.period) if whole and grid is not None else None
    reading = None if metre.numerator == 7 else count(heard, trace, row.beats, chances, cut)
    if reading is None:
        beats = in_phase(heard.signals, row.beats)
        return Counted(_seconds(heard.curve, beats, grid), np.zeros(0), metre, metre_likely=metre.by_grooves)
    beats, odds, length = reading.beats, reading.odds, round(reading.metre.beats)
    places = bar_positions(favoured(odds, reading.first, length), length)
    margin = bar_margin(odds, places, length)
    seconds = _seconds(heard.curve, beats, grid)
    inside = (seconds > -0.5 / FRAME_RATE) & (seconds <= (len(heard.curve) - 1) / FRAME_RATE)
    seconds, places = seconds[inside] if grid is None else from_begin(seconds[inside]), places[inside]
    return Counted(
        seconds, seconds[places == 0], reading.metre, margin, reading.likely, reading.metre_likely, cut is not None
    )


def _seconds(curve: Array, beats: Times, grid: Grid | None) -> Times:
    """Seconds of beats in frames: each on its own peak, or all moved together where one grid holds."""
    return sharpened(curve, beats) if grid is None else together(curve, beats) / FRAME_RATE


def _local_tempi(beats: Times) -> Times:
    """(n,) beats per minute over each four beats in a row."""
    return 240 / (beats[4:] - beats[:-4]) if len(beats) > 4 else np.zeros(0)


def _clear_onsets(strengths: NDArray[np.float16]) -> NDArray[np.intp]:
    """Frames of the onsets that a listener would notice; none where the sound is no sound."""
    curve = onset_curve(strengths)
    if not len(curve) or not np.isfinite(curve).all():
        return np.zeros(0, np.intp)
    return onset_frames(curve, float(curve.mean() + 0.7 * curve.std()))


class Strokes(NamedTuple):
    """An even row of strokes: the seconds between them, and whether each is like the others."""

    period: float
    alike: bool


def lone_strokes(heard: Pulse) -> Strokes | None:
    """The strokes, if nothing but one even row of them sounds, as a metronome's; None in all other music."""
    curve = heard.curve
    strokes = onset_frames(curve, GHOST * float(np.percentile(curve, 99.5)))
    near = np.diff(strokes, prepend=-len(curve)) < HIDDEN_SECONDS * FRAME_RATE
    weaker = curve[strokes] < HIDDEN * np.roll(curve[strokes], 1)
    strokes = strokes[~(near & weaker)]
    if len(strokes) < STROKES_MIN:
        return None
    apart = np.diff(strokes)
    middle = float(np.median(apart))
    if float(np.mean(np.abs(apart / middle - 1) < 0.06)) < EVEN:
        return None
    length = float(strokes[-1] - strokes[0])
    around = np.clip(strokes[1:-1, None] + np.arange(-2, 3), 0, len(curve) - 1)
    strengths = heard.signals[around].max(axis=1).astype(np.float32)
    varied = float(strengths.std(axis=0).sum() / (strengths.mean(axis=0).sum() + 1e-9))
    return Strokes(length / round(length / middle) / FRAME_RATE, varied < ALIKE)


def _audible_periods(periods: Array, lone: Strokes | None) -> Array:
    """Those periods people can tap to: nobody taps twice as fast as the only strokes there are."""
    if lone is None or lone.period > LONE_SECONDS_MAX:
        return periods
    kept = periods[periods > 0.9 * lone.period]
    return kept if len(kept) else np.array([lone.period], np.float32)


def _metre_sureness(counted: Counted, tempo: float, lone: Strokes | None) -> float:
    """How likely the metre is right, by its networks, the tempo, and how likely such a count is; 0 .. 1."""
    by_networks = log_odds(counted.metre.by_songs), log_odds(counted.metre.by_grooves)
    sure = certainty.earned("metre", *by_networks, log_odds(tempo), log_odds(counted.metre_likely))
    return min(sure, ALIKE_METRE_SURE) if lone is not None and lone.alike else sure


def _bars_sureness(counted: Counted, metre: float, tempo: float) -> float:
    """How likely bars begin where it was said, never likelier than the tempo is; 0 .. 1."""
    if not len(counted.downbeats):
        return 0.0
    margin = math.tanh(counted.margin / MARGIN_HALF)
    evidence = margin, counted.margin, log_odds(metre), log_odds(tempo), log_odds(counted.likely)
    sure = certainty.earned("downbeat", *evidence, float(counted.cut))
    return min(sure, tempo)


def _in_seven(heard: Pulse, row: Row, counted: Counted) -> Counted:
    """Seconds of the first, third and fifth of each seven eighths, and of the first."""
    grid = row.grid
    if grid is None or not len(counted.beats):
        everywhere = frame_periods(row.locally, len(heard.curve)) / np.float32(2)
        eighths = follow(heard.curve, everywhere).astype(np.float64)
    else:
        halves = grid._replace(period=grid.period / 2)
        eighths = beats_of(halves, heard.curve, float(counted.beats[0]) * FRAME_RATE)
    if len(eighths) < 7:
        return counted._replace(beats=eighths / FRAME_RATE)
    weight = heard.signals[np.rint(eighths).astype(np.intp)].sum(axis=1, dtype=np.float32)
    strengths = np.array([weight[place::7].mean() for place in range(7)])
    first = int(np.argmax(strengths))
    place = (np.arange(len(eighths)) - first) % 7
    second = float(np.sort(strengths)[-2])
    margin = math.log((float(strengths[first]) + 1e-6) / (second + 1e-6))
    told = [eighths[np.isin(place, (0, 2, 4))], eighths[place == 0]]
    beats, bars = (sharpened(heard.curve, one) if grid is None else one / FRAME_RATE for one in told)
    return counted._replace(beats=beats, downbeats=bars, margin=margin)


def _unmeasured(onsets: NDArray[np.intp]) -> Rhythm:
    none = np.zeros(0)
    return Rhythm(
        bpm=None,
        bpm_confidence=0.0,
        bpm_stdev=None,
        on_grid=False,
        candidates=(),
        tempo_varies=None,
        stability=None,
        beats=none,
        downbeats=none,
        onsets=onsets / FRAME_RATE,
        beats_per_bar=None,
        beat_unit=None,
        metre_confidence=0.0,
        downbeat_confidence=0.0,
    )
