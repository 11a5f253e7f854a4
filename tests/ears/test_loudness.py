"""The loudness meter against the signals of EBU Tech 3341 and 3342, made here as the standards describe them."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.ears.loudness import Loudness, Meter, _TruePeak, channel_weights, k_weighting
from tests.ears.sounds import Sound, noise, silence, sine, stereo

RATE = 48_000
FIVE_ONE = ("FL", "FR", "FC", "LFE", "BL", "BR")


def read(sound: Sound, *, rate: int = RATE, channels: tuple[str, ...] = ("FL", "FR"), block: int = 65_536) -> Loudness:
    meter = Meter(rate, channels)
    for start in range(0, sound.shape[1], block):
        meter.push(sound[:, start : start + block])
    return meter.finish()


def tones(*parts: tuple[float, float], hertz: float = 1000.0) -> Sound:
    return stereo(np.concatenate([sine(hertz, seconds, level, rate=RATE) for level, seconds in parts]))


@pytest.mark.parametrize(
    ("number", "parts", "expected"),
    [
        (1, [(-23, 20)], -23.0),
        (2, [(-33, 20)], -33.0),
        (3, [(-36, 10), (-23, 60), (-36, 10)], -23.0),
        (4, [(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
        (5, [(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
    ],
)
def test_integrated_loudness_of_the_tech_3341_signals_is_within_a_tenth(
    number: int, parts: list[tuple[float, float]], expected: float
) -> None:
    assert read(tones(*parts)).integrated == pytest.approx(expected, abs=0.1), number


def test_a_five_one_signal_is_weighed_by_channel_and_its_low_frequency_channel_ignored() -> None:
    levels = {"FL": -28.0, "FR": -28.0, "FC": -24.0, "LFE": -5.0, "BL": -30.0, "BR": -30.0}
    sound = np.stack([sine(1000, 20, levels[name], rate=RATE) for name in FIVE_ONE])
    assert read(sound, channels=FIVE_ONE).integrated == pytest.approx(-23.0, abs=0.1)


def test_short_term_loudness_is_steady_over_the_alternating_tone_of_test_nine() -> None:
    loudness = read(tones(*[(-20, 1.34), (-30, 1.66)] * 5))
    assert loudness.short_term_max == pytest.approx(-23.0, abs=0.1)
    # The curve is centred: from a second and a half on it sees whole windows.
    assert loudness.short_term[20:-20] == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("offset", [0.0, 0.025, 0.15, 0.475])
def test_momentary_maximum_catches_a_tone_of_400_ms_wherever_it_falls(offset: float) -> None:
    # Test 13 demands it of a meter that updates ten times a second, within what a step of 100 ms can miss.
    sound = stereo(
        np.concatenate([silence(1 + offset, rate=RATE), sine(1000, 0.5, -23, rate=RATE), silence(1, rate=RATE)])
    )
    assert read(sound).momentary_max == pytest.approx(-23.0, abs=0.1)


def test_short_term_maximum_catches_a_tone_of_three_seconds() -> None:
    sound = stereo(np.concatenate([silence(2.05, rate=RATE), sine(1000, 3.1, -23, rate=RATE), silence(2, rate=RATE)]))
    assert read(sound).short_term_max == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)],
)
def test_loudness_range_of_the_tech_3342_signals_is_within_one(levels: tuple[float, ...], expected: float) -> None:
    assert read(tones(*((level, 20) for level in levels))).range == pytest.approx(expected, abs=1.0)


@pytest.mark.parametrize(
    ("divisor", "degrees", "level", "expected"),
    [(4, 0, -6.0, -6.0), (4, 45, -6.0, -6.0), (6, 60, -6.0, -6.0), (8, 67.5, -6.0, -6.0), (4, 45, 3.0, 3.0)],
)
def test_true_peak_of_the_tech_3341_signals_is_found_between_the_samples(
    divisor: int, degrees: float, level: float, expected: float
) -> None:
    sound = stereo(sine(RATE / divisor, 1, level, rate=RATE, phase=np.deg2rad(degrees)))
    sound[:, : RATE // 10] *= np.linspace(0, 1, RATE // 10, dtype=np.float32)
    sound[:, -RATE // 10 :] *= np.linspace(1, 0, RATE // 10, dtype=np.float32)
    assert -0.4 <= (read(sound).true_peak or -99) - expected <= 0.2


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 88_200, 96_000, 192_000])
def test_the_meter_reads_the_same_at_every_sample_rate(rate: int) -> None:
    loudness = read(stereo(sine(1000, 8, -23, rate=rate)), rate=rate)
    assert loudness.integrated == pytest.approx(-23.0, abs=0.1)
    assert loudness.true_peak == pytest.approx(-23.0, abs=0.2)


def test_a_mono_tone_reads_three_decibels_less_than_on_both_sides() -> None:
    assert read(sine(997, 5, 0, rate=RATE)[None], channels=("FC",)).integrated == pytest.approx(-3.01, abs=0.05)


def test_the_size_of_blocks_changes_nothing() -> None:
    sound = stereo(noise(6, -18, rate=RATE))
    whole, pieces = read(sound, block=10**9), read(sound, block=977)
    assert pieces.integrated == pytest.approx(whole.integrated, abs=1e-4)
    assert pieces.range == pytest.approx(whole.range, abs=1e-4)
    assert pieces.true_peak == pytest.approx(whole.true_peak, abs=1e-4)
    assert np.array_equal(pieces.lows, whole.lows)
    assert np.array_equal(pieces.highs, whole.highs)


@pytest.mark.parametrize("rate", [11_025, 44_100, 96_000])
def test_what_the_search_for_the_true_peak_passes_over_could_not_have_been_it(rate: int) -> None:
    rng = np.random.default_rng(rate)
    between = 0
    for width in (1, 2, 3, 6) * 5:
        sound = rng.standard_normal((2, 6000)) * np.interp(np.arange(6000), np.arange(0, 6001, 500), rng.random(13))
        shape = np.hanning(width + 2)[1:-1]
        smooth = np.stack([np.convolve(plane, shape, mode="valid") for plane in sound]).astype(np.float32)
        quick, thorough = _TruePeak(rate), _TruePeak(rate)
        thorough._gain = thorough._swing = np.inf  # so that nothing is passed over
        for start in range(0, smooth.shape[1], 977):
            quick.push(smooth[:, start : start + 977])
            thorough.push(smooth[:, start : start + 977])
        assert quick.finish() == pytest.approx(thorough.finish(), rel=1e-6)
        between += quick.highest > 1.01 * np.abs(smooth).max()
    assert between > 5


def test_a_large_offset_does_not_drown_what_is_quiet() -> None:
    quiet = stereo(noise(6, -60, rate=RATE))
    # The offset's own onset is an impulse, which the two gates leave out.
    assert read(quiet + np.float32(0.5)).momentary[30:] == pytest.approx(read(quiet).momentary[30:], abs=0.1)


def test_silence_and_hardly_anything_have_no_loudness_rather_than_a_number() -> None:
    quiet = read(stereo(silence(5, rate=RATE)))
    assert (quiet.integrated, quiet.range, quiet.momentary_max, quiet.true_peak, quiet.rms) == (None,) * 5
    short = read(stereo(sine(1000, 0.3, -10, rate=RATE)))
    assert (short.integrated, short.range, short.short_term_max) == (None, None, None)
    assert short.sample_peak == pytest.approx(-10, abs=0.1)


def test_an_offset_alone_is_not_loud() -> None:
    loudness = read(np.full((2, 5 * RATE), 0.5, np.float32))
    # Switching it on is an impulse; what lasts is nothing.
    assert loudness.short_term[25] < -70


def test_clipping_is_counted_in_runs_and_a_lone_peak_is_not_clipping() -> None:
    sound = stereo(sine(100, 2, -6, rate=RATE))
    sound[:, 1000] = 1.0
    assert read(sound).clipped_share == 0.0
    assert read(np.clip(sound * 4, -1, 1)).clipped_share == pytest.approx(2 / np.pi * np.arccos(0.5), abs=0.01)


def test_the_outline_holds_every_peak() -> None:
    sound = stereo(silence(3, rate=RATE))
    sound[0, 70_001], sound[1, 100_000] = 0.9, -0.8
    loudness = read(sound)
    assert loudness.highs[70_001 // 960] == np.float32(0.9)
    assert loudness.lows[100_000 // 960] == np.float32(-0.8)
    assert np.count_nonzero(loudness.highs) == np.count_nonzero(loudness.lows) == 1


def test_the_weighting_is_the_one_the_standard_prints_for_48_khz() -> None:
    shelf, high_pass = k_weighting(48_000)
    assert shelf == pytest.approx(
        [1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585], abs=1e-9
    )
    assert high_pass == pytest.approx([1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621], abs=1e-9)


def test_backs_are_surrounds_only_where_there_are_no_sides() -> None:
    assert channel_weights(FIVE_ONE).tolist() == [1, 1, 1, 0, 1.41, 1.41]
    assert channel_weights(("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR")).tolist() == [1, 1, 1, 0, 1, 1, 1.41, 1.41]
    assert channel_weights(("FL", "FR")).tolist() == [1, 1]
