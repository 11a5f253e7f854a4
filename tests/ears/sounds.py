"""Sounds made on the spot, so that what is in them is known: tones, clicks, noise, chords, and files of them."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

Sound = NDArray[np.float32]

RATE = 44_100
NOTES = {"C": 0, "C#": 1, "D": 2, "Eb": 3, "E": 4, "F": 5, "F#": 6, "G": 7, "Ab": 8, "A": 9, "Bb": 10, "B": 11}


def sine(hertz: float, seconds: float, decibels: float = -20.0, *, rate: int = RATE, phase: float = 0.0) -> Sound:
    """(n,) a sine of this peak level in dBFS."""
    time = np.arange(round(seconds * rate)) / rate
    return (10 ** (decibels / 20) * np.sin(2 * np.pi * hertz * time + phase)).astype(np.float32)


def silence(seconds: float, *, rate: int = RATE) -> Sound:
    """(n,) nothing."""
    return np.zeros(round(seconds * rate), np.float32)


def noise(seconds: float, decibels: float = -20.0, *, rate: int = RATE, seed: int = 7) -> Sound:
    """(n,) white noise of this level (root mean square)."""
    return (10 ** (decibels / 20) * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(
        np.float32
    )


def stereo(sound: Sound) -> Sound:
    """(2, n) the same on both sides."""
    return np.stack([sound, sound])


def tone(midi: float, seconds: float, *, rate: int = RATE, partials: int = 8) -> Sound:
    """(n,) a plucked note with falling partials, such as a simple synthesizer makes."""
    time = np.arange(round(seconds * rate)) / rate
    hertz = 440 * 2 ** ((midi - 69) / 12)
    wave_form = sum(
        np.sin(2 * np.pi * hertz * k * time) / k**1.2 for k in range(1, partials + 1) if hertz * k < rate / 2.2
    )
    attack = np.minimum(1, time / 0.005)
    note: Sound = (0.2 * wave_form * attack * np.exp(-time / (0.6 * seconds))).astype(np.float32)
    return note


def chord(name: str, seconds: float, *, rate: int = RATE, cents: float = 0.0) -> Sound:
    """(n,) a triad over its root in the bass, written as C or Cm."""
    root = NOTES[name.removesuffix("m")]
    third = 3 if name.endswith("m") else 4
    pitches = (36 + root, 60 + root, 60 + root + third, 60 + root + 7)
    sound: Sound = np.sum(
        [tone(pitch + cents / 100, seconds, rate=rate) for pitch in pitches], axis=0, dtype=np.float32
    )
    return sound


def chords(names: str, seconds_each: float = 2.0, *, cents: float = 0.0, rate: int = RATE) -> Sound:
    """(n,) a progression such as "C Am F G"."""
    return np.concatenate([chord(name, seconds_each, cents=cents, rate=rate) for name in names.split()])


def clicks(bpm: float, seconds: float, *, rate: int = RATE) -> Sound:
    """(n,) a kick-like thump on every beat, the first after half a beat."""
    sound = np.zeros(round(seconds * rate), np.float32)
    time = np.arange(round(0.12 * rate)) / rate
    thump = (0.8 * np.sin(2 * np.pi * 60 * time) * np.exp(-time / 0.03)).astype(np.float32)
    thump[: round(0.003 * rate)] += 0.3
    for beat in np.arange(30 / bpm, seconds - 0.2, 60 / bpm):
        start = round(beat * rate)
        sound[start : start + len(thump)] += thump
    return sound


def write_wav(path: Path, sound: Sound, *, rate: int = RATE) -> Path:
    """A 16-bit WAV of (n,) or (channels, n) samples."""
    planes = np.atleast_2d(sound)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(planes.shape[0])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(planes.T, -1, 32767 / 32768) * 32768).astype("<i2").tobytes())
    return path


def write_float_wav(path: Path, sound: Sound, *, rate: int = RATE) -> Path:
    """A 32-bit float WAV, which may hold what no converter gives: NaN, infinity, and more than full scale."""
    planes = np.atleast_2d(sound).astype("<f4")
    data = planes.T.tobytes()
    channels = planes.shape[0]
    head = b"fmt " + (16).to_bytes(4, "little") + (3).to_bytes(2, "little") + channels.to_bytes(2, "little")
    head += rate.to_bytes(4, "little") + (rate * channels * 4).to_bytes(4, "little")
    head += (channels * 4).to_bytes(2, "little") + (32).to_bytes(2, "little")
    body = b"WAVE" + head + b"data" + len(data).to_bytes(4, "little") + data
    path.write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)
    return path


def encode(path: Path, sound: Sound, codec: str, *, rate: int = RATE, layout: str = "", bit_rate: int = 0) -> Path:
    """A file of the container its name says, in this codec; (2, n) is stereo unless `layout` says more."""
    planes = np.atleast_2d(sound)
    layout = layout or {1: "mono", 2: "stereo"}[planes.shape[0]]
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, AudioStream)
        if bit_rate:
            stream.bit_rate = bit_rate
        resampler = av.AudioResampler(
            stream.format.name, layout, rate, frame_size=stream.codec_context.frame_size or 4096
        )
        interleaved = np.ascontiguousarray(planes.T, np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=layout)
        frame.sample_rate = rate
        for ready in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(stream.encode(ready))
        file.mux(stream.encode(None))
    return path
