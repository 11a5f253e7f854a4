from __future__ import annotations

import numpy as np
import pytest

from adapters.ears.rhythm import Rhythm
from adapters.ears.tempo import _halved
from tests.ears.grooves import HOUSE, JIG, JUNGLE, RATE, ROCK, SEVEN, played, rhythm_of
from tests.ears.sounds import Sound, noise, silence, sine


def near(said: float | None, true: float, tolerance: float = 0.01) -> bool:
    return said is not None and abs(said - true) <= tolerance * true


def found(
    times: np.ndarray[tuple[int], np.dtype[np.float64]], true: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> float:
    """The share of true times that were named to within 70 ms, times the share of named ones that are true."""
    if not len(times):
        return 0.0
    apart = np.abs(times[:, None] - true)
    return float((apart.min(axis=0) < 0.07).mean() * (apart.min(axis=1) < 0.07).mean())


@pytest.mark.parametrize("bpm", [92, 110, 128, 150])
def test_the_tempo_of_a_rock_beat_is_found_to_a_hundredth(bpm: float) -> None:
    rhythm = rhythm_of(played(ROCK, bpm, 20))
    assert near(rhythm.bpm, bpm)
    assert rhythm.bpm_confidence > 0.5


@pytest.mark.parametrize(("rows", "bpm"), [(HOUSE, 124), (HOUSE, 140), (JUNGLE, 172)])
def test_dance_music_is_counted_as_dancers_count_it(rows: dict[str, str], bpm: float) -> None:
    assert near(rhythm_of(played(rows, bpm, 20)).bpm, bpm)


@pytest.mark.parametrize("bars", [1, 2, 4])
def test_a_loop_of_a_few_bars_has_its_tempo(bars: int) -> None:
    bpm = 126
    assert near(rhythm_of(played(ROCK, bpm, bars * 4 * 60 / bpm)).bpm, bpm, 0.03)


def strokes(bpm: float, seconds: float, hertz: float, decay: float) -> Sound:
    """(n,) the same stroke on every beat and nothing else."""
    time = np.arange(round(0.12 * RATE)) / RATE
    stroke = 0.8 * np.sin(2 * np.pi * hertz * time) * np.exp(-time / decay)
    sound = np.zeros(round(seconds * RATE))
    for beat in np.arange(0.2, seconds - 0.2, 60 / bpm):
        sound[round(beat * RATE) : round(beat * RATE) + len(stroke)] += stroke
    return sound.astype(np.float32)


@pytest.mark.parametrize("bpm", [60, 75, 90, 120, 140])
@pytest.mark.parametrize(("hertz", "decay"), [(1500, 0.005), (60, 0.03)], ids=["metronome", "bass drum"])
def test_where_nothing_but_an_even_row_of_strokes_sounds_every_stroke_is_a_beat(
    bpm: float, hertz: float, decay: float
) -> None:
    rhythm = rhythm_of(strokes(bpm, 20, hertz, decay))
    assert near(rhythm.bpm, bpm)
    assert rhythm.bpm_confidence > 0.6
    assert rhythm.metre_confidence <= 0.5


def test_a_metre_is_no_surer_than_its_tempo_allows() -> None:
    steady = rhythm_of(played(ROCK, 120, 20))
    assert steady.metre_confidence > 0.9
    rng = np.random.default_rng(3)
    sound = noise(20, -60, rate=RATE)
    for at in rng.integers(0, len(sound) - 600, 60):
        sound[at : at + 600] += noise(600 / RATE, -20, rate=RATE)
    scattered = rhythm_of(sound)
    assert scattered.bpm_confidence < 0.5
    assert scattered.metre_confidence < 0.85


def test_swing_does_not_change_the_tempo() -> None:
    assert near(rhythm_of(played(ROCK, 100, 24, swing=0.3)).bpm, 100)


def test_the_tempo_is_the_same_however_loud_the_music() -> None:
    sound = played(ROCK, 118, 16)
    said = [rhythm_of((gain * sound).astype(np.float32)).bpm for gain in (1.0, 0.1, 0.003)]
    assert all(near(bpm, 118) for bpm in said), said


def test_other_readings_stand_beside_the_tempo_and_are_less_likely() -> None:
    rhythm = rhythm_of(played(ROCK, 120, 20))
    bpms = [bpm for bpm, _ in rhythm.candidates]
    likelihoods = [likelihood for _, likelihood in rhythm.candidates]
    assert any(near(bpm, 60, 0.03) for bpm in bpms)
    assert any(near(bpm, 240, 0.03) for bpm in bpms)
    assert likelihoods[0] == rhythm.bpm_confidence
    assert sum(likelihoods) <= 1.001
    assert all(0 <= likelihood <= 1 for likelihood in likelihoods)


@pytest.mark.parametrize("start", [0.0, 0.31])
def test_beats_fall_on_the_strokes_and_bars_on_the_first_of_four(start: float) -> None:
    bpm, seconds = 112.0, 24.0
    rhythm = rhythm_of(played(ROCK, bpm, seconds, start=start))
    assert found(rhythm.beats, np.arange(start, seconds, 60 / bpm)) > 0.9
    assert found(rhythm.downbeats, np.arange(start, seconds, 240 / bpm)) > 0.8


def test_off_beat_hats_do_not_pull_the_beat_away_from_the_bass_drum() -> None:
    bpm, seconds = 126.0, 20.0
    assert found(rhythm_of(played(HOUSE, bpm, seconds)).beats, np.arange(0, seconds, 60 / bpm)) > 0.9


@pytest.mark.parametrize(
    ("rows", "bpm", "steps", "numerator", "unit"),
    [(ROCK, 120, 4, 4, 4), (JIG, 110, 3, 6, 8), (SEVEN, 130, 4, 7, 8)],
)
def test_metres_are_told_apart(rows: dict[str, str], bpm: float, steps: int, numerator: int, unit: int) -> None:
    rhythm = rhythm_of(played(rows, bpm, 28, steps_per_beat=steps))
    assert (rhythm.beats_per_bar, rhythm.beat_unit) == (numerator, unit)
    assert near(rhythm.bpm, bpm), "in compound time the tempo counts dotted quarters"


def test_a_steady_tempo_is_called_steady() -> None:
    rhythm = rhythm_of(played(ROCK, 120, 60))
    assert rhythm.tempo_varies is False
    assert rhythm.stability is not None
    assert rhythm.stability > 0.95


def test_a_tempo_that_moves_is_called_variable_and_still_followed() -> None:
    slow, fast = played(ROCK, 116, 40), played(ROCK, 132, 40)
    rhythm = rhythm_of(np.concatenate([slow, fast]))
    assert rhythm.tempo_varies is True
    early = np.diff(rhythm.beats[(rhythm.beats > 5) & (rhythm.beats < 30)])
    late = np.diff(rhythm.beats[(rhythm.beats > 52) & (rhythm.beats < 75)])
    assert near(60 / float(np.median(early)), 116, 0.02)
    assert near(60 / float(np.median(late)), 132, 0.02)


@pytest.mark.parametrize(
    "sound",
    [
        silence(10, rate=RATE),
        noise(10, rate=RATE),
        sine(440, 10, rate=RATE),
        np.full(RATE * 10, 0.5, np.float32),
        np.eye(1, RATE * 10, RATE * 4, dtype=np.float32)[0],
        noise(1, rate=RATE),
        np.zeros(0, np.float32),
        np.zeros(100, np.float32),
    ],
    ids=["silence", "noise", "sine", "offset", "a single click", "a second of noise", "nothing", "hardly anything"],
)
def test_where_there_is_no_beat_none_is_claimed(sound: Sound) -> None:
    rhythm = rhythm_of(sound)
    assert rhythm.bpm is None or rhythm.bpm_confidence < 0.5
    assert_whole(rhythm)


def test_notes_at_random_times_are_no_beat_to_be_sure_of() -> None:
    rng = np.random.default_rng(3)
    sound = np.zeros(RATE * 20, np.float32)
    for at in np.cumsum(rng.exponential(0.3, 60)):
        start = round(at * RATE)
        sound[start : start + 900] += (0.4 * rng.standard_normal(900) * np.exp(-np.arange(900) / 200))[
            : max(0, len(sound) - start)
        ].astype(np.float32)
    assert rhythm_of(sound).bpm_confidence < 0.6


def test_a_second_of_music_never_fails() -> None:
    assert_whole(rhythm_of(played(ROCK, 120, 1.0)))


def assert_whole(rhythm: Rhythm) -> None:
    """Everything is there or nothing is, finite, in order and within bounds."""
    assert 0 <= rhythm.bpm_confidence <= 1
    assert 0 <= rhythm.metre_confidence <= 1
    for times in (rhythm.beats, rhythm.downbeats, rhythm.onsets):
        assert np.isfinite(times).all()
        assert (np.diff(times) > 0).all()
        assert (times >= 0).all()
    if rhythm.bpm is None:
        assert rhythm.bpm_confidence == 0
        assert rhythm.candidates == ()
        assert rhythm.beats_per_bar is None
        assert not len(rhythm.beats)
    else:
        assert 30 <= rhythm.bpm <= 270


@pytest.mark.parametrize(
    ("periods", "usual", "wide", "halved"),
    [
        ((0.32, 0.64), (0.7, 0.3), (0.3, 0.6), True),
        ((0.32, 0.64), (0.7, 0.3), (0.45, 0.55), False),
        ((0.32, 0.64), (0.3, 0.7), (0.3, 0.6), False),
        ((0.42, 0.84), (0.7, 0.3), (0.3, 0.6), False),
        ((0.32, 0.48), (0.7, 0.3), (0.3, 0.6), False),
    ],
)
def test_what_is_quick_to_one_network_alone_is_tapped_half_as_fast(
    periods: tuple[float, ...], usual: tuple[float, ...], wide: tuple[float, ...], halved: bool
) -> None:
    assert _halved(*(np.array(one, np.float32) for one in (periods, usual, wide))) is halved
