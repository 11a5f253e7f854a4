"""One grid for a steady recording, tempo to the second decimal, and no grid where there is none."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from adapters.ears.rhythm import Rhythm, _as_followed, hear_rhythm
from adapters.ears.spectrum import FRAME_RATE
from tests.ears.grooves import RATE, ROCK, heard, played
from tests.ears.sounds import Sound, chord, tone

TECHNO = {"kick": "x...x...x...x...", "hat": "..x...x...x...x."}
AMEN = (
    {"kick": "x.x.......xx....", "snare": "....x..x.x..x..x", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x.x.......x.....", "snare": "....x..x.x....x.", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "..xx......x.....", "snare": ".x..x..x.x....x.", "hat": "x.x.x.x.x.x.x.x."},
)


def rhythm_of(sound: Sound) -> Rhythm:
    return hear_rhythm(heard(sound))


def f_measure(said: np.ndarray, true: np.ndarray) -> float:
    """Beats within 70 ms of each other."""
    hits = sum(bool(len(said)) and float(np.abs(said - beat).min()) <= 0.07 for beat in true)
    return 2 * hits / (len(said) + len(true))


@pytest.mark.parametrize("bpm", [124, 160, 174, 175, 97.3])
def test_the_tempo_of_a_machine_is_exact(bpm: float) -> None:
    rhythm = rhythm_of(played(ROCK, bpm, 60))
    assert rhythm.bpm == pytest.approx(bpm, abs=0.02)
    assert rhythm.bpm_stdev is not None
    assert rhythm.bpm_stdev < 0.02
    np.testing.assert_allclose(np.diff(rhythm.beats), 60 / bpm, atol=1e-4)
    # The strokes begin at 0, and a listener places them within some milliseconds.
    astray = (rhythm.beats + 30 / bpm) % (60 / bpm) - 30 / bpm
    assert np.abs(astray).max() < 0.015


def test_beats_stay_where_they_are_when_the_off_beat_grows_loud() -> None:
    bar = 4 * 60 / 138
    start = played({"kick": TECHNO["kick"]}, 138, 8 * bar)
    full = played(TECHNO, 138, 12 * bar) + 1.5 * played({"hat": TECHNO["hat"]}, 138, 12 * bar)
    rhythm = rhythm_of(np.concatenate([start, full]).astype(np.float32))
    assert f_measure(rhythm.beats, np.arange(0, 20 * bar - 0.05, 60 / 138)) > 0.98
    assert np.diff(rhythm.beats).std() < 1e-3


def test_a_break_that_changes_from_bar_to_bar_has_one_grid() -> None:
    bar = 4 * 60 / 165
    turns = [played(AMEN[turn % 3], 165, bar + 0.5)[: round(bar * RATE)] for turn in range(20)]
    rhythm = rhythm_of(np.concatenate(turns))
    assert rhythm.bpm == pytest.approx(165, rel=0.001)
    assert rhythm.stability == 1.0
    assert np.diff(rhythm.beats).std() < 1e-3


def test_a_player_who_sways_is_on_no_grid() -> None:
    rng = np.random.default_rng(3)
    sound = np.zeros(50 * RATE, np.float32)
    at, index = 0.5, 0
    while at < 48:
        note = chord(["C", "Am", "F", "G"][index // 4 % 4], 1.0, rate=RATE)
        start = round(at * RATE)
        sound[start : start + len(note)] += note[: len(sound) - start]
        at += 60 / 66 * (1 + 0.22 * np.sin(index / 5) + rng.normal(0, 0.07))
        index += 1
    rhythm = rhythm_of(sound)
    assert not rhythm.on_grid
    if rhythm.bpm is not None:
        assert rhythm.tempo_varies is True
        assert rhythm.stability is not None
        assert rhythm.stability < 0.7
        assert rhythm.bpm_confidence < 0.5


def wandering(seed: int) -> tuple[Sound, np.ndarray]:
    """(n,) fourteen seconds of a melody around 132 beats a minute, whose tempo drifts; and the seconds of its beats."""
    rng = np.random.default_rng(seed)
    drift = np.cumsum(rng.normal(0, 0.03, 30))
    beats = np.cumsum(60 / 132 * np.exp(drift - drift.mean() + rng.normal(0, 0.03, 30)))
    sound = np.zeros(round((beats[-1] + 1) * RATE), np.float32)
    for number, (beat, following) in enumerate(pairwise(beats)):
        for at in (beat, (beat + following) / 2) if rng.random() < 0.5 else (beat,):
            note = tone(60 + int(rng.integers(0, 12)) - (12 if number % 4 == 0 else 0), 0.5, rate=RATE)
            start = round(at * RATE)
            sound[start : start + len(note)] += note[: len(sound) - start]
    return sound, beats


@pytest.mark.parametrize("seed", [3, 38, 69, 103])
def test_who_wanders_for_a_few_seconds_is_on_no_grid_although_one_lies_near_by_chance(seed: int) -> None:
    sound, beats = wandering(seed)
    rhythm = rhythm_of(sound)
    assert not rhythm.on_grid
    assert rhythm.tempo_varies is True
    assert rhythm.bpm == pytest.approx(60 / np.diff(beats).mean(), rel=0.02)


@pytest.mark.parametrize("seed", [62, 93])
def test_beats_of_who_wanders_are_followed_again_at_the_tempo_that_was_found(seed: int) -> None:
    sound, beats = wandering(seed)
    assert f_measure(rhythm_of(sound).beats, beats[:-1]) > 0.9


def swaying(seed: int) -> tuple[Sound, np.ndarray]:
    """(n,) a melody at 112 beats a minute more or less, louder between the beats than on them; and where they are."""
    rng = np.random.default_rng(seed)
    beats = 0.3 + np.cumsum(60 / 112 * (1 + 0.06 * np.sin(np.arange(46) / 4)))
    sound = np.zeros(round((beats[-1] + 1) * RATE), np.float32)
    for number, (beat, following) in enumerate(pairwise(beats)):
        for part, likely, loud in ((0.0, 0.9, 1.0), (0.5, 0.5, 2.0), (0.75, 0.15, 2.0)):
            if rng.random() < likely:
                pitch = 60 + int(rng.integers(0, 12)) - (12 if number % 4 == 0 else 0)
                note = np.float32(loud) * tone(pitch, 0.5, rate=RATE)
                start = round((beat + part * (following - beat) + rng.normal(0, 0.01)) * RATE)
                sound[start : start + len(note)] += note[: len(sound) - start]
    return sound, beats


@pytest.mark.parametrize("seed", [5, 14])
def test_beats_of_a_player_who_sways_are_kept_although_the_notes_between_them_are_louder(seed: int) -> None:
    sound, beats = swaying(seed)
    rhythm = rhythm_of(sound)
    assert not rhythm.on_grid
    assert f_measure(rhythm.beats, beats[:-1]) > 0.9


def struck_at(seconds: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """An onset curve of unit mean with strokes of a strength at some seconds, and the frames they are in."""
    frames = np.rint(seconds * FRAME_RATE).astype(np.intp)
    curve = np.ones(2400, np.float32)
    curve[frames] = strength
    return curve, frames.astype(np.float64)


EVEN = np.arange(0, 20, 0.5)


@pytest.mark.parametrize(
    ("beats", "strength", "expected"),
    [
        pytest.param(EVEN, 5.0, 0.5, id="followed well"),
        pytest.param(np.append(EVEN[:30], 15 + 0.52 * np.arange(10)), 5.0, 0.505, id="slowing down: the mean of all"),
        pytest.param(EVEN, 3.0, 0.52, id="on weak onsets"),
        pytest.param(1.15 * EVEN, 5.0, 0.52, id="to another tempo"),
        pytest.param(np.concatenate([EVEN, 20 + 0.8 * np.arange(8)]), 5.0, 0.52, id="another median than mean"),
        pytest.param(EVEN[:5], 5.0, 0.52, id="a few"),
    ],
)
def test_the_tempo_is_that_of_the_beats_where_they_were_followed_well(
    beats: np.ndarray, strength: float, expected: float
) -> None:
    curve, frames = struck_at(beats, strength)
    assert _as_followed(curve, frames, 0.52) == pytest.approx(expected, abs=0.001)


def test_the_chosen_tempo_is_the_likeliest_and_all_add_up_to_one_at_most() -> None:
    for bpm, seed in ((90, 1), (128, 2), (70, 3)):
        noisy = played(ROCK, bpm, 20) + 0.05 * np.random.default_rng(seed).standard_normal(20 * RATE)
        rhythm = rhythm_of(noisy.astype(np.float32))
        likelihoods = [likelihood for _, likelihood in rhythm.candidates]
        assert likelihoods[0] == rhythm.bpm_confidence == max(likelihoods)
        assert sum(likelihoods) <= 1.0 + 1e-6
