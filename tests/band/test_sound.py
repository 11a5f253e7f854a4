"""What is true of every sound that the band makes: no aliasing, no clicks, nothing constant, stems that add up."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from numpy.typing import NDArray
from scipy import signal

from adapters.band import effects, kit, waves
from adapters.band.compose import compose
from adapters.band.genres import PROFILES
from adapters.band.instruments import PATCHES, Instrument, tone
from adapters.band.kit import KITS, Drums
from adapters.band.master import Levels, master, measure, shelf
from adapters.band.render import STEMS, _filtered, mixed, stems
from adapters.band.score import Brief, Drum, Score, to_json
from adapters.band.waves import RATE, Sound

DRUMS: tuple[Drum, ...] = ("kick", "snare", "clap", "rim", "hat", "open_hat", "ride", "crash", "shaker", "tom", "conga")


def decibels(value: float) -> float:
    return 20 * float(np.log10(max(value, 1e-12)))


@lru_cache(maxsize=4)
def finished(genre: str) -> tuple[Score, Sound, Sound, Levels]:
    """A short piece, its mix before the master, the master and what the meter read."""
    score = compose(Brief(genre=genre, style="Dark", seed=11, seconds=12))
    mix = mixed(score)
    sound = mix.copy()
    return score, mix, sound, master(score, sound)


def spectrum_around(sound: NDArray[Any], hertz: float) -> tuple[float, float]:
    """The highest harmonic, and the highest thing between the harmonics, in dB."""
    window = signal.windows.kaiser(len(sound), 24)
    spectrum = np.abs(np.fft.rfft(sound.astype(np.float64) * window))
    frequencies = np.fft.rfftfreq(len(sound), 1 / RATE)
    distance = np.abs(frequencies / hertz - np.round(frequencies / hertz)) * hertz
    between = (distance > 45) & (frequencies > 60)
    return decibels(spectrum[~between].max()), decibels(spectrum[between].max())


@pytest.mark.parametrize("shape", ["saw", "square", "pulse", "triangle", "organ"])
@pytest.mark.parametrize("hertz", [110.3, 523.7, 1931.1, 4186.0])
def test_oscillators_do_not_alias(shape: str, hertz: float) -> None:
    t = np.arange(RATE) / RATE
    wave = waves.scan(waves.filtered_tables(shape, hertz, 0.7), hertz * t, 19_000.0)
    tone, alias = spectrum_around(wave, hertz)
    assert alias < tone - 60


@pytest.mark.parametrize("hertz", [261.6, 1046.5, 3951.0])
def test_modulation_and_saturation_stay_below_half_the_rate(hertz: float) -> None:
    t = np.arange(RATE) / RATE
    pushed = waves.modulated(hertz * t, 2.0, np.full(RATE, 3.0), hertz)
    tone, alias = spectrum_around(pushed, hertz)
    assert alias < tone - 60
    driven = waves.drive_oversampled(np.sin(2 * np.pi * hertz * t).astype(np.float32), 0.5)[2000:-2000]
    tone, alias = spectrum_around(driven, hertz)
    assert alias < tone - 60


#: What sounds beside its harmonics on purpose: breath, bars and bells, a stiff string, a bass against itself.
BESIDE_HARMONICS = {"bell", "choir", "choir lead", "flute", "glass", "piano", "reese"}


@pytest.mark.parametrize("name", sorted(PATCHES.keys() - BESIDE_HARMONICS))
def test_no_instrument_aliases_however_high_bright_and_driven(name: str) -> None:
    low = name in {"808", "sub", "saw bass", "square bass", "fm bass", "rumble", "upright"}
    # The rate is no multiple of these pitches, nor nearly: else harmonics would fold onto one another.
    pitch = 57 if low else 95
    sound = Instrument(name, drive=0.9, brightness=0.8).play(tone(pitch, 1.2, 0.9)).sum(axis=0)[8000:44_000]
    spectrum = np.abs(np.fft.rfft(sound.astype(np.float64) * signal.windows.kaiser(len(sound), 24)))
    harmonics = np.fft.rfftfreq(len(sound), 1 / RATE) / waves.frequency(pitch)
    # What folds lands anywhere, so also between the low harmonics, where detuned voices are close together.
    between = (np.abs(harmonics - np.round(harmonics)) > 0.2) & (harmonics < 8) & (harmonics > 0.5)
    assert decibels(spectrum[between].max()) < decibels(spectrum.max()) - 60


@pytest.mark.parametrize("pitch", [40, 52, 64, 76, 88])
def test_strings_and_bars_are_in_tune(pitch: int) -> None:
    hertz = waves.frequency(pitch)
    for name in ("pluck", "vibes", "upright"):
        sound = Instrument(name).play(tone(pitch, 1.2, 0.8))[0][2000:46_000]
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 19))
        frequencies = np.fft.rfftfreq(1 << 19, 1 / RATE)
        near = (frequencies > hertz * 0.94) & (frequencies < hertz * 1.06)
        found = frequencies[near][spectrum[near].argmax()]
        assert abs(1200 * np.log2(found / hertz)) < 6, (name, found, hertz)


@pytest.mark.parametrize("name", sorted(PATCHES))
def test_notes_begin_and_end_without_a_click(name: str) -> None:
    low = name in {"808", "sub", "saw bass", "square bass", "fm bass", "reese", "rumble", "upright"}
    for pitch in (31, 43) if low else (60, 79):
        sound = Instrument(name, drive=0.8).play(tone(pitch, 0.3, 0.9))
        peak = float(np.abs(sound).max())
        assert np.isfinite(sound).all()
        assert 0.05 < peak < 8
        assert np.abs(sound[:, :2]).max() < 0.12 * peak
        assert np.abs(sound[:, -2:]).max() < 0.01 * peak


@pytest.mark.parametrize("kit", sorted(KITS))
def test_drums_are_whole(kit: str) -> None:
    drums = Drums(kit)
    for drum in DRUMS:
        sound = drums.stroke(drum, 0)
        assert float(np.abs(sound).max()) == pytest.approx(1.0, abs=1e-5)
        assert abs(float(sound[0])) < 0.25
        assert abs(float(sound[-1])) < 0.01
        assert abs(float(sound.mean())) < 0.01, drum
    assert not np.array_equal(drums.stroke("hat", 0), drums.stroke("hat", 1))


@pytest.mark.parametrize("genre", ["Trap", "House"])
def test_stems_add_up_to_the_mix_bit_for_bit(genre: str) -> None:
    score, mix, _, _ = finished(genre)
    parts = list(stems(score))
    assert [part.name for part in parts] == list(STEMS)
    for order in (parts, parts[::-1]):
        total = np.zeros_like(mix)
        for part in order:
            total += part.sound
        assert np.array_equal(total, mix)
    assert all(np.abs(part.sound).max() > 0.001 for part in parts)


@pytest.mark.parametrize("genre", ["House", "Ambient"])
def test_nothing_clicks_where_notes_and_sections_end(genre: str) -> None:
    """What is cut off jumps, and a jump reaches far above what any of these instruments plays."""
    score = compose(Brief(genre=genre, style="Dark", seed=11, seconds=30))
    assert len(score.sections) > 1
    above = signal.butter(6, 15_000, "high", fs=RATE, output="sos")
    for part in stems(score):
        if part.name in {"bass", "chords", "melody"}:
            high = signal.sosfilt(above, part.sound, axis=1)
            assert decibels(float(np.abs(high).max() / np.abs(part.sound).max())) < -40, part.name


@pytest.mark.parametrize("genre", ["Trap", "House", "Ambient"])
def test_no_bar_of_the_master_is_silent(genre: str) -> None:
    score, _, sound, levels = finished(genre)
    edges = [round(score.time(4 * bar) * RATE) for bar in range(score.bars + 1)]
    quietest = min(float(np.mean(sound[:, start:end] ** 2)) for start, end in pairwise(edges))
    assert 10 * np.log10(quietest) > levels.lufs - 20


@pytest.mark.parametrize("genre", ["Trap", "House"])
def test_a_piece_sounds_the_same_again(genre: str) -> None:
    score, mix, _, _ = finished(genre)
    assert np.array_equal(mixed(score), mix)


#: Play and master a score on this processor without what makes it newer than others, and write the samples out.
ELSEWHERE = """
import sys
from adapters.band.master import master
from adapters.band.render import mixed
from adapters.band.score import from_json

