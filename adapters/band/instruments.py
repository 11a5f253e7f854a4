"""The instruments, one patch each: what a sound designer reads and turns.

Every note is played once for each pitch, length and strength, because beats repeat themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adapters.band import waves
from adapters.band.waves import RATE, Array, Sound
from domain.kernel import Value


class Patch(Value):
    """A sound. Times are seconds, frequencies Hz, detuning cents."""

    #: "table" (subtractive), "fm", "string", "struck", "808" or "sub".
    kind: str = "table"
    shape: str = "saw"
    #: Oscillators side by side, how far apart in pitch and in space.
    voices: int = 1
    detune: float = 0.0
    width: float = 0.0
    #: A second wave at its own pitch (a sine) or octaves above, and how loud.
    octave: int = 0
    octave_level: float = 0.0
    #: Where the filter rests, how far its envelope opens it, how fast that closes, and how much it whistles.
    cutoff: float = 2000.0
    opening: float = 0.0
    closing: float = 0.3
    resonance: float = 0.7
    vowel: bool = False
    attack: float = 0.005
    decay: float = 0.4
    sustain: float = 0.7
    release: float = 0.12
    vibrato: float = 0.0
    #: Breath or bow: noise around the tone.
    breath: float = 0.0
    #: FM: ratios, indices and how fast these fall.
    ratios: tuple[float, ...] = ()
    indices: tuple[float, ...] = ()
    falls: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()
    #: Strings and bars: how bright the pluck, how long it rings at middle C.
    brightness: float = 0.5
    ring: float = 2.0
    #: Strings: above how many times their pitch a large body keeps little (0: it keeps all).
    body: float = 0.0
    drive: float = 0.0
    #: Chorus on the whole part, from 0 to 1.
    chorus: float = 0.0
    #: Slow swelling of the whole part: depth from 0 to 1, and beats.
    sway: float = 0.0
    sway_beats: float = 2.0


PATCHES = {
    # Basses
    "808": Patch(kind="808", decay=1.5, release=0.03, drive=0.45),
    "sub": Patch(kind="sub", attack=0.008, decay=2.5, sustain=0.8, release=0.05, drive=0.2),
    "saw bass": Patch(
        voices=2,
        detune=7,
        octave=0,
        octave_level=0.6,
        cutoff=280,
        opening=1500,
        closing=0.14,
        resonance=1.2,
        decay=0.3,
        sustain=0.55,
        release=0.03,
        drive=0.25,
    ),
    "square bass": Patch(
        shape="square",
        octave=0,
        octave_level=0.4,
        cutoff=300,
        opening=900,
        closing=0.12,
        resonance=1.0,
        decay=0.25,
        sustain=0.6,
        release=0.03,
        drive=0.2,
    ),
    "fm bass": Patch(
        kind="fm",
        ratios=(1.0, 2.0),
        indices=(2.2, 0.8),
        falls=(0.12, 0.08),
        levels=(1.0, 0.3),
        decay=0.5,
        sustain=0.5,
        release=0.03,
        drive=0.2,
    ),
    "reese": Patch(
        voices=3,
        detune=22,
        octave=0,
        octave_level=0.5,
        cutoff=420,
        opening=500,
        closing=0.9,
        resonance=1.1,
        attack=0.012,
        decay=1.0,
        sustain=0.85,
        release=0.05,
        drive=0.5,
        sway=0.35,
        sway_beats=1.0,
    ),
    "rumble": Patch(
        octave=0,
        octave_level=0.5,
        cutoff=180,
        opening=350,
        closing=0.06,
        decay=0.15,
        sustain=0.35,
        release=0.03,
        drive=0.5,
    ),
    "upright": Patch(kind="string", brightness=0.12, ring=1.6, body=3.0, octave_level=0.5, release=0.06, drive=0.15),
    # Harmony
    "dark pad": Patch(
        voices=3,
        detune=14,
        width=0.9,
        cutoff=650,
        opening=500,
        closing=1.2,
        attack=0.25,
        decay=1.5,
        sustain=0.8,
        release=0.7,
        chorus=0.6,
    ),
    "pad": Patch(
        voices=3,
        detune=12,
        width=0.9,
        cutoff=1500,
        opening=900,
        closing=1.6,
        attack=0.3,
        decay=2.0,
        sustain=0.8,
        release=0.9,
        chorus=0.6,
        sway=0.15,
        sway_beats=8,
    ),
    "strings": Patch(
        voices=3,
        detune=11,
        width=0.8,
        cutoff=2600,
        opening=800,
        closing=0.8,
        attack=0.13,
        decay=1.0,
        sustain=0.85,
        release=0.4,
        vibrato=5,
        chorus=0.3,
    ),
    "choir": Patch(
        voices=3,
        detune=10,
        width=0.8,
        vowel=True,
        cutoff=4500,
        attack=0.2,
        decay=1.5,
        sustain=0.85,
        release=0.6,
        vibrato=8,
        breath=0.02,
        chorus=0.3,
    ),
    "poly": Patch(
        shape="pulse",
        voices=3,
        detune=9,
        width=0.8,
        cutoff=1300,
        opening=2200,
        closing=0.6,
        resonance=0.9,
        attack=0.012,
        decay=1.0,
        sustain=0.65,
        release=0.35,
        chorus=0.7,
    ),
    "saw stab": Patch(
        voices=3,
        detune=13,
        width=0.8,
        cutoff=900,
        opening=4200,
        closing=0.14,
        resonance=0.9,
        attack=0.004,
        decay=0.3,
        sustain=0.35,
        release=0.12,
    ),
    "dub stab": Patch(
        voices=2,
        detune=8,
        width=0.5,
        cutoff=500,
        opening=1800,
        closing=0.12,
        resonance=2.2,
        attack=0.004,
        decay=0.18,
        sustain=0.1,
        release=0.15,
    ),
    "organ": Patch(
        shape="organ",
        width=0.2,
        cutoff=6000,
        attack=0.005,
        decay=0.4,
        sustain=0.75,
        release=0.06,
        breath=0.0,
        chorus=0.35,
    ),
    "rhodes": Patch(
        kind="fm",
        ratios=(1.0, 14.0),
        indices=(1.1, 0.28),
        falls=(0.5, 0.12),
        levels=(1.0, 0.5),
        attack=0.002,
        decay=1.6,
        sustain=0.15,
        release=0.25,
        chorus=0.25,
        sway=0.25,
        sway_beats=1.0,
    ),
    "piano": Patch(kind="struck", attack=0.001, brightness=0.55, ring=4.0, release=0.18),
    "guitar": Patch(kind="string", brightness=0.3, ring=2.4, release=0.12, chorus=0.15),
    "pluck chords": Patch(kind="string", brightness=0.75, ring=1.0, release=0.1, chorus=0.3),
    # Melody
    "bell": Patch(
        kind="fm",
        ratios=(3.5, 1.41),
        indices=(1.6, 0.5),
        falls=(0.5, 0.25),
        levels=(1.0, 0.35),
        attack=0.002,
        decay=1.1,
        sustain=0.0,
        release=0.6,
    ),
    "vibes": Patch(kind="struck", shape="bar", ring=3.0, release=0.5, sway=0.3, sway_beats=0.5),
    "glass": Patch(kind="struck", shape="glass", ring=4.0, attack=0.01, release=1.2),
    "pluck": Patch(kind="string", brightness=0.7, ring=1.6, release=0.15),
    "soft pluck": Patch(kind="string", brightness=0.25, ring=2.2, release=0.5, chorus=0.3),
    "flute": Patch(
        shape="triangle",
        octave=1,
        octave_level=0.12,
        cutoff=3200,
        attack=0.05,
        decay=0.4,
        sustain=0.85,
        release=0.12,
        vibrato=14,
        breath=0.05,
    ),
    "saw lead": Patch(
        voices=3,
        detune=10,
        width=0.5,
        cutoff=2200,
        opening=2600,
        closing=0.35,
        resonance=1.0,
        attack=0.01,
        decay=0.6,
        sustain=0.75,
        release=0.18,
        vibrato=8,
        chorus=0.2,
    ),
    "square lead": Patch(
        shape="square",
        voices=2,
        detune=6,
        width=0.4,
        cutoff=2400,
        opening=1800,
        closing=0.25,
        attack=0.006,
        decay=0.5,
        sustain=0.7,
        release=0.12,
        vibrato=7,
    ),
    "brass": Patch(
        voices=2,
        detune=9,
        width=0.5,
        cutoff=700,
        opening=2600,
        closing=0.5,
        attack=0.04,
        decay=0.5,
        sustain=0.75,
        release=0.12,
        vibrato=5,
    ),
    "acid": Patch(
        cutoff=350,
        opening=3200,
        closing=0.12,
        resonance=6.0,
        attack=0.003,
        decay=0.25,
        sustain=0.4,
        release=0.04,
        drive=0.5,
    ),
    "fm pluck": Patch(
        kind="fm",
        ratios=(2.0, 3.0),
        indices=(1.8, 0.6),
        falls=(0.09, 0.05),
        levels=(1.0, 0.3),
        attack=0.002,
        decay=0.35,
        sustain=0.0,
        release=0.2,
    ),
    "choir lead": Patch(
        voices=2,
        detune=7,
        width=0.5,
        vowel=True,
        cutoff=5000,
        attack=0.09,
        decay=0.8,
        sustain=0.85,
        release=0.3,
        vibrato=16,
        breath=0.02,
    ),
}

#: Partials of a stiff string, a tuned bar and a glass: ratio, level, and how much shorter than the first they ring.
BODIES = {
    "bar": ((1.0, 4.0, 9.9), (1.0, 0.22, 0.06), (1.0, 0.35, 0.12)),
    "glass": ((1.0, 2.32, 4.25, 6.63), (1.0, 0.28, 0.12, 0.05), (1.0, 0.6, 0.4, 0.25)),
}
#: A note gets as loud as this many steps of strength say, each with its own brightness.
STRENGTHS = 4
#: How wide a gap saturation leaves at the fifth harmonic, as a share of it: two semitones.
THIRD_WIDTH = 0.12


class Tone(NamedTuple):
    """What decides how a note sounds, but for how loud it is laid down; alike ones are the same sound."""

    pitch: int
    #: Hundredths of a second, without the release.
    held: int
    #: From 1 to `STRENGTHS`.
    strength: int
    #: The pitch that it slides from; its own: from nowhere.
    slide_from: int


def tone(pitch: int, seconds: float, velocity: float, slide_from: int | None = None) -> Tone:
    """The tone of a note."""
    strength = min(STRENGTHS, max(1, round(velocity * STRENGTHS)))
    return Tone(pitch, max(3, int(seconds * 100)), strength, pitch if slide_from is None else slide_from)


class Instrument:
    """Plays tones of one patch; `brightness` and `drive` are those of the piece, from -1 to 1."""

    def __init__(self, name: str, *, brightness: float = 0.0, drive: float = 0.0) -> None:
        self.patch = PATCHES[name]
        self._bend = float(2.0 ** (0.9 * brightness))
        self._drive = self.patch.drive + 0.35 * max(0.0, drive)
        self._last: tuple[Tone, Sound] | None = None

    def play(self, wanted: Tone) -> Sound:
        """(2, samples) or (1, samples) one tone and its release; the last one is kept."""
        if self._last is None or self._last[0] != wanted:
            self._last = None  # before the next is there: one of eight bars takes three megabytes
            self._last = wanted, self._play(*wanted)
        return self._last[1]

    def _play(self, pitch: int, hundredths: int, steps: int, slide_from: int) -> Sound:
        seconds, strength = hundredths / 100, steps / STRENGTHS
        patch = self.patch
        held = round(seconds * RATE)
        count = held + round(patch.release * RATE)
        shape = waves.envelope(count, held, patch.attack, patch.decay, patch.sustain, patch.release)
        hertz = waves.frequency(pitch)
        match patch.kind:
            case "fm":
                sound = self._fm(hertz, count, strength) * shape
            case "string":
                sound = self._string(pitch, hertz, count, held, strength)
            case "struck":
                sound = self._struck(hertz, count, held, strength)
            case "808" | "sub":
                sound = self._sine(pitch, count, slide_from) * shape
            case _:
                sound = self._table(pitch, count, strength, slide_from) * shape
        if self._drive > 0:
            peak = max(1e-6, float(np.abs(sound).max()))
            driven = waves.drive if patch.kind in {"808", "sub"} or hertz < 110 else waves.drive_oversampled
            sound = driven(sound / peak, self._drive) * np.float32(peak)
            # Saturation makes a fifth harmonic out of any wave: over a low tone that is a major third in every chord.
            sound = waves.notch(sound, 5 * hertz, THIRD_WIDTH)
        return waves.smoothed_end(np.atleast_2d(sound))

    def _cutoff(self, hertz: float, t: Array, strength: float) -> Array | float:
        patch = self.patch
        # Half of the way, the filter follows the key; it opens with strength.
        rest = patch.cutoff * self._bend * (hertz / 261.6) ** 0.4 if hertz > 130 else patch.cutoff * self._bend
        if patch.opening == 0:
            return float(rest)
        fast = patch.opening * self._bend * (0.35 + 0.65 * strength) * np.exp(-t / patch.closing)
        return rest + fast * np.clip(t / max(patch.attack, 0.002), 0, 1)

    def _glide(self, pitch: int, t: Array, slide_from: int) -> Array:
        """Phases in periods, with slide and vibrato."""
        hertz = waves.frequency(pitch)
        if slide_from == pitch and self.patch.vibrato == 0:
            return hertz * t
        cents = np.zeros(len(t))
        if slide_from != pitch:
            cents += 100 * (slide_from - pitch) * np.exp(-t / 0.035)
        if self.patch.vibrato:
            cents += self.patch.vibrato * np.clip((t - 0.15) / 0.25, 0, 1) * np.sin(2 * np.pi * 5.2 * t)
        return np.asarray(np.cumsum(hertz * 2.0 ** (cents / 1200)) / RATE)

    def _table(self, pitch: int, count: int, strength: float, slide_from: int) -> Sound:
        patch = self.patch
        t = np.arange(count) / RATE
        hertz = waves.frequency(pitch)
        cutoff = self._cutoff(hertz, t, strength)
        tables = waves.filtered_tables(patch.shape, round(hertz, 3), patch.resonance, vowel=patch.vowel)
        phase = self._glide(pitch, t, slide_from)
        sides = 2 if patch.width > 0 and patch.voices > 1 else 1
        sound = np.zeros((sides, count), dtype=np.float32)
        for voice in range(patch.voices):
            spread = (2 * voice / (patch.voices - 1) - 1) if patch.voices > 1 else 0.0
            start = (0.37 * voice + 0.11 * pitch) % 1 if patch.voices > 1 else 0.0
            wave = waves.scan(tables, phase * 2.0 ** (spread * patch.detune / 2400) + start, cutoff)
            wave /= np.float32(patch.voices**0.5)
            if sides == 1:
                sound[0] += wave
            else:
                angle = np.pi / 4 * (1 + 0.9 * patch.width * spread)
                sound[0] += np.float32(np.cos(angle)) * wave
                sound[1] += np.float32(np.sin(angle)) * wave
        if patch.octave_level:
            other = waves.frequency(pitch + 12 * patch.octave)
            # At its own pitch a plain sine: a bass keeps one firm low tone, whatever its oscillators do.
            kind = "sine" if patch.octave == 0 else patch.shape
            deep = waves.filtered_tables(kind, round(other, 3), 0.7)
            sound += np.float32(patch.octave_level) * waves.scan(deep, phase * 2.0**patch.octave, 8000.0)
        if patch.breath:
            air = waves.bandpass(waves.noise(count, pitch), hertz * 0.9, min(16_000.0, hertz * 4))
            sound += np.float32(patch.breath * 3) * air
        return sound

    def _fm(self, hertz: float, count: int, strength: float) -> Sound:
        patch = self.patch
        t = np.arange(count) / RATE
        sound = np.zeros(count, dtype=np.float32)
        for ratio, index, fall, level in zip(patch.ratios, patch.indices, patch.falls, patch.levels, strict=True):
            depth = index * (0.4 + 0.6 * strength) * self._bend**0.7 * np.exp(-t / fall)
            sound += np.float32(level) * waves.modulated(hertz * t, ratio, depth, hertz)
        return sound

    def _string(self, pitch: int, hertz: float, count: int, held: int, strength: float) -> Sound:
        patch = self.patch
        bright = min(0.95, patch.brightness * self._bend * (0.6 + 0.4 * strength))
        ring = patch.ring * (261.6 / hertz) ** 0.4
        sound = waves.string(hertz, count / RATE, brightness=bright, ring=ring, seed=pitch)
        sound = waves.highpass(sound, min(hertz * 0.6, 200.0))
        if patch.body:
            sound = waves.lowpass(sound, hertz * patch.body * self._bend**0.6)
        if patch.octave_level:
            t = np.arange(count) / RATE
            deep = patch.octave_level * np.abs(sound).max() * np.sin(2 * np.pi * hertz * t) * np.exp(-3 * t / ring)
            sound = sound + deep.astype(np.float32)
        return sound * waves.envelope(count, held, 0.001, 10.0, 1.0, patch.release)

    def _struck(self, hertz: float, count: int, held: int, strength: float) -> Sound:
        patch = self.patch
        ring = patch.ring * (261.6 / hertz) ** 0.5
        if patch.shape in BODIES:
            ratios, levels, rings = BODIES[patch.shape]
            # A harder mallet wakes more of what rings above the tone itself.
            levels = (levels[0], *(level * self._bend for level in levels[1:]))
        else:
            # A stiff string: partials ever sharper, the higher the shorter.
            numbers = np.arange(1, 13)
            stiff = 0.0004 * (hertz / 261.6)
            ratios = tuple((numbers * np.sqrt(1 + stiff * numbers**2)).tolist())
            steep = 0.62 + 0.16 * patch.brightness * strength * self._bend
            levels = tuple((min(0.86, steep) ** (numbers - 1) * np.abs(np.sin(np.pi * numbers / 7.3))).tolist())
            rings = tuple((1 / (1 + 0.25 * (numbers - 1))).tolist())
        sound = waves.struck(hertz, count / RATE, ratios, levels, [ring * each for each in rings])
        return sound * waves.envelope(count, held, max(patch.attack, 0.0015), 10.0, 1.0, patch.release)

    def _sine(self, pitch: int, count: int, slide_from: int) -> Sound:
        t = np.arange(count) / RATE
        phase = self._glide(pitch, t, slide_from)
        if self.patch.kind == "808":
            # The membrane is tighter at the blow: a short fall of pitch gives the attack.
            phase = phase + 0.16 * (1 - np.exp(-t / 0.012))
        wave = np.sin(2 * np.pi * phase)
        # A second harmonic is what small speakers show of a low tone.
        return (wave + 0.12 * np.sin(4 * np.pi * phase) + 0.05 * np.sin(6 * np.pi * phase)).astype(np.float32)
