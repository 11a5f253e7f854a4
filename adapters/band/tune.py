"""Melodies: a motif, its answer, its return and what becomes of it, sung over the chords."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

from adapters.band import motifs, theory
from adapters.band.chance import Chance
from adapters.band.groove import STEPS, density_tilt
from adapters.band.motifs import Event, Motif
from adapters.band.score import BEATS_PER_BAR, Chord, Note, Section
from adapters.band.tonal import Setting, chord_at, tones_of

PHRASE_BARS = 8
#: How many motifs a composer tries at most until one is a tune.
DRAFTS = 40
#: How many times in a row a tune says one tone.
SAME_MAX = 4
#: From how many tones of the scale on a move is a skip.
SKIP = 3


class Singer:
    """Makes the hook of a piece once and sings it wherever it returns; the tunes of verses and bridges come from it."""

    def __init__(self, setting: Setting, chords: Sequence[Chord], sections: Sequence[Section]) -> None:
        self._setting, self._chords, self._sections = setting, chords, sections
        book = setting.profile.melody
        shift = max(-5, min(4, round(3 * setting.feel.bright_mode + 2 * setting.feel.brightness)))
        self.low, self.high = book.low + shift, book.high + shift
        kind = theory.family(setting.mode)
        self._scale = theory.PENTATONICS[kind] if book.pentatonic else theory.SCALES[setting.mode]
        self._pool = [pitch for pitch in range(self.low, self.high + 1) if (pitch - setting.tonic) % 12 in self._scale]
        chance = Chance(*setting.purpose, "motif")
        # A tune turns around its tonic. Where it turns around whatever tone lies in the middle of its range, it is
        # another tune in every key, and one that dwells on the third says the relative major.
        wanted = len(self._pool) * 2 // 5 + chance.whole(-1, 1)
        tonics = [place for place, pitch in enumerate(self._pool) if pitch % 12 == setting.tonic]
        self._anchor = min(tonics, key=lambda place: abs(place - wanted))
        self._inverted = chance.happens(0.5)
        tilted = density_tilt(book.patterns, setting.feel.density)
        rhythm = chance.weighted(tilted)
        self._bars = len(rhythm) // STEPS
        # The development ends in the rhythm of another motif of the genre, so that it is news and still at home.
        other = chance.weighted([each for each in tilted if len(each[0]) == STEPS])
        for _ in range(DRAFTS):
            self._motif, self._news = self._invent(rhythm, chance), self._invent(other, chance)
            if self._is_tune():
                break

    def _invent(self, rhythm: str, chance: Chance) -> Motif:
        places = list(motifs.struck(rhythm))
        line = self._draft(len(places), chance)
        return tuple(Event(step, steps, offset) for (step, steps), offset in zip(places, line, strict=True))

    def _draft(self, count: int, chance: Chance) -> list[int]:
        """So many tones as steps of the scale from the tonic: steps and skips as the genre has them."""
        book = self._setting.profile.melody
        line, direction, skipped = [0], chance.one_of((1, -1)), False
        while len(line) < count:
            here = line[-1]
            if abs(here) >= book.reach:
                direction = -1 if here > 0 else 1
            elif skipped or chance.happens(book.turn):
                # Von Hippel and Huron: most skips end near an edge of what is sung, so what follows turns back.
                direction = -direction
            move = chance.weighted(book.moves)
            if move == 1 and chance.happens(book.half_steps):
                direction = next((way for way in (1, -1) if self._is_half_step(here, here + way)), direction)
            line.append(here + direction * move)
            skipped = move >= SKIP
        return line

    def _is_tune(self) -> bool:
        """Whether the hook, as it is sung over its chords, is what the genre calls a tune; the composer listens."""
        book = self._setting.profile.melody
        start = next((each.bar for each in self._sections if each.name == "hook"), 0) * BEATS_PER_BAR
        pitches = [pitch for line in self._lines("hook", PHRASE_BARS, start) for _, pitch in line]
        stays = sum(before == after for before, after in pairwise(pitches))
        longest = max(len(list(run)) for _, run in groupby(pitches))
        return (
            stays <= book.stays_max * (len(pitches) - 1)
            and longest <= SAME_MAX
            and len(set(pitches)) >= book.tones_min
            and max(pitches) - min(pitches) >= book.room_min
        )

    def _is_half_step(self, here: int, there: int) -> bool:
        return abs(self._height(there) - self._height(here)) == 1

    def _height(self, offset: int) -> int:
        octave, degree = divmod(offset, len(self._scale))
        return 12 * octave + self._scale[degree]

    def sing(self) -> tuple[Note, ...]:
        """The melody of the whole piece, one note at a time."""
        notes: list[Note] = []
        hand = Chance(*self._setting.purpose, "melody hand")
        for number, section in enumerate(self._sections):
            if "melody" not in section.plays:
                continue
            for bar in range(0, section.bars, PHRASE_BARS):
                bars = min(PHRASE_BARS, section.bars - bar)
                is_end = number == len(self._sections) - 1 and bar + bars == section.bars
                notes += self._phrase(section, bar, bars, hand, is_end=is_end)
        return self._apart(notes)

    def _phrase(self, section: Section, bar: int, bars: int, hand: Chance, *, is_end: bool) -> list[Note]:
        start = (section.bar + bar) * BEATS_PER_BAR
        kind = section.name if section.name in {"verse", "bridge"} else "hook"
        notes: list[Note] = []
        soft = 0.8 if section.name in {"intro", "outro", "bridge"} else 0.9 if kind == "verse" else 1.0
        for place, line in enumerate(self._lines(kind, bars, start, is_end=is_end)):
            for event, pitch in line:
                accent = 0.92 if event.step % 8 == 0 else 0.84 if event.step % 4 == 0 else 0.76
                arch = 0.94 + 0.06 * (1 - abs(place - 3) / 4)
                notes.append(
                    Note(
                        beat=start + place * BEATS_PER_BAR + event.step / 4,
                        beats=event.steps / 4,
                        pitch=pitch,
                        velocity=round(
                            min(1.0, accent * arch * soft * (1 + hand.about(self._setting.profile.touch))), 3
                        ),
                        late=max(0.0, self._setting.hand(hand, event.step)),
                    )
                )
        return notes

    def _lines(self, kind: str, bars: int, start: int, *, is_end: bool = False) -> list[list[tuple[Event, int]]]:
        """Bar by bar, what is sung of a phrase that begins at a beat, and at which pitches."""
        plan = self._plan(kind, bars)
        if kind == "hook":
            plan = self._answering(plan, start)
        if is_end:
            plan[-1] = ((Event(0, STEPS, 0),), 0)
        lines: list[list[tuple[Event, int]]] = []
        for place, (motif, moved) in enumerate(plan):
            comes_home = place == len(plan) - 1 or (kind == "verse" and place % 4 == 3)
            pitches = self._pitches(motif, moved, start + place * BEATS_PER_BAR, comes_home=comes_home)
            lines.append(list(zip(motif, pitches, strict=True)))
        return lines

    def _plan(self, kind: str, bars: int) -> list[tuple[Motif, int]]:
        """Which motif sounds in each bar, and by how many tones of the scale it is moved."""
        first, second = motifs.halves(self._motif, self._bars)
        answer = motifs.answered(first)
        close = motifs.closing(second if self._bars == 2 else first)
        turned = motifs.inverted(first) if self._inverted else first
        rest: Motif = ()
        match kind:
            case "verse":
                plan = [(turned, -1), (rest, 0), (motifs.closing(turned), -1), (rest, 0)] * 2
            case "bridge":
                plan = [(motifs.stretched(first), 0), (rest, 0), (motifs.stretched(self._news), 1), (rest, 0)] * 2
            case _:
                middle = (second, 0) if self._bars == 2 else (answer, -1)
                plan = [(first, 0), middle, (first, 0), (close, 0)]
                plan += [(first, 0), middle, (motifs.developed(first, self._news), 2), (close, 0)]
        return plan[:bars]

    def _answering(self, plan: list[tuple[Motif, int]], start: int) -> list[tuple[Motif, int]]:
        """The plan with answers and developments that are other tunes than what they answer or develop.

        Over one chord a line of few notes is drawn back to the tones it came from: it moves on until it is not.
        """
        for place in (place for place in (1, 5, 6) if place < len(plan)):
            stated = [self._tune(plan[each], start + each * BEATS_PER_BAR) for each in range(0, place, 2)]
            motif, moved = plan[place]
            for further in (0, -1, 1, -2, 2, -3, 3):
                plan[place] = motif, moved + further
                if self._tune(plan[place], start + place * BEATS_PER_BAR) not in stated:
                    break
        return plan

    def _tune(self, bar: tuple[Motif, int], start: int) -> list[tuple[int, int]]:
        """Where in a bar that begins at a beat which pitches are sung."""
        motif, transposed = bar
        pitches = self._pitches(motif, transposed, start, comes_home=False)
        return [(event.step, pitch) for event, pitch in zip(motif, pitches, strict=True)]

    def _pitches(self, motif: Motif, transposed: int, start: int, *, comes_home: bool) -> list[int]:
        """The line of a bar over its chords: where the motif moves, it moves, and the same way if it can."""
        goals = [self._goal(event.offset + transposed) for event in motif]
        pitches: list[int] = []
        for place, (event, goal) in enumerate(zip(motif, goals, strict=True)):
            chord = chord_at(self._chords, start + event.step / 4)
            tones = tones_of(chord, self._setting)
            if comes_home and place == len(motif) - 1 and self._setting.tonic in tones:
                pitches.append(theory.nearest((self._setting.tonic,), goal, self.low, self.high))
                continue
            following = motif[place + 1] if place + 1 < len(motif) else None
            options = self._options(event, tones, following, pitches[-1] if pitches else None)
            if not pitches:
                pitches.append(min(options, key=lambda pitch: (abs(pitch - goal), pitch)))
                continue
            before, way = pitches[-1], goal - goals[place - 1]

            def strays(pitch: int, goal: int = goal, before: int = before, way: int = way) -> tuple[int, int]:
                moved = pitch - before
                bent = 2 * (moved != 0) if way == 0 else 6 if moved == 0 else 3 if moved * way < 0 else 0
                return abs(pitch - goal) + bent, pitch

            pitches.append(min(options, key=strays))
        return pitches

    def _goal(self, index: int) -> int:
        """The tone so many steps of the scale from the anchor.

        At the ends of its range a line turns back; held there, it would be one tone over and over.
        """
        place, last = abs(self._anchor + index), len(self._pool) - 1
        return self._pool[max(0, min(place, 2 * last - place))]

    def _options(self, event: Event, tones: Sequence[int], following: Event | None, before: int | None) -> list[int]:
        """Pitches that may be sung here: of the chord, and in passing those that lead on by a step."""
        of_chord = [pitch for pitch in range(self.low, self.high + 1) if pitch % 12 in tones[:4]]
        if before is not None and theory.clashes(before, tones):
            return [pitch for pitch in of_chord if abs(pitch - before) <= 2] or of_chord
        if event.step % 4 == 0 or event.steps >= 4:
            return of_chord
        leads_on = following is not None and abs(following.offset - event.offset) == 1
        # Beside a tone that the chord has altered, such as the third of a major fifth in minor, its own lies wrong.
        around = [tone for tone in tones if not leads_on or (tone - self._setting.tonic) % 12 not in self._scale]
        return [pitch for pitch in self._pool if not theory.clashes(pitch, around)] or of_chord

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
