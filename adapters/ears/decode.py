"""Turns a file of any common audio format into blocks of samples, decoded once and never held whole in memory.

The container is recognised by its content, never by its name, and only containers that hold sound by themselves are
admitted: playlists and concatenation scripts, which could make the decoder open other files, are not among them. The
track is the one ffmpeg would choose, and what changes on the way (channels, rate, a new link of a chain) is followed.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from numpy.typing import NDArray

from adapters.ears.containers import Part, Survey, View, survey
from adapters.ears.mixing import Mixer, folded
from domain.analyses.findings import FileWarning, Unreadable

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

#: A promised length is kept by what is shorter by this much and this share: coders add and drop a frame or two.
SHORT_SECONDS, SHORT_SHARE = 0.25, 0.002
#: Sound above this rate's half is no music in one-bit recordings, but the noise of their coding.
ONE_BIT_RATE = 88_200

CONTAINERS = (
    "mp3,wav,w64,flac,ogg,aac,mov,mp4,m4a,aiff,caf,matroska,webm,asf,ac3,eac3,wv,ape,tta,au,amr,"
    "mpegts,flv,avi,dts,dtshd,dsf,iff"
)
#: Of these containers the length is a header's promise, not an estimate from the size of the file.
PROMISING = frozenset({"w64", "flac", "aiff", "caf", "asf", "wv", "ape", "tta", "mov", "matroska", "avi", "dsf", "iff"})
#: The order of channels in files that name none, as WAVE has it (5 channels: EBU Tech 3341, case 6).
UNNAMED = {
    1: "FC",
    2: "FL FR",
    3: "FL FR FC",
    4: "FL FR BL BR",
    5: "FL FR FC BL BR",
    6: "FL FR FC LFE BL BR",
    7: "FL FR FC LFE BC SL SR",
    8: "FL FR FC LFE BL BR SL SR",
}
NO_SOUND = "This is not an audio file, or its beginning is damaged beyond recognition."


class Block(NamedTuple):
    """A stretch of sound, the same in two forms."""

    #: (channels, n) at the native rate, full scale is 1.
    samples: Samples
    #: (m,) at `ANALYSIS_RATE`, what all channels but the LFE have together, see `mixing.py`. It lags `samples`.
    mono: Samples
    #: The names of the channels, such as ("FL", "FR", "FC", "LFE", "BL", "BR").
    layout: tuple[str, ...]


class Audio:
    """An opened recording: what is known of its format, and its blocks, which can be read once.

    >>> with open_audio(path) as audio:
    ...     for block in audio: ...
    """

    def __init__(self, path: Path, *, seconds_max: float = SECONDS_MAX) -> None:
        self._seconds_max = seconds_max
        self._path = path
        self._file: BinaryIO | None = None
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                raise Unreadable("This is a folder.")
            if not stat.S_ISREG(status.st_mode):
                # What has no size is gone through twice, and may have no end.
                raise Unreadable("This is a device or a pipe. Put what comes from it into a file first.")
            if status.st_size == 0:
                raise Unreadable("The file is empty.")
            self._says: Survey = survey(path)
        except OSError as fault:
            missing = isinstance(fault, FileNotFoundError | NotADirectoryError)
            raise Unreadable("There is no such file." if missing else "The file cannot be opened.") from fault
        if self._says.archive:
            raise Unreadable("This is an archive, not a recording; please unpack it first.")
        self._later: list[Part] = list(self._says.parts[1:])
        self._container = self._opened(self._says.parts[0] if self._says.parts else None)
        try:
            self._survey()
        except BaseException:
            self._close()
            raise

    def _opened(self, part: Part | None) -> InputContainer:
        """The decoder's view of the file, or of a part of it."""
        options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS, "max_streams": "64"}
        try:
            if part is None:
                return av.open(f"file:{self._path}", "r", options=options, metadata_errors="replace")
            if self._file is None:
                self._file = self._path.open("rb")
            return av.open(View(self._file, part), "r", options=options, metadata_errors="replace")
        except (av.FFmpegError, ValueError, OSError) as fault:
            kind = self._says.other_kind
            raise Unreadable(f"This is {kind}, which cannot be listened to here." if kind else NO_SOUND) from fault

    def _survey(self) -> None:
        self._stream = _chosen(self._container)
        context = self._stream.codec_context
        #: Native samples per second.
        self.sample_rate: int = context.sample_rate or 0
        if context.name.startswith("dsd_"):
            self.sample_rate = ONE_BIT_RATE
        #: Channel names in the order of `Block.samples`; once blocks were read, those of the widest.
        self.layout: tuple[str, ...] = _names(context.layout)
        self.container: str = self._container.format.name
        self.codec: str = context.name
        #: About how long the recording is, in seconds; None when nothing tells.
        self.duration_seconds: float | None = self._expected_seconds()
        #: What a header promises, in seconds; None when none does.
        self.claimed_seconds: float | None = self._claimed_seconds()
        #: What was really there, in seconds; grows while blocks are read.
        self.seconds_decoded = 0.0
        #: NaN, infinite or absurd values that were put right.
        self.samples_mended = 0
        #: Packets that could not be decoded.
        self.packets_broken = 0
        #: Whether channels or rate changed on the way.
        self.channels_changed = False
        self.rate_changed = False
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

    @property
    def complete(self) -> bool | None:
        """Whether all that was promised came out; None where nothing was promised."""
        if self.claimed_seconds is None:
            return None
        return self.seconds_decoded >= self.claimed_seconds - self._tolerance(self.claimed_seconds)

    @property
    def warnings(self) -> tuple[FileWarning, ...]:
        """What is to be known of this file before its figures are trusted."""
        claimed = self.claimed_seconds
        longer = claimed is not None and self.seconds_decoded > claimed + self._tolerance(claimed)
        told: tuple[tuple[bool, FileWarning], ...] = (
            (self.complete is False, "shorter_than_claimed"),
            (longer, "longer_than_claimed"),
            (self.packets_broken > 0, "packets_broken"),
            (self.samples_mended > 0, "samples_mended"),
            (self.channels_changed, "channels_change"),
            (self.rate_changed, "rate_changes"),
        )
        return tuple(name for applies, name in told if applies)

    @staticmethod
    def _tolerance(claimed: float) -> float:
        return SHORT_SECONDS + SHORT_SHARE * claimed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._container.close()
        if self._file is not None:
            self._file.close()

    def __iter__(self) -> Iterator[Block]:
        """The blocks, once; raises `Unreadable` when too little or too much comes out."""
        mixer, resampler = Mixer(), _Narrow(self.sample_rate)
        decoded, values = 0, 0
        for frame in self._frames():
            layout = _names(frame.layout)
            samples = self._mended(_planes(frame, len(layout)))
            decoded += samples.shape[1]
            values += samples.size
            if decoded > self._seconds_max * self.sample_rate or values > SAMPLES_MAX:
                raise self._too_long()
            self.seconds_decoded = decoded / self.sample_rate
            if len(layout) > len(self.layout):
                self.layout = layout
            yield Block(samples, mixer.push(resampler.push(folded(samples, layout))), layout)
        if self.seconds_decoded < SECONDS_MIN:
            raise Unreadable("There is hardly any sound in this file: less than a tenth of a second could be decoded.")
        tail = np.concatenate([mixer.push(resampler.finish()), mixer.finish()])
        yield Block(np.zeros((self.channels, 0), np.float32), tail, self.layout)

    def _frames(self) -> Iterator[AudioFrame]:
        """Float frames of at most `BLOCK` samples, all of one rate, whatever the packets do on the way."""
        shape: tuple[int, str, str] | None = None
        queue, resampler = AudioFifo(), AudioResampler("fltp", self._stream.layout, self.sample_rate)
        for frame in self._decoded():
            if shape != (frame.sample_rate, frame.layout.name, frame.format.name):
                # A stream may change its rate or layout on the way (joined MP3s, advertisements in broadcasts).
                if shape is not None:
                    yield from _emptied(queue, resampler)
                    self.rate_changed |= shape[0] != frame.sample_rate
                    self.channels_changed |= shape[1] != frame.layout.name
                shape = (frame.sample_rate, frame.layout.name, frame.format.name)
                kind = "fltp" if frame.layout.nb_channels <= PLANES_MAX else "flt"
                queue, resampler = AudioFifo(), AudioResampler(kind, frame.layout, self.sample_rate)
            frame.pts = None
            # Packets hold some thousand samples; gathered first, they are converted and looked at with far fewer calls.
            queue.write(frame)
            while (block := queue.read(BLOCK)) is not None:
                yield from _converted(resampler, block)
        if shape is not None:
            yield from _emptied(queue, resampler)

    def _decoded(self) -> Iterator[AudioFrame]:
        heard = False
        while True:
            for packet in self._packets():
                try:
                    for frame in packet.decode():
                        if isinstance(frame, AudioFrame) and frame.samples:
                            if not 0 < frame.layout.nb_channels <= CHANNELS_MAX:
                                raise Unreadable("The sound in this file has no usable sample rate or channels.")
                            heard = True
                            yield frame
                except av.FFmpegError as fault:
                    self.packets_broken += 1
                    if not heard and self.packets_broken > BROKEN_PACKETS_MAX:
                        raise Unreadable("The sound in this file is damaged: none of it can be decoded.") from fault
            if not self._next_link():
                return

    def _packets(self) -> Iterator[av.Packet[AudioStream]]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                yield next(packets)
            except (StopIteration, av.FFmpegError):
                return  # The file ends, maybe in the middle of something; what came before still counts.

    def _next_link(self) -> bool:
        """Go on to the next link of a chain that has sound; whether there is one."""
        while self._later:
            self._container.close()
            try:
                self._container = self._opened(self._later.pop(0))
                self._stream = _chosen(self._container)
            except Unreadable:
                self.packets_broken += 1
                continue
            return True
        return False

    def _mended(self, samples: Samples) -> Samples:
        """The same samples with whatever is no level put right: NaN to silence, absurd values to the limit."""
        peak = max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))
        if peak <= LEVEL_MAX:  # False for NaN too
            return samples
        wrong = ~(np.abs(samples) <= LEVEL_MAX)
        self.samples_mended += int(wrong.sum())
        mended = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        return np.clip(mended, -LEVEL_MAX, LEVEL_MAX)

    def _expected_seconds(self) -> float | None:
        if self._says.claimed_seconds is not None:
            return min(self._says.claimed_seconds, self._decoder_seconds() or self._says.claimed_seconds)
        return None if self._later else self._decoder_seconds()

    def _claimed_seconds(self) -> float | None:
        if self._says.claimed_seconds is not None:
            return self._says.claimed_seconds
        promising = self._says.promises and bool(PROMISING & set(self.container.split(",")))
        return self._decoder_seconds() if promising else None

    def _decoder_seconds(self) -> float | None:
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


