"""Damaged, lying and foreign files through the real child: each is heard as far as it goes, or refused in words."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from adapters.ears.listening import BROKE_THE_DECODER, OUR_FAULT, Ears
from domain.analyses.findings import Analysis, Unreadable
from tests.ears.sounds import RATE, Sound, chords, encode, noise, stereo, write_float_wav, write_wav

SECONDS = 6.0


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Six seconds of music in every container."""
    folder = tmp_path_factory.mktemp("whole")
    sound = stereo(chords("C Am F"))
    write_wav(folder / "a.wav", sound)
    for codec, name in (("libmp3lame", "a.mp3"), ("flac", "a.flac"), ("aac", "a.m4a")):
        encode(folder / name, sound, codec)
    encode(folder / "a.ogg", stereo(chords("C Am F", rate=48_000)), "libopus", rate=48_000)
    return {path.suffix[1:]: path.read_bytes() for path in folder.iterdir()}


def heard(path: Path) -> Analysis | str:
    """What the child says, or why it refuses; never that it broke."""

    async def listen() -> Analysis | str:
        ears = Ears()
        try:
            return await ears.listen(path)
        except Unreadable as refusal:
            return str(refusal)
        finally:
            await ears.close()

    said = asyncio.run(listen())
    assert said not in {OUR_FAULT, BROKE_THE_DECODER}
    return said


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def with_sizes(wav: bytes, size: int) -> bytes:
    """The file with another size of its data in the header."""
    return wav[:4] + size.to_bytes(4, "little") + wav[8:40] + size.to_bytes(4, "little") + wav[44:]


def with_tag(mp3: bytes, picture: int) -> bytes:
    """The file with a cover picture of so many bytes in front."""

    def size_of(count: int) -> bytes:
        return bytes((count >> shift) & 127 for shift in (21, 14, 7, 0))

    body = b"\0image/jpeg\0\3\0" + bytes(range(256)) * (picture // 256)
    frame = b"APIC" + size_of(len(body)) + b"\0\0" + body
    return b"ID3\4\0\0" + size_of(len(frame)) + frame + mp3


@pytest.mark.parametrize("kind", ["mp3", "flac", "wav", "ogg"])
def test_a_file_that_breaks_off_is_heard_as_far_as_it_goes(tmp_path: Path, whole: dict[str, bytes], kind: str) -> None:
    content = whole[kind]
    said = heard(put(tmp_path, f"a.{kind}", content[: len(content) // 2]))
    assert isinstance(said, Analysis)
    assert 1.5 < said.findings.duration_seconds < 4.5


@pytest.mark.parametrize("kind", ["mp3", "flac", "wav", "ogg", "m4a"])
def test_garbage_in_the_middle_costs_no_more_than_what_it_covers(
    tmp_path: Path, whole: dict[str, bytes], kind: str
) -> None:
    content = bytearray(whole[kind])
    first, last = len(content) * 45 // 100, len(content) * 55 // 100
    content[first:last] = np.random.default_rng(1).bytes(last - first)
    said = heard(put(tmp_path, f"a.{kind}", bytes(content)))
    assert isinstance(said, Analysis)
    assert said.findings.duration_seconds > 1.5


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 1_800_000_000])
def test_a_wave_file_that_lies_about_its_size_is_heard_to_its_end(
    tmp_path: Path, whole: dict[str, bytes], size: int
) -> None:
    said = heard(put(tmp_path, "a.wav", with_sizes(whole["wav"], size)))
    assert isinstance(said, Analysis)
    assert said.findings.duration_seconds == pytest.approx(SECONDS, abs=0.01)


def test_a_picture_larger_than_the_music_does_not_hide_it(tmp_path: Path, whole: dict[str, bytes]) -> None:
    said = heard(put(tmp_path, "a.mp3", with_tag(whole["mp3"], 3_000_000)))
    assert isinstance(said, Analysis)
    assert said.findings.duration_seconds == pytest.approx(SECONDS, abs=0.1)


def test_the_sound_of_a_film_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as file:
        pictures, sound = file.add_stream("mpeg4", rate=10), file.add_stream("aac", rate=RATE, layout="mono")
        assert isinstance(pictures, VideoStream)
        assert isinstance(sound, AudioStream)
        pictures.width, pictures.height = 64, 64
        for _ in range(20):
            file.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        file.mux(pictures.encode(None))
        frame = av.AudioFrame.from_ndarray(chords("C")[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler("fltp", "mono", RATE, frame_size=1024)
        for ready in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(sound.encode(ready))
        file.mux(sound.encode(None))
    said = heard(path)
    assert isinstance(said, Analysis)
    assert said.findings.duration_seconds == pytest.approx(2.0, abs=0.1)


def altered(wav: bytes, at: int, value: bytes) -> bytes:
    return wav[:at] + value + wav[at + len(value) :]


@pytest.mark.parametrize(
    ("at", "value"),
    [(20, b"\x0f\x27"), (22, b"\0\0"), (22, b"\xff\xff"), (24, bytes(4)), (24, b"\xff\xff\xff\xff"), (24, b"\1\0\0\0")],
    ids=["unknown code", "no channel", "65535 channels", "no rate", "absurd rate", "one sample a second"],
)
def test_a_header_that_makes_no_sense_is_refused_in_a_sentence(
    tmp_path: Path, whole: dict[str, bytes], at: int, value: bytes
) -> None:
    said = heard(put(tmp_path, "a.wav", altered(whole["wav"], at, value)))
    assert isinstance(said, str)
    assert said.endswith(".")


def test_hours_that_are_only_claimed_are_refused(tmp_path: Path, whole: dict[str, bytes]) -> None:
    said = heard(put(tmp_path, "a.wav", with_sizes(whole["wav"], 1_800_000_000)[:44]))
    assert isinstance(said, str)
    assert "hardly any sound" in said


def test_archives_and_lists_of_songs_are_refused_though_the_song_lies_beside_them(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    put(tmp_path, "song.mp3", whole["mp3"])
    with zipfile.ZipFile(tmp_path / "album.zip", "w") as album:
        album.write(tmp_path / "song.mp3")
    put(tmp_path, "list.m3u", b"song.mp3\n")
    put(tmp_path, "live.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsong.mp3\n#EXT-X-ENDLIST\n")
    put(tmp_path, "list.pls", b"[playlist]\nFile1=song.mp3\n")
    for name in ("album.zip", "list.m3u", "live.m3u8", "list.pls"):
        assert isinstance(heard(tmp_path / name), str), name


def full_of(value: float) -> Sound:
    return np.full(2 * RATE, value, np.float32)


@pytest.mark.parametrize(
    "sound",
    [full_of(np.nan), full_of(np.inf), full_of(1e30), full_of(1e-40), np.sign(noise(2)), np.stack([noise(2)] * 8)],
    ids=["not a number", "infinite", "enormous", "minute", "full scale", "eight channels"],
)
def test_extreme_samples_give_a_document_without_a_value_that_is_none(tmp_path: Path, sound: Sound) -> None:
    said = heard(write_float_wav(tmp_path / "a.wav", sound))
    assert isinstance(said, Analysis)
    # JSON has no word for infinity: what comes back must be what went in.
    assert msgspec.json.decode(msgspec.json.encode(said), type=Analysis) == said
    assert said.findings.bpm_confidence < 0.5
    assert said.findings.key_confidence < 0.5