score = from_json(sys.stdin.buffer.read())
sound = mixed(score)
master(score, sound)
sys.stdout.buffer.write(sound.tobytes())
"""


def test_another_machine_makes_the_same_sound_to_ninety_decibels_below_full_scale() -> None:
    """An older processor adds up in another order: other instructions in numpy, other kernels in its linear algebra."""
    score, _, sound, _ = finished("Trap")
    newer = importlib.import_module("numpy._core._multiarray_umath").__cpu_dispatch__
    ran = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input=to_json(score),
        capture_output=True,
        check=True,
        env={**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(newer), "OPENBLAS_CORETYPE": "Nehalem"},
    )
    other = np.frombuffer(ran.stdout, dtype=np.float32).reshape(sound.shape)
    assert decibels(float(np.abs(other - sound).max())) < -90


@pytest.mark.parametrize("genre", ["Trap", "House", "Ambient"])
def test_the_master_is_as_loud_as_it_should_be(genre: str) -> None:
    _, _, sound, levels = finished(genre)
    again = measure(sound)
    assert again.integrated is not None
    assert again.true_peak is not None
    assert abs(again.integrated + 14) <= 0.5
    assert again.true_peak <= -1.0
    assert levels.lufs == pytest.approx(again.integrated, abs=0.01)
    assert all(decibels(abs(float(side.mean()))) < -80 for side in sound)


@pytest.mark.parametrize(
    "brief",
    [
        Brief(genre="Trap", seed=15, seconds=45, take=2),
        Brief(genre="Drill", style="Energetic", mood="Happy", seed=3, seconds=45),
    ],
    ids=lambda brief: brief.genre,
)
def test_no_master_leaves_a_peak_when_its_tries_are_used_up(brief: Brief) -> None:
    score = compose(brief)
    levels = master(score, mixed(score))
    assert levels.true_peak_dbtp <= -1.0
    assert abs(levels.lufs + 14) <= 0.5


@pytest.mark.parametrize("genre", ["Trap", "House", "Ambient"])
def test_the_master_survives_mono(genre: str) -> None:
    _, _, sound, _ = finished(genre)
    middle = sound.mean(axis=0)
    assert 10 * np.log10(np.mean(middle**2) / np.mean(sound**2)) > -3
    low = signal.sosfilt(signal.butter(4, 90, "low", fs=RATE, output="sos"), sound[0] - sound[1])
    assert np.mean(low**2) < 0.02 * np.mean((sound[0] + sound[1]) ** 2)


@pytest.mark.parametrize("genre", ["Trap", "House", "Ambient"])
def test_the_end_is_silence(genre: str) -> None:
    _, _, sound, _ = finished(genre)
    assert np.abs(sound[:, -40:]).max() < 1e-3


def test_the_limiter_holds_every_point_of_the_wave() -> None:
    """A quarter of the rate, sampled beside its peaks, is 3 dB higher between samples than on them."""
    t = np.arange(RATE * 2)
    loud = np.sin(2 * np.pi * t / 4 + np.pi / 4) * (1 + 0.8 * np.sin(2 * np.pi * t / RATE * 3))
    bursts = np.random.Generator(np.random.PCG64(3)).normal(size=RATE * 2) * (t % 9000 < 300)
    sound = np.stack([loud, loud * 0.3 + bursts]).astype(np.float32)
    effects.limit(sound, 10 ** (-1.15 / 20))
    read = measure(sound)
    assert read.true_peak is not None
    assert -2.5 < read.true_peak <= -1.0


def test_the_limiter_leaves_what_is_quiet_alone() -> None:
    sound = (0.2 * np.sin(np.arange(2 * RATE).reshape(2, RATE) * 0.05)).astype(np.float32)
    before = sound.copy()
    effects.limit(sound, 0.87)
    assert np.abs(sound - before).max() < 1e-6


def test_the_hall_dies_away_when_it_should() -> None:
    response = effects.hall_response(1.5, 5000.0).astype(np.float64)
    energy = np.cumsum((response[0] ** 2)[::-1])[::-1]
    level = 10 * np.log10(energy / energy[0] + 1e-12)
    early, late = np.argmax(level < -5) / RATE, np.argmax(level < -35) / RATE
    assert 0.6 < 2 * (late - early) < 1.6
    assert abs(np.corrcoef(response[0], response[1])[0, 1]) < 0.2


def test_the_hall_by_blocks_is_the_hall_at_once() -> None:
    response = effects.hall_response(0.5, 4000.0)
    send = waves.noise(RATE * 6, 1)
    target = np.zeros((2, len(send)), dtype=np.float32)
    effects.convolve_into(target, send, response)
    whole = signal.fftconvolve(send.astype(np.float64), response[1].astype(np.float64))[: len(send)]
    assert np.abs(target[1] - whole).max() < 1e-3 * np.abs(whole).max()


def test_the_kick_makes_room() -> None:
    both = np.ones((2, RATE), dtype=np.float32)
    effects.duck(both, [RATE // 2], 6.0, 0.2)
    gain = both[1]
    assert float(gain[RATE // 2]) == pytest.approx(10 ** (-6 / 20), rel=0.01)
    assert float(gain[0]) == 1.0
    assert float(gain[RATE // 2 + round(0.21 * RATE)]) == 1.0
    assert np.abs(np.diff(gain)).max() < 0.01


def test_many_kicks_across_the_pieces_that_are_worked_on_make_the_same_room() -> None:
    """Where two dips meet, the deeper one counts, whatever piece of the sound it lies in."""
    places = [100, effects.PIECE - 50, effects.PIECE + 400, effects.PIECE + 9000, 2 * effects.PIECE - 3]
    both = np.ones((2, 2 * effects.PIECE + 100), dtype=np.float32)
    effects.duck(both, places, 8.0, 0.1)
    apart = np.ones_like(both)
    for place in places:
        alone = np.ones_like(both)
        effects.duck(alone, [place], 8.0, 0.1)
        np.minimum(apart, alone, out=apart)
    assert np.array_equal(both, apart)
    assert float(both.min()) == pytest.approx(10 ** (-8 / 20), rel=0.01)


@pytest.mark.parametrize("tonic", [0, 5, 10])
def test_drums_that_ring_are_in_the_key(tonic: int) -> None:
    built = KITS["techno"]
    ringing: tuple[tuple[Drum, float, float], ...] = (
        ("kick", built.kick[1], kit.KICK_HERTZ_MIN),
        ("low_tom", built.tom[0] * 0.68, 0.0),
    )
    for name, hertz, lowest in ringing:
        sound = Drums("techno", tonic).stroke(name, 0)[round(0.22 * RATE) :]
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 19))
        found = float(np.fft.rfftfreq(1 << 19, 1 / RATE)[spectrum.argmax()])
        assert min(abs(12 * np.log2(found / tone)) for tone in tones(tonic)) < 0.4, (name, found)
        assert 0.8 * max(hertz, lowest) < found < 1.25 * hertz


@pytest.mark.parametrize("tonic", [1, 4, 8])
def test_both_tones_of_a_snare_are_in_the_key(tonic: int) -> None:
    hertz = KITS["drill"].snare[0]
    sound = Drums("drill", tonic).stroke("snare", 0)[round(0.04 * RATE) : round(0.2 * RATE)]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 19))
    frequencies = np.fft.rfftfreq(1 << 19, 1 / RATE)
    for written in (hertz, 1.72 * hertz):
        near = np.flatnonzero((frequencies > 0.8 * written) & (frequencies < 1.25 * written))
        found = float(frequencies[near[spectrum[near].argmax()]])
        assert min(abs(12 * np.log2(found / tone)) for tone in tones(tonic)) < 0.5, (written, found)


def tones(tonic: int) -> list[float]:
    """The tonics and fifths of a key, Hz."""
    return [waves.frequency(pitch) for pitch in range(12, 84) if (pitch - tonic) % 12 in {0, 7}]


def test_a_plucked_bass_has_its_weight_where_a_double_bass_has_it() -> None:
    sound = Instrument("upright").play(tone(33, 0.6, 0.8))[0]
    power = np.abs(np.fft.rfft(sound)) ** 2
    frequencies = np.fft.rfftfreq(len(sound), 1 / RATE)
    assert power[frequencies < 250].sum() > 10 * power[frequencies > 500].sum()


@pytest.mark.parametrize("name", ["pluck", "soft pluck", "guitar", "pluck chords"])
def test_a_plucked_string_does_not_begin_with_a_hiss(name: str) -> None:
    """A burst of noise that goes round as it is begins with a click that is loudest where no string is."""
    sound = Instrument(name).play(tone(72, 0.6, 0.8)).sum(axis=0)
    high = signal.sosfilt(signal.butter(6, 15_000, "high", fs=RATE, output="sos"), sound)
    assert decibels(float(np.abs(high).max() / np.abs(sound).max())) < -20


@pytest.mark.parametrize("decibels", [0.0, 3.0])
def test_presence_lifts_what_is_high_and_leaves_the_rest(decibels: float) -> None:
    _, gains = signal.sosfreqz(shelf(decibels), [100, 12_000], fs=RATE)
    low, high = 20 * np.log10(np.abs(gains))
    assert abs(low) < 0.05
    assert high == pytest.approx(decibels, abs=0.15)


@pytest.mark.parametrize("name", ["saw bass", "square bass", "rumble", "reese", "fm bass", "808", "sub", "square lead"])
def test_no_single_tone_holds_a_major_third(name: str) -> None:
    """The fifth harmonic of a bass is two octaves and a major third above it, which makes minor chords major."""
    pitch = 60 if name == "square lead" else 33
    sound = Instrument(name, drive=0.5).play(tone(pitch, 0.9, 0.9)).sum(axis=0)[2000:38_000]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 18))
    frequencies = np.fft.rfftfreq(1 << 18, 1 / RATE) / waves.frequency(pitch)

    def level(harmonic: int) -> float:
        return decibels(float(spectrum[abs(frequencies - harmonic) < 0.06 * harmonic].max()))

    assert level(5) < level(1) - 24


def octave_levels(sound: Sound) -> dict[int, float]:
    """How loud each octave is against the whole, dB, by its middle in Hz."""
    frequencies, power = signal.welch(sound.mean(axis=0), RATE, nperseg=8192)
    return {
        middle: 10
        * np.log10(power[(frequencies >= middle / 2**0.5) & (frequencies < middle * 2**0.5)].sum() / power.sum())
        for middle in (1000, 2000, 4000, 8000)
    }


def test_techno_has_no_hole_between_its_stabs_and_its_hats() -> None:
    score = compose(Brief(genre="Techno", seed=3, seconds=20))
    sound = mixed(score)
    master(score, sound)
    levels = octave_levels(sound)
    assert min(levels[2000], levels[4000]) > levels[8000] - 2.5
    assert min(levels[2000], levels[4000]) > -21.5


@pytest.mark.parametrize("genre", ["Trap", "Synthwave"])
def test_a_mood_bends_how_bright_and_how_driven_the_sound_is(genre: str) -> None:
    """The very same notes: only filters and saturation differ."""
    score = compose(Brief(genre=genre, seed=3, seconds=12))
    bright, closed = (played(score, value, 0.0) for value in (0.8, -0.8))
    assert all(above(bright[name], 2000) > above(closed[name], 2000) + 1 for name in ("chords", "melody"))
    driven, clean = (played(score, 0.0, value) for value in (0.9, -0.5))
    assert all(crest(driven[name]) < crest(clean[name]) - 1 for name in ("chords", "melody"))


@pytest.mark.parametrize("name", sorted({each for book in PROFILES.values() for each in book.melody.instruments}))
def test_every_instrument_of_a_tune_is_duller_in_a_dark_piece(name: str) -> None:
    bright, dark = (Instrument(name, brightness=value).play(tone(72, 0.9, 0.9)) for value in (0.8, -0.8))
    assert above(bright, 2000) > above(dark, 2000) + 1


def test_words_say_how_bright_and_how_driven() -> None:
    dark, happy, calm, aggressive = (
        compose(Brief(genre="Trap", mood=mood, seed=3, seconds=12)) for mood in ("Dark", "Happy", "Calm", "Aggressive")
    )
    assert dark.brightness < 0 < happy.brightness
    assert calm.drive < 0 < aggressive.drive


def played(score: Score, brightness: float, drive: float) -> dict[str, Sound]:
    """The stems of a score that is to sound so."""
    return {stem.name: stem.sound for stem in stems(structs.replace(score, brightness=brightness, drive=drive))}


def above(sound: Sound, hertz: float) -> float:
    """How loud everything above a frequency is against the whole, dB."""
    frequencies, power = signal.welch(sound.mean(axis=0), RATE, nperseg=4096)
    return float(10 * np.log10(power[frequencies > hertz].sum() / power.sum()))


def crest(sound: Any) -> float:
    """By how much peaks stand above the mean, dB."""
    return decibels(float(np.abs(sound).max())) - decibels(float(np.sqrt(np.mean(sound**2))))


def test_what_has_ended_dies_away_to_numbers_that_cost_nothing() -> None:
    """Processors take ten times as long over numbers below the smallest normal one: silence cost a third of a beat."""
    sound = np.zeros((2, 4 * RATE), dtype=np.float32)
    sound[:, :RATE] = 0.5 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)
    sos = signal.butter(2, 140.0, "high", fs=RATE, output="sos").astype(np.float32)
    heard = np.concatenate([piece for _, piece in _filtered(sound, sos)])
    least = np.abs(heard[heard != 0]).min()
    assert least >= np.finfo(np.float32).tiny
    assert np.abs(heard[2 * RATE :]).max() < 1e-12
