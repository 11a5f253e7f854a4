"""Melodies: a motif, its answer, its return and what becomes of it; and the figures that play around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from adapters.band import theory
from adapters.band.chance import Chance
from adapters.band.groove import STEPS, density_tilt
from adapters.band.score import BEATS_PER_BAR, Chord, Note, Section
from adapters.band.tonal import Setting, chord_at, tones_of

PHRASE_BARS = 8


class Event(NamedTuple):
    """A note of a motif: where and how long in sixteenths, and how many tones of the scale from its first."""

    step: int
    steps: int
    offset: int


Motif = tuple[Event, ...]


class Singer:
    """Makes the hook of a piece once and sings it wherever it returns; the tunes of verses and bridges come from it."""

    def __init__(self, setting: Setting, chords: Sequence[Chord]) -> None:
        self._setting, self._chords = setting, chords
        book = setting.profile.melody
        shift = max(-5, min(4, round(3 * setting.feel.bright_mode + 2 * setting.feel.brightness)))
        self.low, self.high = book.low + shift, book.high + shift
        kind = theory.family(setting.mode)
        steps = theory.PENTATONICS[kind] if book.pentatonic else theory.SCALES[setting.mode]
        self._pool = [pitch for pitch in range(self.low, self.high + 1) if (pitch - setting.tonic) % 12 in steps]
        chance = Chance(*setting.purpose, "motif")
        tilted = density_tilt(book.patterns, setting.feel.density)
        rhythm = chance.weighted(tilted)
        self._motif = self._invent(rhythm, chance)
        self._bars = len(rhythm) // STEPS
        # The development takes its rhythm from another motif of the genre, so that it is news and still at home.
        other = chance.weighted([each for each in tilted if len(each[0]) == STEPS])
        self._news = self._invent(other, chance)
        # A tune turns around its tonic. Where it turns around whatever tone lies in the middle of its range, it is
        # another tune in every key, and one that dwells on the third says the relative major.
        wanted = len(self._pool) * 2 // 5 + chance.whole(-1, 1)
        tonics = [place for place, pitch in enumerate(self._pool) if pitch % 12 == setting.tonic]
        self._anchor = min(tonics, key=lambda place: abs(place - wanted))
        self._inverted = chance.happens(0.5)
        self._blocks: dict[tuple[str, tuple[str, ...]], list[Note]] = {}

    def _invent(self, rhythm: str, chance: Chance) -> Motif:
        events: list[Event] = []
        offset, direction = 0, chance.one_of((1, -1))
        step = 0
        while step < len(rhythm):
            length = 1
            if rhythm[step] == "x":
                while step + length < len(rhythm) and rhythm[step + length] == "-":
                    length += 1
                if events:
                    if chance.happens(0.35) or abs(offset) >= 4:
                        direction = -1 if offset > 0 else 1 if offset < 0 else -direction
                    leap = chance.happens(self._setting.profile.melody.leap)
                    offset += direction * (chance.whole(2, 3) if leap else chance.weighted(((0, 0.2), (1, 0.8))))
                events.append(Event(step, length, offset))
            step += length
        return tuple(events)

    def sing(self, sections: Sequence[Section]) -> tuple[Note, ...]:
        """The melody of the whole piece, one note at a time."""
        notes: list[Note] = []
        hand = Chance(*self._setting.purpose, "melody hand")
        for number, section in enumerate(sections):
            if "melody" not in section.plays:
                continue
            for bar in range(0, section.bars, PHRASE_BARS):
                bars = min(PHRASE_BARS, section.bars - bar)
                is_end = number == len(sections) - 1 and bar + bars == section.bars
                notes += self._phrase(section, bar, bars, hand, is_end=is_end)
        return self._apart(notes)

    def _phrase(self, section: Section, bar: int, bars: int, hand: Chance, *, is_end: bool) -> list[Note]:
        start = (section.bar + bar) * BEATS_PER_BAR
        kind = "verse" if section.name == "verse" else "bridge" if section.name == "bridge" else "hook"
        plan = self._answering(self._plan(kind, bars), start) if kind == "hook" else self._plan(kind, bars)
        if is_end:
            plan[-1] = ((Event(0, STEPS, 0),), 0)
        notes: list[Note] = []
        soft = 0.8 if section.name in {"intro", "outro", "bridge"} else 0.9 if kind == "verse" else 1.0
        for place, (motif, transposed) in enumerate(plan):
            ends_phrase = place == len(plan) - 1 or place % 4 == 3
            for index, event in enumerate(motif):
                beat = start + place * BEATS_PER_BAR + event.step / 4
                chord = chord_at(self._chords, beat)
                is_last = index == len(motif) - 1 and ends_phrase
                pitch = self._pitch(
                    event, transposed, chord, is_home=is_last and (place == len(plan) - 1 or kind == "verse")
                )
                accent = 0.92 if event.step % 8 == 0 else 0.84 if event.step % 4 == 0 else 0.76
                arch = 0.94 + 0.06 * (1 - abs(place - 3) / 4)
                notes.append(
                    Note(
                        beat=beat,
                        beats=event.steps / 4,
                        pitch=pitch,
                        velocity=round(
                            min(1.0, accent * arch * soft * (1 + hand.about(self._setting.profile.touch))), 3
                        ),
                        late=max(0.0, self._setting.hand(hand, event.step)),
                    )
                )
        return notes

    def _plan(self, kind: str, bars: int) -> list[tuple[Motif, int]]:
        """Which motif sounds in each bar, and by how many tones of the scale it is moved."""
        first, second = _halves(self._motif, self._bars)
        answer = _answered(second if self._bars == 2 else first)
        close = _closing(second if self._bars == 2 else first)
        turned = _inverted(first) if self._inverted else first
        rest: Motif = ()
        match kind:
            case "verse":
                plan = [(turned, -1), (rest, 0), (_closing(turned), -1), (rest, 0)] * 2
            case "bridge":
                plan = [(_stretched(first), 0), (rest, 0), (_stretched(self._news), 1), (rest, 0)] * 2
            case _:
                middle = (second, 0) if self._bars == 2 else (answer, -1)
                plan = [(first, 0), middle, (first, 0), (close, 0)]
                plan += [(first, 0), middle, (self._news, 1), (close, 0)]
        return plan[:bars]

    def _answering(self, plan: list[tuple[Motif, int]], start: int) -> list[tuple[Motif, int]]:
        """The plan with answers that are other tunes than what they answer.

        Over one chord a line of few notes is drawn back to the tones it came from: it moves on until it is not.
        """
        for place in range(1, len(plan), 4):
            stated = self._tune(plan[place - 1], start + (place - 1) * BEATS_PER_BAR)
            motif, moved = plan[place]
            for further in (0, -1, 1, -2, 2, -3, 3):
                plan[place] = motif, moved + further
                if self._tune(plan[place], start + place * BEATS_PER_BAR) != stated:
                    break
        return plan

    def _tune(self, bar: tuple[Motif, int], start: int) -> list[tuple[int, int]]:
        """Where in a bar that begins at a beat which pitches are sung."""
        motif, transposed = bar
        return [
            (
                event.step,
                self._pitch(event, transposed, chord_at(self._chords, start + event.step / 4), is_home=False),
            )
            for event in motif
        ]

    def _pitch(self, event: Event, transposed: int, chord: Chord, *, is_home: bool) -> int:
        tones = tones_of(chord, self._setting)
        # At the ends of its range a line turns back; held there, it would be one tone over and over.
        index, last = abs(self._anchor + event.offset + transposed), len(self._pool) - 1
        pitch = self._pool[max(0, min(index, 2 * last - index))]
        if is_home and self._setting.tonic in tones:
            return theory.nearest((self._setting.tonic,), pitch, self.low, self.high)
        leans = event.step % 4 == 0 or event.steps >= 4 or theory.clashes(pitch, tones)
        if leans and pitch % 12 not in tones:
            return theory.nearest(tones[:4], pitch, self.low, self.high)
        return pitch

    def _apart(self, notes: Sequence[Note]) -> tuple[Note, ...]:
        kept: list[Note] = []
        for note, following in zip(notes, [*notes[1:], None], strict=True):
            beats = note.beats
            if following is not None:
                beats = min(beats, following.beat - note.beat + (following.late - note.late) * self._setting.bpm / 60)
            kept.append(
                Note(
                    beat=note.beat,
                    beats=round(beats - 0.00005, 4),
                    pitch=note.pitch,
                    velocity=note.velocity,
                    late=note.late,
                )
            )
        return tuple(kept)


def _halves(motif: Motif, bars: int) -> tuple[Motif, Motif]:
    """A motif of two bars as two of one; one of one bar twice."""
    if bars == 1:
        return motif, motif
    cut = tuple(event._replace(steps=min(event.steps, STEPS - event.step)) for event in motif if event.step < STEPS)
    rest = tuple(event._replace(step=event.step - STEPS) for event in motif if event.step >= STEPS)
    return cut, rest or cut


def _answered(motif: Motif) -> Motif:
    """The same rhythm, the second half of the line turned round."""
    half = len(motif) // 2
    pivot = motif[half].offset
    return tuple(
        event if place < half else event._replace(offset=2 * pivot - event.offset) for place, event in enumerate(motif)
    )


def _closing(motif: Motif) -> Motif:
    """The first half of the motif, and a long note to rest on."""
    kept = [event for event in motif if event.step < STEPS // 2]
    return (*kept, Event(STEPS // 2, STEPS // 2, 0))


def _inverted(motif: Motif) -> Motif:
    return tuple(event._replace(offset=-event.offset) for event in motif)


def _stretched(motif: Motif) -> Motif:
    """Half as many notes, each twice as long, on the beats."""
    kept: list[Event] = []
    for event in motif:
        step = event.step // 4 * 4
        if not kept or step > kept[-1].step:
            kept.append(Event(step, 4, event.offset))
    return tuple(
        event._replace(steps=(following.step if following else STEPS) - event.step)
        for event, following in zip(kept, [*kept[1:], None], strict=True)
    )


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
