from __future__ import annotations

import os
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest

from adapters.ears.decode import ANALYSIS_RATE, LEVEL_MAX, Block, open_audio
from domain.analyses.findings import Unreadable
from tests.ears.sounds import Sound, encode, noise, sine, write_float_wav


def heard(path: Path) -> tuple[Sound, Sound]:
    """All native samples and all mono samples of a file."""
    with open_audio(path) as audio:
        blocks = list(audio)
    return np.concatenate([block.samples for block in blocks], axis=1), np.concatenate([b.mono for b in blocks])


def test_samples_come_out_as_they_went_in_and_mono_at_the_analysis_rate(tmp_path: Path) -> None:
    sound = np.stack([noise(3, seed=1), noise(3, seed=2)])
    native, mono = heard(write_float_wav(tmp_path / "a.wav", sound))
    np.testing.assert_array_equal(native, sound)
    assert len(mono) == pytest.approx(3 * ANALYSIS_RATE, abs=2)


def test_the_one_signal_has_the_energy_of_the_channels_without_the_low_one(tmp_path: Path) -> None:
    low_only = np.zeros((6, 44_100), np.float32)
    low_only[3] = sine(60, 1)
    _, mono = heard(encode(tmp_path / "lfe.wav", low_only, "pcm_f32le", layout="5.1"))
    assert np.abs(mono).max() < 1e-4
    left_only = np.zeros((2, 44_100), np.float32)
    left_only[0] = sine(440, 1, -6.0206)
    _, mono = heard(write_float_wav(tmp_path / "left.wav", left_only))
    # A sine of half of full scale on one side of two: the mean energy is that of 0.354 in one.
    assert np.abs(mono[1000:-1000]).max() == pytest.approx(0.5 / np.sqrt(2), abs=0.01)


def test_channels_that_cancel_each_other_are_heard_all_the_same(tmp_path: Path) -> None:
    sound = sine(440, 3)
    _, mono = heard(write_float_wav(tmp_path / "opposed.wav", np.stack([sound, -sound])))
    assert np.abs(mono[1000:-1000]).max() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("channels", [7, 8, 9, 64])
def test_however_many_channels_there_are_each_keeps_its_own_samples(tmp_path: Path, channels: int) -> None:
    sound = np.stack([sine(100.0 * (number + 1), 0.5) for number in range(channels)])
    native, _ = heard(write_float_wav(tmp_path / "many.wav", sound))
    np.testing.assert_array_equal(native, sound)


@pytest.mark.parametrize(("codec", "name"), [("flac", "a.flac"), ("wavpack", "a.wv")])
def test_eight_channels_are_read_from_every_kind_of_coder(tmp_path: Path, codec: str, name: str) -> None:
    sound = np.stack([sine(200, 1.0, -10.0 - 2 * number) for number in range(8)])
    native, _ = heard(encode(tmp_path / name, sound, codec, layout="7.1"))
    assert native.shape[0] == 8
    loudest = np.sort(np.abs(native[:, 5000:-5000]).max(axis=1))
    np.testing.assert_allclose(20 * np.log10(loudest[[0, 7]]), [-24, -10], atol=2)


@pytest.mark.parametrize("rate", [8_000, 22_050, 96_000, 192_000])
def test_every_rate_is_brought_to_the_analysis_rate_in_full_length(tmp_path: Path, rate: int) -> None:
    path = write_float_wav(tmp_path / "rate.wav", sine(440, 2, rate=rate)[None], rate=rate)
    with open_audio(path) as audio:
        assert (audio.sample_rate, audio.channels) == (rate, 1)
        assert audio.duration_seconds == pytest.approx(2.0)
        mono = np.concatenate([block.mono for block in audio])
        assert audio.seconds_decoded == pytest.approx(2.0)
    assert len(mono) == pytest.approx(2 * ANALYSIS_RATE, abs=3)
    spectrum = np.abs(np.fft.rfft(mono[: 2 * ANALYSIS_RATE]))
    assert np.argmax(spectrum) / 2 == pytest.approx(440, abs=1)


