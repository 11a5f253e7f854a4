"""What dies away and what holds: a bass drum has beats under it although the bass between them is louder."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.ears import lasting
from adapters.ears.beats import PARTS
from adapters.ears.lasting import UPPER_EDGES, folded_levels, register_levels
from adapters.ears.spectrum import FRAME_RATE
from adapters.ears.trace import Trace
from infra.training.bars import Known
from infra.training.club import club_piece
from infra.training.places import example_of, excerpts
from tests.ears.grooves import RATE, heard, played, rhythm_of
from tests.ears.sounds import Sound, noise, sine
from tests.ears.test_rhythm import found

BPM = 125.0
BEAT = 60 / BPM


def humming(bpm: float, bars: int, loud: float, *, kick: str = "x...") -> Sound:
    """(n,) a bass drum on every beat, and a sine that holds from the off-beat to the next stroke."""
    beat = 60 / bpm
    sound = 0.6 * played({"kick": kick}, bpm, bars * 4 * beat)
    for number in range(4 * bars):
        at = round((number + 0.5) * beat * RATE)
        hum = loud * sine(49.0, 0.48 * beat, 0.0, rate=RATE)
        hum *= np.minimum(1, np.arange(len(hum)) / (0.004 * RATE))
        sound[at : at + len(hum)] += hum[: len(sound) - at]
    return sound.astype(np.float32)


def row(trace: Trace, start: float = 0.0) -> np.ndarray:
    """Frames of the beats of a recording at `BPM`."""
    return np.arange(start, trace.seconds - BEAT, BEAT) * FRAME_RATE


@pytest.mark.parametrize("register", range(len(UPPER_EDGES)))
def test_what_fills_a_register_is_loudest_there(register: int) -> None:
    low, high = (30.0, *UPPER_EDGES)[register], min(UPPER_EDGES[register], 10_000.0)
    tones = [sine(hertz, 4.0, -30.0, rate=RATE, phase=hertz) for hertz in np.geomspace(1.1 * low, 0.9 * high, 40)]
    trace = heard((np.sum(tones, axis=0) + noise(4.0, -60.0, rate=RATE)).astype(np.float32))
    levels = register_levels(trace.cepstrum, trace.loudest)
    assert levels.shape == (len(trace.cepstrum), len(UPPER_EDGES))
    assert int(np.argmax(levels[20:-20].mean(axis=0))) == register


def test_a_bass_drum_dies_away_and_a_bass_holds_until_its_note_ends() -> None:
    drum, bass = heard(humming(BPM, 8, 0.0)), heard(humming(BPM, 8, 0.4, kick="."))
    struck, later, own = 1, 5, 1
    dying = folded_levels(drum, row(drum))[:, own]
    holding = folded_levels(bass, row(bass, BEAT / 2))[:, own]
    for first in (0, PARTS):
        assert dying[first + later] < dying[first + struck] - 1.5
        assert holding[first + later] > holding[first + struck] - 0.3


def test_levels_are_the_same_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = heard(humming(BPM, 12, 0.4))
    whole = folded_levels(trace, row(trace))
    monkeypatch.setattr(lasting, "BEATS_AT_ONCE", 6)
    np.testing.assert_allclose(folded_levels(trace, row(trace)), whole, atol=1e-5)


@pytest.mark.parametrize("beats", [0, 2])
def test_too_few_beats_have_no_levels(beats: int) -> None:
    trace = heard(humming(BPM, 2, 0.4))
    assert not folded_levels(trace, row(trace)[:beats]).any()


@pytest.mark.parametrize(("bpm", "loud"), [(120.0, 0.5), (124.0, 0.8), (128.0, 0.5), (128.0, 1.0), (136.0, 0.65)])
def test_beats_are_under_the_bass_drum_though_the_bass_between_them_is_louder(bpm: float, loud: float) -> None:
    rhythm = rhythm_of(humming(bpm, 16, loud))
    assert found(rhythm.beats, np.arange(0, 64 * 60 / bpm - 0.1, 60 / bpm)) > 0.9


def test_silence_around_music_changes_no_levels() -> None:
    sound = humming(BPM, 8, 0.4)
    rest = np.zeros(4 * RATE, np.float32)
    rhythm = rhythm_of(np.concatenate([rest, sound, rest]))
    assert found(rhythm.beats, 4 + np.arange(0, 32 * BEAT - 0.1, BEAT)) > 0.9


def test_dance_music_that_is_composed_keeps_its_beats_and_is_the_same_for_one_seed() -> None:
    for seed in range(3):
        performance, again = (club_piece(np.random.default_rng(seed), 16.0) for _ in range(2))
        np.testing.assert_array_equal(performance.sound, again.sound)
        assert np.allclose(np.diff(performance.beats), 60 / performance.bpm)
        assert np.allclose(np.diff(performance.downbeats), 240 / performance.bpm)
        assert np.isin(performance.downbeats.round(6), performance.beats.round(6)).all()
        assert 0 < np.abs(performance.sound).max() <= 1
        assert found(rhythm_of(performance.sound).beats, performance.beats) > 0.9


def test_the_place_of_beats_is_learned_from_the_piece_and_from_excerpts_of_it() -> None:
    trace = heard(humming(BPM, 16, 0.0))
    known = Known("club", BPM, 4, trace, np.arange(0, 64 * BEAT, BEAT), np.arange(0, 64 * BEAT, 4 * BEAT))
    parts = [example_of(one) for one in excerpts(known)]
    assert [one.place for one in parts if one is not None] == [0, 0, 0, 0]
    late = example_of(known._replace(beats=known.beats + BEAT / 2))
    assert late is not None
    assert late.place == PARTS // 2
