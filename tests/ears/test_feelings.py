"""Energy, danceability, valence, moods and genres: monotone, bounded, and unsure where they should be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec.structs import replace

from adapters.ears import descriptors, genres
from adapters.ears.descriptors import (
    Traits,
    danceability,
    energy,
    feel,
    mood_strengths,
    tempo_comfort,
    tempo_stability,
    valence,
)
from adapters.ears.genres import GENRES, genre_fits, suggest

MIDDLING = Traits(
    loudness_lufs=-16.0, loudness_range_lu=6.0, bpm=118.0, bpm_confidence=0.8, tempo_stability=0.9, onset_rate=3.0,
    pulse_clarity=0.4, attack=0.4, brightness_hz=1500.0, flatness=0.02, bass_share=0.4, kick_on_beats=0.3,
    hats_between_beats=0.1, backbeat=0.15, majorness=0.5, tonality=0.5, harmonic_change=0.3,
)  # fmt: skip

shares = some.floats(0, 1)
anything = some.builds(
    Traits,
    loudness_lufs=some.floats(-69, 3), loudness_range_lu=some.floats(0, 40),
    bpm=some.none() | some.floats(30, 300), bpm_confidence=shares, tempo_stability=shares,
    onset_rate=some.floats(0, 30), pulse_clarity=shares, attack=shares, brightness_hz=some.floats(0, 11_000),
    flatness=shares, bass_share=shares,
    kick_on_beats=shares, hats_between_beats=shares, backbeat=shares, majorness=shares, tonality=shares,
    harmonic_change=shares,
)  # fmt: skip


@given(anything)
def test_every_measure_stays_between_none_and_all(traits: Traits) -> None:
    feelings = feel(traits)
    numbers = [feelings.energy, feelings.danceability, feelings.valence, *mood_strengths(traits).values()]
    numbers += [suggest(traits).confidence, *genre_fits(traits).values()]
    assert all(0 <= number <= 1 for number in numbers)
    assert len(feelings.moods) <= descriptors.MOODS_MAX


@pytest.mark.parametrize(
    ("measure", "trait"),
    [
        (energy, "loudness_lufs"), (energy, "onset_rate"), (energy, "attack"), (energy, "brightness_hz"),
        (danceability, "pulse_clarity"), (danceability, "kick_on_beats"), (danceability, "tempo_stability"),
        (valence, "majorness"), (valence, "bpm"), (valence, "brightness_hz"), (valence, "pulse_clarity"),
    ],
)  # fmt: skip
@given(anything, some.floats(0, 1))
def test_more_of_a_trait_never_means_less_of_what_it_stands_for(
    measure: object, trait: str, traits: Traits, more: float
) -> None:
    if traits.bpm is None and trait == "bpm":
        return
    assert callable(measure)
    value = getattr(traits, trait)
    raised = replace(traits, **{trait: value + more * (abs(value) + 1)})
    assert measure(raised) >= measure(traits) - 1e-12


def test_energy_and_valence_place_the_moods_on_the_circle() -> None:
    furious = replace(
        MIDDLING, loudness_lufs=-6.0, onset_rate=7.0, attack=0.9, brightness_hz=4000.0, flatness=0.2, majorness=0.0
    )
    sad = replace(
        MIDDLING,
        loudness_lufs=-30.0,
        onset_rate=0.8,
        attack=0.1,
        brightness_hz=500.0,
        majorness=0.0,
        bpm=62.0,
        tonality=0.8,
    )
    glad = replace(MIDDLING, loudness_lufs=-9.0, onset_rate=5.0, majorness=1.0, bpm=140.0, brightness_hz=3000.0)
    assert {"energetic", "aggressive"} & set(feel(furious).moods)
    assert {"melancholic", "calm"} <= set(feel(sad).moods)
    assert {"uplifting", "bright"} <= set(feel(glad).moods)
    assert valence(glad) > valence(MIDDLING) > valence(sad)


def test_dancing_is_most_comfortable_at_two_beats_a_second() -> None:
    assert tempo_comfort(120) == 1.0
    assert tempo_comfort(60) == pytest.approx(tempo_comfort(240))
    assert tempo_comfort(90) < tempo_comfort(110)
    assert tempo_comfort(None) == 0.0


def test_a_machine_is_steady_and_a_drunkard_is_not() -> None:
    rng = np.random.default_rng(0)
    assert tempo_stability(np.arange(0, 60, 0.5)) == 1.0
    assert tempo_stability(np.cumsum(0.5 + 0.1 * rng.standard_normal(120))) < 0.5
    assert tempo_stability(np.cumsum(np.linspace(0.4, 0.6, 120))) < 0.8
    assert tempo_stability(np.zeros(0)) == 0.0


def test_the_pulse_is_clear_in_clicks_and_absent_in_noise() -> None:
    clicks = np.zeros(2048, np.float32)
    clicks[::43] = 1
    assert descriptors.pulse_clarity(clicks) > 0.9
    assert descriptors.pulse_clarity(np.random.default_rng(0).random(2048).astype(np.float32)) < 0.3
    assert descriptors.pulse_clarity(clicks[:100]) == 0.0


TECHNO = replace(
    MIDDLING, bpm=134.0, bpm_confidence=1.0, tempo_stability=1.0, kick_on_beats=0.8, pulse_clarity=0.9, flatness=0.05,
    harmonic_change=0.02, tonality=0.15, loudness_lufs=-8.0, majorness=0.4,
)  # fmt: skip
SONATA = replace(
    MIDDLING, bpm=None, bpm_confidence=0.0, loudness_lufs=-28.0, pulse_clarity=0.2, flatness=0.0005, tonality=0.8,
    harmonic_change=0.5, kick_on_beats=0.0, bass_share=0.05, attack=0.2,
)  # fmt: skip


def test_a_clear_case_is_named_without_asking_for_a_review() -> None:
    assert (suggest(TECHNO).suggestions[0], suggest(TECHNO).review) == ("techno", None)
    assert (suggest(SONATA).suggestions[0], suggest(SONATA).review) == ("classical", None)


def test_two_that_fit_alike_are_both_named_and_sent_to_review() -> None:
    between = replace(TECHNO, bpm=126.0, tonality=0.5, hats_between_beats=0.7, harmonic_change=0.1)
    genre = suggest(between)
    assert set(genre.suggestions) == {"techno", "house"}
    assert genre.review in {"close_scores", "low_confidence"}


def test_what_fits_nothing_is_said_to_lie_outside() -> None:
    odd = replace(
        MIDDLING, bpm=None, bpm_confidence=0.0, flatness=0.5, tonality=0.0, loudness_lufs=-12.0, onset_rate=12.0,
        harmonic_change=0.0, pulse_clarity=0.1,
    )  # fmt: skip
    assert suggest(odd).review == "out_of_taxonomy"


@given(anything)
def test_an_unsure_genre_always_asks_for_a_review(traits: Traits) -> None:
    genre = suggest(traits)
    assert set(genre.suggestions) <= set(GENRES)
    assert genre.review is not None or (genre.confidence >= genres.SURE and genre.suggestions)
    assert math.isfinite(genre.confidence)
