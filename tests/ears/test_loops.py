"""Loops are cut at bars: where a recording is a whole number of them long, beats and bars begin with it."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.ears import certainty, counting
from adapters.ears.beats import PARTS
from adapters.ears.counting import count, readings
from adapters.ears.cutting import LATE, beats_between_cuts, places_of_cut
from adapters.ears.metre import METRES
from adapters.ears.rhythm import row_at
from adapters.ears.silence import sounding
from adapters.ears.spectrum import FRAME_RATE
from adapters.ears.tempo import pulse
from tests.ears.grooves import RATE, heard, played, rhythm_of
from tests.ears.sounds import Sound, silence, tone
from tests.ears.test_rhythm import found

BPM = 139.0
BEAT = 60 / BPM
IN_FOUR = np.array([float(number == 4) for number in METRES], np.float32)


def bass_between(bars: int) -> Sound:
    """(n,) a bass alone, off the beat; nothing in it tells the beat from its half."""
    sound = np.zeros(round(4 * bars * BEAT * RATE), np.float32)
    for number in range(4 * bars):
        note = tone(33 + (0, 0, 3, 5)[number % 4], 0.45 * BEAT, rate=RATE)
        at = round((number + 0.5) * BEAT * RATE)
        sound[at : at + len(note)] += note[: len(sound) - at]
    return sound


def test_the_beats_of_a_loop_begin_with_it_although_only_a_bass_between_them_sounds() -> None:
    rhythm = rhythm_of(bass_between(10))
    assert rhythm.bpm == pytest.approx(BPM, abs=0.05)
    assert found(rhythm.beats, BEAT * np.arange(1.0, 40.0)) > 0.9


def test_the_same_bass_in_an_excerpt_is_taken_for_the_beat() -> None:
    rhythm = rhythm_of(bass_between(10)[: -round(0.3 * BEAT * RATE)])
    assert found(rhythm.beats, BEAT * np.arange(0.5, 39.0)) > 0.9


def test_music_is_no_loop_where_the_silence_before_it_was_left_out() -> None:
    # What is left begins a second before the first stroke, by chance half a beat from the strokes.
    late = np.concatenate([silence(2.16, rate=RATE), bass_between(11)])
    trace = heard(late)
    begin = sounding(trace.rms, len(trace.pitch)).seconds
    assert 0 < begin < 2.16
    rhythm = rhythm_of(late[: round((begin + 44 * BEAT) * RATE)])
    assert rhythm.bpm == pytest.approx(BPM, abs=0.05)
    assert found(rhythm.beats, 2.16 + BEAT * np.arange(0.5, 41.0)) > 0.9


def test_the_bars_of_a_loop_begin_with_it_although_nothing_tells_one_beat_from_another() -> None:
    drums = played({"kick": "x...", "hat": "..x."}, 128, 8 * 4 * 60 / 128 + 0.5)
    for cut in (0, 1, 2, 3):
        begin = round(cut * 60 / 128 * RATE)
        rhythm = rhythm_of(drums[begin : begin + round(7 * 4 * 60 / 128 * RATE)])
        assert rhythm.beats_per_bar == 4
        assert rhythm.downbeats[0] == pytest.approx(0.0, abs=LATE)


def test_half_a_bar_more_is_whole_bars_of_two_but_says_nothing_of_the_metre(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = counting.weights()[: counting.AT_CUT], counting.weights()[counting.NEWS :]
    monkeypatch.setattr(counting, "weights", lambda: (*before, 50.0, *after))
    drums = heard(played({"kick": "x...", "hat": "..x.", "snare": "....x..."}, 128, 34 * 60 / 128))
    twos_or_fours = np.array([0.2, 0.0, 0.8, 0.0, 0.0, 0.0, 0.0, 0.0], np.float32)
    listened = pulse(drums)
    chosen = count(listened, drums, row_at(listened, 60 / 128).beats, (twos_or_fours, twos_or_fours), 34)
    assert chosen is not None
    assert chosen.metre.numerator == 4


@pytest.mark.parametrize(("between_cuts", "after_a_cut"), [(40, 0.0), (None, 0.5)], ids=["loop", "excerpt"])
def test_strokes_of_the_bass_say_where_beats_lie_unless_a_cut_does(
    between_cuts: int | None, after_a_cut: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody_knows = np.full(PARTS, 1 / PARTS, np.float32)
    monkeypatch.setattr(counting, "places", lambda *_: nobody_knows)
    trace = heard(bass_between(10))
    on_strokes = np.arange(0.5, 39.0) * BEAT * FRAME_RATE
    chosen = count(pulse(trace), trace, on_strokes, (IN_FOUR, IN_FOUR), between_cuts)
    assert chosen is not None
    late = (chosen.beats[0] / FRAME_RATE - after_a_cut * BEAT + 0.01) % BEAT
    assert late < LATE + 0.01


def test_the_place_of_a_cut_is_weighed_although_no_network_believes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    followed = np.eye(PARTS, dtype=np.float32)[0]
    monkeypatch.setattr(counting, "places", lambda *_: followed)
    trace = heard(bass_between(10))
    third_late = np.arange(1 / 3, 39.0) * BEAT * FRAME_RATE
    found, rows = readings(pulse(trace), trace, third_late, (IN_FOUR, IN_FOUR), 40)
    assert set(rows) == {0, 6, 8, 9}
    assert {one.place for one in found if one.evidence[counting.AT_CUT]} == {8, 9}


@pytest.mark.parametrize(("missed", "first"), [(0, 0), (1, 3), (3, 1), (4, 0)])
def test_bars_are_counted_from_the_cut_and_not_from_the_first_beat_that_was_followed(missed: int, first: int) -> None:
    trace = heard(played({"kick": "x...", "hat": "..x."}, BPM, 40 * BEAT))
    followed = np.arange(float(missed), 40.0) * BEAT * FRAME_RATE
    found, _ = readings(pulse(trace), trace, followed, (IN_FOUR, IN_FOUR), 40)
    assert {one.first for one in found if one.place == 0 and one.evidence[counting.AT_CUT]} == {first}


@pytest.mark.parametrize(("seconds", "cut"), [(28 * 60 / 128, 1.0), (28.4 * 60 / 128, 0.0)], ids=["loop", "excerpt"])
def test_bars_of_a_loop_are_no_surer_because_its_cut_was_weighed(
    seconds: float, cut: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, tuple[float, ...]] = {}
    earned = certainty.earned

    def noted(measure: certainty.Measure, *evidence: float) -> float:
        asked[measure] = evidence
        return earned(measure, *evidence)

    monkeypatch.setattr(certainty, "earned", noted)
    rhythm_of(played({"kick": "x...", "hat": "..x."}, 128, seconds))
    *evidence, said = asked["downbeat"]
    assert said == cut
    assert earned("downbeat", *evidence, 1.0) < earned("downbeat", *evidence, 0.0)


@pytest.mark.parametrize(
    ("first", "places"), [(0.0, {0, 1}), (0.07, {0, 11}), (0.5, {6, 7}), (0.57, {5, 6}), (0.97, {0, 1})], ids=str
)
def test_a_slow_attack_is_heard_after_the_cut_and_none_before_it(first: float, places: set[int]) -> None:
    frames_of_a_beat = BEAT * FRAME_RATE
    assert places_of_cut((first + np.arange(16.0)) * frames_of_a_beat) == places


@pytest.mark.parametrize(
    ("seconds", "beats"),
    [
        (16 * 0.47, 16),
        (16.005 * 0.47, 16),
        (16.02 * 0.47, None),
        (16.5 * 0.47, None),
        (101 * 0.47, 101),
        (47.0, None),
        (133 * 0.47, None),
    ],
    ids=["bars", "bars, nearly", "too long", "half a beat more", "many bars", "whole seconds", "no loop"],
)
def test_a_recording_is_cut_at_beats_where_its_length_is_no_accident(seconds: float, beats: int | None) -> None:
    assert beats_between_cuts(seconds, 0.47) == beats
