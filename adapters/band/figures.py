"""Broken chords: the figures that play around a melody."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.band.chance import Chance
from adapters.band.groove import STEPS, density_tilt
from adapters.band.score import BEATS_PER_BAR, Chord, Note, Section
from adapters.band.tonal import Setting, chord_at, tones_of


def figures(setting: Setting, sections: Sequence[Section], chords: Sequence[Chord]) -> tuple[Note, ...]:
    """Broken chords around the melody, one rhythm for the piece."""
    book = setting.profile.counter
    chance = Chance(*setting.purpose, "figures")
    pattern = chance.weighted(density_tilt(book.patterns, setting.feel.density))
    notes: list[Note] = []
    for section in sections:
        if "counter" not in section.plays:
            continue
        start = section.bar * BEATS_PER_BAR
        total = section.bars * STEPS
        step = 0
        while step < total:
            sign = pattern[step % len(pattern)]
            length = 1
            if sign.isdigit():
                while step + length < total and pattern[(step + length) % len(pattern)] in "-.":
                    length += 1
                beat = start + step / 4
                chord = chord_at(chords, beat)
                tones = tones_of(chord, setting)
                pool = [pitch for pitch in range(book.low, book.high + 1) if pitch % 12 in tones]
                # A figure is short where rests are written, and lasts until the chord ends where it is held.
                holds = pattern[(step + 1) % len(pattern)] == "-"
                beats = length / 4 if holds else min(length, 3) / 4
                accent = 0.78 if step % 4 == 0 else 0.66
                notes.append(
                    Note(
                        beat=beat,
                        beats=round(min(beats, chord.beat + chord.beats - beat) - 0.001, 4),
                        pitch=pool[int(sign) % len(pool)],
                        velocity=round(
                            accent * (0.8 + 0.2 * section.energy) * (1 + chance.about(setting.profile.touch)), 3
                        ),
                        late=max(0.0, setting.hand(chance, step)),
                    )
                )
            step += length
    return tuple(notes)
