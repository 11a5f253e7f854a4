"""What the drums play: rhythms of the genre as loops of four bars, with rolls, and fills where sections end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from adapters.band.chance import Chance
from adapters.band.genres import Fill, Lane, Profile
from adapters.band.moods import Feel
from adapters.band.score import BEATS_PER_BAR, Drum, Hit, Section

STEPS = 16
LOOP_BARS = 4
STRENGTH = {"X": 1.0, "x": 0.8, "o": 0.42}


class Stroke(NamedTuple):
    """A stroke of a loop before a hand has played it: a place in sixteenths, which need not be whole."""

    step: float
    strength: float


def swing_delay(step: float, swing: float, bpm: float) -> float:
    """Seconds by which the second of two sixteenths comes late; a roll between them bends with it."""
    inside = step % 2
    share = inside if inside <= 1 else 2 - inside
    return share * (swing - 0.5) * 0.5 * 60.0 / bpm


def density_tilt(patterns: Sequence[str], density: float, rests: str = ".-") -> list[tuple[str, float]]:
    """The rhythms with weights: those with many strokes are likelier the denser a piece is to be."""
    counts = [sum(sign not in rests for sign in pattern) * STEPS / len(pattern) for pattern in patterns]
    middle = sum(counts) / len(counts)
    return [
        (pattern, max(0.05, 1.0 + 2.0 * density * (count - middle) / max(middle, 1.0)))
        for pattern, count in zip(patterns, counts, strict=True)
    ]


class Drummer:
    """Plays one piece: rhythms are drawn once for all of it, doubtful strokes once for verses and once for hooks."""

    def __init__(self, profile: Profile, feel: Feel, *, bpm: int, swing: float, purpose: tuple[object, ...]) -> None:
        self._profile, self._feel, self._bpm, self._swing = profile, feel, bpm, swing
        self._purpose = purpose
        self._hand = Chance(*purpose, "hand")
        chance = Chance(*purpose, "rhythms")
        self._patterns = [chance.weighted(density_tilt(lane.patterns, feel.density)) for lane in profile.lanes]
        self._loops: dict[str, list[list[Stroke]]] = {}

    def play(self, sections: Sequence[Section]) -> tuple[Hit, ...]:
        """All strokes of the piece, in order of time."""
        chance = Chance(*self._purpose, "fills")
        hits: list[Hit] = []
        for number, section in enumerate(sections):
            if "drums" not in section.plays:
                continue
            hits += self._section(section, chance, is_last=number == len(sections) - 1)
            before = sections[number - 1] if number else None
            if section.name == "hook" and (before is None or before.energy < section.energy):
                hits.append(self._hit("crash", section.bar * BEATS_PER_BAR, 0.6, None))
        return tuple(sorted(hits, key=lambda hit: (hit.beat, hit.drum)))

    def _section(self, section: Section, chance: Chance, *, is_last: bool) -> list[Hit]:
        loops = self._loop("hook" if section.name == "hook" else "verse")
        fill = chance.one_of(self._profile.fills) if section.bars >= 4 and not is_last else None
        half = chance.one_of(self._profile.fills) if section.bars >= 16 else None
        hits: list[Hit] = []
        for lane, loop in zip(self._profile.lanes, loops, strict=True):
            if not self._plays(lane, section):
                continue
            loudness = lane.level * (0.86 + 0.14 * section.energy)
            for bar in range(section.bars):
                start = (section.bar + bar) * BEATS_PER_BAR
                if is_last and bar == section.bars - 1:
                    if lane.drum in {"kick", "hat"}:
                        hits.append(self._hit(lane.drum, start, loudness, lane))
                    continue
                here = fill if bar == section.bars - 1 else half if bar == section.bars // 2 - 1 else None
                until = _gives_way(lane, here)
                hits += [
                    self._hit(lane.drum, start + stroke.step / 4, loudness * stroke.strength, lane, stroke.step)
                    for stroke in _bar(loop, bar % LOOP_BARS)
                    if stroke.step < until
                ]
        for bar, here in ((section.bars - 1, fill), (section.bars // 2 - 1, half)):
            if here is not None:
                hits += self._fill(here, (section.bar + bar) * BEATS_PER_BAR, section)
        return hits

    def _plays(self, lane: Lane, section: Section) -> bool:
        eager = section.energy + 0.12 * self._feel.density + 0.08 * self._feel.energy
        return eager >= lane.energy_min or section.energy >= 1.0

    def _loop(self, kind: str) -> list[list[Stroke]]:
        """Four bars of each drum, for verses or for hooks."""
        if kind not in self._loops:
            self._loops[kind] = [
                self._strokes(lane, pattern, Chance(*self._purpose, kind, lane.drum, lane.level))
                for lane, pattern in zip(self._profile.lanes, self._patterns, strict=True)
            ]
        return self._loops[kind]

    def _strokes(self, lane: Lane, pattern: str, chance: Chance) -> list[Stroke]:
        strokes: list[Stroke] = []
        length = LOOP_BARS * STEPS
        roll = lane.roll * (1.0 + 0.6 * self._feel.density + 0.3 * self._feel.energy)
        rolled: set[int] = set()
        for beat in range(length // 4):
            # Rolls answer: they come in the second half of a bar, and most of all in the last bar of the loop.
            likely = roll * (1.8 if beat % 4 >= 2 else 0.4) * (1.5 if beat // 4 == LOOP_BARS - 1 else 1.0)
            if lane.roll and chance.happens(min(0.8, likely)):
                count = chance.one_of(lane.rolls)
                rises = chance.happens(0.5)
                for place in range(count):
                    ramp = (place + 1) / count if rises else 1 - 0.6 * place / count
                    strokes.append(Stroke(round(beat * 4 + 4 * place / count, 4), round(0.35 + 0.45 * ramp, 3)))
                rolled.add(beat)
        for step in range(length):
            sign = pattern[step % len(pattern)]
            if sign.isdigit():
                sign = "x" if chance.happens(int(sign) / 10) else "."
            if sign in STRENGTH and step // 4 not in rolled:
                strokes.append(Stroke(step, STRENGTH[sign]))
        return sorted(strokes)

    def _fill(self, fill: Fill, start: int, section: Section) -> list[Hit]:
        lanes = {lane.drum: lane for lane in self._profile.lanes}
        hits: list[Hit] = []
        for drum, pattern in fill.lanes:
            lane = lanes.get(drum)
            places = [step for step, sign in enumerate(pattern) if sign in STRENGTH]
            for step in places:
                rise = 0.75 + 0.25 * (step - places[0] + 1) / (16 - places[0])
                loudness = (
                    STRENGTH[pattern[step]] * rise * (lane.level if lane else 0.8) * (0.86 + 0.14 * section.energy)
                )
                hits.append(self._hit(drum, start + step / 4, loudness, lane, step))
        return hits

    def _hit(self, drum: Drum, beat: float, loudness: float, lane: Lane | None, step: float = 0.0) -> Hit:
        touch = self._profile.touch * (1.0 + 0.3 * self._feel.energy)
        loudness *= (1.0 + 0.06 * self._feel.energy) * (1.0 + self._hand.about(touch))
        # The kick is what everybody else listens to, so it strays least.
        stray = self._hand.about(self._profile.hand * (0.3 if drum == "kick" else 1.0))
        late = ((lane.late if lane else 0.0) + stray) / 1000 + swing_delay(step, self._swing, self._bpm)
        if beat == 0:
            late = max(0.0, late)
        return Hit(
            drum=drum, beat=round(beat, 4), velocity=round(min(1.0, max(0.04, loudness)), 3), late=round(late, 5)
        )


def _bar(loop: Sequence[Stroke], bar: int) -> list[Stroke]:
    """The strokes of one bar of a loop, counted from its start."""
    first = bar * STEPS
    return [stroke._replace(step=stroke.step - first) for stroke in loop if first <= stroke.step < first + STEPS]


def _gives_way(lane: Lane, fill: Fill | None) -> int:
    """The step of a bar from which a drum leaves its loop to a fill."""
    if fill is None:
        return STEPS
    firsts = {drum: next(step for step, sign in enumerate(pattern) if sign in STRENGTH) for drum, pattern in fill.lanes}
    if lane.drum in firsts:
        return firsts[lane.drum]
    return STEPS
