"""What the harmony does, how it is played, and how the bass walks under it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from adapters.band import theory
from adapters.band.chance import Chance
from adapters.band.genres import Bass, Profile
from adapters.band.groove import density_tilt, swing_delay
from adapters.band.moods import Feel
from adapters.band.score import BEATS_PER_BAR, Chord, Hit, Note, Section


class Setting(NamedTuple):
    """What all players of one piece agree on."""

    profile: Profile
    feel: Feel
    bpm: int
    tonic: int
    mode: str
    swing: float
    #: What chance is drawn for: seed, take and the words of the brief.
    purpose: tuple[object, ...]

    def hand(self, chance: Chance, step: float) -> float:
        """Seconds by which a player is late on a sixteenth: the swing, and a little more or less."""
        return round(swing_delay(step, self.swing, self.bpm) + chance.about(self.profile.hand * 0.6) / 1000, 5)


def progressions(setting: Setting) -> dict[str, tuple[str, ...]]:
    """The numerals of hooks and of what is no hook: often the same, else another that begins alike."""
    book = setting.profile.chords
    options = book.minor if theory.family(setting.mode) == "minor" else book.major
    chance = Chance(*setting.purpose, "progression")
    hook = chance.one_of(options).split()
    verse = hook if chance.happens(0.55) else chance.one_of(options).split()
    return {"hook": tuple(hook), "verse": tuple(verse)}


def harmonise(setting: Setting, sections: Sequence[Section]) -> tuple[Chord, ...]:
    """One chord after the other; progressions begin anew with each section, and the piece ends on its tonic."""
    book, numerals = setting.profile.chords, progressions(setting)
    shift = round(3 * setting.feel.brightness)
    chords: list[Chord] = []
    voiced: dict[tuple[str, str], tuple[int, ...]] = {}
    before: tuple[int, ...] = ()
    for number, section in enumerate(sections):
        kind = "hook" if section.name == "hook" else "verse"
        row = numerals[kind]
        for bar in range(0, section.bars, book.bars):
            bars = min(book.bars, section.bars - bar)
            is_end = number == len(sections) - 1 and bar + bars >= section.bars
            numeral = row[bar // book.bars % len(row)]
            spans = [(bar, bars, numeral)]
            if is_end:
                home = next((each for each in row if each[:1] in "iI" and each[1:2].lower() not in {"i", "v"}), "i")
                spans = [(bar, bars - 1, numeral), (section.bars - 1, 1, home)] if bars > 1 else [(bar, 1, home)]
            for first, count, name in spans:
                chord = theory.harmony(name, setting.tonic, setting.mode)
                key = kind, f"{bar // book.bars % len(row)} {name}"
                if key not in voiced:
                    voiced[key] = theory.voice(chord, before, book.low + shift, book.high + shift, book.voices)
                before = voiced[key]
                chords.append(
                    Chord(
                        beat=(section.bar + first) * BEATS_PER_BAR,
                        beats=count * BEATS_PER_BAR,
                        numeral=chord.numeral,
                        symbol=chord.symbol,
                        root=chord.root,
                        pitches=before,
                    )
                )
    return tuple(chords)


def chord_at(chords: Sequence[Chord], beat: float) -> Chord:
    """The chord that sounds at a beat."""
    return next((chord for chord in chords if chord.beat <= beat < chord.beat + chord.beats), chords[-1])


def tones_of(chord: Chord, setting: Setting) -> tuple[int, ...]:
    """All pitch classes of a chord, also those that its voicing leaves out."""
    return theory.harmony(chord.numeral, setting.tonic, setting.mode).tones


def comp(setting: Setting, sections: Sequence[Section], chords: Sequence[Chord]) -> tuple[Note, ...]:
    """How the chords are struck: one rhythm for hooks, one for the rest, held where nothing else is said."""
    book = setting.profile.chords
    chance = Chance(*setting.purpose, "comping")
    rhythm = {kind: chance.weighted(density_tilt(book.patterns, setting.feel.density)) for kind in ("verse", "hook")}
    hand = Chance(*setting.purpose, "chord hand")
    notes: list[Note] = []
    for section in sections:
        if "chords" not in section.plays:
            continue
        pattern = rhythm["hook" if section.name == "hook" else "verse"]
        if section.name in {"intro", "bridge", "outro"}:
            pattern = min(book.patterns, key=lambda each: sum(sign in "xX" for sign in each))
        for chord in chords:
            if not section.bar <= chord.beat / BEATS_PER_BAR < section.bar + section.bars:
                continue
            is_end = chord.beat + chord.beats >= (sections[-1].bar + sections[-1].bars) * BEATS_PER_BAR
            for step, steps, sign in _struck("x" + "-" * 15 if is_end else pattern, chord):
                touch = (0.8 if sign == "x" else 0.95) * (0.82 + 0.18 * section.energy)
                late = setting.hand(hand, step)
                notes += [
                    Note(
                        beat=chord.beat + step / 4,
                        beats=round(max(0.2, steps / 4 - (0.02 if steps > 4 else 0.0)), 4),
                        pitch=pitch,
                        velocity=round(min(1.0, touch * (1 + hand.about(setting.profile.touch))), 3),
                        late=round(max(0.0 if chord.beat == 0 else -0.02, late + voice * book.strum / 1000), 5),
                    )
                    for voice, pitch in enumerate(chord.pitches)
                ]
    return tuple(notes)


def _struck(pattern: str, chord: Chord) -> Iterator[tuple[int, int, str]]:
    """Step, length in steps and sign of each stroke within a chord."""
    total = round(chord.beats * 4)
    if pattern.count("x") == 1 and "." not in pattern:
        yield 0, total, "x"
        return
    offset = round(chord.beat * 4) % len(pattern)
    step = 0
    while step < total:
        sign = pattern[(offset + step) % len(pattern)]
        length = 1
        if sign in "xX":
            while step + length < total and pattern[(offset + step + length) % len(pattern)] == "-":
                length += 1
            yield step, length, sign
        step += length


def bass_line(
    setting: Setting, sections: Sequence[Section], chords: Sequence[Chord], drums: Sequence[Hit]
) -> tuple[Note, ...]:
    """One note at a time, under the harmony and with the kick."""
    book = setting.profile.bass
    chance = Chance(*setting.purpose, "bass")
    pattern = chance.weighted(density_tilt(book.patterns, setting.feel.density)) if book.patterns else ""
    kicks = sorted({hit.beat for hit in drums if hit.drum == "kick"})
    base = _nearest_root(setting.tonic, (book.low + book.high) / 2 - 3, book)
    notes: list[Note] = []
    end = (sections[-1].bar + sections[-1].bars) * BEATS_PER_BAR
    for section in sections:
        if "bass" not in section.plays:
            continue
        start, stop = section.bar * BEATS_PER_BAR, (section.bar + section.bars) * BEATS_PER_BAR
        if pattern:
            planned = list(_spelt(pattern, start, stop))
        else:
            planned = _with_kick(kicks, chords, start, stop, book, setting)
        for beat, beats, sign in planned:
            chord = chord_at(chords, beat)
            root = _nearest_root(chord.root, base, book)
            following = chord_at(chords, beat + beats + 0.01)
            pitch = _spell(sign, root, following, base, setting)
            strong = 0.95 if beat % 1 == 0 else 0.82 if beat % 0.5 == 0 else 0.68
            slide = None
            if (
                notes
                and book.slide
                and notes[-1].pitch != pitch
                and beat - notes[-1].beat <= 4
                and chance.happens(book.slide)
            ):
                slide = notes[-1].pitch
            notes.append(
                Note(
                    beat=round(beat, 4),
                    beats=round(min(beats, book.beats_max, end - beat), 4),
                    pitch=pitch,
                    velocity=round(min(1.0, strong * (1 + chance.about(setting.profile.touch))), 3),
                    late=max(0.0, round(swing_delay(beat * 4, setting.swing, setting.bpm), 5)),
                    slide_from=slide,
                )
            )
    return _one_at_a_time(notes, setting.bpm)


def _nearest_root(tone: int, pitch: float, book: Bass) -> int:
    return theory.nearest((tone % 12,), round(pitch), book.low, book.high)


def _spelt(pattern: str, start: int, stop: int) -> Iterator[tuple[float, float, str]]:
    total = (stop - start) * 4
    step = 0
    while step < total:
        sign = pattern[step % len(pattern)]
        length = 1
        if sign not in ".-":
            while step + length < total and pattern[(step + length) % len(pattern)] == "-":
                length += 1
            yield start + step / 4, length / 4, sign
        step += length


def _with_kick(
    kicks: Sequence[float], chords: Sequence[Chord], start: int, stop: int, book: Bass, setting: Setting
) -> list[tuple[float, float, str]]:
    """A note with each kick, and with each new chord; what a kick does once in four bars it does again."""
    places = sorted(
        {beat for beat in kicks if start <= beat < stop}
        | {chord.beat for chord in chords if start <= chord.beat < stop}
    )
    planned: list[tuple[float, float, str]] = []
    for beat, following in zip(places, [*places[1:], float(stop)], strict=True):
        chance = Chance(*setting.purpose, "wander", round(((beat - start) % 16) * 4))
        sign = "r"
        if beat % 2 != 0 and chance.happens(book.wander):
            sign = chance.one_of("oofs")
        planned.append((beat, following - beat, sign))
    return planned


def _spell(sign: str, root: int, following: Chord, base: int, setting: Setting) -> int:
    book = setting.profile.bass
    match sign:
        case "o":
            return root + 12
        case "f":
            return root + 7 if root + 7 <= book.high + 5 else root - 5
        case "s":
            return root + 10
        case "a":
            # From below by a step of the scale; where the next root is the same, its fifth leads back to it.
            goal = _nearest_root(following.root, base, book)
            if goal == root:
                return goal + 7 if goal + 7 <= book.high + 5 else goal - 5
            scale = {(setting.tonic + step) % 12 for step in theory.SCALES[setting.mode]}
            return next(goal - step for step in (2, 1) if (goal - step) % 12 in scale or step == 1)
        case _:
            return root


def _one_at_a_time(notes: Sequence[Note], bpm: float) -> tuple[Note, ...]:
    """Each note ends, at the latest, where the next begins, swing and all."""
    kept: list[Note] = []
    for note, following in zip(notes, [*notes[1:], None], strict=True):
        beats = note.beats
        if following is not None:
            room = following.beat - note.beat + (following.late - note.late) * bpm / 60
            beats = min(beats, room)
        if beats > 0.02:
            kept.append(_with_beats(note, round(beats - 0.00005, 4)))
    return tuple(kept)


def _with_beats(note: Note, beats: float) -> Note:
    return Note(
        beat=note.beat,
        beats=beats,
        pitch=note.pitch,
        velocity=note.velocity,
        late=note.late,
        slide_from=note.slide_from,
    )
