"""The sound that is analysed is the sound that was sent: changes on the way, tracks, chains, headers and promises."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.stream import Disposition

from adapters.ears.decode import ANALYSIS_RATE, open_audio
from adapters.ears.engine import analyse
from adapters.ears.loudness import Meter, channel_weights
from domain.analyses.findings import Unreadable
from tests.ears.sounds import RATE, Sound, chords, clicks, encode, noise, silence, sine, stereo, write_wav


def joined(folder: Path, name: str, *parts: Path) -> Path:
    path = folder / name
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def heard(path: Path) -> tuple[float, list[tuple[str, ...]], Sound]:
    """Seconds, the layouts in the order in which they come, and the one signal of a file."""
    with open_audio(path) as audio:
        blocks = list(audio)
        layouts = [block.layout for block in blocks if block.samples.size]
        return (
            audio.seconds_decoded,
            [layout for index, layout in enumerate(layouts) if index == 0 or layout != layouts[index - 1]],
            np.concatenate([block.mono for block in blocks]),
        )


def extensible(path: Path, planes: np.ndarray, *, valid: int, mask: int, rate: int = 48_000) -> Path:
    """A WAVEFORMATEXTENSIBLE file of (channels, n) 32-bit integers of which so many bits are said to be valid."""
    count = len(planes)
    form = struct.pack("<HHIIHHHHIH", 0xFFFE, count, rate, rate * 4 * count, 4 * count, 32, 22, valid, mask, 1)
    form += b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    data = np.ascontiguousarray(planes.T).astype("<i4").tobytes()
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def ogg(path: Path, sound: Sound, rate: int) -> Path:
    """An Ogg Vorbis file of (2, n) samples."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("vorbis", rate=rate, layout="stereo", options={"strict": "-2"})
        assert isinstance(stream, AudioStream)
        resampler = av.AudioResampler(
            stream.format.name, "stereo", rate, frame_size=stream.codec_context.frame_size or 64
        )
        frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="stereo")
        frame.sample_rate = rate
        for ready in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(stream.encode(ready))
        file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("order", ["mono first", "stereo first"])
