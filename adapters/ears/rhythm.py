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
from adapters.ears.grid import Grid, beats_of, fit_grid, usual_place
from adapters.ears.metre import Metre, bar_margin, bar_positions, downbeat_odds, hear_metre
from adapters.ears.onsets import onset_curve, onset_frames
from adapters.ears.silence import audible, sounding
from adapters.ears.spectrum import FRAME_RATE
from adapters.ears.tempo import Pulse, candidate_periods, hear_tempo, pulse
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
    rhythm = _heard_in(inside)
    beats, downbeats = audible(rhythm.beats, inside.rms), audible(rhythm.downbeats, inside.rms)
    later = span.seconds
    return replace(rhythm, beats=beats + later, downbeats=downbeats + later, onsets=rhythm.onsets + later)


def _heard_in(trace: Trace) -> Rhythm:
    onsets = _clear_onsets(trace.strengths)
    if len(onsets) < 4:
        return _unmeasured(onsets)
    heard = pulse(trace)
    lone = lone_strokes(heard)
    periods = _audible_periods(candidate_periods(heard), lone)
    tempo = hear_tempo(heard, periods, trace.seconds) if len(periods) else []
    if not tempo:
        return _unmeasured(onsets)
    locally = local_periods(heard.looks, tempo[0].period)
    spread = float(np.percentile(locally, 90) / np.percentile(locally, 10)) - 1
    # What is at another tempo has no phase at this one that could stray: a change is seen by the lags.
    grid = fit_grid(heard.curve, tempo[0].period) if spread <= VARIABLE else None
    steady = grid if grid is not None and grid.holds else None
    period = tempo[0].period if steady is None else steady.period
    followed = follow(heard.curve, frame_periods(locally, len(heard.curve))).astype(np.float64)
    metre = hear_metre(heard, period)
    if steady is None:
        tapped = in_phase(heard.signals, followed)
        counted = _counted(heard, trace, tapped, locally, metre)
    else:
        counted = _on_grid(heard, trace, steady, followed, metre)
    beats, downbeats = counted.beats, counted.downbeats
    metre_sure = _metre_sureness(metre, tempo[0].probability, lone)
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
    """Seconds of the beats and of the first beats of bars, and by how much these fit better than others would."""

    beats: Times
    downbeats: Times
    margin: float = 0.0


def _on_grid(heard: Pulse, trace: Trace, grid: Grid, followed: Times, metre: Metre) -> Counted:
    """Seconds of the beats and of the first beats of bars of a recording that one grid fits."""
    anchor = usual_place(grid, followed) if len(followed) else grid.first * FRAME_RATE
    beats = in_phase(heard.signals, beats_of(grid, heard.curve, anchor))
    beats = beats_of(grid, heard.curve, float(beats[0])) if len(beats) else beats
    if metre.numerator == 7:
        return _in_seven(heard, beats_of(grid._replace(period=grid.period / 2), heard.curve, float(beats[0])))
    return _barred(heard, trace, beats, beats / FRAME_RATE, metre)


def _barred(heard: Pulse, trace: Trace, beats: Times, seconds: Times, metre: Metre) -> Counted:
    """The beats (given in frames and in seconds) with those that begin bars."""
    if len(beats) < 4:
        return Counted(seconds, np.zeros(0))
    odds, length = downbeat_odds(heard, trace, beats), round(metre.beats)
    places = bar_positions(odds, length)
    return Counted(seconds, seconds[places == 0], bar_margin(odds, places, length))


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


def _metre_sureness(metre: Metre, tempo: float, lone: Strokes | None) -> float:
    """How likely the metre is right, by how sure its networks and the tempo are; 0 .. 1."""
    sure = certainty.earned("metre", log_odds(metre.by_songs), log_odds(metre.by_grooves), log_odds(tempo))
    return min(sure, ALIKE_METRE_SURE) if lone is not None and lone.alike else sure


def _bars_sureness(counted: Counted, metre: float, tempo: float) -> float:
    """How likely bars begin where it was said, never likelier than the tempo is; 0 .. 1."""
    if not len(counted.downbeats):
        return 0.0
    margin = math.tanh(counted.margin / MARGIN_HALF)
    sure = certainty.earned("downbeat", margin, counted.margin, log_odds(metre), log_odds(tempo))
    return min(sure, tempo)


def _counted(heard: Pulse, trace: Trace, beats: Times, periods: Array, metre: Metre) -> Counted:
    """Seconds of the beats (given in frames) and of the first beats of bars."""
    if metre.numerator == 7:
        everywhere = frame_periods(periods, len(heard.curve)) / np.float32(2)
        eighths = follow(heard.curve, everywhere).astype(np.float64)
        first, bars, margin = _in_seven(heard, eighths)
        return Counted(sharpened(heard.curve, first * FRAME_RATE), sharpened(heard.curve, bars * FRAME_RATE), margin)
    return _barred(heard, trace, beats, sharpened(heard.curve, beats), metre)


def _in_seven(heard: Pulse, eighths: Times) -> Counted:
    """Seconds of the first, third and fifth of each seven eighths (given in frames), and of the first."""
    if len(eighths) < 7:
        return Counted(eighths / FRAME_RATE, np.zeros(0))
    weight = heard.signals[np.rint(eighths).astype(np.intp)].sum(axis=1, dtype=np.float32)
    strengths = np.array([weight[place::7].mean() for place in range(7)])
    first = int(np.argmax(strengths))
    place = (np.arange(len(eighths)) - first) % 7
    second = float(np.sort(strengths)[-2])
    margin = math.log((float(strengths[first]) + 1e-6) / (second + 1e-6))
    return Counted(eighths[np.isin(place, (0, 2, 4))] / FRAME_RATE, eighths[place == 0] / FRAME_RATE, margin)


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
