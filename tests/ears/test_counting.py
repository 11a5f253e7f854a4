"""Places, metres and first beats are chosen together: by drums, by harmony, and by what the whole count looks like."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.ears.beats import moved
from adapters.ears.counting import EVIDENCE, count, eighths_of_six, news, readings, weights
from adapters.ears.metre import (
    METRES,
    bar_positions,
    beats_in,
    changes_around,
    entries_around,
    favoured,
    metre_chances,
    rooted,
)
from adapters.ears.rhythm import row_at
from adapters.ears.spectrum import FRAME_RATE
from adapters.ears.tempo import pulse
from tests.ears.grooves import RATE, heard, played, rhythm_of
from tests.ears.sounds import Sound, chord, sine, tone
from tests.ears.test_rhythm import found, near

ONE_DROP = {"kick": "........x.......", "snare": "........x.......", "hat": "x.x.x.x.x.x.x.x."}
BALLAD = {"kick": "x.....", "snare": "...x..", "hat": "xxxxxx"}
WALTZ = {"kick": "x..", "hat": ".xx"}


def one_drop(bpm: float, bars: int) -> Sound:
    """(n,) bass drum on the third beat alone, chords off the beat, and a bass that names each chord on the first."""
    beat = 60 / bpm
    sound = played(ONE_DROP, bpm, bars * 4 * beat)
    for bar in range(bars):
        name, root = (("Am", 33), ("G", 31), ("Am", 33), ("F", 29))[bar % 4]
        for number in range(4):
            add(sound, (4 * bar + number + 0.5) * beat, 0.5 * chord(name, 0.14, rate=RATE))
        for place, rise in ((0, 0), (1.5, 0), (2, 7), (3, 12), (3.5, 7)):
            add(sound, (4 * bar + place) * beat, 1.5 * tone(root + rise, 0.3, rate=RATE))
    return sound


def ballad(bpm: float, bars: int) -> Sound:
    """(n,) 6/8: chords broken in eighths, bass and bass drum on the first, snare drum on the fourth, drums later."""
    eighth = 20 / bpm
    drums = played(BALLAD, bpm, bars * 6 * eighth, steps_per_beat=3)
    drums[: round(24 * eighth * RATE)] = 0
    for bar in range(bars):
        root, third = ((48, 16), (45, 15), (41, 16), (43, 16))[bar % 4]
        add(drums, 6 * bar * eighth, tone(root - 12, 2.0, rate=RATE))
        for place, rise in enumerate((0, 7, 12, third, 12, 7)):
            add(drums, (6 * bar + place) * eighth, tone(root + rise, 0.7, rate=RATE))
    return drums


def add(sound: Sound, seconds: float, part: Sound) -> None:
    at = round(seconds * RATE)
    sound[at : at + len(part)] += part[: len(sound) - at]


def test_bars_of_one_drop_begin_where_bass_and_harmony_change() -> None:
    bpm, bars = 76.0, 12
    rhythm = rhythm_of(one_drop(bpm, bars))
    end = bars * 240 / bpm - 0.1
    assert found(rhythm.beats, np.arange(0, end, 60 / bpm)) > 0.9
    assert found(rhythm.downbeats, np.arange(0, end, 240 / bpm)) > 0.8


SHUFFLE = {"kick": "x.....x....x", "snare": "...x.....x..", "hat": "x.xx.xx.xx.x"}


def blues(bpm: float, bars: int) -> Sound:
    """(n,) a shuffle in four: the bass walks up from each root, sixths answer fifths in the chords."""
    third = 20 / bpm
    sound = played(SHUFFLE, bpm, bars * 12 * third, steps_per_beat=3)
    for bar in range(bars):
        root = 40 + (0, 0, 0, 0, 5, 5, 0, 0, 7, 5, 0, 7)[bar % 12]
        for beat, rise in enumerate((0, 4, 7, 9)):
            at = (12 * bar + 3 * beat) * third
            for part in (0, 2):
                add(sound, at + part * third, 1.2 * tone(root + rise, third, rate=RATE))
            add(sound, at, 0.4 * tone(root + 12, 0.3, rate=RATE))
            add(sound, at, 0.4 * tone(root + 19 + 2 * (beat % 2), 0.3, rate=RATE))
    return sound


def test_bars_of_a_shuffle_are_four_beats_and_begin_where_the_bass_has_the_root() -> None:
    bpm, bars = 118.0, 16
    rhythm = rhythm_of(blues(bpm, bars))
    bar = 240 / bpm
    assert rhythm.beats_per_bar == 4
    assert found(rhythm.downbeats, np.arange(0, bars * bar - 0.1, bar)) > 0.8


def rumble(bpm: float, bars: int) -> Sound:
    """(n,) techno of bars that are all alike: hats come in at the fifth, and more on the off-beat at the ninth."""
    bar = 240 / bpm
    sound = played({"kick": "x..."}, bpm, bars * bar)
    for beat in range(4 * bars):
        add(sound, (beat + 0.5) * bar / 4, sine(49, 0.4 * bar / 4, -8.0, rate=RATE))
    for row, enters, loud in (("x", 4, 0.3), ("..x.", 8, 0.6)):
        hats = loud * played({"hat": row}, bpm, (bars - enters) * bar)
        add(sound, enters * bar, hats.astype(np.float32))
    return sound


@pytest.mark.parametrize("bpm", [132.0, 138.0, 144.0])
def test_where_all_bars_are_alike_they_begin_where_somebody_comes_in(bpm: float) -> None:
    bars = 20
    rhythm = rhythm_of(rumble(bpm, bars))
    bar = 240 / bpm
    assert found(rhythm.beats, np.arange(0, bars * bar - 0.1, bar / 4)) > 0.9
    assert found(rhythm.downbeats, np.arange(0, bars * bar - 0.1, bar)) > 0.8


def test_something_is_new_on_the_beat_that_differs_more_than_beats_do_and_nothing_at_the_ends() -> None:
    beats = np.arange(10.0, 1610.0, 40.0)
    signals = np.zeros((1620, 6), np.float16)
    for beat, at in enumerate(beats.astype(int)):
        signals[at] = 4.0 if beat % 2 else 2.0
        signals[at + 20, 2:] = 8.0 if beat >= 16 else 0.0
    signals[:30] = signals[1580:] = 9.0
    new = news(signals, beats)
    assert list(np.flatnonzero(new)) == [16]
    assert not news(np.ones((1620, 6), np.float16), beats).any()


def test_the_root_of_a_chord_is_known_from_its_other_notes() -> None:
    notes = np.zeros((8, 12), np.float32)
    notes[:4, [0, 4, 7]], notes[4:, [5, 9, 0]] = 1.0, 1.0
    bass = np.eye(12, dtype=np.float32)[[0, 4, 7, 9, 5, 9, 0, 2]]
    assert list(rooted(bass, notes, 2)[[0, 1, 4, 5]].round(2)) == [1.0, 0.0, 1.0, 0.0]


def test_who_enters_is_heard_at_the_beat_and_nobody_at_the_ends() -> None:
    struck = np.ones((40, 6), np.float32)
    struck[16:, 2] += 3.0
    change = entries_around(struck, 4)
    assert int(np.argmax(change)) == 16
    assert change[16] >= 2 * change[14]
    assert not np.concatenate([change[:4], change[-3:]]).any()


def test_eighths_that_alternate_bass_drum_and_snare_drum_are_a_slow_six() -> None:
    rhythm = rhythm_of(ballad(46, 16))
    assert near(rhythm.bpm, 46)
    assert (rhythm.beats_per_bar, rhythm.beat_unit) == (6, 8)
    likelihoods = [likelihood for _, likelihood in rhythm.candidates]
    assert likelihoods[0] == rhythm.bpm_confidence == max(likelihoods)
    assert sum(likelihoods) <= 1.001


@pytest.mark.parametrize(("bars", "known"), [(7, False), (12, True)])
def test_eighths_are_told_from_the_beats_of_a_waltz_by_many_bars(bars: int, *, known: bool) -> None:
    eighths = np.arange(6.0 * bars) * 20 / 46 * FRAME_RATE
    trace = heard(ballad(46, bars))
    assert eighths_of_six(pulse(trace), trace, eighths) is known


def test_a_waltz_stays_a_waltz() -> None:
    sound = played(WALTZ, 138, 24, steps_per_beat=1)
    for bar in range(18):
        add(sound, bar * 180 / 138, chord(("C", "F", "G", "C")[bar % 4], 1.2, rate=RATE))
    rhythm = rhythm_of(sound)
    assert near(rhythm.bpm, 138)
    assert rhythm.beats_per_bar == 3


def test_every_reading_is_weighed_by_all_evidence_and_the_likeliest_is_taken() -> None:
    trace = heard(one_drop(80, 6))
    listened = pulse(trace)
    beats = row_at(listened, 0.75).beats
    chances = metre_chances(listened, 0.75)
    found_readings, rows = readings(listened, trace, beats, chances)
    assert {len(one.evidence) for one in found_readings} == {len(EVIDENCE)} == {len(weights())}
    assert {0, 6} <= set(rows), "both halves of a beat are always weighed"
    assert all(one.first < beats_in(METRES[one.metre]) for one in found_readings)
    scores = [float(np.dot(one.evidence, weights())) for one in found_readings]
    shares = np.exp(np.array(scores) - max(scores))
    by_place = {place: shares[[one.place == place for one in found_readings]].sum() for place in rows}
    chosen = count(listened, trace, beats, chances)
    assert chosen is not None
    likeliest = max(by_place, key=lambda place: by_place[place])
    np.testing.assert_array_equal(chosen.beats, rows[likeliest][0])
    assert any((one.place, one.first) == (likeliest, chosen.first) for one in found_readings)
    assert 0 < chosen.likely <= chosen.metre_likely <= 1 + 1e-9


@pytest.mark.parametrize("beats", [0, 3])
def test_too_few_beats_have_no_readings(beats: int) -> None:
    trace = heard(one_drop(80, 2))
    listened = pulse(trace)
    assert count(listened, trace, np.arange(beats, dtype=np.float64) * 64, metre_chances(listened, 0.75)) is None


def test_harmony_changes_most_where_it_changes() -> None:
    pitch = np.repeat(np.eye(12, dtype=np.float32)[[0, 5, 7, 0]], 4, axis=0)
    change = changes_around(pitch, 4)
    assert list(np.flatnonzero(change > 0.9)) == [4, 8, 12]
    assert change[:2].max() == change[-1] == 0.0


def test_bars_begin_as_they_were_chosen_unless_the_evidence_changes_on_the_way() -> None:
    evidence = np.tile(np.array([1.0, -1.0, 1.2, -1.0], np.float32), 40)
    assert {int(one) for one in np.flatnonzero(bar_positions(evidence, 4) == 0) % 4} == {2}
    chosen = favoured(evidence, 0, 4)
    assert chosen[0::4].sum() > chosen[2::4].sum()
    assert {int(one) for one in np.flatnonzero(bar_positions(chosen, 4) == 0) % 4} == {0}
    # Of 41 beats the place with eleven bars loses most where all odds are low, and is chosen all the same.
    low = np.full(41, -3.0, np.float32)
    assert list(np.flatnonzero(bar_positions(favoured(low, 0, 4), 4) == 0)) == list(range(0, 41, 4))
    turned = np.concatenate([evidence, np.tile(np.array([-3.0, 5.0, -3.0, -3.0], np.float32), 20)])
    assert {int(one) for one in np.flatnonzero(bar_positions(favoured(turned, 0, 4), 4) == 0)[-8:] % 4} == {1}


@pytest.mark.parametrize(("place", "shift"), [(0, 0.0), (3, 16.0), (6, 32.0), (9, -16.0)])
def test_beats_move_by_parts_of_a_beat_and_stay_within_the_recording(place: int, shift: float) -> None:
    beats = np.arange(64.0, 640.0, 64.0)
    later = moved(beats, place, 700)
    assert np.abs((later - beats[0] - shift) / 64 - np.rint((later - beats[0] - shift) / 64)).max() < 1e-9
    assert later.min() >= 0
    assert later.max() <= 699
