"""Turns a file of any common audio format into blocks of samples, decoded once and never held whole in memory.

The container is recognised by its content, never by its name, and only containers that hold sound by themselves are
admitted: playlists and concatenation scripts, which could make the decoder open other files, are not among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from domain.analyses.findings import Unreadable

Samples = NDArray[np.float32]

#: What every percept listens at: enough for rhythm and harmony, a quarter of the work of a studio rate.
ANALYSIS_RATE = 22_050
#: Longer recordings are refused rather than half heard.
SECONDS_MAX = 4 * 3600.0
#: Shorter ones hold nothing that could be called music.
SECONDS_MIN = 0.1
#: A small file may unpack to far more than it says; this is four hours of stereo at 192 kHz.
SAMPLES_MAX = int(SECONDS_MAX) * 192_000 * 2
CHANNELS_MAX = 64
#: PyAV reads past the end of a frame that keeps its channels in more planes than this; those come interleaved.
PLANES_MAX = 7
RATES = (4_000, 768_000)

#: Samples per channel and block: large enough that the interpreter's share of the work is small.
BLOCK = 1 << 15
#: Float files may exceed full scale, but beyond this (+36 dBFS) a value is damage, not sound.
LEVEL_MAX = 64.0
#: So many packets may be broken, in a row and from the start, before a file counts as something else than sound.
BROKEN_PACKETS_MAX = 1000

#: What archives begin with. The decoder would look for music inside and play the first it finds.
ARCHIVES = (b"PK\x03\x04", b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b")
#: Channels whose mean has less than this share of their power cancel each other, and the mean is not what is heard.
CANCELLED = 0.001

CONTAINERS = "mp3,wav,w64,flac,ogg,aac,mov,mp4,m4a,aiff,caf,matroska,webm,asf,ac3,eac3,wv,ape,tta,au,amr"


class Block(NamedTuple):
    """A stretch of sound, the same in two forms."""

    #: (channels, n) at the native rate, full scale is 1.
    samples: Samples
    #: (m,) at `ANALYSIS_RATE`, the mean of all channels but the LFE, the strongest one where they cancel each other.
    #: It lags `samples` by the resampler's delay.
    mono: Samples


class Audio:
    """An opened recording: what is known of its format, and its blocks, which can be read once.

    >>> with open_audio(path) as audio:
    ...     for block in audio: ...
    """

    def __init__(self, path: Path, *, seconds_max: float = SECONDS_MAX) -> None:
        self._seconds_max = seconds_max
        try:
            if path.stat().st_size == 0:
                raise Unreadable("The file is empty.")
            with path.open("rb") as file:
                if file.read(8).startswith(ARCHIVES):
                    raise Unreadable("This is an archive, not a recording; please unpack it first.")
            self._container = av.open(
                f"file:{path}",
                options={"protocol_whitelist": "file", "format_whitelist": CONTAINERS, "max_streams": "64"},
                metadata_errors="replace",
            )
        except (av.FFmpegError, ValueError, OSError) as fault:
            if isinstance(fault, FileNotFoundError) and not path.exists():
                raise Unreadable("There is no such file.") from fault
            raise Unreadable("This is not an audio file, or its beginning is damaged beyond recognition.") from fault
        try:
            self._survey()
        except BaseException:
            self._container.close()
            raise

    def _survey(self) -> None:
        streams = self._container.streams
        if not streams.audio:
            pictured = any(True for _ in streams.video)
            raise Unreadable("This is a video without sound." if pictured else "There is no sound in this file.")
        self._stream = streams.audio[0]
        context = self._stream.codec_context
        if context is None:  # as PyAV has it where no decoder is known
            raise Unreadable("The sound in this file is coded in a way that cannot be read here.")
        context.thread_count = 1
        #: Native samples per second.
        self.sample_rate: int = context.sample_rate or 0
        #: Channel names in the order of `Block.samples`, such as ("FL", "FR", "FC", "LFE", "BL", "BR").
        self.layout: tuple[str, ...] = tuple(channel.name for channel in context.layout.channels)
        self.container: str = self._container.format.name
        self.codec: str = context.name
        #: What the file claims, in seconds; None when it claims nothing.
        self.duration_seconds: float | None = self._claimed_seconds()
        #: What was really there, in seconds; grows while blocks are read.
        self.seconds_decoded = 0.0
        #: NaN, infinite or absurd values that were put right.
        self.samples_mended = 0
        #: Packets that could not be decoded.
        self.packets_broken = 0
        if not self.layout or not RATES[0] <= self.sample_rate <= RATES[1]:
            raise Unreadable("The sound in this file has no usable sample rate or channels.")
        if self.channels > CHANNELS_MAX:
            raise Unreadable(f"The sound has {self.channels} channels; at most {CHANNELS_MAX} can be heard.")
        if self.duration_seconds is not None and self.duration_seconds > self._seconds_max:
            raise self._too_long()

    @property
    def channels(self) -> int:
        """How many channels the recording has."""
        return len(self.layout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Block]:
        """The blocks, once; raises `Unreadable` when too little or too much comes out."""
        heard = [index for index, name in enumerate(self.layout) if name != "LFE"] or [0]
        whole = len(heard) == self.channels
        resampler = AudioResampler(format="fltp", layout="mono", rate=ANALYSIS_RATE)
        decoded, limit = 0, min(int(self._seconds_max * self.sample_rate), SAMPLES_MAX // self.channels)
        for frame in self._frames():
            samples = self._mended(_planes(frame, self.channels))
            decoded += samples.shape[1]
            if decoded > limit:
                raise self._too_long()
            self.seconds_decoded = decoded / self.sample_rate
            yield Block(samples, _resampled(resampler, _mixed(samples if whole else samples[heard]), self.sample_rate))
        if self.seconds_decoded < SECONDS_MIN:
            raise Unreadable("There is hardly any sound in this file: less than a tenth of a second could be decoded.")
        tail = _drained(resampler)
        if tail.size:
            yield Block(np.zeros((self.channels, 0), np.float32), tail)

    def _frames(self) -> Iterator[AudioFrame]:
        """Float frames of `BLOCK` samples, all of one rate and layout, whatever the packets do on the way."""
        kind = "fltp" if self.channels <= PLANES_MAX else "flt"
        shape: tuple[int, str, str] | None = None
        queue, resampler = AudioFifo(), AudioResampler(kind, self._stream.layout, self.sample_rate)
        for frame in self._decoded():
            if shape != (frame.sample_rate, frame.layout.name, frame.format.name):
                # A stream may change its rate or layout on the way (joined MP3s, AAC that turns on its second band).
                if shape is not None:
                    yield from _emptied(queue, resampler)
                shape = (frame.sample_rate, frame.layout.name, frame.format.name)
                queue, resampler = AudioFifo(), AudioResampler(kind, self._stream.layout, self.sample_rate)
            frame.pts = None
            # Packets hold some thousand samples; gathered first, they are converted and looked at with far fewer calls.
            queue.write(frame)
            while (block := queue.read(BLOCK)) is not None:
                yield from _converted(resampler, block)
        if shape is not None:
            yield from _emptied(queue, resampler)

    def _decoded(self) -> Iterator[AudioFrame]:
        heard = False
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError:
                return  # The file ends in the middle of something; what came before still counts.
            try:
                for frame in packet.decode():
                    if isinstance(frame, AudioFrame) and frame.samples:
                        heard = True
                        yield frame
            except av.FFmpegError as fault:
                self.packets_broken += 1
                if not heard and self.packets_broken > BROKEN_PACKETS_MAX:
                    raise Unreadable("The sound in this file is damaged: none of it can be decoded.") from fault

    def _mended(self, samples: Samples) -> Samples:
        """The same samples with whatever is no level put right: NaN to silence, absurd values to the limit."""
        peak = max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))
        if peak <= LEVEL_MAX:  # False for NaN too
            return samples
        wrong = ~(np.abs(samples) <= LEVEL_MAX)
        self.samples_mended += int(wrong.sum())
        mended = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        return np.clip(mended, -LEVEL_MAX, LEVEL_MAX)

    def _claimed_seconds(self) -> float | None:
        stream = self._stream
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        if self._container.duration:
            return self._container.duration / 1_000_000
        return None

    def _too_long(self) -> Unreadable:
        hours = self._seconds_max / 3600
        limit = f"{hours:g} hours" if hours >= 1 else f"{self._seconds_max:g} seconds"
        return Unreadable(f"The recording is too long: at most {limit} can be analysed.")


def open_audio(path: str | Path, *, seconds_max: float = SECONDS_MAX) -> Audio:
    """Open a recording for reading once; raises `Unreadable` with a sentence when there is no sound in it."""
    return Audio(Path(path).absolute(), seconds_max=seconds_max)


def _planes(frame: AudioFrame, channels: int) -> Samples:
    """(channels, n) the samples of a frame, planar or interleaved."""
    samples: Samples = frame.to_ndarray().astype(np.float32, copy=False)
    return samples if len(samples) == channels else np.ascontiguousarray(samples.reshape(-1, channels).T)


def _mixed(samples: Samples) -> Samples:
    """(1, n) the mean of the channels, or the strongest one where they cancel each other."""
    mono: Samples = samples.mean(axis=0, keepdims=True, dtype=np.float32)
    if len(samples) > 1:
        powers = [float(np.vdot(channel, channel)) for channel in samples]
        if float(np.vdot(mono, mono)) < CANCELLED * sum(powers) / len(powers):
            strongest = powers.index(max(powers))
            return np.ascontiguousarray(samples[strongest : strongest + 1])
    return mono


def _converted(resampler: AudioResampler, frame: AudioFrame) -> list[AudioFrame]:
    frame.pts = None
    return resampler.resample(frame)


def _emptied(queue: AudioFifo, resampler: AudioResampler) -> Iterator[AudioFrame]:
    """What is left of a stretch of one shape."""
    rest = queue.read(partial=True)
    if rest is not None:
        yield from _converted(resampler, rest)
    yield from resampler.resample(None)


def _resampled(resampler: AudioResampler, mono: Samples, rate: int) -> Samples:
    frame = AudioFrame.from_ndarray(mono, format="fltp", layout="mono")
    frame.sample_rate = rate
    return _joined(resampler.resample(frame))


def _drained(resampler: AudioResampler) -> Samples:
    return _joined(resampler.resample(None))


def _joined(frames: list[AudioFrame]) -> Samples:
    parts = [frame.to_ndarray()[0] for frame in frames]
    return np.concatenate(parts).astype(np.float32, copy=False) if parts else np.zeros(0, np.float32)
