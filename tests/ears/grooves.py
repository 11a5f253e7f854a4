"""A drum kit and a bass made of arithmetic, and rows of strokes to play on them, for music whose beats are known."""

from __future__ import annotations

import numpy as np

from adapters.ears.decode import ANALYSIS_RATE
from adapters.ears.rhythm import Rhythm, hear_rhythm
from adapters.ears.spectrum import Listener, Spectra
from adapters.ears.trace import Trace, Tracer
from tests.ears.sounds import Sound, tone

RATE = ANALYSIS_RATE

ROCK = {"kick": "x.......x.x.....", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."}
HOUSE = {"kick": "x...x...x...x...", "clap": "....x.......x...", "hat": "..x...x...x...x."}
JUNGLE = {"kick": "x.........x.....", "snare": "....x..x.x..x..x", "hat": "x.x.x.x.x.x.x.x."}
JIG = {"kick": "x.....", "snare": "...x..", "hat": "xxxxxx", "bass": "x..x.."}
SEVEN = {"kick": "x.......x.....", "snare": "....x.......x.", "hat": "x.x.x.x.x.x.x.", "bass": "x............."}


def drum(name: str, rng: np.random.Generator) -> Sound:
    """(n,) one stroke."""
    seconds = {"kick": 0.25, "snare": 0.2, "clap": 0.15, "hat": 0.05}[name]
    time = np.arange(round(seconds * RATE)) / RATE
    noise = rng.standard_normal(len(time))
    if name == "kick":
        sound = np.sin(2 * np.pi * np.cumsum(50 + 120 * np.exp(-time / 0.02)) / RATE) * np.exp(-time / 0.08)
    elif name == "hat":
        sound = 0.3 * np.diff(noise, prepend=0.0) * np.exp(-time / 0.015)
    else:
        body = np.sin(2 * np.pi * 190 * time) * np.exp(-time / 0.05) if name == "snare" else 0.0
        sound = 0.5 * body + 0.5 * noise * np.exp(-time / 0.05)
    return np.asarray(sound, np.float32)


def played(
    rows: dict[str, str], bpm: float, seconds: float, *, steps_per_beat: int = 4, swing: float = 0.0, start: float = 0.0
) -> Sound:
    """(n,) the rows over and over; `swing` delays every second step by this share of a step."""
    rng = np.random.default_rng(3)
    sound = np.zeros(round((seconds + 1) * RATE), np.float32)
    kit = {name: tone(40, 0.3, rate=RATE) * 3 if name == "bass" else drum(name, rng) for name in rows}
    step = 60 / bpm / steps_per_beat
    for index in range(int((seconds - start) / step)):
        for name, row in rows.items():
            if row[index % len(row)] == "x":
                at = round((start + (index + (swing if index % 2 else 0.0)) * step) * RATE)
                stroke = kit[name]
                sound[at : at + len(stroke)] += 0.5 * stroke
    return sound[: round(seconds * RATE)]


def spectra_of(sound: Sound) -> Spectra:
    """The spectrogram of a mono sound at the ears' own rate."""
    listener = Listener()
    listener.feed(sound)
    return listener.finish()


def heard(sound: Sound) -> Trace:
    """What stays of a mono sound at the ears' own rate."""
    tracer = Tracer()
    tracer.feed(sound)
    return tracer.finish()


def rhythm_of(sound: Sound) -> Rhythm:
    """The rhythm of a mono sound at the ears' own rate."""
    return hear_rhythm(heard(sound))
