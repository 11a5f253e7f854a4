"""The files of a beat: WAV, FLAC and MP3 with tags, the preview, and the outline of the wave."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from adapters.band.score import BEATS_PER_BAR, Score
from adapters.band.wav import RATE, wav_header
from adapters.band.waves import Sound
from domain.kernel import Value

PREVIEW_SECONDS = 30.0
#: Points of the outline of the wave.
PEAKS = 1000
PIECE = 1 << 18
#: MP3s of at least so many bits a second need no thorough search for what to leave out.
SWIFT_BITS = 256_000


class Tags(Value):
    """What players show."""

    title: str
    artist: str
    genre: str
    bpm: int
    key: str
    #: A PNG, or nothing.
    cover: bytes = b""


def dithered(sound: Sound, seed: int) -> Iterator[NDArray[np.int16]]:
    """(2, samples) in 16 bits piece by piece, with triangular dither of one step, the same for the same seed."""
    generator = np.random.Generator(np.random.PCG64(seed))
    for piece in pieces(sound):
        dither = generator.random(piece.shape, dtype=np.float32) - generator.random(piece.shape, dtype=np.float32)
        yield np.clip(np.rint(piece * 32767 + dither), -32768, 32767).astype(np.int16)


def pieces(sound: Sound) -> Iterator[Sound]:
    """(2, samples) a stretch at a time."""
    return (sound[:, start : start + PIECE] for start in range(0, sound.shape[1], PIECE))


def write_wav(path: Path, sound: Sound, *, seed: int = 0) -> None:
    """A WAV of 16 bits with dither."""
    with path.open("wb") as file:
        file.write(wav_header(1, 16, sound.shape[1]))
        for piece in dithered(sound, seed):
            file.write(np.ascontiguousarray(piece.T).astype("<i2").tobytes())


def write_float_wav(path: Path, sound: Sound) -> None:
    """A WAV of 32-bit floats: what stems are written as, so that nothing is lost."""
    with path.open("wb") as file:
        file.write(wav_header(3, 32, sound.shape[1]))
        for piece in pieces(sound):
            file.write(np.ascontiguousarray(piece.T).astype("<f4").tobytes())


def write_flac(path: Path, sound: Sound, tags: Tags, *, seed: int = 0) -> None:
    """A FLAC of 16 bits with dither."""
    _encode(path, dithered(sound, seed), "flac", "s16", 0, tags)


def write_mp3(path: Path, sound: Sound, tags: Tags, *, kilobits: int = 320) -> None:
    """An MP3 of constant rate with tags and, if there is one, the cover."""
    _encode(path, pieces(sound), "libmp3lame", "fltp", kilobits * 1000, tags)


def _encode(path: Path, sound: Iterator[NDArray[Any]], codec: str, form: str, rate: int, tags: Tags) -> None:
    with av.open(str(path), "w", options={"id3v2_version": "3"} if codec == "libmp3lame" else {}) as container:
        container.metadata.update(
            {
                "title": tags.title,
                "artist": tags.artist,
                "genre": tags.genre,
                "TBPM": str(tags.bpm),
                "TKEY": _short(tags.key),
            }
            if codec == "libmp3lame"
            else {
                "TITLE": tags.title,
                "ARTIST": tags.artist,
                "GENRE": tags.genre,
                "BPM": str(tags.bpm),
                "INITIALKEY": _short(tags.key),
            }
        )
        # LAME's quicker searches: half the time, and at 320 kbit/s less of an error than its thorough ones leave.
        swift = {"compression_level": "7"} if rate >= SWIFT_BITS else {}
        stream: Any = container.add_stream(codec, rate=RATE, options=swift)
        stream.layout = "stereo"
        stream.format = form
        if rate:
            stream.bit_rate = rate
        picture: Any = None
        if tags.cover:
            picture = container.add_stream("png", rate=1)
            picture.disposition = av.stream.Disposition.attached_pic
            picture.metadata.update({"title": "Cover", "comment": "Cover (front)"})
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = *_png_size(tags.cover), "rgb24"
            packet = av.Packet(tags.cover)
            packet.stream = picture
            packet.time_base = Fraction(1, 1)
            packet.pts = packet.dts = 0
            container.start_encoding()
            container.mux(packet)
        start = 0
        for piece in sound:
            data = np.ascontiguousarray(piece) if form == "fltp" else np.ascontiguousarray(piece.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(data, format=form, layout="stereo")
            frame.sample_rate = RATE
            frame.pts = start
            frame.time_base = Fraction(1, RATE)
            container.mux(stream.encode(frame))
            start += piece.shape[1]
        container.mux(stream.encode(None))


def _png_size(png: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", png[16:24])
    return int(width), int(height)


def _short(key: str) -> str:
    """A key as ID3 has it: "F#m" for "F# Minor"."""
    name, scale = key.split()
    return name + ("m" if scale == "Minor" else "")


def preview(score: Score, sound: Sound) -> Sound:
    """Thirty seconds from the first hook on, or as many as there are, faded in and out."""
    hook = next((section for section in score.sections if section.name == "hook"), score.sections[0])
    wanted = min(sound.shape[1], round(PREVIEW_SECONDS * RATE))
    start = min(round(score.time(hook.bar * BEATS_PER_BAR) * RATE), sound.shape[1] - wanted)
    cut = sound[:, start : start + wanted].copy()
    for seconds, at_end in ((0.02, False), (1.5, True)):
        fade = np.linspace(0, 1, min(wanted, round(seconds * RATE)), dtype=np.float32)
        if at_end:
            cut[:, wanted - len(fade) :] *= fade[::-1]
        else:
            cut[:, : len(fade)] *= fade
    return cut


def outline(sound: Sound) -> tuple[float, ...]:
    """The height of the wave in `PEAKS` equal stretches, 0 to 1, for drawing it."""
    edges = np.linspace(0, sound.shape[1], PEAKS + 1).astype(int)[:-1]
    highest = np.maximum.reduceat(sound, edges, axis=1).max(axis=0)
    lowest = np.minimum.reduceat(sound, edges, axis=1).min(axis=0)
    heights = np.maximum(highest, -lowest)
    return tuple(np.round(np.minimum(heights, 1.0).astype(np.float64), 3).tolist())
