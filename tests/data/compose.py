"""Composes `song.ogg`, the little tune of the tour and the tests: `python -m tests.data.compose` writes it anew.

D minor at 116 beats per minute: four bars with drums (A), four bars of arpeggios alone (B), and the first four again.
It is ours and as free as the rest of this repository.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ears.sounds import NOTES, Sound, encode, tone

RATE = 48_000
BPM = 116.0
BEAT = 60 / BPM
BAR = 4 * BEAT
VERSE = ("Dm", "Bb", "Gm", "A")
BRIDGE = ("F", "C", "Gm", "A")
SONG = Path(__file__).parent / "song.ogg"


def compose() -> Sound:
    """(2, n) the whole tune."""
    sound = np.zeros((2, round((12 * BAR + 1.2) * RATE)), np.float32)
    for bar in range(12):
        loud = bar // 4 != 1
        name = (VERSE if loud else BRIDGE)[bar % 4]
        root, minor = NOTES[name.removesuffix("m")], name.endswith("m")
        triad = (root, root + (3 if minor else 4), root + 7)
        start = bar * BAR
        if loud:
            _groove(sound, start, root)
            for pitch in triad:
                _put(sound, start, tone(54 + (pitch - 54) % 12, BAR * 0.98, rate=RATE), 0.45, pan=0.2)
        for step in range(16 if not loud else 8):
            length = BAR / (16 if not loud else 8)
            pitch = 66 + (triad[(0, 1, 2, 1)[step % 4]] - 66) % 12 + (12 if step % 8 > 3 else 0)
            _put(sound, start + step * length, tone(pitch, 2 * length, rate=RATE, partials=5), 0.5, pan=-0.3)
    _put(sound, 12 * BAR, tone(38, 1.1, rate=RATE), 0.8, pan=0.0)
    whole: Sound = (0.7 * sound / np.abs(sound).max()).astype(np.float32)
    return whole


def _groove(sound: Sound, start: float, root: int) -> None:
    rng = np.random.default_rng(5)
    time = np.arange(round(0.25 * RATE)) / RATE
    kick = np.sin(2 * np.pi * (48 * time + 2.2 * (1 - np.exp(-time / 0.03)))) * np.exp(-time / 0.09)
    snare = (rng.standard_normal(len(time)) * 0.5 + np.sin(2 * np.pi * 190 * time) * 0.4) * np.exp(-time / 0.05)
    hat = np.diff(rng.standard_normal(len(time)), prepend=0.0) * np.exp(-time / 0.015)
    for beat in range(4):
        _put(sound, start + beat * BEAT, kick.astype(np.float32), 0.8, pan=0.0)
        if beat % 2:
            _put(sound, start + beat * BEAT, snare.astype(np.float32), 0.45, pan=0.05)
        _put(sound, start + (beat + 0.5) * BEAT, hat.astype(np.float32), 0.2, pan=-0.1)
        _put(sound, start + beat * BEAT, tone(36 + (root - 36) % 12, 0.9 * BEAT, rate=RATE, partials=6), 0.9, pan=0.0)


def _put(sound: Sound, seconds: float, what: Sound, gain: float, *, pan: float) -> None:
    at = round(seconds * RATE)
    fitting = what[: sound.shape[1] - at]
    sound[0, at : at + len(fitting)] += gain * (1 - pan) * fitting
    sound[1, at : at + len(fitting)] += gain * (1 + pan) * fitting


if __name__ == "__main__":
    encode(SONG, compose(), "libopus", rate=RATE, bit_rate=36_000)
