"""Trains the ear for keys: songs composed in a known key, folk tunes and scores with their own.

    python -m infra.training.key scores OUT.pkl          (once; needs music21, whose corpus is free)
    python -m infra.training.key make FOLDER --scores OUT.pkl --abc FOLDER --count 6000
    python -m infra.training.key fit FOLDER

Nothing is rendered: spectrograms are sketched from the notes, a thousand times faster and close enough. `make` needs
`abc2midi` for folk tunes; `fit` writes the weights that `adapters.ears.key` reads. A seed makes the same material.
"""

from __future__ import annotations

import argparse
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.ears.key import LOWEST_MIDI, evidence, pitch_salience, tuning_semitones
from adapters.ears.network import WEIGHTS
from adapters.ears.spectrum import BINS_PER_OCTAVE, CHORD_RATE, LOW_OCTAVES, TONAL_BINS
from infra.training.composer import (
    BASS_PROGRAMS,
    DRUM,
    GROOVES,
    GUITAR_PROGRAMS,
    KEYS_PROGRAMS,
    KITS,
    LEAD_PROGRAMS,
    PAD_PROGRAMS,
    Note,
    Piece,
)
from infra.training.corpus import folk_piece, tunes_of

Array = NDArray[np.float32]

#: What melodies step through; on dominant sevenths both thirds and no leading note.
SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "blues": (0, 3, 4, 5, 7, 9, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}
#: Degrees of the pentatonic that lies in a scale with a major and with a minor third.
PENTATONICS = {True: (0, 1, 2, 4, 5), False: (0, 2, 3, 4, 6)}
THIRDS = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
    "M7": (0, 4, 7, 11),
    "o": (0, 3, 6),
    "5": (0, 7),
}
DEGREES = {"I": 0, "bII": 1, "II": 2, "bIII": 3, "III": 4, "IV": 5, "V": 7, "bVI": 8, "VI": 9, "bVII": 10, "VII": 11}
#: What songs in major and in minor are made of: common property of their styles, one bar a chord.
IDIOMS: dict[str, tuple[str, ...]] = {
    "major": (
        "I V VIm IV", "I VIm IV V", "VIm IV I V", "I IV V IV", "IIm7 V7 I I", "IIm7 V7 I VIm", "I V VIm IIIm IV I IV V",
        "IV V IIIm VIm IIm V I I", "IVM7 V7 IIIm7 VIm7", "I IIIm IV V", "I IV I V", "I I IV V7", "I bVII IV I",
        "I IVm I V", "I VIm IIm V", "I III7 VIm IV", "I IV VIm V", "IV I V VIm", "I II7 IV I", "VIm V IV V",
        "I I IV IV I I V V",
        "IM7 VI7 IIm7 V7", "I V IV IV", "I IV", "I V", "IV V I I", "I IIm IV V", "IIm IV I V", "I VIm IIIm IV",
    ),
    "minor": (
        "Im bVI bIII bVII", "Im IVm Vm Im", "Im IVm V7 Im", "Im bVII bVI bVII", "Im bVII bVI V", "Im bVI IVm V7",
        "Im bIII bVII bVI", "Im Im bVI bVII", "IVm bVII bIII bVI IIo V7 Im Im", "Im Vm bVI bIII IVm Im IVm V", "Im bVI",
        "Im IVm", "Im bVII", "bVI bVII Im Im", "Im IVm bVI V", "IVm Im V7 Im", "Im bII Im bII", "Im Im IVm V7",
        "Im Vm bVI IVm", "Im bIII IV bVI", "bVI IVm Im V7", "Im IVm7 bVII bIII", "Im Im Im Im", "Im V7 Im V7",
        "Im bIII IVm V",
    ),
    "mixolydian": (
        "I bVII", "I bVII IV I", "I bVII IV IV", "I Vm", "I IV bVII IV", "I I bVII bVII", "I Vm bVII IV",
        "I7 bVII IV I",
        "I bVII IV bVII", "I IV I bVII", "I I I bVII", "I VIm bVII I", "I IIm bVII I", "I7 I7 bVII IV", "I Vm IV I",
        "I bVII I IV", "I7 bVII", "IV bVII I I", "bVII IV I I",
    ),
    "lydian": (
        "I II", "IM7 II", "I II VIIm I", "I II IIIm I", "I VIIm II I", "I I II II", "IM7 II IM7 VIIm", "I II VIm I",
        "I II I VIIm", "IM7 IM7 II II",
    ),
    "blues": (
        "I7 IV7", "I7 I7 IV7 IV7", "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7", "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 V7 I7 I7",
        "I7 IV7 I7 V7", "I7 I7 I7 I7", "I7 I7 IV7 I7", "I7 IV7 V7 IV7", "I7 bVII7 IV7 I7", "I7 VI7 II7 V7",
    ),
    "dorian": (
        "Im IV", "Im7 IV7", "Im IIm", "Im IV Im bVII", "Im bVII IV IV", "Im bIII IV Im", "Im IV bVII Im", "Im Im IV IV",
        "Im7 IIm7", "Im Vm IV Im", "Im bVII Im IV", "Im bIII bVII IV", "Im Im Im IV", "Im7 IV7 Im7 bVII",
        "Im IIm bIII IV",
        "Im IIm bIII IIm", "IV Im IV Im", "bVII IV Im Im",
    ),
    "phrygian": (
        "Im bII", "Im bII bIII bII", "Im bII Im bVIIm", "Im Im bII bII", "Im bVIIm", "Im bVI bII Im", "Im bIII bII Im",
        "Im IVm bII Im", "bII bII Im Im", "Im bII bVIIm Im",
    ),
}  # fmt: skip
STYLES = ("pop", "rock", "house", "hiphop", "piano", "funk", "techno", "disco", "swing")