def _chosen(container: InputContainer) -> AudioStream:
    """The track that ffmpeg would take: one marked as default before others, then the one of most channels."""
    tracks = [track for track in container.streams.audio if track.codec_context is not None]
    if not container.streams.audio:
        pictured = any(True for _ in container.streams.video)
        raise Unreadable("This is a video without sound." if pictured else "There is no sound in this file.")
    if not tracks:  # as PyAV has it where no decoder is known
        raise Unreadable("The sound in this file is coded in a way that cannot be read here.")
    chosen = max(tracks, key=lambda track: (bool(track.disposition & Disposition.default), track.channels or 0))
    chosen.codec_context.thread_count = 1
    return chosen


def _names(layout: AudioLayout) -> tuple[str, ...]:
    """The names of the channels; where the file gives none, those of the usual order."""
    names = tuple(channel.name for channel in layout.channels)
    if any(name == "NONE" for name in names) and len(names) in UNNAMED:
        return tuple(UNNAMED[len(names)].split())
    return names


def _planes(frame: AudioFrame, channels: int) -> Samples:
    """(channels, n) the samples of a frame, planar or interleaved."""
    samples: Samples = frame.to_ndarray().astype(np.float32, copy=False)
    return samples if len(samples) == channels else np.ascontiguousarray(samples.reshape(-1, channels).T)