def test_values_that_are_no_levels_are_mended_and_counted(tmp_path: Path) -> None:
    sound = sine(440, 1)[None].copy()
    sound[0, 100:103] = np.nan, np.inf, 1e20
    path = write_float_wav(tmp_path / "nan.wav", sound)
    with open_audio(path) as audio:
        blocks = list(audio)
        assert audio.samples_mended == 3
    native = np.concatenate([block.samples for block in blocks], axis=1)[0]
    assert native[100:103].tolist() == [0.0, 0.0, LEVEL_MAX]
    assert np.isfinite(np.concatenate([block.mono for block in blocks])).all()


def test_a_float_file_may_exceed_full_scale(tmp_path: Path) -> None:
    native, _ = heard(write_float_wav(tmp_path / "hot.wav", 4 * sine(100, 1, 0.0)[None]))
    assert native.max() == pytest.approx(4.0, abs=0.01)


def test_blocks_are_small_however_long_the_file(tmp_path: Path) -> None:
    path = write_float_wav(tmp_path / "long.wav", np.zeros((2, 44_100 * 20), np.float32))
    with open_audio(path) as audio:
        assert all(isinstance(block, Block) and block.samples.shape[1] <= 1 << 16 for block in audio)


def test_what_is_longer_than_allowed_is_refused_whether_it_says_so_or_not(tmp_path: Path) -> None:
    path = write_float_wav(tmp_path / "long.wav", np.zeros((1, 44_100 * 5), np.float32))
    with pytest.raises(Unreadable, match="at most 3 seconds"):
        open_audio(path, seconds_max=3)
    # A header that claims one second where there are five: samples in all are the low 36 bits of bytes 18 to 25.
    liar = encode(tmp_path / "liar.flac", np.zeros((1, 44_100 * 5), np.float32), "flac")
    data = bytearray(liar.read_bytes())
    facts = int.from_bytes(data[18:26], "big")
    data[18:26] = ((facts >> 36 << 36) | 44_100).to_bytes(8, "big")
    liar.write_bytes(data)
    with open_audio(liar, seconds_max=3) as audio:
        assert audio.duration_seconds == pytest.approx(1.0)
        with pytest.raises(Unreadable, match="at most 3 seconds"):
            list(audio)


def test_a_playlist_cannot_make_us_open_another_file(tmp_path: Path) -> None:
    secret = write_float_wav(tmp_path / "secret.wav", sine(440, 2)[None])
    playlist = tmp_path / "song.mp3"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n")
    with pytest.raises(Unreadable):
        open_audio(playlist)
    playlist.write_text(f"ffconcat version 1.0\nfile {secret.name}\n")
    with pytest.raises(Unreadable):
        open_audio(playlist)


def test_a_video_without_sound_is_refused_for_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 32, 32
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(Unreadable, match="video without sound"):
        open_audio(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"Dear diary, this is no music at all.\n" * 50, bytes(range(256)) * 40],
    ids=["empty", "text", "bytes"],
)
def test_what_is_no_sound_is_refused_with_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(content)
    with pytest.raises(Unreadable) as refusal, open_audio(path) as audio:
        list(audio)
    assert str(refusal.value).endswith(".")


def test_an_archive_is_refused_even_with_music_inside(tmp_path: Path) -> None:
    song = encode(tmp_path / "song.mp3", sine(440, 3), "libmp3lame")
    archive = tmp_path / "album.mp3"
    with zipfile.ZipFile(archive, "w") as album:
        album.write(song)
    with pytest.raises(Unreadable, match="archive"):
        open_audio(archive)


def test_sound_in_a_code_nobody_knows_is_refused_for_that(tmp_path: Path) -> None:
    path = write_float_wav(tmp_path / "odd.wav", sine(440, 1)[None])
    content = bytearray(path.read_bytes())
    content[20:22] = (9999).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(Unreadable, match="coded in a way that cannot be read"):
        open_audio(path)


def test_a_file_that_is_not_there_is_said_not_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="no such file"):
        open_audio(tmp_path / "nothing.wav")


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/full", "pipe"])
def test_a_device_or_a_pipe_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="device or a pipe"):
        open_audio(tmp_path / name)


def test_a_name_that_no_file_can_have_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="cannot be opened"):
        open_audio(tmp_path / ("a" * 300))


def test_less_than_a_tenth_of_a_second_is_refused(tmp_path: Path) -> None:
    path = write_float_wav(tmp_path / "short.wav", sine(440, 0.05)[None])
    with pytest.raises(Unreadable, match="tenth of a second"), open_audio(path) as audio:
        list(audio)
