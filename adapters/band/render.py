"""From a score to sound: every part is played, makes room for the kick, and is put into the room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from scipy import signal

from adapters.band import effects, waves
from adapters.band.genres import profile_of
from adapters.band.instruments import Instrument, tone
from adapters.band.kit import PLACES, Drums
from adapters.band.score import Note, Score
from adapters.band.waves import RATE, Array, Sound

STEMS = ("drums", "bass", "chords", "melody", "effects")
#: Stems are rounded to this grid (-120 dBFS), on which sums of 32-bit floats are exact: in whatever order they are
#: added, they give the mix bit for bit.
GRID = np.float32(2.0**20)
#: How loud drums are in their loudest section, dB RMS; everything else is set against them.
DRUMS_LEVEL = -18.0
#: Added before a filter: no bit of a sound is another by it, but where sound has ended a filter would die away to
#: numbers so small that a processor takes ten times as long over each (-400 dBFS is far above these).
FLOOR = np.float32(1e-20)
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
    whole: Stem | None = None
    for layer in layers(score, tell):
        if whole is not None and whole.name == layer.name:
            whole.sound[:] += layer.sound
            continue
        if whole is not None:
            yield whole
        whole = layer
    assert whole is not None
    yield whole


def layers(score: Score, tell: Callable[[float], None] = lambda _: None) -> Iterator[Stem]:
    """What stems consist of, one after the other: whoever wants only the sum need not hold a whole stem beside it."""
    desk = _Desk(score)
    for name, play, share in (
        ("drums", desk.drums, 0.25),
        ("bass", desk.bass, 0.4),
        ("chords", desk.chords, 0.6),
        ("melody", desk.melody, 0.7),
        ("melody", desk.counter, 0.75),
        ("effects", desk.effects, 1.0),
    ):
        yield Stem(name, _on_grid(play()))
        tell(share)


def _on_grid(sound: Sound) -> Sound:
    sound *= GRID
    np.rint(sound, out=sound)
    sound /= GRID
    return sound


class _Desk:
    """The mixing desk: plays parts onto tracks, sets their loudness, and sends some of each to hall and echo."""

    def __init__(self, score: Score) -> None:
        self._score, self._profile = score, profile_of(score.genre)
        self._mix = self._profile.mix
        self._count = round(score.seconds * RATE)
        self._hall, self._echo = np.zeros(self._count, dtype=np.float32), np.zeros(self._count, dtype=np.float32)
        self._kicks = sorted(
            self._place(hit.beat, hit.late) for hit in score.drums if hit.drum == "kick" and hit.velocity > 0.3
        )
        #: dB more to hall and echo.
        self._wet = 4.0 * score.space

    def _place(self, beat: float, late: float) -> int:
        return max(0, round((self._score.time(beat) + late) * RATE))

    def drums(self) -> Sound:
        track = np.zeros((2, self._count), dtype=np.float32)
        score = self._score
        kit = Drums(self._profile.kit, score.tonic, brightness=score.brightness, drive=score.drive)
        for number, hit in enumerate(score.drums):
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

    def melody(self) -> Sound:
        return self._lead("melody", 0.08, self._mix.melody)

    def counter(self) -> Sound:
        return self._lead("counter", -0.3, self._mix.counter)

    def _lead(self, name: str, pan: float, level: float) -> Sound:
        track = self._part(name, pan)
        self._level(track, level)
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
        release = instrument.patch.release if name == "bass" else 0.0
        played = [(tone(note.pitch, self._seconds(note) - release, note.velocity, note.slide_from), note)
                  for note in part.notes]  # fmt: skip
        # Like beside like, because an instrument keeps its last tone only.
        for each, note in sorted(played, key=itemgetter(0)):
            sound = instrument.play(each)
            # Chords stand where their voices are: low ones left of the middle, high ones right.
            stands = pan if name != "chords" or len(sound) == 2 else max(-0.35, min(0.35, (note.pitch - 63) / 30))
            _lay(track, sound, self._place(note.beat, note.late), note.velocity, stands)
        patch = instrument.patch
        effects.chorus(track, patch.chorus)
        if patch.sway:
            self._sway(track, patch.sway, patch.sway_beats)
        return track

    def _seconds(self, note: Note) -> float:
        return self._score.time(note.beat + note.beats) - self._score.time(note.beat)

    def _sway(self, track: Sound, depth: float, beats: float) -> None:
        period = self._score.time(beats)
        steps = np.arange(-(-self._count // effects.STEP)) * effects.STEP / RATE
        effects.apply_gain(track, 1 - depth * 0.5 * (1 - np.cos(2 * np.pi * steps / period)))

    def _duck(self, track: Sound, decibels: float) -> None:
        effects.duck(track, self._kicks, decibels, self._mix.duck_seconds)

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
        for side in track:
            for piece, heard in _filtered(side, sos):
                side[piece] = heard

    def _send(self, track: Sound, hall: float, echo: float | None, above: float = 0.0) -> None:
        sos = signal.butter(1, above, "high", fs=RATE, output="sos").astype(np.float32) if above else None
        for piece, middle in _filtered(track, sos):
            self._hall[piece] += np.float32(10 ** ((hall + self._wet) / 20)) * middle
            if echo is not None:
                self._echo[piece] += np.float32(10 ** ((echo + self._wet) / 20)) * middle


def _filtered(sound: Sound, sos: Array | None) -> Iterator[tuple[slice, Sound]]:
    """What a filter (none: all of it) leaves of (samples,), or of the middle of (2, samples), piece by piece."""
    state = None if sos is None else np.zeros((len(sos), 2), dtype=np.float32)
    for start in range(0, sound.shape[-1], effects.PIECE):
        piece = slice(start, start + effects.PIECE)
        heard = sound[piece] if sound.ndim == 1 else np.float32(0.5) * (sound[0, piece] + sound[1, piece])
        if sos is not None:
            heard, state = signal.sosfilt(sos, heard + FLOOR, zi=state)
        yield piece, heard


#: Strokes have a peak of 1; so loud is each in a kit.
LOUDNESS = {
    "kick": 1.0, "snare": 0.95, "clap": 0.9, "rim": 0.55, "hat": 0.75, "open_hat": 0.7, "ride": 0.48, "crash": 0.6,
    "shaker": 0.55, "tom": 0.75, "low_tom": 0.75, "conga": 0.55,
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
    score: Score, keep: Callable[[Stem], None] | None = None, tell: Callable[[float], None] = lambda _: None
) -> Sound:
    """(2, samples) the unmastered mix of a piece; `keep` is handed each stem before the next is played."""
    mix = np.zeros((2, round(score.seconds * RATE)), dtype=np.float32)
    for part in layers(score, tell) if keep is None else stems(score, tell):
        if keep is not None:
            keep(part)
        mix += part.sound
        del part  # else it would stay while the next is played: 63 MB for three minutes
    return mix