def _converted(resampler: AudioResampler, frame: AudioFrame) -> list[AudioFrame]:
    frame.pts = None
    return resampler.resample(frame)


def _emptied(queue: AudioFifo, resampler: AudioResampler) -> Iterator[AudioFrame]:
    """What is left of a stretch of one shape."""
    rest = queue.read(partial=True)
    if rest is not None:
        yield from _converted(resampler, rest)
    yield from resampler.resample(None)


class _Narrow:
    """Brings mid and side to `ANALYSIS_RATE`; a resampler's delay is made up for at the end."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._width = 0
        self._resampler: AudioResampler | None = None

    def push(self, pair: Samples) -> Samples:
        """(1 or 2, m) of (1 or 2, n) more samples at the native rate."""
        if len(pair) == self._width and self._resampler is not None:
            return _resampled(self._resampler, pair, self._rate)
        rest = self.finish()
        self._width = len(pair)
        layout = "mono" if self._width == 1 else "stereo"
        self._resampler = AudioResampler(format="fltp", layout=layout, rate=ANALYSIS_RATE)
        first = _resampled(self._resampler, pair, self._rate)
        return np.concatenate([_wide(rest), _wide(first)], axis=1) if rest.size else first

    def finish(self) -> Samples:
        """(1 or 2, m) what the resampler still holds."""
        if self._resampler is None:
            return np.zeros((1, 0), np.float32)
        return _joined(self._resampler.resample(None), self._width)


def _wide(pair: Samples) -> Samples:
    return pair if len(pair) == 2 else np.concatenate([pair, np.zeros_like(pair)])


def _resampled(resampler: AudioResampler, pair: Samples, rate: int) -> Samples:
    layout = "mono" if len(pair) == 1 else "stereo"
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(pair), format="fltp", layout=layout)
    frame.sample_rate = rate
    return _joined(resampler.resample(frame), len(pair))


def _joined(frames: list[AudioFrame], width: int) -> Samples:
    parts = [frame.to_ndarray() for frame in frames]
    if not parts:
        return np.zeros((width, 0), np.float32)
    return np.concatenate(parts, axis=1).astype(np.float32, copy=False)
