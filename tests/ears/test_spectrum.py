from __future__ import annotations

import numpy as np
import pytest

from adapters.ears.decode import ANALYSIS_RATE
from adapters.ears.spectrum import (
    CHORD_RATE,
    FRAME_RATE,
    MOMENT_RATE,
    Listener,
    Spectra,
    band_centres,
    tonal_midi,
)
from tests.ears.grooves import RATE, ROCK, played, spectra_of
from tests.ears.sounds import noise, sine


def test_portions_of_any_size_give_the_same_features() -> None:
    sound = played(ROCK, 120, 9)
    whole, listener, at = spectra_of(sound), Listener(), 0
    for size in np.random.default_rng(1).integers(1, 40_000, 40):
        listener.feed(sound[at : at + size])
        at += int(size)
    listener.feed(sound[at:])
    parts = listener.finish()
    for name in Spectra.__struct_fields__:
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("midi", [28, 45, 57, 59, 60, 69, 88, 100, 119])
def test_a_note_reads_its_amplitude_at_its_pitch_and_nowhere_else(midi: int) -> None:
    hertz = 440 * 2 ** ((midi - 69) / 12)
    tonal = spectra_of(sine(hertz, 6, -12.0412, rate=RATE)).tonal
    middle = tonal[len(tonal) // 2]
    assert tonal_midi()[int(np.argmax(middle))] == midi
    assert middle.max() == pytest.approx(0.25, rel=0.02)
    far = np.abs(tonal_midi() - midi) > 1.5
    assert middle[far].max() < 0.02 * middle.max()


def test_noise_grows_evenly_with_the_width_of_pitches_up_to_the_highest() -> None:
    strengths = spectra_of(noise(6, rate=RATE)).tonal.astype(np.float32).mean(axis=0)[-24:]
    assert strengths[1:] / strengths[:-1] == pytest.approx(np.full(23, 1.02), abs=0.09)


def test_a_click_is_heard_when_it_sounds() -> None:
    sound = np.zeros(RATE * 4, np.float32)
    sound[RATE * 2] = 1.0
    spectra = spectra_of(sound)
    assert np.argmax(spectra.rms > 0) / FRAME_RATE == pytest.approx(2.0, abs=0.03)
    loud = spectra.levels.astype(np.float32).sum(axis=1)
    assert np.argmax(loud) / FRAME_RATE == pytest.approx(2.0, abs=0.012)


def test_the_three_clocks_cover_the_whole_recording() -> None:
    spectra = spectra_of(noise(7.3, rate=RATE))
    assert spectra.seconds == pytest.approx(7.3, abs=1e-3)
    for series, rate in (
        (spectra.levels, FRAME_RATE),
        (spectra.rms, FRAME_RATE),
        (spectra.centroid, MOMENT_RATE),
        (spectra.tonal, CHORD_RATE),
    ):
        assert len(series) == pytest.approx(7.3 * rate, abs=1.01)


def test_descriptors_tell_a_low_tone_a_high_tone_and_noise_apart() -> None:
    low, high, hiss = (
        spectra_of(sound) for sound in (sine(200, 3, rate=RATE), sine(4000, 3, rate=RATE), noise(3, rate=RATE))
    )
    middle = slice(20, 40)
    assert low.centroid[middle].mean() == pytest.approx(200, rel=0.2)
    assert high.centroid[middle].mean() == pytest.approx(4000, rel=0.1)
    assert high.rolloff[middle].mean() == pytest.approx(4000, rel=0.05)
    assert high.crossings[middle].mean() == pytest.approx(2 * 4000 / ANALYSIS_RATE, rel=0.05)
    assert hiss.flatness[middle].mean() > 0.4 > 0.05 > low.flatness[middle].mean()
    assert low.rms[100:200].mean() == pytest.approx(0.1 / np.sqrt(2), rel=0.02)


def test_bands_read_the_level_of_a_tone_within_them() -> None:
    centre = float(band_centres()[25])
    levels = spectra_of(sine(centre, 3, -20.0, rate=RATE)).levels[100]
    assert int(np.argmax(levels)) == 25
    assert float(levels[25]) == pytest.approx(-20, abs=3)
    assert float(levels[10]) < -70


def test_silence_and_nothing_are_heard_as_such() -> None:
    silent = spectra_of(np.zeros(RATE, np.float32))
    assert (silent.levels == -120).all()
    assert not silent.tonal.any()
    assert not silent.centroid.any()
    nothing = spectra_of(np.zeros(0, np.float32))
    assert nothing.seconds == 0
    assert len(nothing.levels) == len(nothing.tonal) == len(nothing.centroid) == 0


def test_three_hours_of_features_fit_into_150_megabytes() -> None:
    spectra = spectra_of(noise(30, rate=RATE))
    size = sum(np.asarray(getattr(spectra, name)).nbytes for name in Spectra.__struct_fields__)
    assert size / 30 * 3 * 3600 < 150e6
