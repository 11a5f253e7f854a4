"""Keys, tuning and chords from sounds whose notes are known."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.ears.chords import hear_chords, progression
from adapters.ears.decode import ANALYSIS_RATE
from adapters.ears.key import (
    KINDS,
    Key,
    chroma,
    key_probabilities,
    modal_key,
    pitch_salience,
    ranked,
    shows_mode,
    tuning_semitones,
)
from adapters.ears.spectrum import CHORD_RATE, TONAL_BINS, Listener
from domain.analyses.findings import Chord
from tests.ears.sounds import NOTES, Sound, chord, chords, noise, sine

NONE = np.zeros(0)


def tonal_of(sound: Sound) -> Sound:
    listener = Listener()
    listener.feed(sound)
    return listener.finish().tonal.astype(np.float32)


def salience_of(sound: Sound) -> Sound:
    tonal = tonal_of(sound)
    return pitch_salience(tonal, tuning_semitones(tonal))


def transposed(names: str, steps: int) -> str:
    by_number = {number: name for name, number in NOTES.items()}
    moved = [
        by_number[(NOTES[name.removesuffix("m")] + steps) % 12] + "m" * name.endswith("m") for name in names.split()
    ]
    return " ".join(moved)


def played(names: str, seconds_each: float = 1.0) -> Sound:
    return chords(names, seconds_each, rate=ANALYSIS_RATE)


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize(
    ("cadence", "tonic", "scale"),
    [("C F G C Am Dm G C", 0, "major"), ("Am Dm E Am F Dm E Am", 9, "minor")],
)
def test_a_cadence_is_heard_in_its_key_wherever_it_is_played(cadence: str, tonic: int, scale: str, steps: int) -> None:
    key = ranked(key_probabilities(salience_of(played(transposed(cadence, steps)))))[0]
    assert (key.tonic, key.scale) == ((tonic + steps) % 12, scale)
    assert key.confidence > 0.7


def test_probabilities_turn_with_the_music_and_add_up_to_one() -> None:
    salience = salience_of(played("C Am F G C"))
    here, higher = key_probabilities(salience), key_probabilities(np.roll(salience, 1, axis=1))
    assert here.sum() == pytest.approx(1)
    assert higher == pytest.approx(np.concatenate([np.roll(here[:12], 1), np.roll(here[12:], 1)]), abs=0.1)


@pytest.mark.parametrize("sound", [noise(10, -15, rate=ANALYSIS_RATE), np.zeros(100_000, np.float32)])
def test_noise_and_silence_are_in_no_key(sound: Sound) -> None:
    assert key_probabilities(salience_of(sound)).max() < 0.15


def test_nothing_at_all_has_even_odds() -> None:
    assert key_probabilities(np.zeros((0, 96), np.float32)) == pytest.approx(1 / 24)


@pytest.mark.parametrize("cents", [-40, -15, 0, 20, 40])
def test_tuning_is_heard_to_a_few_cents(cents: float) -> None:
    sound = np.concatenate([chord(name, 1.0, rate=ANALYSIS_RATE, cents=cents) for name in ("C", "F", "G", "C")])
    assert 100 * tuning_semitones(tonal_of(sound)) == pytest.approx(cents, abs=4)


def test_silence_is_tuned_like_everything_else() -> None:
    assert tuning_semitones(np.zeros((10, TONAL_BINS), np.float32)) == 0.0


@pytest.mark.parametrize("midi", [36, 48, 57, 60, 69, 81])
def test_a_pure_tone_stands_out_in_its_own_pitch_class(midi: int) -> None:
    strengths = chroma(salience_of(sine(440 * 2 ** ((midi - 69) / 12), 3, rate=ANALYSIS_RATE))).mean(axis=0)
    assert strengths.argmax() == midi % 12
    assert strengths[midi % 12] > 5 * np.sort(strengths)[-2]


def test_the_camelot_wheel_is_the_one_djs_know() -> None:
    known = {
        "C": "8B",
        "Am": "8A",
        "G": "9B",
        "Em": "9A",
        "F": "7B",
        "Ab": "4B",
        "Fm": "4A",
        "B": "1B",
        "Abm": "1A",
        "Ebm": "2A",
    }
    for notation, camelot in known.items():
        tonic = NOTES[notation.removesuffix("m")]
        assert Key(tonic, "minor" if notation.endswith("m") else "major", 1.0).camelot == camelot


def test_chords_are_named_and_placed() -> None:
    heard = hear_chords(salience_of(played("C Am F G Em Dm", 2.0)), CHORD_RATE, np.arange(0, 12, 0.5), 12.0)
    assert [one.name for one in heard] == ["C", "Am", "F", "G", "Em", "Dm"]
    assert [one.start for one in heard] == pytest.approx([0, 2, 4, 6, 8, 10], abs=0.5)
    assert heard[0].start == 0.0
    assert heard[-1].end == 12.0


def test_without_beats_chords_change_on_a_grid() -> None:
    heard = hear_chords(salience_of(played("C G", 2.0)), CHORD_RATE, NONE, 4.0)
    assert [one.name for one in heard] == ["C", "G"]


def test_silence_holds_no_chord() -> None:
    heard = hear_chords(np.zeros((20, 96), np.float32), CHORD_RATE, NONE, 20 / CHORD_RATE)
    assert {one.name for one in heard} == {"N"}
    assert hear_chords(np.zeros((0, 96), np.float32), CHORD_RATE, NONE, 0.0) == ()


def test_a_row_of_four_that_comes_back_is_the_progression() -> None:
    row = ("C", "G", "Am", "F")
    there = tuple(Chord(start=2.0 * i, end=2.0 * i + 2, name=name) for i, name in enumerate(row * 4))
    assert set(progression(there, 2.0)) == set(row)
    assert progression(there[:7], 2.0) == ()


@pytest.mark.parametrize(
    ("kind", "tonic", "key", "named"),
    [
        ("mixolydian", 7, Key(0, "major", 0.9), (7, "major", "mixolydian")),
        ("dorian", 2, Key(0, "major", 0.9), (2, "minor", "dorian")),
        ("blues", 0, Key(9, "minor", 0.9), (0, "major", None)),
        ("lydian", 5, Key(6, "major", 0.9), None),
        ("major", 0, Key(0, "major", 0.9), None),
    ],
)
def test_a_mode_is_named_where_it_is_likely_and_its_notes_are_those_of_the_key(
    kind: str, tonic: int, key: Key, named: tuple[int, str, str | None] | None
) -> None:
    modes = np.full((7, 12), 0.001)
    modes[KINDS.index(kind), tonic] = 0.9
    found = modal_key(modes, key)
    assert (None if found is None else (found.tonic, found.scale, found.mode)) == named
    modes[KINDS.index(kind), tonic] = 0.5
    assert modal_key(modes, key) is None, "it is not clear"


def test_a_short_excerpt_and_a_chord_held_show_no_mode() -> None:
    moving = np.tile(np.eye(12, dtype=np.float32)[[0, 5, 7, 10]], (40, 1))
    assert shows_mode(moving, 20)
    assert not shows_mode(moving, 8)
    assert not shows_mode(np.tile(moving[:1], (160, 1)), 20)
