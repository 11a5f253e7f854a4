"""The score as a Standard MIDI File, format 1, for any sequencer.

Source: MIDI Manufacturers Association, Standard MIDI Files 1.0 (RP-001).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from adapters.band.score import BEATS_PER_BAR, Drum, Note, Score

TICKS_PER_BEAT = 480
#: General MIDI: the drum keys of channel 10, and a program that comes near to each instrument.
DRUM_KEYS: dict[Drum, int] = {
    "kick": 36,
    "snare": 38,
    "clap": 39,
    "rim": 37,
    "hat": 42,
    "open_hat": 46,
    "ride": 51,
    "crash": 49,
    "shaker": 70,
    "tom": 47,
    "low_tom": 43,
    "conga": 63,
}
PROGRAMS = {
    "808": 38, "sub": 38, "saw bass": 38, "square bass": 39, "fm bass": 36, "reese": 38, "rumble": 39, "upright": 32,
    "dark pad": 89, "pad": 89, "strings": 48, "choir": 52, "poly": 90, "saw stab": 81, "dub stab": 81, "organ": 16,
    "rhodes": 4, "piano": 0, "guitar": 24, "pluck chords": 45, "bell": 14, "vibes": 11, "glass": 92, "pluck": 46,
    "soft pluck": 46, "flute": 73, "saw lead": 81, "square lead": 80, "brass": 61, "acid": 87, "fm pluck": 12,
    "choir lead": 53,
}  # fmt: skip
CHANNELS = {"bass": 0, "chords": 1, "melody": 2, "counter": 3}
DRUM_CHANNEL = 9
#: Sharps (flats below zero) of the major keys from C on, as key signatures count them.
SHARPS = (0, -5, 2, -3, 4, -1, 6, 1, -4, 3, -2, 5)


def to_midi(score: Score) -> bytes:
    """Tempo, key and sections as a first track, then one named track for each part and the drums.

    Swing and the hand of the player are in the ticks, so a slide is the only thing that is lost.
    """
    tracks = [_conductor(score), *(_part(score, name) for name in CHANNELS if score.part(name)), _drums(score)]
    header = struct.pack(">4sIHHH", b"MThd", 6, 1, len(tracks), TICKS_PER_BEAT)
    return header + b"".join(tracks)


def _conductor(score: Score) -> bytes:
    minor = score.key.endswith("Minor")
    signature = SHARPS[(score.tonic + 3) % 12 if minor else score.tonic]
    events = [
        (0, _meta(0x03, score.title.encode())),
        (0, _meta(0x58, bytes((BEATS_PER_BAR, 2, 24, 8)))),
        (0, _meta(0x59, struct.pack(">bB", signature, minor))),
    ]
    events += [
        (round(tempo.beat * TICKS_PER_BEAT), _meta(0x51, round(60e6 / tempo.bpm).to_bytes(3, "big")))
        for tempo in score.tempos
    ]
    events += [
        (section.bar * BEATS_PER_BAR * TICKS_PER_BEAT, _meta(0x06, section.name.capitalize().encode()))
        for section in score.sections
    ]
    return _track(events, score.beats * TICKS_PER_BEAT)


def _part(score: Score, name: str) -> bytes:
    part = score.part(name)
    assert part is not None
    channel = CHANNELS[name]
    events = [
        (0, _meta(0x03, f"{name.capitalize()} ({part.instrument})".encode())),
        (0, bytes((0xC0 | channel, PROGRAMS[part.instrument]))),
    ]
    for start, end, note in _apart(score, part.notes):
        events.append((start, bytes((0x90 | channel, note.pitch, _strength(note.velocity)))))
        events.append((end, bytes((0x80 | channel, note.pitch, 64))))
    return _track(events, score.beats * TICKS_PER_BEAT)


def _apart(score: Score, notes: Iterable[Note]) -> list[tuple[int, int, Note]]:
    """Where each tone begins and ends: before the next of its pitch begins, whose end its own would be taken for."""
    placed: list[tuple[int, int, Note]] = []
    begun: dict[int, int] = {}
    for start, note in sorted(
        ((_ticks(score, note.beat, note.late), note) for note in notes), key=lambda each: each[0]
    ):
        before = begun.get(note.pitch)
        if before is not None:
            first, end, other = placed[before]
            placed[before] = first, max(first + 1, min(end, start)), other
        begun[note.pitch] = len(placed)
        placed.append((start, max(start + 1, _ticks(score, note.beat + note.beats, note.late)), note))
    return placed


def _drums(score: Score) -> bytes:
    events = [(0, _meta(0x03, b"Drums"))]
    for hit in score.drums:
        start = _ticks(score, hit.beat, hit.late)
        key = DRUM_KEYS[hit.drum]
        events.append((start, bytes((0x90 | DRUM_CHANNEL, key, _strength(hit.velocity)))))
        events.append((start + TICKS_PER_BEAT // 16, bytes((0x80 | DRUM_CHANNEL, key, 64))))
    return _track(events, score.beats * TICKS_PER_BEAT)


def _ticks(score: Score, beat: float, late: float) -> int:
    return max(0, round((beat + late * score.bpm / 60) * TICKS_PER_BEAT))


def _strength(velocity: float) -> int:
    return min(127, max(1, round(velocity * 127)))


def _meta(kind: int, data: bytes) -> bytes:
    return bytes((0xFF, kind)) + _number(len(data)) + data


def _track(events: Iterable[tuple[int, bytes]], end: int) -> bytes:
    """A chunk with delta times; at the same tick, notes end before others begin."""
    ordered = sorted(events, key=lambda event: (event[0], event[1][0] & 0xF0 != 0x80 and event[1][0] != 0xFF))
    body, now = bytearray(), 0
    for tick, message in ordered:
        body += _number(tick - now) + message
        now = tick
    body += _number(max(0, end - now)) + b"\xff\x2f\x00"
    return struct.pack(">4sI", b"MTrk", len(body)) + bytes(body)


def _number(value: int) -> bytes:
    """A number of variable length: seven bits a byte, the highest bit says that more follow."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(0x80 | value & 0x7F)
    return bytes(reversed(groups))
