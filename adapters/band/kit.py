"""Drums by synthesis: heads that are struck, snares that rattle, plates that ring."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adapters.band import waves
from adapters.band.effects import hall_response
from adapters.band.score import Drum
from adapters.band.waves import RATE, Sound, frequency
from domain.kernel import Value


class Kit(Value):
    """How the drums of a genre are built. Frequencies Hz, times seconds."""

    #: The kick: where its pitch starts and ends, how fast it falls, how long it rings, its click and its drive.
    kick: tuple[float, float, float, float, float, float] = (180.0, 50.0, 0.03, 0.35, 0.3, 0.2)
    #: The snare: its head, how long that rings, how long the snares rattle, from where they are bright, their share.
    snare: tuple[float, float, float, float, float] = (185.0, 0.12, 0.18, 1800.0, 0.6)
    #: Clap: how long it rings, and where its middle is.
    clap: tuple[float, float] = (0.16, 1200.0)
    #: Hats: how long closed, how long open, above which frequency, how metallic (0 noise, 1 plate).
    hat: tuple[float, float, float, float] = (0.035, 0.3, 7000.0, 0.6)
    tom: tuple[float, float] = (150.0, 0.3)
    #: Everything above it is worn off (0: nothing).
    worn: float = 0.0
    #: A hall on the snare that is cut off: seconds, 0 for none.
    gate: float = 0.0


KITS = {
    "808": Kit(
        kick=(190, 52, 0.022, 0.22, 0.55, 0.35),
        snare=(200, 0.09, 0.16, 2500, 0.7),
        clap=(0.22, 1300),
        hat=(0.03, 0.32, 7800, 0.75),
    ),
    "drill": Kit(
        kick=(170, 50, 0.02, 0.18, 0.6, 0.3),
        snare=(240, 0.07, 0.11, 2800, 0.65),
        clap=(0.14, 1500),
        hat=(0.026, 0.22, 8500, 0.6),
    ),
    "break": Kit(
        kick=(150, 62, 0.028, 0.16, 0.5, 0.45),
        snare=(195, 0.11, 0.2, 1500, 0.62),
        clap=(0.14, 1100),
        hat=(0.04, 0.28, 6200, 0.45),
        worn=13_000,
    ),
    "dusty": Kit(
        kick=(125, 55, 0.035, 0.18, 0.25, 0.4),
        snare=(180, 0.1, 0.14, 1200, 0.5),
        clap=(0.12, 900),
        hat=(0.035, 0.2, 5200, 0.35),
        worn=7_000,
    ),
    "909": Kit(
        kick=(210, 50, 0.03, 0.3, 0.5, 0.25),
        snare=(190, 0.1, 0.17, 2000, 0.6),
        clap=(0.2, 1150),
        hat=(0.045, 0.34, 7000, 0.55),
    ),
    "techno": Kit(
        kick=(230, 46, 0.028, 0.34, 0.55, 0.6),
        snare=(200, 0.08, 0.14, 2200, 0.6),
        clap=(0.2, 2000),
        hat=(0.03, 0.26, 5200, 0.6),
        tom=(95, 0.22),
    ),
    "dembow": Kit(
        kick=(170, 54, 0.03, 0.24, 0.4, 0.3),
        snare=(230, 0.09, 0.13, 2000, 0.55),
        clap=(0.14, 1300),
        hat=(0.03, 0.25, 7500, 0.5),
    ),
    "linn": Kit(
        kick=(160, 58, 0.03, 0.22, 0.55, 0.25),
        snare=(175, 0.16, 0.22, 1500, 0.6),
        clap=(0.2, 1100),
        hat=(0.04, 0.3, 6800, 0.5),
        tom=(140, 0.38),
        gate=0.28,
    ),
    "soft": Kit(
        kick=(95, 48, 0.05, 0.35, 0.12, 0.0),
        snare=(180, 0.1, 0.1, 1200, 0.4),
        clap=(0.1, 900),
        hat=(0.06, 0.3, 5500, 0.3),
        worn=8_000,
    ),
}

#: Where each stands, from -1 (left) to 1.
PLACES: dict[Drum, float] = {
    "hat": 0.22,
    "open_hat": 0.22,
    "ride": -0.35,
    "crash": -0.2,
    "shaker": -0.4,
    "rim": 0.35,
    "tom": 0.3,
    "low_tom": -0.3,
    "conga": -0.3,
}


#: No kick is tuned lower (Hz): small speakers would not have it.
KICK_HERTZ_MIN = 43.0

#: Samples in which a stroke begins: a third of a millisecond, too fast to be soft and too slow to click.
ATTACK = 14


class Drums:
    """A kit that has been built: each drum is struck a few times and kept, so that no roll is a machine gun."""

    TRIES = 3

    def __init__(self, kit: str, tonic: int = 0, *, brightness: float = 0.0, drive: float = 0.0) -> None:
        self._kit, self._tonic, self._brightness, self._drive = KITS[kit], tonic, brightness, max(0.0, drive)
        self._kept: dict[tuple[Drum, int], Sound] = {}

    def stroke(self, drum: Drum, number: int) -> Sound:
        """(samples,) one stroke at full strength; its peak is 1."""
        key = (drum, number % self.TRIES)
        if key not in self._kept:
            sound = self._build(drum, 1000 * (number % self.TRIES) + sum(map(ord, drum)))
            worn = self._kit.worn * 2.0 ** (0.7 * self._brightness)
            if 0 < worn < 16_000:
                sound = waves.lowpass(sound, worn)
            # What a kick pushes in and never pulls out again would be a constant.
            sound = waves.highpass(sound, 24.0 if drum == "kick" else 60.0)
            sound = waves.smoothed_end(sound, 0.01)
            sound[:ATTACK] *= np.linspace(0, 1, ATTACK, dtype=np.float32)
            self._kept[key] = sound / np.float32(np.abs(sound).max())
        return self._kept[key]

    def _build(self, drum: Drum, seed: int) -> Sound:
        hertz, ring = self._kit.tom
        makers: dict[Drum, Callable[[], Sound]] = {
            "kick": lambda: self._kick(seed),
            "snare": lambda: self._snare(seed),
            "clap": lambda: self._clap(seed),
            "hat": lambda: self._plate(self._kit.hat[0], seed),
            "open_hat": lambda: self._plate(self._kit.hat[1], seed),
            "ride": lambda: self._plate(0.5, seed, lower=0.6, ping=3300.0),
            "crash": lambda: self._plate(1.6, seed, lower=0.5),
            "shaker": lambda: self._shaker(seed),
            "rim": lambda: self._rim(seed),
            "tom": lambda: self._head(tuned(hertz, self._tonic), ring, seed),
            "low_tom": lambda: self._head(tuned(hertz * 0.68, self._tonic), ring, seed),
            "conga": lambda: self._head(tuned(235.0 + 60 * (seed // 1000 % 2), self._tonic), 0.16, seed),
        }
        return makers[drum]()

    def _kick(self, seed: int) -> Sound:
        high, low, fall, ring, click, driven = self._kit.kick
        low = tuned(low, self._tonic, KICK_HERTZ_MIN)
        t = waves.times(ring * 1.9 + 0.05)
        hertz = low + (high - low) * np.exp(-t / fall)
        phase = np.cumsum(hertz) / RATE
        body = np.sin(2 * np.pi * phase) * np.exp(-((t / ring) ** 1.4) * 2.2)
        body *= np.clip(t / 0.0012, 0, 1)
        sound = waves.drive(body.astype(np.float32), driven + 0.3 * self._drive)
        tick = waves.bandpass(waves.noise(len(t), seed), 1500, 6000) * np.exp(-t / 0.004).astype(np.float32)
        return sound + np.float32(click * 0.5) * tick

    def _snare(self, seed: int) -> Sound:
        hertz, ring, rattle, bright, share = self._kit.snare
        t = waves.times(rattle * 3 + self._kit.gate)
        bend = 1 + 0.35 * np.exp(-t / 0.012)
        # Both tones of the head last long enough to be heard as tones: beside the key they say another one.
        lower, upper = (np.cumsum(tuned(each, self._tonic) * bend) / RATE for each in (hertz, 1.72 * hertz))
        head = np.sin(2 * np.pi * lower) + 0.55 * np.sin(2 * np.pi * upper)
        head *= np.exp(-t / ring * 2.2) * np.clip(t / 0.0008, 0, 1)
        air = waves.noise(len(t), seed)
        wires = 0.6 * waves.highpass(air, bright) + 0.7 * waves.bandpass(air, 900, 5200)
        wires *= np.exp(-t / rattle * 2.2).astype(np.float32)
        sound: Sound = ((1 - share) * head + share * wires).astype(np.float32)
        sound = waves.drive(sound, 0.25 + 0.4 * self._drive)
        if self._kit.gate:
            hall = hall_response(1.6, 6000.0)[0][: round(self._kit.gate * RATE)]
            wet = np.convolve(sound[: RATE // 5], hall.astype(np.float64))[: len(t)]
            gate = np.clip((self._kit.gate - t[: len(wet)]) / 0.03, 0, 1)
            sound[: len(wet)] += (0.5 * wet / max(1e-9, np.abs(wet).max()) * gate).astype(np.float32)
        return sound

    def _clap(self, seed: int) -> Sound:
        ring, middle = self._kit.clap
        t = waves.times(ring * 2.5)
        # Several hands, never quite together, and then the room.
        shape = np.zeros(len(t))
        for start in (0.0, 0.011 + 0.001 * (seed // 1000), 0.021, 0.03):
            after = t - start
            shape += np.where(after >= 0, np.exp(-np.maximum(after, 0) / 0.005), 0.0)
        shape += 0.6 * np.where(t >= 0.03, np.exp(-np.maximum(t - 0.03, 0) / (ring * 0.45)), 0.0)
        air = waves.noise(len(t), seed)
        sound = waves.bandpass(air, middle * 0.65, middle * 1.9) + 0.25 * waves.highpass(air, 4000.0)
        return sound * (shape * np.clip(t / 0.0006, 0, 1)).astype(np.float32)

    def _plate(self, ring: float, seed: int, *, lower: float = 1.0, ping: float = 0.0) -> Sound:
        """Six square waves that fit nowhere together, as in the TR-808, and noise."""
        _, _, above, metal = self._kit.hat
        above *= lower * 2.0 ** (0.35 * self._brightness)
        t = waves.times(ring * 2.2 + 0.01)
        plate = np.zeros(len(t), dtype=np.float32)
        for root in (205.3, 304.4, 369.6, 522.7, 540.0, 800.0):
            tables = waves.filtered_tables("square", root * 1.5, 0.7)
            plate += waves.scan(tables, root * 1.5 * t + 0.13 * seed % 1, 19_000.0)
        plate /= np.float32(np.abs(plate).max())
        sound = metal * plate + (1 - 0.6 * metal) * waves.noise(len(t), seed)
        # Above the ear's best range a cymbal loses again, where noise would not.
        sound = waves.lowpass(waves.highpass(sound.astype(np.float32), above, 4), 1.5 * above, 1)
        shape = np.exp(-t / ring * 2.2) * np.clip(t / 0.0005, 0, 1)
        if ping:
            sound = sound + (0.25 * np.sin(2 * np.pi * ping * t) * np.exp(-t / 0.15)).astype(np.float32)
        return sound * shape.astype(np.float32)

    def _shaker(self, seed: int) -> Sound:
        t = waves.times(0.09)
        shape = np.clip(t / 0.018, 0, 1) ** 2 * np.exp(-np.maximum(t - 0.018, 0) / 0.022)
        return waves.bandpass(waves.noise(len(t), seed), 4500, 11_000) * shape.astype(np.float32)

    def _rim(self, seed: int) -> Sound:
        t = waves.times(0.07)
        tone = np.sin(2 * np.pi * 1720 * t) + 0.7 * np.sin(2 * np.pi * 2480 * t) + 0.4 * np.sin(2 * np.pi * 460 * t)
        sound = (tone * np.exp(-t / 0.009)).astype(np.float32)
        return sound + 0.4 * waves.highpass(waves.noise(len(t), seed), 3000) * np.exp(-t / 0.003).astype(np.float32)

    def _head(self, hertz: float, ring: float, seed: int) -> Sound:
        t = waves.times(ring * 2.2)
        phase = np.cumsum(hertz * (1 + 0.3 * np.exp(-t / 0.03))) / RATE
        tone = (np.sin(2 * np.pi * phase) + 0.3 * np.sin(2 * np.pi * 1.59 * phase)) * np.exp(-t / ring * 2.5)
        skin = waves.bandpass(waves.noise(len(t), seed), 400, 3000) * np.exp(-t / 0.008).astype(np.float32)
        return (tone * np.clip(t / 0.001, 0, 1)).astype(np.float32) + 0.3 * skin


def tuned(hertz: float, tonic: int, lowest: float = 0.0) -> float:
    """The tonic or fifth of a key that is nearest: a drum that rings is a tone, and beside the key it says another."""
    tones = (frequency(pitch) for pitch in range(12, 96) if (pitch - tonic) % 12 in {0, 7})
    return min((tone for tone in tones if tone >= lowest), key=lambda tone: abs(np.log(tone / hertz)))