def test_a_stream_that_changes_from_one_channel_to_two_keeps_its_length(tmp_path: Path, order: str) -> None:
    part = chords("Am Dm", 2.0)
    one, two = encode(tmp_path / "1.mp3", part, "libmp3lame"), encode(tmp_path / "2.mp3", stereo(part), "libmp3lame")
    path = joined(tmp_path, "both.mp3", *((one, two) if order == "mono first" else (two, one)))
    seconds, layouts, mono = heard(path)
    assert seconds == pytest.approx(8.0, abs=0.2)
    assert len(mono) == pytest.approx(seconds * ANALYSIS_RATE, abs=ANALYSIS_RATE // 50)
    assert sorted(len(layout) for layout in layouts) == [1, 2]
    findings = analyse(path).findings
    assert findings.key_notation == "Am"
    assert "channels_change" in findings.warnings


@pytest.mark.parametrize("order", [(2, 6), (6, 2)])
def test_a_broadcast_that_changes_between_stereo_and_surround_is_followed(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    part = chords("C F", 2.0, rate=48_000)
    six = np.stack([part, part, part, silence(4.0, rate=48_000), 0.3 * part, 0.3 * part]).astype(np.float32)
    files = {
        2: encode(tmp_path / "2.ac3", stereo(part), "ac3", rate=48_000),
        6: encode(tmp_path / "6.ac3", six, "ac3", rate=48_000, layout="5.1(side)"),
    }
    seconds, layouts, _ = heard(joined(tmp_path, "tv.ac3", *(files[count] for count in order)))
    assert seconds == pytest.approx(8.0, abs=0.2)
    assert [len(layout) for layout in layouts] == list(order)


def test_the_meter_goes_on_when_channels_come_and_go() -> None:
    tone = sine(997, 4.0, -20.0, rate=48_000)
    meter = Meter(48_000, ("FL", "FR"))
    meter.push(stereo(tone), ("FL", "FR"))
    meter.push(np.stack([tone, tone, silence(4.0, rate=48_000)]), ("FL", "FR", "FC"))
    meter.push(stereo(tone), ("FL", "FR"))
    read = meter.finish()
    assert read.integrated == pytest.approx(-20.0, abs=0.05)
    assert read.true_peak == pytest.approx(-20.0, abs=0.05)
    assert len(read.momentary) == 120


@pytest.mark.parametrize("name", ["tracks.mp4", "tracks.mkv"])
def test_the_track_that_is_marked_as_default_is_the_one_heard(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    sounds = (silence(6.0), chords("C F G", 2.0))
    with av.open(str(path), "w") as file:
        tracks = [file.add_stream("aac", rate=RATE, layout="mono") for _ in sounds]
        for track, default in zip(tracks, (False, True), strict=True):
            assert isinstance(track, AudioStream)
            track.disposition = Disposition.default if default else Disposition(0)
        for track, sound in zip(tracks, sounds, strict=True):
            assert isinstance(track, AudioStream)
            frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            frame.sample_rate = RATE
            resampler = av.AudioResampler("fltp", "mono", RATE, frame_size=1024)
            for ready in (*resampler.resample(frame), *resampler.resample(None)):
                file.mux(track.encode(ready))
            file.mux(track.encode(None))
    assert analyse(path).findings.loudness_lufs is not None


def test_every_link_of_a_chain_is_heard_whatever_its_rate(tmp_path: Path) -> None:
    first = ogg(tmp_path / "1.ogg", stereo(sine(440, 4.0)), 44_100)
    second = ogg(tmp_path / "2.ogg", stereo(sine(440, 4.0, rate=48_000)), 48_000)
    third = ogg(tmp_path / "3.ogg", stereo(sine(440, 4.0)), 44_100)
    path = joined(tmp_path, "chain.ogg", first, second, third)
    seconds, _, mono = heard(path)
    assert seconds == pytest.approx(12.0, abs=0.1)
    for start in (1.5, 5.5, 9.5):
        piece = mono[round(start * ANALYSIS_RATE) :][:ANALYSIS_RATE]
        assert np.argmax(np.abs(np.fft.rfft(piece))) == pytest.approx(440, abs=1)
    assert analyse(path).findings.warnings == ("rate_changes",)


@pytest.mark.parametrize("valid", [16, 20, 24, 32])
def test_valid_bits_are_the_upper_ones_of_their_container(tmp_path: Path, valid: int) -> None:
    tone = np.round(10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * np.arange(4 * 48_000) / 48_000) * (2**31 - 1))
    kept = (tone.astype(np.int64) >> (32 - valid)) << (32 - valid)
    findings = analyse(extensible(tmp_path / "a.wav", np.stack([kept, kept]), valid=valid, mask=3)).findings
    assert findings.loudness_lufs == pytest.approx(-23.0, abs=0.1)
    assert findings.sample_peak_dbfs == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_a_promise_that_is_not_kept_is_told(tmp_path: Path, kind: str) -> None:
    sound = stereo(chords("C F G", 2.0))
    path = tmp_path / f"a.{kind}"
    if kind == "wav":
        write_wav(path, sound)
    else:
        encode(path, sound, {"flac": "flac", "mp3": "libmp3lame"}[kind])
    whole = analyse(path).findings
    assert whole.claimed_seconds == pytest.approx(6.0, abs=0.1)
    assert whole.complete is True
    assert whole.warnings == ()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 5])
    part = analyse(path).findings
    assert part.claimed_seconds == pytest.approx(6.0, abs=0.1)
    assert part.decoded_seconds is not None
    assert 1.5 < part.decoded_seconds < 3.5
    assert part.complete is False
    assert "shorter_than_claimed" in part.warnings


def test_where_nothing_is_promised_nothing_is_missed(tmp_path: Path) -> None:
    content = write_wav(tmp_path / "a.wav", stereo(chords("C F", 2.0))).read_bytes()
    path = tmp_path / "stream.wav"
    path.write_bytes(content[:40] + b"\xff\xff\xff\xff" + content[44:])
    findings = analyse(path).findings
    assert (findings.complete, findings.claimed_seconds) == (None, None)
    assert findings.decoded_seconds == pytest.approx(4.0)


def test_a_wave_file_with_a_tag_in_front_is_read(tmp_path: Path) -> None:
    content = write_wav(tmp_path / "a.wav", stereo(chords("C F", 2.0))).read_bytes()
    path = tmp_path / "tagged.wav"
    path.write_bytes(b"ID3\4\0\0\0\0\2\0" + b"TIT2" + bytes(252) + content)
    findings = analyse(path).findings
    assert findings.duration_seconds == pytest.approx(4.0)
    assert findings.complete is True


@pytest.mark.parametrize(("name", "codec"), [("a.ts", "aac"), ("a.flv", "aac"), ("a.avi", "libmp3lame")])
def test_the_files_of_editors_and_broadcasters_are_heard(tmp_path: Path, name: str, codec: str) -> None:
    path = encode(tmp_path / name, stereo(chords("C F", 2.0)), codec)
    assert analyse(path).findings.duration_seconds == pytest.approx(4.0, abs=0.2)


