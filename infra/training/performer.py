"""Plays composed pieces: to a General MIDI sound font through FluidSynth, or on a small synthesizer of our own."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapters.ears.decode import ANALYSIS_RATE
from infra.training.composer import BANDS, DRUM, ELECTRONIC, Note, Piece

Array = NDArray[np.float32]
Times = NDArray[np.float64]

RATE = ANALYSIS_RATE
#: How often a style that is no electronic one is played on the synthesizer all the same.
SYNTHETIC = dict.fromkeys(("hiphop", "pop", "rock", "disco", "percussion", "funk"), 0.3)
SYNTHETIC |= dict.fromkeys((*BANDS, "waltz", "viennese", "slow6", "five", "seven", "sparse"), 0.45)
TICKS = 480


class Performance:
    """A piece as sound, with the seconds at which its beats and bar lines fall."""

    def __init__(self, piece: Piece, sound: Array, beats: Times, downbeats: Times) -> None:
        self.piece = piece
        self.sound = sound
        self.beats = beats
        self.downbeats = downbeats

    @property
    def bpm(self) -> float:
        """Beats a minute as they were played, by the median beat: who wanders is seldom at the written tempo."""
        return 60 / float(np.median(np.diff(self.beats))) if len(self.beats) > 2 else self.piece.bpm


def perform(piece: Piece, rng: np.random.Generator, fonts: list[Path]) -> Performance:
    """Play a piece with the timing and the production its style suggests."""
    rubato = 0.0
    if piece.style in {"piano", "classical"} and rng.random() < 0.5:
        rubato = float(rng.uniform(0.01, 0.06))
    elif piece.style not in ELECTRONIC and not piece.loop and rng.random() < 0.3:
        rubato = float(rng.uniform(0.002, 0.01))
    clock = _clock(piece, rng, rubato)
    jitter = 0.0 if piece.style in ELECTRONIC or piece.loop else float(rng.choice([0, 0.004, 0.008, 0.014]))
    played = [
        (
            max(0.0, float(clock(note.start)) + float(rng.normal(0, jitter))),
            float(clock(note.start + note.length)),
            note,
        )
        for note in piece.notes
    ]
    end = float(clock(piece.bars * piece.bar_beats))
    if rng.random() < SYNTHETIC.get(piece.style, 0.7 if piece.style in ELECTRONIC else 0.0):
        sound = _synthesised(piece, played, end, rng)
    else:
        sound = _fluid(piece, played, end, rng, fonts)
    sound = _produced(sound, piece, clock, rng)
    beats = np.array([clock(beat) for beat in np.arange(0, piece.bars * piece.bar_beats - 1e-6, 1.0)])
    if piece.bar_beats % 1:  # 7/8: beats restart with each bar
        beats = np.array(
            [clock(bar * piece.bar_beats + beat) for bar in range(piece.bars) for beat in range(int(piece.bar_beats))]
        )
    downbeats = np.array([clock(bar * piece.bar_beats) for bar in range(piece.bars)])
    # Recordings seldom start on the first beat.
    if not piece.loop and rng.random() < 0.6:
        cut = float(rng.uniform(0, min(6.0, end / 4)))
        sound, beats, downbeats = sound[int(cut * RATE) :], beats - cut, downbeats - cut
    elif not piece.loop and rng.random() < 0.4:
        lead = float(rng.uniform(0.05, 1.5))
        sound = np.concatenate([np.zeros(int(lead * RATE), np.float32), sound])
        beats, downbeats = beats + lead, downbeats + lead
    return Performance(piece, sound, beats[beats >= 0], downbeats[downbeats >= 0])


class _clock:  # noqa: N801 - a function with a memory
    """From beats to seconds, with a tempo that wanders by `rubato` (standard deviation per bar of its logarithm)."""

    def __init__(self, piece: Piece, rng: np.random.Generator, rubato: float) -> None:
        count = int(piece.bars * piece.bar_beats) + 12
        wander = np.cumsum(rng.normal(0, rubato / 2, count)) if rubato else np.zeros(count)
        wander -= wander.mean()
        local = rng.normal(0, rubato / 2, count) if rubato else np.zeros(count)
        lengths = 60 / piece.bpm * np.exp(np.clip(wander, -0.15, 0.15) + local)
        self.beats = np.arange(count + 1.0)
        self.seconds = np.concatenate([[0.0], np.cumsum(lengths)])

    def __call__(self, beat: float) -> np.float64:
        return np.float64(np.interp(beat, self.beats, self.seconds))


def _fluid(
    piece: Piece, played: list[tuple[float, float, Note]], end: float, rng: np.random.Generator, fonts: list[Path]
) -> Array:
    font = fonts[int(rng.integers(len(fonts)))]
    with tempfile.TemporaryDirectory() as folder:
        midi, raw = Path(folder) / "piece.mid", Path(folder) / "piece.raw"
        midi.write_bytes(_midi(piece, played, rng))
        wet = "1" if rng.random() < 0.6 else "0"
        quiet = [
            "-niq",
            "-o",
            "synth.dynamic-sample-loading=1",
            "-R",
            wet,
            "-C",
            "0",
            "-g",
            "0.5",
            "-r",
            str(RATE),
            "-T",
            "raw",
            "-O",
            "float",
        ]
        player = ["fluidsynth", *quiet, "-F", str(raw), str(font), str(midi)]
        subprocess.run(player, check=True, capture_output=True, timeout=120)  # noqa: S603 - our own files
        stereo = np.fromfile(raw, np.float32).reshape(-1, 2)
    sound: Array = stereo.mean(axis=1)[: int((end + (0.0 if piece.loop else 1.0)) * RATE)]
    return sound


def _midi(piece: Piece, played: list[tuple[float, float, Note]], rng: np.random.Generator) -> bytes:
    """A Standard MIDI File of one track in real time: 960 ticks a second."""
    events: list[tuple[int, int, bytes]] = []
    for voice in sorted({note.voice for note in piece.notes}):
        volume = int(rng.integers(70, 120))
        events.append((0, 0, bytes([0xC0 | voice, piece.programs.get(voice, 0)])))
        events.append((0, 0, bytes([0xB0 | voice, 7, volume])))
    for start, stop, note in played:
        events.append((round(start * 960), 2, bytes([0x90 | note.voice, note.pitch & 127, note.velocity])))
        length = max(stop - start, 0.03)
        events.append((round((start + length) * 960), 1, bytes([0x80 | note.voice, note.pitch & 127, 0])))
    events.sort(key=lambda event: event[:2])
    track, now = bytearray(b"\x00\xff\x51\x03" + (500_000).to_bytes(3, "big")), 0
    for tick, _, message in events:
        track += _variable(tick - now) + message
        now = tick
    track += b"\x60\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, TICKS) + b"MTrk" + struct.pack(">I", len(track)) + bytes(track)


def _variable(value: int) -> bytes:
    out = [value & 127]
    while value := value >> 7:
        out.insert(0, (value & 127) | 128)
    return bytes(out)


def _synthesised(piece: Piece, played: list[tuple[float, float, Note]], end: float, rng: np.random.Generator) -> Array:
    sound = np.zeros(int((end + (0.0 if piece.loop else 1.0)) * RATE) + RATE * 4, np.float32)
    drums = {note.pitch: _drum(note.pitch, rng) for _, _, note in played if note.voice == DRUM}
    gains = {voice: float(rng.uniform(0.25, 0.9)) for voice in range(16)}
    gains[DRUM] = float(rng.uniform(0.6, 1.1))
    patches = {voice: _patch(rng, low=voice == 1) for voice in range(16)}
    for start, stop, note in played:
        loudness = gains[note.voice] * (note.velocity / 127) ** 1.5
        wave = drums[note.pitch] if note.voice == DRUM else _tone(note.pitch, stop - start, patches[note.voice])
        at = int(start * RATE)
        sound[at : at + len(wave)] += loudness * wave[: len(sound) - at]
    return sound[: len(sound) - RATE * 4]


def _drum(pitch: int, rng: np.random.Generator) -> Array:
    length = {36: 0.35, 38: 0.25, 39: 0.2, 42: 0.06, 44: 0.05, 46: 0.3, 49: 1.2, 51: 0.5}.get(pitch, 0.2)
    time = np.arange(int(length * rng.uniform(0.6, 1.6) * RATE)) / RATE
    decay = np.exp(-time / (length * rng.uniform(0.2, 0.45)))
    noise = rng.normal(0, 1, len(time))
    if pitch == 36:
        sweep = rng.uniform(42, 62) + rng.uniform(60, 260) * np.exp(-time / rng.uniform(0.01, 0.04))
        wave = np.sin(2 * np.pi * np.cumsum(sweep) / RATE) * decay + 0.3 * noise * np.exp(-time / 0.004)
        wave = np.tanh(wave * rng.uniform(1, 5))
    elif pitch in {38, 39, 37}:
        body = np.sin(2 * np.pi * rng.uniform(160, 260) * time) * np.exp(-time / 0.05)
        bright = np.diff(noise, prepend=0.0) if pitch == 39 else noise
        wave = 0.6 * body * (pitch == 38) + bright * decay * 0.6
    elif pitch in {42, 44, 46, 49, 51, 54, 70}:
        wave = np.diff(noise, n=int(rng.integers(1, 3)), prepend=0.0)[: len(time)]
        wave = np.resize(wave, len(time)) * decay * 0.3
    else:
        tuned = {45: 95, 47: 130, 50: 180, 56: 560, 60: 420, 61: 300, 62: 360, 63: 330, 64: 220, 75: 2200}.get(
            pitch, 300
        )
        fall = tuned * rng.uniform(0.85, 1.2) * (1 + 0.3 * np.exp(-time / 0.03))
        wave = np.sin(2 * np.pi * np.cumsum(fall) / RATE) * decay + 0.15 * noise * np.exp(-time / 0.005)
    return (wave * 0.8).astype(np.float32)


def _patch(rng: np.random.Generator, *, low: bool) -> dict[str, float]:
    return {
        "kind": float(rng.integers(0, 4)),
        "attack": float(rng.choice([0.002, 0.005, 0.01, 0.01 if low else 0.06])),
        "decay": float(rng.choice([0.08, 0.2, 0.5, 2.0])),
        "sustain": float(rng.choice([0.0, 0.3, 0.8])),
        "release": float(rng.choice([0.02, 0.05, 0.2])),
        "bright": float(rng.uniform(2, 24)),
        "detune": float(rng.uniform(0.001, 0.008)),
        "shift": float(rng.choice([0, 0, 12])),
    }


def _tone(pitch: int, length: float, patch: dict[str, float]) -> Array:
    length = max(length, 0.04)
    time = np.arange(int((length + patch["release"]) * RATE)) / RATE
    hertz = 440 * 2 ** ((pitch + patch["shift"] - 69) / 12)
    count = max(1, min(int(patch["bright"]), int(9000 / hertz)))
    phase = 2 * np.pi * hertz * time
    if patch["kind"] < 1:  # saw, with a twin out of tune
        wave = sum((np.sin(phase * k) + np.sin(phase * k * (1 + patch["detune"]))) / k for k in range(1, count + 1))
    elif patch["kind"] < 2:  # square
        wave = sum(np.sin(phase * k) / k for k in range(1, count + 1, 2))
    elif patch["kind"] < 3:  # frequency modulation
        wave = np.sin(phase + patch["bright"] / 4 * np.exp(-time / patch["decay"]) * np.sin(phase * 2))
    else:
        wave = np.sin(phase) + 0.3 * np.sin(2 * phase)
    rise = np.minimum(time / patch["attack"], 1)
    fall = patch["sustain"] + (1 - patch["sustain"]) * np.exp(-time / patch["decay"])
    release = np.clip(1 - (time - length) / patch["release"], 0, 1)
    return (0.4 * wave * rise * fall * release).astype(np.float32)


def _produced(sound: Array, piece: Piece, clock: _clock, rng: np.random.Generator) -> Array:
    """The sound as a record: pumping, a tilt of colour, some room, compression, noise, and any loudness."""
    out = (sound / (np.abs(sound).max() + 1e-9)).astype(np.float64)
    if piece.pump:
        seconds = np.arange(len(out)) / RATE
        beat = np.interp(seconds, clock.seconds, clock.beats) % 1
        out = out * (1 - rng.uniform(0.3, 0.9) * np.exp(-beat / rng.uniform(0.15, 0.4)))
    if rng.random() < 0.5:  # shelving tilt
        tilt = rng.uniform(-9, 9)
        spectrum = np.fft.rfft(out)
        hertz = np.fft.rfftfreq(len(out), 1 / RATE)
        out = np.fft.irfft(spectrum * 10 ** (tilt / 20 * np.log10((hertz + 60) / 1000)), len(out))
    if rng.random() < 0.3:  # room
        length = int(rng.uniform(0.15, 0.9) * RATE)
        tail = rng.normal(0, 1, length) * np.exp(-np.arange(length) / (length / 5))
        tail /= np.sqrt((tail**2).sum())
        size = 1 << int(np.ceil(np.log2(len(out) + length)))
        wet = np.fft.irfft(np.fft.rfft(out, size) * np.fft.rfft(tail, size), size)[: len(out)]
        out = out + rng.uniform(0.1, 0.6) * wet
    if rng.random() < 0.5:
        drive = rng.uniform(1, 6)
        out = np.tanh(drive * out / (np.abs(out).max() + 1e-9)) / np.tanh(drive)
    if not piece.counted and rng.random() < 0.25:  # nothing but steady noise of some colour
        spectrum = np.fft.rfft(rng.normal(0, 1, len(out)))
        colour = np.arange(1, len(spectrum) + 1) ** rng.uniform(-0.7, 0.2)
        out = np.fft.irfft(spectrum * colour, len(out))
    elif not piece.counted and rng.random() < 0.6:  # wind, traffic, a room: noise that comes and goes
        swell = np.interp(np.arange(len(out)), np.linspace(0, len(out), 40), rng.uniform(0, 1, 40))
        out = rng.uniform(0, 1) * out + rng.uniform(0.01, 0.5) * swell * rng.normal(0, 1, len(out))
    if rng.random() < 0.3:
        out = out + rng.normal(0, 10 ** rng.uniform(-4.5, -2.3), len(out))
    gain = 10 ** (rng.uniform(-26, 0) / 20)
    finished: Array = (gain * out / (np.abs(out).max() + 1e-9)).astype(np.float32)
    return finished
