"""The whole analysis on sounds whose truth is known, and on everything people send that is not music."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from adapters.ears.engine import analyse
from domain.analyses.findings import Analysis, Findings, Unreadable
from tests.ears.sounds import (
    Sound,
    chords,
    clicks,
    encode,
    noise,
    silence,
    sine,
    stereo,
    write_float_wav,
    write_wav,
)


def song() -> Sound:
    """Twenty seconds of C major at 120 beats a minute, drums and chords."""
    harmony = chords("C Am F G C F G C C G", 2.0)
    both: Sound = (0.6 * harmony / np.abs(harmony).max() + 0.4 * clicks(120, len(harmony) / 44_100)).astype(np.float32)
    return both


@pytest.fixture(scope="session")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    return analyse(write_wav(tmp_path_factory.mktemp("song") / "song.wav", stereo(song())))


def test_every_documented_field_comes_first_and_in_the_documented_order() -> None:
    documented = (
        "bpm bpm_confidence key scale key_notation key_confidence loudness_lufs duration_seconds time_signature energy "
        "danceability valence mood_tags genre_suggestions genre_confidence genre_taxonomy genre_review_recommended "
        "genre_review_code sections"
    )
    assert " ".join(Findings.__struct_fields__).startswith(documented + " ")


def test_a_simple_song_is_understood(heard: Analysis) -> None:
    findings = heard.findings
    assert (findings.key, findings.scale, findings.key_notation, findings.camelot) == ("C", "major", "C", "8B")
    assert findings.key_confidence > 0.7
    assert findings.bpm is not None
    assert min(abs(findings.bpm / 120 - factor) for factor in (0.5, 1, 2)) < 0.02
    assert findings.duration_seconds == 20.0
    assert findings.loudness_lufs is not None
    assert -20 < findings.loudness_lufs < -5
    assert findings.tuning_cents == pytest.approx(0, abs=4)
    assert not findings.modulates
    assert {findings.energy, findings.danceability, findings.valence}.isdisjoint({None})


def test_sections_cover_the_recording_without_gaps(heard: Analysis) -> None:
    sections = heard.findings.sections
    assert sections[0].start == 0.0
    assert sections[-1].end == heard.findings.duration_seconds
    assert all(one.end == other.start for one, other in pairwise(sections))


def test_the_detail_has_beats_chords_segments_and_curves(heard: Analysis) -> None:
    detail = heard.detail
    assert len(detail.beats) == heard.findings.beat_count > 15
    assert {chord.name for chord in detail.chords} >= {"C", "F", "G"}
    assert (detail.sample_rate, detail.channels, detail.sample_count) == (44_100, 2, 882_000)
    assert all(len(segment.pitches) == len(segment.timbre) == 12 for segment in detail.segments)
    assert len(detail.waveform.lows) == len(detail.waveform.highs) == 1000
    assert len(detail.loudness_short_term.values) == 200
    assert sum(segment.duration for segment in detail.segments) == pytest.approx(20.0, abs=0.01)


def test_the_summary_is_small_and_both_parts_survive_being_stored(heard: Analysis) -> None:
    body = msgspec.json.encode(heard)
    assert msgspec.json.decode(body, type=Analysis) == heard
    assert len(msgspec.json.encode(heard.findings)) < 8_000


@pytest.mark.parametrize("cents", [-45, -20, 30, 45])
def test_a_song_out_of_tune_keeps_its_key(tmp_path: Path, cents: float) -> None:
    findings = analyse(write_wav(tmp_path / "a.wav", chords("C Am F G C F G C", 1.5, cents=cents))).findings
    assert findings.key_notation == "C"
    assert findings.tuning_cents == pytest.approx(cents, abs=6)
    assert findings.tuning_hz == pytest.approx(440 * 2 ** (cents / 1200), abs=2)


@pytest.mark.parametrize(
    ("codec", "name"),
    [("libmp3lame", "a.mp3"), ("flac", "a.flac"), ("libopus", "a.ogg"), ("aac", "a.m4a"), ("pcm_s16be", "a.aiff")],
)
def test_every_format_tells_the_same_story(tmp_path: Path, codec: str, name: str) -> None:
    path = encode(tmp_path / name, stereo(chords("Am Dm E Am F C E Am", 1.5, rate=48_000)), codec, rate=48_000)
    findings = analyse(path).findings
    assert findings.key_notation == "Am"
    assert findings.duration_seconds == pytest.approx(12.0, abs=0.15)


@pytest.mark.parametrize("rate", [8_000, 192_000])
def test_low_and_high_sample_rates_are_heard_alike(tmp_path: Path, rate: int) -> None:
    sound = np.concatenate([sine(hertz, 1.0, -20, rate=rate) for hertz in (220, 277.18, 329.63, 220) * 3])
    findings = analyse(write_wav(tmp_path / "a.wav", sound, rate=rate)).findings
    assert findings.key == "A"
    assert findings.loudness_lufs == pytest.approx(-24, abs=1.5)


def test_five_channels_and_a_low_one_are_weighed_by_name(tmp_path: Path) -> None:
    levels = (-28.0, -28.0, -24.0, -5.0, -30.0, -30.0)
    sound = np.stack([sine(1000, 10, level, rate=48_000) for level in levels])
    path = encode(tmp_path / "a.flac", sound, "flac", rate=48_000, layout="5.1")
    analysis = analyse(path)
    assert analysis.findings.loudness_lufs == pytest.approx(-23.0, abs=0.1)
    assert analysis.detail.channels == 6


def test_mono_is_music_too(tmp_path: Path) -> None:
    assert analyse(write_wav(tmp_path / "a.wav", song())).findings.key == "C"


def assert_nothing_is_invented(findings: Findings) -> None:
    assert findings.bpm is None or findings.bpm_confidence < 0.5
    assert findings.key is None or findings.key_confidence < 0.5
    assert findings.genre_review_recommended


@pytest.mark.parametrize(
    "sound",
    [silence(10), silence(0.2), np.full(441_000, 0.3, np.float32), noise(10, -90)],
    ids=["ten seconds", "an instant", "an offset", "dither"],
)
def test_silence_has_a_length_and_nothing_else(tmp_path: Path, sound: Sound) -> None:
    findings = analyse(write_wav(tmp_path / "a.wav", sound)).findings
    assert findings.duration_seconds == pytest.approx(len(sound) / 44_100, abs=0.001)
    assert (findings.bpm, findings.key, findings.time_signature) == (None, None, None)
    assert findings.mood_tags == findings.genre_suggestions == ()
    assert_nothing_is_invented(findings)


def speech() -> Sound:
    """Something like a voice: bursts of gliding harmonics with pauses, at no steady pace."""
    rng = np.random.default_rng(3)
    parts: list[Sound] = []
    for _ in range(30):
        length = float(rng.uniform(0.08, 0.35))
        time = np.arange(int(length * 44_100)) / 44_100
        pitch = rng.uniform(90, 200) * 2 ** (rng.uniform(-0.5, 0.5) * time / length)
        phase = 2 * np.pi * np.cumsum(pitch) / 44_100
        voice = sum(np.sin(k * phase) / (1 + ((k * 150 - 700) / 400) ** 2) for k in range(1, 20))
        parts += [(0.15 * voice * np.hanning(len(time))).astype(np.float32), silence(float(rng.uniform(0.02, 0.4)))]
    return np.concatenate(parts)


def one_click() -> Sound:
    sound = silence(5)
    sound[100_000] = 0.9
    return sound


@pytest.mark.parametrize(
    "sound",
    [noise(10, -15), noise(1, -15), one_click(), speech(), sine(50, 10, -10)],
    ids=["noise", "a second of noise", "a single click", "speech", "hum"],
)
def test_what_is_no_music_gets_no_confident_tempo_or_key(tmp_path: Path, sound: Sound) -> None:
    findings = analyse(write_wav(tmp_path / "a.wav", sound)).findings
    assert findings.bpm is None or findings.bpm_confidence < 0.6
    assert findings.key is None or findings.key_confidence < 0.6


def held(*hertz: float) -> Sound:
    """Ten seconds of tones with partials that neither change nor end."""
    time = np.arange(10 * 44_100) / 44_100
    tones = [np.sin(2 * np.pi * pitch * partial * time) / partial for pitch in hertz for partial in range(1, 6)]
    sound: Sound = (0.1 * np.sum(tones, axis=0)).astype(np.float32)
    return sound


def clicks_here_and_there() -> Sound:
    sound = silence(10)
    sound[np.random.default_rng(1).integers(0, len(sound), 5)] = 0.9
    return sound


@pytest.mark.parametrize(
    "sound",
    [held(440), held(261.6, 329.6, 392.0), sine(440, 1), chords("C", 1.0), clicks_here_and_there(), sine(440, 20)],
    ids=["a tone", "a chord", "a second of a tone", "a second of a chord", "some clicks", "a long tone"],
)
def test_what_does_not_move_or_last_has_no_sure_key(tmp_path: Path, sound: Sound) -> None:
    findings = analyse(write_wav(tmp_path / "a.wav", sound)).findings
    assert findings.key_confidence < 0.5
    assert all(candidate.confidence < 0.5 for candidate in findings.key_candidates)
    assert findings.genre_review_recommended
    assert findings.genre_confidence <= 0.5


def test_the_longer_a_song_is_heard_the_surer_its_key(tmp_path: Path) -> None:
    sure = [
        analyse(write_wav(tmp_path / "a.wav", song()[: seconds * 44_100])).findings.key_confidence
        for seconds in (2, 8, 20)
    ]
    assert sure == sorted(sure)
    assert sure[0] < 0.8 < sure[2]


def test_a_second_of_music_gives_what_a_second_can(tmp_path: Path) -> None:
    findings = analyse(write_wav(tmp_path / "a.wav", chords("C", 1.0))).findings
    assert findings.duration_seconds == 1.0
    assert findings.loudness_lufs is not None
    assert findings.short_term_max_lufs is None
    assert findings.bpm is None or findings.bpm_confidence < 0.5


def test_a_clipped_song_is_called_clipped_and_still_understood(tmp_path: Path) -> None:
    findings = analyse(write_wav(tmp_path / "a.wav", np.clip(8 * song(), -1, 1))).findings
    assert findings.clipped_share is not None
    assert findings.clipped_share > 0.05
    assert findings.true_peak_dbtp is not None
    assert findings.true_peak_dbtp > 0
    assert findings.key == "C"


@pytest.mark.filterwarnings("error")
def test_damage_in_the_samples_is_put_right(tmp_path: Path) -> None:
    sound = song()
    sound[1000:1010] = np.nan
    sound[50_000], sound[60_000], sound[70_000] = np.inf, -np.inf, 1e30
    findings = analyse(write_float_wav(tmp_path / "a.wav", sound)).findings
    assert findings.key == "C"
    assert findings.loudness_lufs is not None
    assert np.isfinite(findings.loudness_lufs)


def test_an_offset_under_the_music_changes_neither_key_nor_loudness(tmp_path: Path) -> None:
    plain = analyse(write_wav(tmp_path / "a.wav", 0.5 * song())).findings
    shifted = analyse(write_wav(tmp_path / "b.wav", 0.5 * song() + 0.4)).findings
    assert shifted.key_notation == plain.key_notation
    assert shifted.loudness_lufs == pytest.approx(plain.loudness_lufs, abs=0.3)


def test_a_truncated_file_is_heard_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = encode(tmp_path / "a.mp3", stereo(song()), "libmp3lame")
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert analyse(whole).findings.duration_seconds == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    "content",
    [b"", b"RIFF", b"All work and no play makes Jack a dull boy. " * 500, bytes(100_000), b"ID3" + bytes(5000)],
    ids=["nothing", "a beginning", "words", "zeros", "a tag alone"],
)
def test_what_holds_no_sound_is_refused_with_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=r"^[A-Z].*\.$"):
        analyse(path)


def test_a_recording_of_no_seconds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unreadable):
        analyse(write_wav(tmp_path / "a.wav", silence(0)))


def test_a_bomb_that_unpacks_without_end_is_refused_before_it_fills_anything(tmp_path: Path) -> None:
    # Silence packs into almost nothing: a file of some hundred kilobytes claims five hours.
    path = tmp_path / "bomb.wav"
    write_wav(path, silence(1, rate=4000), rate=4000)
    head = bytearray(path.read_bytes()[:44])
    size = 5 * 3600 * 4000 * 2
    head[4:8], head[40:44] = (size + 36).to_bytes(4, "little"), size.to_bytes(4, "little")
    with path.open("wb") as file:
        file.write(head)
        file.truncate(44 + size)  # a hole on disk
    with pytest.raises(Unreadable, match="too long"):
        analyse(path)


def test_progress_is_told_and_never_goes_back(tmp_path: Path) -> None:
    told: list[float] = []
    analyse(write_wav(tmp_path / "a.wav", song()), progress=told.append)
    assert told == sorted(told)
    assert len(told) > 3
    assert told[-1] == 1.0


def test_louder_is_never_less_energetic(tmp_path: Path) -> None:
    energies = [analyse(write_wav(tmp_path / "a.wav", gain * song())).findings.energy for gain in (0.05, 0.2, 0.8)]
    assert energies == sorted(energies, key=lambda energy: energy or 0)
    assert energies[0] != energies[-1]
