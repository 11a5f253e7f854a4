"""From a score to sound: every part is played, makes room for the kick, and is put into the room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import signal

from adapters.band import effects, waves
from adapters.band.genres import Profile, profile_of
from adapters.band.instruments import Instrument
from adapters.band.kit import PLACES, Drums
from adapters.band.score import Note, Part, Score
from adapters.band.waves import RATE, Sound

STEMS = ("drums", "bass", "chords", "melody", "effects")
#: Stems are rounded to this grid (-120 dBFS), on which sums of 32-bit floats are exact: in whatever order they are
#: added, they give the mix bit for bit.
GRID = np.float32(2.0**20)
#: How loud drums are in their loudest section, dB RMS; everything else is set against them.
DRUMS_LEVEL = -18.0
#: Loudness of a part is measured over windows of this length, and the loud ones count.
WINDOW = RATE // 4


class Stem(NamedTuple):
    """One group of the mix."""

    name: str
    #: (2, samples)
    sound: Sound


def stems(score: Score, tell: Callable[[float], None] = lambda _: None) -> Iterator[Stem]:
    """The five stems of a piece, one after the other; the caller may keep or forget each before it asks for the next.

    They are the unmastered mix when added. `tell` hears shares from 0 to 1.
    """
    profile = profile_of(score.genre)
    count = round(score.seconds * RATE)
    hall, echo = np.zeros(count, dtype=np.float32), np.zeros(count, dtype=np.float32)
    desk = _Desk(score, profile, count, hall, echo)
    yield Stem("drums", _on_grid(desk.drums()))
    tell(0.25)
    yield Stem("bass", _on_grid(desk.bass()))
    tell(0.4)
    yield Stem("chords", _on_grid(desk.chords()))
    tell(0.6)
    yield Stem("melody", _on_grid(desk.melodies()))
    tell(0.75)
    yield Stem("effects", _on_grid(desk.effects()))
    tell(1.0)


def _on_grid(sound: Sound) -> Sound:
    sound *= GRID
    np.rint(sound, out=sound)
    sound /= GRID
    return sound


class _Desk:
    """The mixing desk: plays parts onto tracks, sets their loudness, and sends some of each to hall and echo."""

    def __init__(self, score: Score, profile: Profile, count: int, hall: Sound, echo: Sound) -> None:
        self._score, self._mix, self._count = score, profile.mix, count
        self._profile, self._hall, self._echo = profile, hall, echo
        self._kicks = [
            self._place(hit.beat, hit.late) for hit in score.drums if hit.drum == "kick" and hit.velocity > 0.3
        ]
        wet = 4.0 * score.space
        self._wet = wet

    def _place(self, beat: float, late: float) -> int:
        return max(0, round((self._score.time(beat) + late) * RATE))

    def drums(self) -> Sound:
        track = np.zeros((2, self._count), dtype=np.float32)
        kit = Drums(self._profile.kit, brightness=self._score.brightness, drive=self._score.drive)
        for number, hit in enumerate(self._score.drums):
            sound = kit.stroke(hit.drum, number)
            gain = hit.velocity * LOUDNESS.get(hit.drum, 1.0)
            _lay(track, sound[None, :], self._place(hit.beat, hit.late), gain, PLACES.get(hit.drum, 0.0))
        self._level(track, self._mix.drums)
        self._send(track, self._mix.drums_hall, None, above=250.0)
        return track

    def bass(self) -> Sound:
        track = self._part("bass", 0.0)
        self._duck(track, self._mix.duck_bass)
        self._level(track, self._mix.bass)
        return track

    def chords(self) -> Sound:
        track = self._part("chords", 0.0)
        self._clear_below(track, 110.0)
        self._duck(track, self._mix.duck_chords)
        self._level(track, self._mix.chords)
        self._send(track, self._mix.chords_hall, None)
        return track

    def melodies(self) -> Sound:
        track = self._part("melody", 0.08)
        self._level(track, self._mix.melody)
        if self._score.part("counter") is not None:
            other = self._part("counter", -0.3)
            self._level(other, self._mix.counter)
            track += other
            del other
        self._clear_below(track, 140.0)
        self._duck(track, self._mix.duck_chords * 0.5)
        self._send(track, self._mix.melody_hall, self._mix.melody_echo)
        return track

    def effects(self) -> Sound:
        track = np.zeros((2, self._count), dtype=np.float32)
        for number, effect in enumerate(self._score.effects):
            start = self._place(effect.beat, 0.0)
            seconds = self._score.time(effect.beat + effect.beats) - self._score.time(effect.beat)
            match effect.kind:
                case "riser":
                    _lay(track, _sweep(seconds, number, rises=True), start, 0.05 * effect.level, 0.0)
                case "fall":
                    _lay(track, _sweep(seconds, number, rises=False), start, 0.045 * effect.level, 0.0)
                case "impact":
                    _lay(track, _impact(number), start, 0.12 * effect.level, 0.0)
                case "noise":
                    _bed(track[:, start:], self._mix.bed, 10 ** ((self._mix.effects - 34) / 20))
        response = effects.hall_response(
            round(self._mix.hall_seconds * 2.0 ** (0.4 * self._score.space), 3), self._mix.hall_bright
        )
        beats = self._mix.echo_beats
        delay = round(self._score.time(beats) * RATE)
        effects.echo_into(track, self._echo, delay, 0.42, 4500.0)
        # In place: nobody hears the echo alone any more.
        self._echo *= np.float32(0.3)
        self._hall += self._echo
        effects.convolve_into(track, self._hall, response, delay=round(0.014 * RATE))
        # What rings on ends with the piece.
        fade = min(self._count, RATE // 2)
        track[:, self._count - fade :] *= np.linspace(1, 0, fade, dtype=np.float32) ** 2
        return track

    def _part(self, name: str, pan: float) -> Sound:
        track = np.zeros((2, self._count), dtype=np.float32)
        part = self._score.part(name)
        if part is None:
            return track
        instrument = Instrument(part.instrument, brightness=self._score.brightness, drive=self._score.drive)
        # Like beside like, so that the instrument need not keep many notes.
        for note in sorted(part.notes, key=lambda note: (note.pitch, note.beats, note.velocity)):
            self._play(track, part, note, instrument, pan)
        patch = instrument.patch
        effects.chorus(track, patch.chorus)
        if patch.sway:
            self._sway(track, patch.sway, patch.sway_beats)
        return track

    def _play(self, track: Sound, part: Part, note: Note, instrument: Instrument, pan: float) -> None:
        start = self._place(note.beat, note.late)
        seconds = self._score.time(note.beat + note.beats) - self._score.time(note.beat)
        release = instrument.patch.release if part.name == "bass" else 0.0
        sound = instrument.note(note.pitch, max(0.03, seconds - release), note.velocity, note.slide_from)
        # Chords stand where their voices are: low ones left of the middle, high ones right.
        place = pan if part.name != "chords" or sound.shape[0] == 2 else max(-0.35, min(0.35, (note.pitch - 63) / 30))
        _lay(track, sound, start, note.velocity, place)

    def _sway(self, track: Sound, depth: float, beats: float) -> None:
        period = self._score.time(beats)
        steps = np.arange(-(-self._count // effects.STEP)) * effects.STEP / RATE
        effects.apply_gain(track, 1 - depth * 0.5 * (1 - np.cos(2 * np.pi * steps / period)))

    def _duck(self, track: Sound, decibels: float) -> None:
        gain = effects.dips(self._count, self._kicks, decibels, self._mix.duck_seconds)
        if gain is not None:
            track *= gain

    def _level(self, track: Sound, decibels: float) -> None:
        """Set how loud a track is where it is loud, so that no choice of instrument upsets the balance."""
        windows = self._count // WINDOW
        power = np.zeros(windows)
        for side in range(2):
            part = track[side, : windows * WINDOW].reshape(windows, WINDOW)
            power += np.einsum("ij,ij->i", part, part) / WINDOW / 2
        heard = power[power > 1e-10]
        if len(heard) == 0:
            return
        loud = heard[heard >= np.quantile(heard, 0.6)].mean()
        track *= np.float32(10 ** ((DRUMS_LEVEL + decibels) / 20) / np.sqrt(loud))

    def _clear_below(self, track: Sound, hertz: float) -> None:
        """Leave the low end to kick and bass."""
        sos = signal.butter(2, hertz, "high", fs=RATE, output="sos").astype(np.float32)
        for side in range(2):
            track[side] = signal.sosfilt(sos, track[side])

    def _send(self, track: Sound, hall: float, echo: float | None, above: float = 0.0) -> None:
        middle = track[0] + track[1]
        middle *= np.float32(0.5)
        if above:
            sos = signal.butter(1, above, "high", fs=RATE, output="sos").astype(np.float32)
            middle = signal.sosfilt(sos, middle)
        middle *= np.float32(10 ** ((hall + self._wet) / 20))
        self._hall += middle
        if echo is not None:
            middle *= np.float32(10 ** ((echo - hall) / 20))
            self._echo += middle


#: Strokes have a peak of 1; so loud is each in a kit.
LOUDNESS = {
    "kick": 1.0, "snare": 0.85, "clap": 0.7, "rim": 0.45, "hat": 0.48, "open_hat": 0.46, "ride": 0.34, "crash": 0.5,
    "shaker": 0.38, "tom": 0.7, "low_tom": 0.75, "conga": 0.5,
}  # fmt: skip


def _lay(track: Sound, sound: Sound, start: int, gain: float, pan: float) -> None:
    """Add (1, n) or (2, n) to a track at a sample, panned with equal power; what lies beyond the end is lost."""
    room = min(sound.shape[1], track.shape[1] - start)
    if room <= 0:
        return
    angle = np.pi / 4 * (1 + pan)
    sides = np.float32(gain * np.sqrt(2) * np.cos(angle)), np.float32(gain * np.sqrt(2) * np.sin(angle))
    for side in range(2):
        track[side, start : start + room] += sides[side] * sound[min(side, sound.shape[0] - 1), :room]


def _sweep(seconds: float, seed: int, *, rises: bool) -> Sound:
    """Noise whose band climbs and swells, or sinks and dies away: six bands, one fading into the next."""
    count = max(1, round(seconds * RATE))
    t = np.linspace(0, 1, count)
    way = t if rises else 1 - t
    place = 5 * way
    sound = np.zeros((2, count), dtype=np.float32)
    for band, hertz in enumerate(np.geomspace(300, 9000, 6)):
        weight = np.clip(1 - np.abs(place - band), 0, 1).astype(np.float32)
        for side in range(2):
            sound[side] += weight * waves.bandpass(
                waves.noise(count, 100 * seed + 2 * band + side), hertz * 0.7, hertz * 1.5
            )
    swell = way**2 if rises else way**1.5
    return waves.smoothed_end(sound * swell.astype(np.float32), 0.02)


def _impact(seed: int) -> Sound:
    """A low boom and the dust it raises."""
    t = waves.times(2.5)
    boom = np.sin(2 * np.pi * (38 * t + 2.5 * (1 - np.exp(-t / 0.08)))) * np.exp(-t / 0.5) * np.clip(t / 0.004, 0, 1)
    dust = waves.bandpass(waves.noise(len(t), 7 + seed), 300, 5000) * np.exp(-t / 0.6).astype(np.float32)
    return waves.smoothed_end((0.9 * boom.astype(np.float32) + 0.8 * dust)[None, :], 0.05)


def _bed(track: Sound, kind: str, level: float) -> None:
    """What lies under everything, in place: crackle and rumble of vinyl, hiss of tape, or air."""
    loop = 11 * RATE
    generator = np.random.Generator(np.random.PCG64(11))
    for side in range(2):
        hiss = waves.noise(loop + RATE, 31 + side)
        match kind:
            case "vinyl" | "tape":
                ground = 0.7 * waves.bandpass(hiss, 800, 7000)
                clicks = np.zeros(len(hiss), dtype=np.float32)
                places = generator.integers(0, len(hiss), 260 if kind == "vinyl" else 90)
                clicks[places] = (generator.random(len(places)) ** 3 * 14).astype(np.float32)
                ground = ground + waves.bandpass(clicks, 900, 6000)
            case _:
                ground = waves.bandpass(hiss, 300, 2500)
        # The end of the loop fades into its beginning.
        fade = np.linspace(0, 1, RATE, dtype=np.float32)
        ground[:RATE] = ground[:RATE] * np.sqrt(fade) + ground[loop:] * np.sqrt(1 - fade)
        for start in range(0, track.shape[1], loop):
            room = min(loop, track.shape[1] - start)
            track[side, start : start + room] += np.float32(level * 3) * ground[:room]


def mixed(
    score: Score, keep: Callable[[Stem], None] = lambda _: None, tell: Callable[[float], None] = lambda _: None
) -> Sound:
    """(2, samples) the unmastered mix of a piece; `keep` is handed each stem before the next is played."""
    mix = np.zeros((2, round(score.seconds * RATE)), dtype=np.float32)
    for stem in stems(score, tell):
        keep(stem)
        mix += stem.sound
        del stem  # else it would stay while the next is played: 63 MB for three minutes
    return mix