@pytest.mark.parametrize(
    ("content", "named"),
    [(b"MThd\0\0\0\6", "MIDI"), (b".RMF\0\0\0\x12", "RealMedia"), (b"%PDF-1.7", "PDF"), (b"\x89PNG\r\n\x1a\n", "PNG")],
)
def test_a_healthy_file_of_another_kind_is_called_what_it_is(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(content + bytes(4000))
    with pytest.raises(Unreadable, match=f"This is a {named}.*cannot be listened to"):
        open_audio(path)


def test_a_folder_is_called_a_folder(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="folder"):
        open_audio(tmp_path)


@pytest.mark.parametrize("count", [5, 6])
def test_unnamed_channels_of_a_wave_file_are_in_the_usual_order(tmp_path: Path, count: int) -> None:
    # EBU Tech 3341, case 6.
    levels = {5: (-28, -28, -24, -30, -30), 6: (-28, -28, -24, None, -30, -30)}[count]
    planes = [silence(20.0, rate=48_000) if level is None else sine(1000, 20.0, level, rate=48_000) for level in levels]
    findings = analyse(write_wav(tmp_path / "a.wav", np.stack(planes), rate=48_000)).findings
    assert findings.loudness_lufs == pytest.approx(-23.0, abs=0.1)


def test_the_low_frequency_channel_counts_nowhere() -> None:
    assert channel_weights(("FL", "FR", "LFE")).tolist() == [1.0, 1.0, 0.0]
    assert channel_weights(("FL", "FR", "FC", "LFE", "BL", "BR")).tolist() == [1.0, 1.0, 1.0, 0.0, 1.41, 1.41]
    assert channel_weights(("FL", "FR")).tolist() == [1.0, 1.0]


def test_what_is_out_of_phase_between_the_channels_is_heard(tmp_path: Path) -> None:
    drums, harmony = (0.5 * clicks(120, 16.0)).astype(np.float32), chords("Am Dm E Am", 4.0)
    plain = analyse(write_wav(tmp_path / "plain.wav", stereo(0.5 * (drums + harmony)))).findings
    wide = analyse(
        write_wav(tmp_path / "wide.wav", np.stack([0.5 * (drums + harmony), 0.5 * (drums - harmony)]))
    ).findings
    assert wide.key_notation == plain.key_notation == "Am"
    assert wide.key_confidence == pytest.approx(plain.key_confidence, abs=0.05)
    assert wide.bpm == pytest.approx(plain.bpm, rel=0.01)


def test_an_inverted_channel_through_a_lossy_coder_changes_nothing(tmp_path: Path) -> None:
    sound = (chords("Am Dm E Am", 4.0) + 0.5 * clicks(120, 16.0)).astype(np.float32)
    plain = analyse(encode(tmp_path / "plain.mp3", stereo(0.5 * sound), "libmp3lame")).findings
    turned = analyse(encode(tmp_path / "turned.mp3", np.stack([0.5 * sound, -0.5 * sound]), "libmp3lame")).findings
    assert turned.key_notation == plain.key_notation == "Am"
    assert turned.key_confidence == pytest.approx(plain.key_confidence, abs=0.05)
    assert turned.bpm == pytest.approx(plain.bpm, rel=0.01)
    assert turned.beat_count == pytest.approx(plain.beat_count, abs=1)


@pytest.mark.parametrize("offset", [0.003, 0.02])
def test_a_constant_offset_is_no_sound(tmp_path: Path, offset: float) -> None:
    music = chords("Am Dm E Am", 4.0) + 0.5 * clicks(120, 16.0)
    quiet = silence(10.0)
    sound = np.concatenate([quiet, 0.5 * music, quiet]).astype(np.float32)
    plain = analyse(write_wav(tmp_path / "plain.wav", sound))
    lifted = analyse(write_wav(tmp_path / "lifted.wav", sound + np.float32(offset)))
    assert lifted.findings.bpm == plain.findings.bpm
    assert lifted.findings.bpm_confidence == pytest.approx(plain.findings.bpm_confidence, abs=0.02)
    assert all(9.9 < beat < 26.1 for beat in lifted.detail.beats)
    assert len(lifted.detail.beats) == len(plain.detail.beats)


def test_channels_that_have_nothing_in_common_add_up_by_energy(tmp_path: Path) -> None:
    left, right = noise(3.0, seed=1), noise(3.0, seed=2)
    path = write_wav(tmp_path / "a.wav", np.stack([left, right]))
    _, _, mono = heard(path)
    power = float(np.mean(np.square(mono[2000:-2000])))
    # White noise of -20 dB on each side, 3 dB less at half the rate and some for the filter's edge; their mean: -26.
    assert 10 * np.log10(power) == pytest.approx(-23.0, abs=0.5)
