"""Any recording as WAV: 44.1 kHz, 16 bits, stereo. What has that form already keeps every sample."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from adapters.band.wav import RATE, wav_header

#: What fits into the sizes of a WAV, less its header.
SAMPLES_MAX = (2**32 - 1024) // 4
_PIECE_SAMPLES = 1 << 17


class NotConvertible(Exception):
    """A recording that no WAV can be made of; the text is for its owner."""


def to_wav(path: Path) -> Iterator[bytes]:
    """The bytes of the WAV, piece by piece; raises NotConvertible.

    It is decoded twice, because a WAV says at its beginning how long it is.
    """
    count = sum(len(piece) // 4 for piece in _samples(path))
    if count == 0:
        raise NotConvertible("There is no sound in this recording.")
    if count > SAMPLES_MAX:
        raise NotConvertible("This recording is too long for a WAV.")
    yield wav_header(1, 16, count)
    yield from _samples(path)


def _samples(path: Path) -> Iterator[bytes]:
    """Interleaved 16-bit samples."""
    try:
        with av.open(str(path), mode="r") as container:
            if not container.streams.audio:
                raise NotConvertible("There is no audio in this file.")
            yield from _pieces(container)
    except av.error.FFmpegError as problem:
        raise NotConvertible("This recording is damaged, or not what it claims to be.") from problem


def _pieces(container: Any) -> Iterator[bytes]:
    stream = container.streams.audio[0]
    generator = np.random.Generator(np.random.PCG64(0))
    whole = stream.codec_context.format.name in ("s16", "s16p", "u8", "u8p")
    exact = whole and stream.codec_context.sample_rate == RATE
    resampler = av.AudioResampler(format="s16" if exact else "flt", layout="stereo", rate=RATE)
    pending = bytearray()
    for frame in _with_end(_frames(container, stream)):
        for ready in resampler.resample(frame):
            data = ready.to_ndarray().reshape(-1)
            if not exact:
                # Triangular dither of one step, so that what is rounded away is noise and no distortion.
                dither = generator.random(len(data), dtype=np.float32) - generator.random(len(data), dtype=np.float32)
                data = np.clip(np.rint(data * 32767 + dither), -32768, 32767)
            pending += data.astype("<i2").tobytes()
        while len(pending) >= _PIECE_SAMPLES * 4:
            yield bytes(pending[: _PIECE_SAMPLES * 4])
            del pending[: _PIECE_SAMPLES * 4]
    if pending:
        yield bytes(pending)


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    for frame in container.decode(stream):
        frame.pts = None  # gaps and jumps in the times of a file are not sound
        yield frame


def _with_end(frames: Iterator[Any]) -> Iterator[Any]:
    """The frames, and then None, which empties a resampler."""
    yield from frames
    yield None
