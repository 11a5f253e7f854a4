from __future__ import annotations

import numpy as np
import pytest

from adapters.ears.beats import follow, frame_periods, in_phase, local_periods, sharpened
from adapters.ears.metre import bar_positions
from adapters.ears.network import WEIGHTS, chances, trained
from adapters.ears.onsets import attacks, local_mean, onset_frames
from adapters.ears.spectrum import FRAME_RATE
from adapters.ears.tapping import tapped_period
from adapters.ears.tempo import candidate_periods, pulse, refined
from tests.ears.grooves import RATE, ROCK, heard, played, spectra_of


def pulses(frames: int, every: float, first: float = 10.0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    curve = np.zeros(frames, np.float32)
    curve[np.rint(np.arange(first, frames, every)).astype(int)] = 1
    return curve


def test_beats_are_followed_through_pulses() -> None:
    curve = pulses(2000, 43.0)
    beats = follow(curve, np.full(2000, 43.0, np.float32))
    np.testing.assert_array_equal(beats, np.flatnonzero(curve))


def test_beats_go_on_where_a_stroke_is_missing() -> None:
    curve = pulses(2000, 43.0)
    curve[np.flatnonzero(curve)[20:23]] = 0
    beats = follow(curve, np.full(2000, 43.0, np.float32))
    assert np.abs(np.diff(beats) - 43).max() <= 3
    assert len(beats) == 47


def test_beats_follow_a_tempo_that_drifts() -> None:
    times = np.cumsum(np.linspace(50, 38, 60)) + 10
    curve = np.zeros(int(times[-1]) + 20, np.float32)
    curve[np.rint(times).astype(int)] = 1
    beats = follow(curve, np.interp(np.arange(len(curve)), times, np.linspace(50, 38, 60)).astype(np.float32))
    assert len(beats) == 60
    assert np.abs(beats - times).max() <= 1


def test_silence_has_no_beats() -> None:
    assert not len(follow(np.zeros(500, np.float32), np.full(500, 43.0, np.float32)))


def test_a_peak_is_read_between_frames() -> None:
    curve = np.zeros(100, np.float32)
    curve[49:52] = 0.5, 1.0, 0.9
    time = sharpened(curve, np.array([50.0]))[0]
    assert 50.2 < time * FRAME_RATE < 50.5


def test_the_local_tempo_is_found_from_look_to_look() -> None:
    sound = np.concatenate([played(ROCK, 120, 50), played(ROCK, 132, 50)])
    looks = pulse(heard(sound)).looks
    periods = local_periods(looks, 60 / 120)
    assert 60 / periods[0] == pytest.approx(120, rel=0.01)
    assert 60 / periods[-1] == pytest.approx(132, rel=0.01)
    assert len(frame_periods(periods, 5000)) == 5000


def test_the_true_period_is_among_the_candidates_and_refined_to_a_thousandth() -> None:
    pulses = pulse(heard(played(ROCK, 117.3, 24)))
    nearest = min(candidate_periods(pulses), key=lambda period: abs(60 / float(period) - 117.3))
    assert 60 / float(nearest) == pytest.approx(117.3, rel=0.002)
    assert refined(pulses.repetition[0], 60 / 119) == pytest.approx(60 / 117.3, rel=0.002)


def test_beats_on_the_off_beat_are_moved_to_the_beat() -> None:
    sound = played({"kick": "x...x...x...x...", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."}, 120, 20)
    signals = pulse(heard(sound)).signals
    true = np.arange(0, 19, 0.5) * FRAME_RATE
    moved = in_phase(signals, true + 0.25 * FRAME_RATE)
    assert np.median(np.abs(moved[:, None] - true).min(axis=1)) / FRAME_RATE < 0.05
    kept = in_phase(signals, true)
    np.testing.assert_array_equal(kept, true)


def test_bars_are_counted_on_where_the_evidence_is_weak_and_anew_where_it_is_strong() -> None:
    evidence = np.tile([3.0, -1, -1, -1], 6)
    assert bar_positions(evidence, 4).tolist() == [0, 1, 2, 3] * 6
    weak = evidence.copy()
    weak[8] = -1.0
    assert bar_positions(weak, 4).tolist() == [0, 1, 2, 3] * 6
    broken = np.concatenate([evidence, [-1.0, -1.0], evidence])
    firsts = np.flatnonzero(bar_positions(broken, 4) == 0)
    assert firsts.tolist() == [*range(0, 24, 4), *range(26, 50, 4)]


def test_attacks_do_not_depend_on_how_loud_the_recording_is() -> None:
    sound = played(ROCK, 120, 8)
    loud, quiet = (attacks(spectra_of(gain * sound).levels) for gain in (np.float32(1), np.float32(0.03)))
    assert np.corrcoef(loud.sum(axis=1), quiet.sum(axis=1))[0, 1] > 0.98
    assert quiet.max() == pytest.approx(loud.max(), rel=0.15)


def test_onsets_are_where_strokes_are() -> None:
    sound = np.zeros(RATE * 4, np.float32)
    for second in (1.0, 1.7, 2.9):
        sound[round(second * RATE) : round(second * RATE) + 800] = 0.5 * np.random.default_rng(2).standard_normal(800)
    curve = attacks(spectra_of(sound).levels).sum(axis=1)
    times = onset_frames(curve, 0.3 * float(curve.max())) / FRAME_RATE
    assert times == pytest.approx([1.0, 1.7, 2.9], abs=0.03)


def test_the_local_mean_is_the_mean_of_what_there_is() -> None:
    values = np.arange(10, dtype=np.float32)
    assert local_mean(values, 4).tolist() == [1, 1.5, 2, 3, 4, 5, 6, 7, 7.5, 8]


def test_taps_have_a_period_only_when_there_are_enough() -> None:
    assert tapped_period(np.array([0.0, 0.5, 1.0])) is None
    assert tapped_period(np.array([0.0, 0.5, 1.0, 1.5, 2.6])) == 0.5


def test_the_networks_are_small_and_all_there() -> None:
    for name in ("tempo", "sureness", "metre", "phase", "phase_lasting", "downbeat", "bars"):
        assert (WEIGHTS / f"{name}.npz").stat().st_size < 200_000
        assert trained(name).mean.ndim == 1
    assert chances(np.array([1.0, 1.0, -50.0], np.float32)) == pytest.approx([0.5, 0.5, 0.0])
