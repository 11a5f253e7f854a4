"""Music for dancing with a bass drum on every beat, made of arithmetic: what lies between its beats is often louder.

The composer's house and techno are played by General MIDI drums, whose bass drum is heard through everything. Here
the bass may be louder than the drum and hum until the next stroke, claps are the exception, hats are on the off-beat
alone, pads duck under the drum, and the drum may come in late or be gone for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from infra.training.composer import Piece
from infra.training.performer import RATE, Performance

Array = NDArray[np.float32]
Rng = np.random.Generator

#: Sixteenths of the bass in a beat, or in a bar: capitals are louder.
BASSES = (
    "..X.", "..X.", "..X.", "..Xx", ".xXx", ".XXX", ".xxx", "..XX", ".X.X", "x.X.", "xxXx", "X.X.", "X..X..X...X..X..",
    "..X..X..X...X..X", "..X...X.x.X...Xx", ".x.x..X..x.x..X.", "X...............", "X.......x.......",
    "..X...X...X.X.XX", "x.Xxx.Xxx.Xxx.XX", "...X...X...X...X", ".X..X..X.X..X..X",
)  # fmt: skip
#: Strokes of hats, shakers and rides, likewise.
HATS = ("..X.", "..X.", "..X.", "X.X.", "xxXx", "XxXx", ".x.x", "..Xx", ".xXx", "X...", "X..X..X.X..X..X.")
CLAPS = ("....X.......X...", "....X.......X..x", "....X..x....X...", "....X...........")
#: Strokes of the bass drum between the beats, softly.
GHOSTS = (
    "...x............",
    "...x......x.....",
    "..............x.",
    ".......x........",
    "...x...x...x...x",
    "..x...........x.",
)
STABS = (
    "..X...X...X...X.",
    "...X..X...X..X..",
    "X..X..X.........",
    "......X...X.....",
    "..X..X....X..X..",
    "X...............",
)
#: Steps of the scale that the bass stands on, two bars each.
LINES = ((0, 0, 0, 0), (0, 0, 0, 0), (0, -4, 3, -2), (0, 5, 0, 7), (0, 3, 5, -2), (0, 0, 3, 5), (0, 1, 0, -2))
LEVELS = {"X": 1.0, "x": 0.7}


class Layer(NamedTuple):
    """One part: what it plays in a bar of sixteenths, how loud, and in which blocks of bars."""

    row: str
    stroke: Callable[[int], Array]
    gain: float
    first: int = 0
    #: The block in which it is silent; -1 in none.
    gone: int = -1
    #: How far it ducks under the bass drum, 0 .. 1.
    ducked: float = 0.0


def club_piece(rng: Rng, seconds: float = 24.0) -> Performance:
    """About `seconds` of dance music in four, played by a machine, with its beats and first beats of bars."""
    bpm = float(np.clip(rng.normal(130, 10), 108, 168))
    bpm = float(round(bpm)) if rng.random() < 0.7 else bpm
    step, block = 15 / bpm, int(rng.choice([4, 4, 8]))
    bars = max(2 * block, round(seconds / (16 * step) / block) * block)
    blocks = bars // block
    layers = _layers(rng, step, blocks)
    drum_from = int(rng.integers(1, blocks)) if rng.random() < 0.2 and blocks > 2 else 0
    drum_gone = int(rng.integers(1, blocks)) if rng.random() < 0.2 else -1
    swing = float(rng.uniform(0.05, 0.3)) * step if rng.random() < 0.2 else 0.0
    sound = np.zeros(round((bars * 16 * step + 3) * RATE), np.float32)
    ducked = np.zeros_like(sound)
    depth, drum = float(rng.uniform(0.4, 1.0)), _bass_drum(rng)
    soft, ghost = _bass_drum(rng), _times_to(16, str(rng.choice(GHOSTS)) if rng.random() < 0.25 else "....")
    level, quiet = float(rng.uniform(0.5, 1.0)), float(rng.uniform(0.2, 0.5))
    line = LINES[int(rng.integers(len(LINES)))]
    struck = []
    for bar in range(bars):
        now = bar // block
        drummed = now >= drum_from and now != drum_gone
        for place in range(16):
            at = round(((bar * 16 + place) * step + (swing if place % 2 else 0.0)) * RATE)
            if drummed and place % 4 == 0:
                _add(sound, at, level * drum)
                struck.append(at)
            elif drummed and ghost[place] != ".":
                _add(sound, at, level * quiet * soft)
            for layer in layers:
                mark = layer.row[place]
                if mark == "." or now < layer.first or now == layer.gone:
                    continue
                stroke = layer.gain * LEVELS[mark] * layer.stroke(line[bar // 2 % 4])
                _add(sound, at, (1 - layer.ducked) * stroke)
                _add(ducked, at, layer.ducked * stroke)
    sound += ducked * _ducking(rng, len(sound), struck, depth, step)
    end = bars * 16 * step
    beats, downbeats = np.arange(0, end - 1e-6, 4 * step), np.arange(0, end - 1e-6, 16 * step)
    sound = _mastered(rng, sound[: round(end * RATE)])
    if rng.random() < 0.7:
        cut = float(rng.uniform(0, 32 * step))
        sound, beats, downbeats = sound[round(cut * RATE) :], beats - cut, downbeats - cut
    piece = Piece(style="club", bpm=bpm, beats_per_bar=4, beat_unit=4, bars=bars, bar_beats=4.0)
    return Performance(piece, sound, beats[beats >= 0], downbeats[downbeats >= 0])


def _layers(rng: Rng, step: float, blocks: int) -> list[Layer]:
    """Who plays beside the bass drum, each from some block of bars on."""

    def comes(chance: float = 0.5) -> dict[str, int]:
        first = int(rng.integers(0, blocks)) if rng.random() < chance else 0
        return {"first": first, "gone": int(rng.integers(0, blocks)) if rng.random() < 0.15 else -1}

    root = int(rng.integers(26, 41))
    layers = []
    if rng.random() < 0.88:
        row = _times_to(16, str(rng.choice(BASSES)))
        length = float(rng.choice([0.5, 0.9, 1.3, 1.8, 2.5])) * step if row.count(".") < 14 else 14 * step
        loud = float(10 ** (rng.uniform(-12, 5) / 20))
        layers.append(Layer(row, _bass(rng, root, length), loud, **comes(0.25), ducked=_often(rng, 0.5)))
    for _ in range(int(rng.choice([0, 1, 1, 2, 2, 3]))):
        row = _times_to(16, str(rng.choice(HATS)))
        layers.append(Layer(row, _hat(rng), float(rng.uniform(0.1, 0.7)), **comes()))
    if rng.random() < 0.3:
        layers.append(Layer(str(rng.choice(CLAPS)), _clap(rng), float(rng.uniform(0.3, 1.0)), **comes()))
    if rng.random() < 0.4:
        row = "".join("x" if rng.random() < 0.25 else "." for _ in range(16))
        layers.append(Layer(row, _knock(rng), float(rng.uniform(0.1, 0.6)), **comes()))
    if rng.random() < 0.35:
        row = str(rng.choice(STABS))
        layers.append(
            Layer(row, _chord(rng, root, 1.5 * step), float(rng.uniform(0.1, 0.5)), **comes(), ducked=_often(rng, 0.4))
        )
    if rng.random() < 0.4:
        pad = _chord(rng, root, 16 * step, slow=True)
        layers.append(Layer("X" + 15 * ".", pad, float(rng.uniform(0.1, 0.5)), **comes(), ducked=_often(rng, 0.7)))
    return layers


def _times_to(places: int, row: str) -> str:
    return row * (places // len(row))


def _often(rng: Rng, chance: float) -> float:
    return float(rng.uniform(0.3, 1.0)) if rng.random() < chance else 0.0


def _add(sound: Array, at: int, part: Array) -> None:
    sound[at : at + len(part)] += part[: max(0, len(sound) - at)]


def _ducking(rng: Rng, length: int, struck: list[int], depth: float, step: float) -> Array:
    """(length,) how much of what ducks is left, after each stroke of the bass drum."""
    left = np.ones(length, np.float32)
    size = round(4 * step * RATE)
    rise = np.exp(-np.arange(size) / (float(rng.uniform(0.5, 2.0)) * step * RATE)).astype(np.float32)
    for at in struck:
        left[at : at + size] = 1 - depth * rise[: max(0, length - at)]
    return left


def _bass_drum(rng: Rng) -> Array:
    """(n,) a sine whose pitch falls, with or without a click at its beginning."""
    time = np.arange(round(float(rng.uniform(0.15, 0.5)) * RATE)) / RATE
    falls = rng.uniform(38, 66) + rng.uniform(20, 350) * np.exp(-time / rng.uniform(0.006, 0.05))
    wave = np.sin(2 * np.pi * np.cumsum(falls) / RATE) * np.exp(-time / rng.uniform(0.05, 0.25))
    wave = np.tanh(wave * rng.uniform(0.5, 5)) / np.tanh(1.5)
    click = rng.choice([0.0, 0.0, rng.uniform(0.05, 0.5)]) * rng.normal(0, 1, len(time)) * np.exp(-time / 0.004)
    edge = np.minimum(1, (len(time) - np.arange(len(time))) / (0.02 * RATE))
    stroke: Array = ((wave * (1 - np.exp(-time / rng.uniform(2e-4, 3e-3))) + click) * edge).astype(np.float32)
    return stroke


def _bass(rng: Rng, root: int, length: float) -> Callable[[int], Array]:
    """A bass of sines, saw teeth or squares that dies away, or holds until its note ends."""
    partials = int(rng.choice([1, 1, 2, 4, 8, 16]))
    fall, odd = float(rng.choice([0.0, 0.0, 2.0, 6.0, 12.0])), rng.random() < 0.3
    attack, drive = float(rng.choice([0.001, 0.004, 0.01, 0.03])), float(rng.uniform(0.3, 3))
    closing, octave = float(rng.choice([0.0, 5.0, 20.0])), int(rng.choice([0, 0, 0, 12]))

    def stroke(rise: int) -> Array:
        time = np.arange(round(length * RATE)) / RATE
        hertz = 440 * 2 ** ((root + octave + rise - 69) / 12)
        wave = np.zeros(len(time))
        for part in range(1, partials + 1, 2 if odd else 1):
            wave += np.sin(2 * np.pi * hertz * part * time + part) / part * np.exp(-closing * time * (part - 1) / 4)
        wave = np.tanh(drive * wave) / np.tanh(drive) * np.exp(-fall * time)
        note: Array = (wave * _edges(time, attack, 0.015)).astype(np.float32)
        return note

    return stroke


def _edges(time: NDArray[np.float64], attack: float, release: float) -> NDArray[np.float64]:
    edges: NDArray[np.float64] = np.minimum(np.minimum(1, time / attack), (time[-1] - time) / release + 1e-3)
    return np.minimum(edges, 1)


def _hat(rng: Rng) -> Callable[[int], Array]:
    """Noise without a bottom, closed or open, now and then with a ring of metal."""
    time = np.arange(round(0.4 * RATE)) / RATE
    noise = np.diff(rng.normal(0, 1, len(time) + 3), n=int(rng.integers(1, 4)))[: len(time)]
    ring = sum(np.sin(2 * np.pi * hertz * time) for hertz in rng.uniform(2500, 8000, 4))
    wave = 0.3 * noise + (0.1 * ring if rng.random() < 0.3 else 0.0)
    wave = (wave * np.exp(-time / float(10 ** rng.uniform(-2.1, -0.8)))).astype(np.float32)
    return lambda _: wave


def _clap(rng: Rng) -> Callable[[int], Array]:
    time = np.arange(round(0.3 * RATE)) / RATE
    body = np.sin(2 * np.pi * rng.uniform(150, 260) * time) * np.exp(-time / 0.05) * rng.choice([0.0, 0.6])
    wave = (body + 0.5 * rng.normal(0, 1, len(time)) * np.exp(-time / rng.uniform(0.03, 0.12))).astype(np.float32)
    return lambda _: wave


def _knock(rng: Rng) -> Callable[[int], Array]:
    """A tom, a block, a conga: a pitch that dies at once."""
    time = np.arange(round(0.25 * RATE)) / RATE
    hertz = float(10 ** rng.uniform(2.0, 3.3)) * (1 + 0.3 * np.exp(-time / 0.02))
    turns = 2 * np.pi * np.cumsum(hertz) / RATE
    wave = (np.sin(turns) * np.exp(-time / rng.uniform(0.015, 0.08))).astype(np.float32)
    return lambda _: wave


def _chord(rng: Rng, root: int, length: float, *, slow: bool = False) -> Callable[[int], Array]:
    """A triad of saw teeth two octaves above the bass: a stab, or a pad that swells."""
    third, partials = int(rng.choice([3, 4])), int(rng.integers(2, 10))
    attack = float(rng.uniform(0.05, 0.4)) if slow else float(rng.choice([0.002, 0.01]))
    fall = 0.0 if slow else float(rng.uniform(0, 12))

    def stroke(rise: int) -> Array:
        time = np.arange(round(length * RATE)) / RATE
        wave = np.zeros(len(time))
        for tone in (0, third, 7):
            hertz = 440 * 2 ** ((root + 24 + rise + tone - 69) / 12)
            for part in range(1, partials + 1):
                wave += np.sin(2 * np.pi * hertz * part * time + 3 * part) / part
        return (0.4 * wave * np.exp(-fall * time) * _edges(time, attack, 0.03)).astype(np.float32)

    return stroke


def _mastered(rng: Rng, sound: Array) -> Array:
    """The sound as a record: a tilt of colour, drive, some noise, and any loudness."""
    out = (sound / (np.abs(sound).max() + 1e-9)).astype(np.float64)
    if rng.random() < 0.5:
        spectrum, hertz = np.fft.rfft(out), np.fft.rfftfreq(len(out), 1 / RATE)
        out = np.fft.irfft(spectrum * 10 ** (rng.uniform(-9, 9) / 20 * np.log10((hertz + 60) / 1000)), len(out))
    if rng.random() < 0.5:
        drive = rng.uniform(1, 6)
        out = np.tanh(drive * out / (np.abs(out).max() + 1e-9))
    if rng.random() < 0.3:
        out = out + rng.normal(0, 10 ** rng.uniform(-4.5, -2.3), len(out))
    finished: Array = (10 ** (rng.uniform(-26, 0) / 20) * out / (np.abs(out).max() + 1e-9)).astype(np.float32)
    return finished
