"""Brings old tunes and scores of the public domain into the composer's form, with accompaniment where a tune has none.

Folk tunes are read from ABC collections (O'Neill 1903/1907, Ryan 1883, Aird 1782) through `abc2midi`; classical scores
are note lists made once by `infra.training.scores`. Tempo is drawn from what players choose for the kind.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from infra.training.composer import (
    BASS_PROGRAMS,
    DRUM,
    FOLK_PROGRAMS,
    GROOVES,
    GUITAR_PROGRAMS,
    JIGS,
    KEYS_PROGRAMS,
    KITS,
    WALTZES,
    Note,
    Piece,
)

#: By metre: mean tempo and spread, eighths in a beat, beats in a bar.
METRES = {
    "6/8": (108, 13, 3, 2),
    "9/8": (106, 10, 3, 3),
    "12/8": (96, 16, 3, 4),
    "3/4": (122, 26, 2, 3),
    "4/4": (176, 22, 2, 4),
    "2/4": (112, 14, 2, 2),
}


def tunes_of(files: list[Path]) -> list[str]:
    """Every single tune of some ABC collections whose metre we know, as ABC text."""
    tunes = []
    for file in files:
        text = file.read_text(encoding="latin-1").replace("\r", "")
        for part in re.split(r"(?m)^(?=X:)", text):
            if not part.startswith("X:"):
                continue
            if re.search(r"(?m)^M: *\S+", part) and len(re.findall(r"(?m)^M:", part)) == 1 and "[M:" not in part:
                tunes.append(part)
    return tunes


def metre_of(tune: str) -> str | None:
    """The metre of an ABC tune as a fraction, None when it is not one of ours."""
    found = re.search(r"(?m)^M: *(\S+)", tune)
    name = {"C": "4/4", "C|": "4/4"}.get(found.group(1), found.group(1)) if found else ""
    return name if name in METRES else None


def folk_piece(tune: str, rng: np.random.Generator, seconds: float) -> Piece | None:
    """A tune played on an instrument or two with the accompaniment of a session; None when it cannot be read."""
    metre = metre_of(tune)
    if metre is None:
        return None
    melody = _melody_of(tune)
    if len(melody) < 24:
        return None
    mean, spread, eighths, per_bar = METRES[metre]
    shortest = np.percentile([length for _, length, _ in melody], 25)
    if metre == "4/4" and shortest > 0.8:
        mean, spread = 124, 18  # slow airs and marches in quarters
    bpm = float(np.clip(rng.normal(mean, spread), 60, 220))
    beat = eighths / 2  # in quarters
    bar = float(per_bar)
    piece = Piece(
        style=f"folk {metre}", bpm=bpm, beats_per_bar=per_bar, beat_unit=8 if eighths == 3 else 4, bars=0,
        bar_beats=bar, numerator=int(metre.split("/")[0]),
    )  # fmt: skip
    piece.bars = max(4, round(seconds * bpm / 60 / per_bar))
    # A tune may begin with an upbeat: bar lines are counted from where most long bars begin.
    upbeat = _upbeat(tune, beat * per_bar)
    notes = [
        Note((start - upbeat) / beat + (bar if upbeat else 0), length / beat * 0.95, pitch, 100, 4)
        for start, length, pitch in melody
    ]
    notes = [note for note in notes if note.start < piece.bars * bar]
    span = int(max(note.start for note in notes) // bar) + 1
    while span < piece.bars:
        notes += [
            note._replace(start=note.start + span * bar) for note in notes if note.start + span * bar < piece.bars * bar
        ]
        span *= 2
    piece.programs[4] = int(rng.choice(FOLK_PROGRAMS + KEYS_PROGRAMS))
    if rng.random() < 0.8:
        notes += _accompaniment(piece, notes, rng)
    if rng.random() < 0.45:
        notes += _session_drums(piece, rng)
    piece.notes = [note._replace(velocity=int(np.clip(note.velocity + rng.normal(0, 8), 25, 125))) for note in notes]
    return piece


def _melody_of(tune: str) -> list[tuple[float, float, int]]:
    """(start, length, pitch) in quarters, by `abc2midi`."""
    tune = re.sub(r"(?m)^Q:.*$", "", tune)
    tune = re.sub(r'"[^"]*"', "", tune)
    with tempfile.TemporaryDirectory() as folder:
        abc, midi = Path(folder) / "t.abc", Path(folder) / "t.mid"
        abc.write_text(tune, encoding="latin-1")
        subprocess.run(["abc2midi", str(abc), "-o", str(midi)], capture_output=True, timeout=20, check=False)  # noqa: S603, S607
        return notes_of(midi.read_bytes()) if midi.exists() else []


def notes_of(midi: bytes) -> list[tuple[float, float, int]]:
    """(start, length, pitch) of every note of a Standard MIDI File, in quarters."""
    notes = []
    ticks, at = int.from_bytes(midi[12:14], "big"), 14
    while midi[at : at + 4] == b"MTrk":
        end = at + 8 + int.from_bytes(midi[at + 4 : at + 8], "big")
        at += 8
        now, status = 0, 0
        sounding: dict[int, int] = {}
        while at < end:
            wait, at = _variable(midi, at)
            now += wait
            if midi[at] & 0x80:
                status, at = midi[at], at + 1
            if status in {0xFF, 0xF0, 0xF7}:
                length, at = _variable(midi, at + (status == 0xFF))
                at += length
                continue
            first, second = midi[at], midi[at + 1]
            at += 1 if status >> 4 in {0xC, 0xD} else 2
            if status >> 4 == 9 and second:
                sounding[first] = now
            elif status >> 4 in {8, 9} and first in sounding:
                start = sounding.pop(first)
                notes.append((start / ticks, (now - start) / ticks, first))
        at = end
    return sorted(notes)


def _variable(midi: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits to the byte, and where it ends."""
    value = 0
    while True:
        byte = midi[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at


def _upbeat(tune: str, bar: float) -> float:
    """Quarters before the first full bar, read from the first bar of the ABC body."""
    body = re.split(r"(?m)^K:.*$", tune, maxsplit=1)[-1]
    unit = re.search(r"(?m)^L: *(\d+)/(\d+)", tune)
    metre = metre_of(tune) or "4/4"
    top, bottom = (int(part) for part in metre.split("/"))
    default = 4 / int(unit.group(2)) if unit else (0.25 if top / bottom < 0.75 else 0.5)
    first = re.split(r"\|", body.strip().lstrip("|:[] "), maxsplit=1)[0]
    first = re.sub(r"[!+][a-z]+[!+]|\{[^}]*\}|\"[^\"]*\"", "", first)
    total = 0.0
    for number, slash, denominator in re.findall(r"[\^_=]*[A-Ga-gz][,']*(\d*)(/*)(\d*)", first):
        value = float(number or 1)
        value /= float(denominator) if slash and denominator else 2 ** len(slash)
        total += value * default
    return total if 0 < total < bar * 0.8 else 0.0


def _accompaniment(piece: Piece, melody: list[Note], rng: np.random.Generator) -> list[Note]:
    bar, notes = piece.bar_beats, []
    piece.programs |= {
        1: int(rng.choice(BASS_PROGRAMS)),
        2: int(rng.choice(KEYS_PROGRAMS[:8] + GUITAR_PROGRAMS[:4] + (21,))),
    }
    manner = rng.random()
    halves = 2 if piece.beats_per_bar == 4 else 1
    for index in range(piece.bars * halves):
        start, length = index * bar / halves, bar / halves
        weights = np.zeros(12)
        for note in melody:
            if note.voice == 4 and start <= note.start < start + length:
                weights[note.pitch % 12] += note.length
        chord = max(
            ((root, (0, third, 7)) for root in range(12) for third in (3, 4)),
            key=lambda one: sum(weights[(one[0] + step) % 12] for step in one[1]) - 0.05 * weights[(one[0] + 1) % 12],
        )
        tones = [48 + (chord[0] + step) % 12 for step in chord[1]]
        beats = round(length)
        for beat in range(beats):
            at = start + beat
            first = beat == 0 or (piece.beats_per_bar != 3 and beat % 2 == 0)
            if first or manner > 0.8:
                notes.append(Note(at, 0.85, 36 + (chord[0] + (0 if index % 2 == 0 else 7)) % 12, 92, 1))
            if manner < 0.4 and not first:
                notes += [Note(at, 0.6, tone, 72, 2) for tone in tones]
            elif 0.4 <= manner < 0.6:
                notes += [Note(at + (2 / 3 if piece.beat_unit == 8 else 0.5), 0.3, tone, 70, 2) for tone in tones]
            elif manner >= 0.6:
                notes += [Note(at, 0.8, tone, 78 if first else 68, 2) for tone in tones]
    return notes


def _session_drums(piece: Piece, rng: np.random.Generator) -> list[Note]:
    piece.programs[DRUM] = int(rng.choice(KITS))
    if piece.beat_unit == 8:
        row, step, beats = JIGS[int(rng.integers(len(JIGS)))], 1 / 3, 2
    elif piece.beats_per_bar == 3:
        row, step, beats = WALTZES[int(rng.integers(len(WALTZES)))], 0.25, 3
    else:
        style = str(rng.choice(["rock", "pop", "march", "punk", "percussion"]))
        row, step, beats = GROOVES[style][int(rng.integers(len(GROOVES[style])))], 0.25, 4
    whole = piece.bars * piece.bar_beats
    return [
        Note(turn * beats + place * step, step, drum, 40 + int(mark) * 8, DRUM)
        for turn in range(int(whole // beats) + 1)
        for drum, marks in row.items()
        for place, mark in enumerate(marks)
        if mark != "0" and turn * beats + place * step < whole and (int(mark) > 4 or rng.random() < 0.5)
    ]


def score_piece(
    notes: list[tuple[float, float, int]], metre: str, rng: np.random.Generator, seconds: float
) -> Piece | None:
    """An excerpt of a score (quarters, from a bar line on), at a tempo that gives it a playable number of notes."""
    top, bottom = (int(part) for part in metre.split("/"))
    compound = bottom == 8 and top in {6, 9, 12}
    beat = 1.5 if compound else (4 / bottom if bottom != 8 else 0.5 * top)
    if bottom == 2:
        beat = 2.0
    bar = top * 4 / bottom / beat
    if not notes or bar < 0.99:
        return None
    last = notes[-1][0]
    at = float(rng.uniform(0, max(0.0, last - 60 * beat)))
    at -= at % (bar * beat)
    onsets = sorted({round(start, 3) for start, _, _ in notes if at <= start < at + 60 * beat})
    if len(onsets) < 20:
        return None
    per_beat = len(onsets) / ((onsets[-1] - onsets[0]) / beat + 1e-9)
    # Players settle where the music has some three to eight attacks a second, and beats stay countable.
    bpm = float(np.clip(60 * rng.lognormal(np.log(4.3), 0.35) / per_beat, 44, 180))
    piece = Piece(
        style="classical",
        bpm=bpm,
        beats_per_bar=round(bar),
        beat_unit=8 if compound else 4,
        bars=0,
        bar_beats=bar,
        numerator=top,
    )
    piece.bars = max(2, round(seconds * bpm / 60 / bar))
    end = at + piece.bars * bar * beat
    program = int(rng.choice([0, 0, 0, 0, 6, 48, 19, 40, 73, 1]))
    piece.programs = {4: program}
    piece.notes = [
        Note((start - at) / beat, max(length / beat, 0.1), pitch, int(np.clip(rng.normal(80, 13), 25, 120)), 4)
        for start, length, pitch in notes
        if at <= start < end
    ]
    return piece if len(piece.notes) > 20 else None
