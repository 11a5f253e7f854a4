"""A beat on paper: what is played when, how loud and how late, before there is any sound."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from domain.kernel import Value

#: Raise it with every change after which some brief gives another score or another sound; it is stored with a beat.
ENGINE_VERSION = "1.8"

BEATS_PER_BAR = 4

Drum = Literal["kick", "snare", "clap", "rim", "hat", "open_hat", "ride", "crash", "shaker", "tom", "low_tom", "conga"]
PartName = Literal["bass", "chords", "melody", "counter"]
EffectKind = Literal["riser", "fall", "impact", "noise"]
SectionName = Literal["intro", "verse", "hook", "bridge", "outro"]


class Brief(Value):
    """What was asked for. What is null, or the range of a tempo, is chosen by the seed."""

    genre: str
    style: str = ""
    mood: str = ""
    bpm: int | None = None
    #: Such as "C Minor" or "F# Major".
    key: str | None = None
    seconds: float = 180.0
    seed: int = 0
    #: The first or the second track of the same brief: same tempo and key, another hook, another arrangement.
    take: int = 1
    bpm_min: int | None = None
    bpm_max: int | None = None


class Note(Value):
    """One tone of one part."""

    #: Beats from the start of the piece, and how many it lasts.
    beat: float
    beats: float
    #: MIDI number; 60 is middle C.
    pitch: int
    #: 0 to 1.
    velocity: float
    #: Seconds after the beat (negative: before it): swing and the hand of the player.
    late: float = 0.0
    #: The pitch that it slides from.
    slide_from: int | None = None


class Hit(Value):
    """One stroke on a drum."""

    drum: Drum
    beat: float
    velocity: float
    late: float = 0.0


class Chord(Value):
    """A harmony and how it is voiced."""

    beat: float
    beats: float
    #: As a roman numeral within the scale, such as "i", "VI" or "V7".
    numeral: str
    #: As players write it, such as "Am7".
    symbol: str
    root: int
    #: MIDI numbers, lowest first.
    pitches: tuple[int, ...]


class Section(Value):
    """A stretch of whole bars."""

    name: SectionName
    bar: int
    bars: int
    #: 0 to 1; decides how many parts play and how bright they are.
    energy: float
    #: Who plays: names of parts, and "drums".
    plays: tuple[str, ...]


class Tempo(Value):
    """From this beat on it goes at so many beats per minute."""

    beat: float
    bpm: float


class Part(Value):
    """What one player plays, and on what."""

    name: PartName
    instrument: str
    notes: tuple[Note, ...]


class Effect(Value):
    """Noise that leads into a section, falls away from its start, or lies under it."""

    kind: EffectKind
    beat: float
    beats: float
    level: float


class Score(Value):
    """The whole piece, in four-four time."""

    engine: str
    brief: Brief
    genre: str
    title: str
    bpm: int
    #: Such as "A Minor": what a listener is told; `mode` says which minor or major.
    key: str
    tonic: int
    mode: str
    #: Where the second of two sixteenths falls: 0.5 is straight, 0.667 a triplet.
    swing: float
    tempos: tuple[Tempo, ...]
    sections: tuple[Section, ...]
    chords: tuple[Chord, ...]
    drums: tuple[Hit, ...]
    parts: tuple[Part, ...]
    effects: tuple[Effect, ...]
    #: Seconds, with what rings on after the last bar.
    seconds: float
    #: -1 to 1: how bright, how driven and how spacious it is to sound.
    brightness: float
    drive: float
    space: float

    @property
    def bars(self) -> int:
        """How many bars there are."""
        return sum(section.bars for section in self.sections)

    @property
    def beats(self) -> int:
        """How many beats there are."""
        return self.bars * BEATS_PER_BAR

    def part(self, name: str) -> Part | None:
        """The part of this name, if it plays at all."""
        return next((part for part in self.parts if part.name == name), None)

    def time(self, beat: float) -> float:
        """Seconds from the start of the piece to a beat."""
        seconds = 0.0
        for tempo, following in zip(self.tempos, (*self.tempos[1:], None), strict=True):
            end = beat if following is None else min(beat, following.beat)
            if end > tempo.beat:
                seconds += (end - tempo.beat) * 60.0 / tempo.bpm
        return seconds


def to_json(score: Score) -> bytes:
    """The score as readable JSON."""
    return msgspec.json.format(msgspec.json.encode(score), indent=1)


def from_json(data: bytes) -> Score:
    """A score that `to_json` has written; raises `msgspec.ValidationError` for anything else."""
    return msgspec.json.decode(data, type=Score)


def digest(score: Score) -> str:
    """A fingerprint of every note, the same on every machine."""
    return hashlib.sha256(msgspec.json.encode(score)).hexdigest()[:16]