class Heard(NamedTuple):
    """A piece as material: its key (null for what has none), where it comes from, and the salience of its pitches."""

    tonic: int | None
    minor: bool
    source: str
    #: (moments, 96) at the ears' chord rate.
    salience: NDArray[np.float16]


class Score(NamedTuple):
    """A score as a list of (start, length, pitch) in quarters, in the key its signature and last bass note agree on."""

    name: str
    tonic: int
    minor: bool
    notes: list[tuple[float, float, int]]


def song(rng: np.random.Generator, seconds: float, mode: str | None = None) -> tuple[Piece, int, bool]:
    """A song in one key: one or two idioms under a melody, with the bass, the drums and the looseness of its style.

    In one of the modes of `IDIOMS`; major or minor where none is given.
    """
    tonic, minor = int(rng.integers(12)), bool(rng.random() < 0.45)
    mode = mode or ("minor" if minor else "major")
    scale = SCALES[mode]
    style = str(rng.choice(STYLES))
    bpm = float(rng.uniform(70, 150))
    bars = max(4, round(seconds * bpm / 240))
    piece = Piece(style=style, bpm=bpm, beats_per_bar=4, beat_unit=4, bars=bars, bar_beats=4.0)
    idioms = IDIOMS[mode]
    verse, chorus = (str(idioms[int(rng.integers(len(idioms)))]).split() for _ in range(2))
    if rng.random() < 0.4:
        chorus = verse
    slow = 2 if rng.random() < 0.15 else 1
    names = [(verse if bar // 8 % 2 == 0 else chorus) for bar in range(bars)]
    chords = [_chord(names[bar][bar // slow % len(names[bar])], tonic, rng) for bar in range(bars)]
    parts = _parts_of(rng, style)
    if "drums" in parts and style in GROOVES:
        piece.programs[DRUM] = int(rng.choice(KITS))
        piece.notes += _drums(rng, GROOVES[style][int(rng.integers(len(GROOVES[style])))], bars)
    if "bass" in parts:
        piece.programs[1] = int(rng.choice(BASS_PROGRAMS))
        walking = mode == "blues" and rng.random() < 0.5
        piece.notes += _walk(rng, chords) if walking else _bass(rng, chords)
    if "chords" in parts:
        piece.programs[2] = int(rng.choice(KEYS_PROGRAMS + GUITAR_PROGRAMS + PAD_PROGRAMS))
        piece.notes += _comping(rng, chords)
    if "melody" in parts:
        piece.programs[4] = int(rng.choice(LEAD_PROGRAMS + KEYS_PROGRAMS))
        piece.notes += _melody(rng, chords, tonic, scale)
    return piece, tonic, 4 not in scale


def _parts_of(rng: np.random.Generator, style: str) -> set[str]:
    if style == "piano":
        return {"bass", "chords", "melody"}
    chosen = {"bass", "chords"} if rng.random() < 0.9 else {str(rng.choice(["bass", "chords", "melody"]))}
    if rng.random() < 0.7:
        chosen.add("melody")
    if rng.random() < 0.75:
        chosen.add("drums")
    return chosen


def _chord(name: str, tonic: int, rng: np.random.Generator) -> tuple[int, ...]:
    """The pitch classes of a degree such as bVII or IIm7, root first; now and then a power chord or a seventh."""
    found = re.fullmatch(r"(b?[IV]+)(m7|M7|7|m|o)?", name)
    assert found is not None
    root, kind = tonic + DEGREES[found.group(1)], found.group(2) or ""
    if kind in {"", "m"} and rng.random() < 0.06:
        kind = "5"
    if kind == "m" and rng.random() < 0.12:
        kind = "m7"
    return tuple((root + step) % 12 for step in THIRDS[kind])


def _drums(rng: np.random.Generator, rows: dict[int, str], bars: int) -> list[Note]:
    loud = float(rng.uniform(0.5, 1.1))
    return [
        Note(bar * 4 + place / 4, 0.25, drum, int(min(127, (40 + 8 * int(mark)) * loud)), DRUM)
        for bar in range(bars)
        for drum, row in rows.items()
        for place, mark in enumerate(row)
        if int(mark) > 4 or (mark != "0" and rng.random() < 0.4)
    ]


def _bass(rng: np.random.Generator, chords: list[tuple[int, ...]]) -> list[Note]:
    places = [(0.0, 3.8), (0.0, 1.9), (2.0, 1.9)][: int(rng.integers(1, 4))] if rng.random() < 0.4 else None
    step = float(rng.choice([0.5, 1.0, 2.0]))
    low, fifths, pedal = int(rng.choice([28, 36])), rng.random() * 0.3, rng.random() < 0.05
    notes = []
    for bar, chord in enumerate(chords):
        root = chords[0][0] if pedal else chord[0]
        for start, length in places or [(place, 0.9 * step) for place in np.arange(0, 4, step)]:
            pitch = chord[-1 if len(chord) == 2 else 2] if start and rng.random() < fifths else root
            notes.append(Note(bar * 4 + start, length, low + (pitch - low) % 12, int(rng.integers(80, 110)), 1))
    return notes


def _walk(rng: np.random.Generator, chords: list[tuple[int, ...]]) -> list[Note]:
    """A note on every beat: the root, steps through the chord, and a semitone or a tone towards the next root."""
    low = int(rng.choice([28, 33]))
    notes = []
    for bar, chord in enumerate(chords):
        coming = chords[(bar + 1) % len(chords)][0]
        near = (coming + int(rng.choice([-1, 1, 2, -2, 7]))) % 12
        for beat, tone in enumerate((chord[0], *(int(rng.choice(chord)) for _ in range(2)), near)):
            notes.append(Note(bar * 4 + beat, 0.9, low + (tone - low) % 12, int(rng.integers(80, 110)), 1))
    return notes


def _comping(rng: np.random.Generator, chords: list[tuple[int, ...]]) -> list[Note]:
    manner, low = int(rng.integers(4)), int(rng.choice([48, 52, 55, 60]))
    notes = []
    for bar, chord in enumerate(chords):
        pitches = sorted(low + (pitch - low) % 12 for pitch in chord)
        if manner == 0:
            notes += [Note(bar * 4, 3.9, pitch, 75, 2) for pitch in pitches]
        elif manner == 1:
            notes += [Note(bar * 4 + beat, 0.8, pitch, 75, 2) for beat in range(4) for pitch in pitches]
        elif manner == 2:
            notes += [Note(bar * 4 + beat + 0.5, 0.4, pitch, 75, 2) for beat in range(4) for pitch in pitches]
        else:
            notes += [Note(bar * 4 + eighth / 2, 0.9, pitches[eighth % len(pitches)], 78, 2) for eighth in range(8)]
    return notes


def _melody(
    rng: np.random.Generator, chords: list[tuple[int, ...]], tonic: int, degrees: tuple[int, ...]
) -> list[Note]:
    """A line of chord notes on the beats and scale steps between; phrases like to end on the tonic's triad."""
    scale = [(tonic + step) % 12 for step in degrees]
    if rng.random() < 0.3:
        scale = [scale[degree] for degree in PENTATONICS[4 in degrees]]
    pitch, notes = 67 + int(rng.integers(-5, 8)), []
    values = (0.5, 0.5, 1.0) if rng.random() < 0.6 else (0.5, 1.0, 2.0)
    for bar, chord in enumerate(chords):
        at = 0.0
        resting = rng.random() < 0.12
        while at < 4 and not resting:
            length = float(rng.choice(values))
            wanted = chord if at % 2 == 0 and rng.random() < 0.75 else scale
            if bar % 4 == 3 and at >= 2 and rng.random() < 0.5:
                wanted, length = (tonic, (tonic + 7) % 12, tonic), 4 - at
            near = [p for p in range(pitch - 5, pitch + 6) if p % 12 in wanted and 55 <= p <= 86]
            pitch = int(rng.choice(near)) if near else 67
            notes.append(Note(bar * 4 + at, 0.95 * min(length, 4 - at), pitch, int(rng.integers(80, 115)), 4))
            at += length
    return notes


def score_excerpt(score: Score, rng: np.random.Generator, seconds: float) -> Piece | None:
    """The beginning of a score, or now and then a later excerpt, at a tempo that makes it playable."""
    last = max(start for start, _, _ in score.notes)
    tempo_notes = len({round(start, 2) for start, _, _ in score.notes}) / max(last, 1.0)
    bpm = float(np.clip(60 * rng.lognormal(np.log(3.6), 0.4) / tempo_notes, 40, 200))
    quarters = seconds * bpm / 60
    at = 0.0 if rng.random() < 0.6 else float(rng.uniform(0, max(0.0, last - quarters)))
    programs = [0, 0, 0, 6, 48, 19, 40, 73, 42, 24, 16, 52]
    piece = Piece(
        style="classical", bpm=bpm, beats_per_bar=4, beat_unit=4, bars=max(2, round(quarters / 4)), bar_beats=4.0
    )
    piece.programs = {4: int(rng.choice(programs))}
    piece.notes = [
        Note(start - at, max(length, 0.1), pitch, int(np.clip(rng.normal(80, 13), 25, 120)), 4)
        for start, length, pitch in score.notes
        if at <= start < at + quarters
    ]
    return piece if len(piece.notes) > 20 else None


def key_of(tune: str) -> tuple[int, bool] | None:
    """Tonic and mode of an ABC tune's K: field; modes other than major and minor are left out."""
    found = re.search(r"(?m)^K: *([A-G])([#b]?) *([A-Za-z]*)", tune)
    if found is None:
        return None
    tonic = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[found.group(1)]
    tonic += {"#": 1, "b": -1, "": 0}[found.group(2)]
    mode = found.group(3).lower()
    if mode in {"", "maj", "major", "ion"}:
        return tonic % 12, False
    return (tonic % 12, True) if mode in {"m", "min", "minor", "aeo"} else None


def hear(piece: Piece, rng: np.random.Generator) -> NDArray[np.float16]:
    """The salience of a piece as the ears would find it, by way of a sketch of its spectrogram."""
    tonal = sketch(piece, rng)
    return pitch_salience(tonal, tuning_semitones(tonal)).astype(np.float16)


def sketch(piece: Piece, rng: np.random.Generator) -> Array:
    """(moments, TONAL_BINS) about what the ears' tonal spectrogram of this piece would be, in a thousandth of the time.

    Each voice is its notes' envelopes times a template of partials for each pitch; drums are noise with a few tuned
    resonances. Voices get timbres of their own, the whole a tuning, a tilt of colour and a floor of noise.
    """
    seconds = piece.bars * piece.bar_beats * 60 / piece.bpm
    count = max(16, int(seconds * CHORD_RATE))
    centres = (np.arange(count) + 0.5) / CHORD_RATE
    cents = float(rng.normal(0, 8)) if rng.random() < 0.7 else float(rng.uniform(-45, 45))
    tonal = np.zeros((count, TONAL_BINS))
    for voice in sorted({note.voice for note in piece.notes}):
        notes = [note for note in piece.notes if note.voice == voice]
        level = 10 ** (rng.uniform(-10, 2) / 20)
        if voice == DRUM:
            tonal += level * _drum_sketch(notes, piece.bpm, centres, rng)
        else:
            held = _held(notes, piece.bpm, centres, rng)
            tonal += level * held @ _partials(rng, cents)
    # The low octaves are heard through a window of a second and a half.
    low = LOW_OCTAVES * BINS_PER_OCTAVE
    smear = np.hanning(9)[1:-1] / np.hanning(9).sum()
    tonal[:, :low] = np.apply_along_axis(np.convolve, 0, tonal[:, :low], smear, mode="same")
    tilt = 10 ** (rng.uniform(-6, 6) / 20 * (np.arange(TONAL_BINS) / BINS_PER_OCTAVE - 4))
    tonal *= tilt / max(float(tonal.max()), 1e-9) * 10 ** (rng.uniform(-25, -6) / 20)
    floor = 10 ** (rng.uniform(-80, -45) / 20)
    tonal += floor * np.abs(rng.standard_normal(tonal.shape))
    return tonal.astype(np.float32)


def _held(
    notes: list[Note], bpm: float, centres: NDArray[np.floating], rng: np.random.Generator
) -> NDArray[np.float64]:
    """(moments, 128) how strongly each pitch sounds; plucked voices fade, bowed ones do not."""
    decay = float(rng.choice([0.3, 0.8, 2.0, 20.0]))
    tail = float(rng.choice([0.05, 0.2, 0.8]))
    held = np.zeros((len(centres), 128))
    for note in notes:
        start, stop = note.start * 60 / bpm, (note.start + note.length) * 60 / bpm
        since = centres - start
        # A window of 372 ms begins to hear a note before its centre does.
        onset = np.clip((since + 0.15) / 0.2, 0, 1)
        envelope = onset * np.exp(-np.maximum(since, 0) / decay) * np.exp(-np.maximum(centres - stop, 0) / tail)
        held[:, note.pitch & 127] += (note.velocity / 100) ** 1.5 * envelope
    return held


def _partials(rng: np.random.Generator, cents: float) -> NDArray[np.float64]:
    """(128, TONAL_BINS) the partials of each pitch in one timbre."""
    fall, odd, count = float(rng.uniform(0.4, 2.2)), rng.random() < 0.2, int(rng.integers(1, 16))
    stretch = float(rng.choice([0.0, 0.0, 3e-4]))
    colour = 10 ** (rng.normal(0, 4, 40) / 20)
    bins = np.arange(TONAL_BINS)
    templates = np.zeros((128, TONAL_BINS))
    for pitch in range(20, 112):
        for k in range(1, count + 1):
            if odd and k % 2 == 0:
                continue
            place = pitch + cents / 100 + 12 * np.log2(k * np.sqrt(1 + stretch * k * k))
            at = (place - LOWEST_MIDI) * BINS_PER_OCTAVE / 12
            if -2 < at < TONAL_BINS + 2:
                # Where a semitone is narrower than a bin of the transform, a partial spreads over its neighbours.
                hertz = 440 * 2 ** ((place - 69) / 12)
                wide = max(0.75, (1.4 if place < 60 else 2.7 * 2) / (hertz * 2 ** (1 / BINS_PER_OCTAVE) - hertz) * 0.5)
                peak = colour[min(39, max(0, int(place / 4) + 3))] * k**-fall
                templates[pitch] += peak * np.exp(-0.5 * ((bins - at) / wide) ** 2)
    return templates


def _drum_sketch(
    notes: list[Note], bpm: float, centres: NDArray[np.floating], rng: np.random.Generator
) -> NDArray[np.float64]:
    """(moments, TONAL_BINS) of drums: each a band of noise, kicks and toms with a pitch of their own."""
    drums: dict[int, NDArray[np.float64]] = {}
    bins = np.arange(TONAL_BINS)
    sketch = np.zeros((len(centres), TONAL_BINS))
    for note in notes:
        if note.pitch not in drums:
            top = {36: 40, 38: 190, 39: 210, 42: 270, 46: 270, 49: 270, 51: 260}.get(note.pitch, 130)
            width = {36: 20, 38: 60, 39: 40}.get(note.pitch, 45)
            shape = np.exp(-0.5 * ((bins - top) / width) ** 2) * 0.25
            if note.pitch in {36, 41, 43, 45, 47, 48, 50, 60, 61, 62, 63, 64}:
                shape += np.exp(
                    -0.5 * ((bins - (rng.uniform(25, 110) if note.pitch > 36 else rng.uniform(10, 40))) / 2.5) ** 2
                )
            drums[note.pitch] = shape
        since = centres - note.start * 60 / bpm
        envelope = np.clip((since + 0.18) / 0.15, 0, 1) * np.exp(-np.maximum(since, 0) / 0.12)
        near = np.flatnonzero(envelope > 0.01)
        grain = rng.rayleigh(0.8, (len(near), TONAL_BINS))
        sketch[near] += (note.velocity / 100) * envelope[near, None] * drums[note.pitch] * grain
    return sketch


def make(options: argparse.Namespace) -> None:
    """Write shards of fifty heard pieces until there are `--count`; shard n depends on the seed n alone."""
    options.folder.mkdir(parents=True, exist_ok=True)
    scores: list[Score] = pickle.loads(options.scores.read_bytes()) if options.scores else []  # noqa: S301 - our own file
    tunes = [
        tune for tune in tunes_of(sorted(f for folder in options.abc for f in folder.glob("*.abc"))) if key_of(tune)
    ]
    for shard in range(options.first, options.first + -(-options.count // 50)):
        path, rng = options.folder / f"{shard:04d}.pkl", np.random.default_rng(70_000 + shard)
        heard: list[Heard] = []
        while len(heard) < 50 and not path.exists():
            try:
                one = drawn_piece(rng, tunes, scores)
            except (subprocess.SubprocessError, OSError) as fault:
                print(fault, file=sys.stderr)
                continue
            if one is not None:
                heard.append(one)
        if heard:
            path.write_bytes(pickle.dumps(heard))
            print(path, flush=True)


def drawn_piece(rng: np.random.Generator, tunes: list[str], scores: list[Score]) -> Heard | None:
    """A song, a tune or an excerpt of a score, transposed and sketched; None where it cannot be read."""
    seconds, kind = float(rng.uniform(20, 40)), rng.random()
    piece: Piece | None
    if kind < 0.35 and scores:
        score = scores[int(rng.integers(len(scores)))]
        piece, tonic, minor, source = score_excerpt(score, rng, seconds), score.tonic, score.minor, "classical"
    elif kind < 0.5 and tunes:
        tune = tunes[int(rng.integers(len(tunes)))]
        known = key_of(tune)
        assert known is not None
        piece, (tonic, minor), source = folk_piece(tune, rng, seconds), known, "folk"
    else:
        (piece, tonic, minor), source = song(rng, seconds), "song"
    if piece is None:
        return None
    shift = int(rng.integers(-6, 6))
    if source != "song":
        piece.notes = [note if note.voice == DRUM else note._replace(pitch=note.pitch + shift) for note in piece.notes]
        tonic = (tonic + shift) % 12
    return Heard(tonic, minor, source, hear(piece, rng))


def modal_song(rng: np.random.Generator) -> Heard:
    """A song in one of the modes, or on dominant sevenths."""
    mode = str(rng.choice([one for one in IDIOMS if one not in {"major", "minor"}]))
    piece, tonic, minor = song(rng, float(rng.uniform(16, 40)), mode)
    return Heard(tonic, minor, mode, hear(piece, rng))


def no_music(rng: np.random.Generator) -> Heard:
    """Drums alone, noise, a voice that glides, or next to nothing: what has no key."""
    count = int(rng.uniform(1, 40) * CHORD_RATE)
    centres = (np.arange(count) + 0.5) / CHORD_RATE
    kind = str(rng.choice(["drums", "drums", "noise", "voice", "clicks"]))
    tonal = 10 ** (rng.uniform(-90, -50) / 20) * rng.rayleigh(0.8, (count, TONAL_BINS))
    if kind == "drums":
        style = str(rng.choice(list(GROOVES)))
        rows = GROOVES[style][int(rng.integers(len(GROOVES[style])))]
        bpm = float(rng.uniform(70, 180))
        tonal += 0.2 * _drum_sketch(_drums(rng, rows, 1 + int(count / CHORD_RATE * bpm / 240)), bpm, centres, rng)
    elif kind == "noise":
        tonal += (
            0.05 * rng.rayleigh(0.8, tonal.shape) * 10 ** (rng.uniform(-8, 8) / 20 * (np.arange(TONAL_BINS) / 36 - 4))
        )
    elif kind == "voice":
        held = np.zeros((count, 128))
        pitch = rng.uniform(43, 60)
        for moment in range(count):
            pitch = float(np.clip(pitch + rng.normal(0, 3), 38, 66))
            # Within one window speech glides over several semitones.
            for step in rng.normal(0, 1.2, 4):
                held[moment, round(pitch + step)] += rng.random() < 0.7
        tonal += 0.05 * held @ _partials(rng, float(rng.uniform(-50, 50)))
    else:
        tonal[:: max(2, int(rng.uniform(2, count + 2)))] += 0.2 * rng.rayleigh(0.8, TONAL_BINS)
    heard = tonal.astype(np.float32)
    return Heard(None, False, kind, pitch_salience(heard, tuning_semitones(heard)).astype(np.float16))


def fit(options: argparse.Namespace) -> None:
    """Train a few small networks on the material, say how well they do on what they have not seen, and write them."""
    rng = np.random.default_rng(11)
    material = [one for path in sorted(options.folder.glob("*.pkl")) for one in pickle.loads(path.read_bytes())]  # noqa: S301
    material += [no_music(rng) for _ in range(len(material) // 6)]
    views, wanted = [], []
    for one in material:
        # Some of them in a part only, as sections and excerpts are.
        count = len(one.salience)
        first, last = (int(rng.integers(count // 3)), -int(rng.integers(count // 3))) if rng.random() < 0.3 else (0, 0)
        heard = evidence(one.salience[first : last or None])
        views.append(np.stack([np.roll(heard, -tonic, axis=1).ravel() for tonic in range(12)]))
        target = np.full(24, SMOOTHING / 24)
        if one.tonic is None:
            target[:] = 1 / 24
        else:
            target[one.tonic + 12 * one.minor] += 1 - SMOOTHING
        wanted.append(target)
    features, targets = np.stack(views).astype(np.float32), np.stack(wanted)
    held_back = np.arange(len(material)) % 8 == 0
    networks = [trained_on(features[~held_back], targets[~held_back], seed) for seed in range(VOTERS)]
    scores = np.mean([forward(network, features[held_back])[1] for network in networks], axis=0)
    sharper = sharpness(scores, targets[held_back])
    scores = scores * sharper
    _report(scores, targets[held_back], [one.source for one, out in zip(material, held_back, strict=True) if out])
    saved(networks, sharper, WEIGHTS / "key.npz")


def saved(networks: list[Network], sharper: float, path: Path) -> None:
    """Write networks that vote as half-precision matrices, their scores made `sharper`."""
    stacked = [np.stack(parts) for parts in zip(*networks, strict=True)]
    np.savez_compressed(
        path,
        mean=np.zeros(stacked[0].shape[1], np.float16),
        scale=np.ones(stacked[0].shape[1], np.float16),
        weights0=stacked[0].astype(np.float16),
        biases0=stacked[1][:, None].astype(np.float16),
        weights1=(sharper * stacked[2]).astype(np.float16),
        biases1=(sharper * stacked[3][:, None]).astype(np.float16),
    )


VOTERS, HIDDEN, EPOCHS, BATCH = 4, 24, 40, 64
SMOOTHING, DECAY, DROPPED, RATE = 0.03, 3e-3, 0.15, 3e-3

Network = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def forward(network: Network, features: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, 12, hidden) what the hidden layer says, and (n, 12 * kinds) the scores of the keys, kind by kind."""
    first, lift, second, shift = network
    hidden = np.maximum(features @ first + lift, 0)
    scores = (hidden @ second + shift).transpose(0, 2, 1).reshape(len(features), -1)
    return hidden, scores


def trained_on(features: Array, targets: NDArray[np.float64], seed: int) -> Network:
    """One network by Adam on the cross entropy over all keys, with dropped inputs and decaying weights."""
    rng = np.random.default_rng(seed)
    width, kinds = features.shape[2], targets.shape[1] // 12
    network: list[NDArray[np.float64]] = [
        rng.normal(0, width**-0.5, (width, HIDDEN)),
        np.zeros(HIDDEN),
        rng.normal(0, 0.1, (HIDDEN, kinds)),
        np.zeros(kinds),
    ]
    means, squares = [np.zeros_like(part) for part in network], [np.zeros_like(part) for part in network]
    steps = 0
    for epoch in range(EPOCHS):
        order = rng.permutation(len(features))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            kept = features[chosen] * (rng.random((len(chosen), 1, width)) > DROPPED) / (1 - DROPPED)
            gradients = _gradients((network[0], network[1], network[2], network[3]), kept, targets[chosen])
            steps += 1
            for part, gradient in enumerate(gradients):
                slope = gradient + (DECAY * network[part] if network[part].ndim > 1 else 0)
                means[part] = 0.9 * means[part] + 0.1 * slope
                squares[part] = 0.999 * squares[part] + 0.001 * slope**2
                pace = RATE * (1 - 0.9 * epoch / EPOCHS) / (1 - 0.9**steps)
                network[part] = network[part] - pace * means[part] / (
                    np.sqrt(squares[part] / (1 - 0.999**steps)) + 1e-8
                )
    return network[0], network[1], network[2], network[3]


def _gradients(network: Network, features: NDArray[Any], targets: NDArray[np.float64]) -> Network:
    hidden, scores = forward(network, features)
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    wrong = (raised / raised.sum(axis=1, keepdims=True) - targets) / len(features)
    wrong = wrong.reshape(len(features), -1, 12).transpose(0, 2, 1)
    back = (wrong @ network[2].T) * (hidden > 0)
    return (
        np.einsum("nkd,nkh->dh", features, back, optimize=True),
        back.sum(axis=(0, 1)),
        np.einsum("nkh,nko->ho", hidden, wrong, optimize=True),
        wrong.sum(axis=(0, 1)),
    )


def sharpness(scores: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """The factor on the scores that makes probabilities of unseen music likeliest; votes and smoothing blunt them."""
    music = targets.max(axis=1) > 0.5
    truth = targets[music].argmax(axis=1)

    def surprise(factor: float) -> float:
        raised = factor * scores[music]
        raised = raised - raised.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(raised).sum(axis=1)) - raised[np.arange(len(truth)), truth]))

    factors: list[float] = np.arange(0.7, 2.0, 0.05).tolist()
    return min(factors, key=surprise)


def _report(scores: NDArray[np.float64], targets: NDArray[np.float64], sources: list[str]) -> None:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    likely = raised / raised.sum(axis=1, keepdims=True)
    right = likely.argmax(axis=1) == targets.argmax(axis=1)
    for source in sorted(set(sources)):
        here = np.array([one == source for one in sources])
        sure = likely[here].max(axis=1).mean()
        print(f"{source:10s} n={here.sum():4d} right {right[here].mean():.3f} confidence {sure:.3f}")


def read_scores(options: argparse.Namespace) -> None:
    """Collect scores of one key from music21's corpus; the signature and the last bass note must agree on it."""
    from music21 import converter, corpus  # type: ignore[import-not-found]  # a tool for the maker of the material alone

    scores: list[Score] = []
    composers = ("bach", "beethoven", "chopin", "corelli", "handel", "haydn", "joplin", "mozart", "schubert", "weber")
    for path in (path for composer in composers for path in corpus.getComposer(composer)):
        sheet: Any = converter.parse(path)
        if not hasattr(sheet, "parts"):
            continue
        signatures = [one.sharps for one in sheet.parts[0].recurse().getElementsByClass("KeySignature")]
        flat = sheet.flatten().notes
        notes = sorted(
            (float(note.offset), float(note.quarterLength), int(pitch.midi))
            for note in flat
            for pitch in note.pitches
            if note.quarterLength > 0
        )
        if not signatures or signatures[0] != signatures[-1] or len(notes) < 60:
            continue
        last = max(start for start, _, _ in notes)
        final = min(pitch for start, _, pitch in notes if start >= last - 0.01) % 12
        major = 7 * signatures[0] % 12
        if final in {major, (major + 9) % 12}:
            scores.append(Score(str(path), final, final != major, notes))
    options.folder.write_bytes(pickle.dumps(scores))


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=("scores", "make", "fit"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--abc", type=Path, nargs="*", default=[])
    parser.add_argument("--scores", type=Path)
    options = parser.parse_args()
    {"scores": read_scores, "make": make, "fit": fit}[options.task](options)


if __name__ == "__main__":
    main()
