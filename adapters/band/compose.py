"""From a brief to a score: tempo, key, form, harmony, drums, bass, melody, and what leads into each section."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from adapters.band import theory
from adapters.band.chance import Chance
from adapters.band.figures import figures
from adapters.band.form import fit, read_form
from adapters.band.genres import Profile, profile_of
from adapters.band.groove import Drummer
from adapters.band.moods import Feel, feel
from adapters.band.score import BEATS_PER_BAR, ENGINE_VERSION, Brief, Effect, Part, Score, Section, Tempo
from adapters.band.titles import title_of
from adapters.band.tonal import Setting, bass_line, comp, harmonise
from adapters.band.tune import Singer

SECONDS_MIN = 8.0
SECONDS_MAX = 600.0
BPM_MIN, BPM_MAX = 50, 200


class UnplayableBrief(ValueError):
    """A brief that asks for what cannot be played."""


def compose(brief: Brief) -> Score:
    """The piece that a brief and its seed stand for, always the same one.

    Raises `UnplayableBrief`, `UnknownGenre` or `UnknownKey`, each with a sentence.
    """
    _check(brief)
    profile = profile_of(brief.genre)
    felt = feel(brief.style, brief.mood)
    words = (profile.name, brief.style.lower(), brief.mood.lower(), brief.seed)
    both = Chance(*words, "tempo and key")
    bpm = _tempo(brief, profile, felt, both)
    tonic, mode = _key(brief, profile, felt, both)
    purpose = (*words, brief.take)
    chance = Chance(*purpose, "form")
    swing = round(chance.between(*profile.swing), 3)
    setting = Setting(profile, felt, bpm, tonic, mode, swing, purpose)
    # The two takes of a brief have different forms, whatever chance says.
    first = int(Chance(*words, "form").share() * len(profile.forms))
    form = read_form(profile.forms[(first + brief.take - 1) % len(profile.forms)])
    bars = _bars(brief.seconds, bpm, profile)
    sections = fit(form, bars)
    chords = harmonise(setting, sections)
    drums = Drummer(profile, felt, bpm=bpm, swing=swing, purpose=purpose).play(sections)
    instruments = Chance(*purpose, "instruments")
    parts = [
        Part(
            name="bass",
            instrument=instruments.one_of(profile.bass.instruments),
            notes=bass_line(setting, sections, chords, drums),
        ),
        Part(
            name="chords",
            instrument=instruments.one_of(profile.chords.instruments),
            notes=comp(setting, sections, chords),
        ),
        Part(
            name="melody",
            instrument=instruments.one_of(profile.melody.instruments),
            notes=Singer(setting, chords, sections).sing(),
        ),
        Part(
            name="counter",
            instrument=instruments.one_of(profile.counter.instruments),
            notes=figures(setting, sections, chords),
        ),
    ]
    return Score(
        engine=ENGINE_VERSION,
        brief=brief,
        genre=profile.name,
        title=title(brief),
        bpm=bpm,
        key=theory.key_name(tonic, mode),
        tonic=tonic,
        mode=mode,
        swing=swing,
        tempos=(Tempo(beat=0.0, bpm=float(bpm)),),
        sections=sections,
        chords=chords,
        drums=drums,
        parts=tuple(part for part in parts if part.notes),
        effects=_effects(profile, sections),
        seconds=round(bars * BEATS_PER_BAR * 60.0 / bpm + profile.tail_seconds, 3),
        brightness=round(felt.brightness, 3),
        drive=round(felt.drive, 3),
        space=round(felt.space, 3),
    )


def title(brief: Brief) -> str:
    """What the pieces of a brief are called, without composing them; raises `UnknownGenre`."""
    words = (profile_of(brief.genre).name, brief.style.lower(), brief.mood.lower(), brief.seed)
    return title_of(feel(brief.style, brief.mood), Chance(*words, "title"))


def _check(brief: Brief) -> None:
    if not SECONDS_MIN <= brief.seconds <= SECONDS_MAX:
        raise UnplayableBrief(f"A beat lasts from {SECONDS_MIN:g} to {SECONDS_MAX:g} seconds.")
    for bpm in (brief.bpm, brief.bpm_min, brief.bpm_max):
        if bpm is not None and not BPM_MIN <= bpm <= BPM_MAX:
            raise UnplayableBrief(f"A tempo lies between {BPM_MIN} and {BPM_MAX} beats per minute.")
    if brief.take not in {1, 2}:
        raise UnplayableBrief("A brief has a first and a second take.")


def _tempo(brief: Brief, profile: Profile, felt: Feel, chance: Chance) -> int:
    """The tempo asked for, or one of the usual ones that lets whole bars fill the time."""
    if brief.bpm is not None:
        return brief.bpm
    low = brief.bpm_min if brief.bpm_min is not None else profile.usual[0]
    high = brief.bpm_max if brief.bpm_max is not None else profile.usual[1]
    low, high = min(low, high), max(low, high)
    middle = min(1.0, max(0.0, chance.share() * 0.7 + 0.15 + 0.15 * felt.energy))
    drawn = round(low + middle * (high - low))
    near = [bpm for bpm in range(drawn - 2, drawn + 3) if low <= bpm <= high]

    def misses(bpm: int) -> float:
        return abs(_bars(brief.seconds, bpm, profile) * BEATS_PER_BAR * 60 / bpm + profile.tail_seconds - brief.seconds)

    return min(near, key=lambda bpm: (round(misses(bpm), 6), bpm))


def _bars(seconds: float, bpm: int, profile: Profile) -> int:
    """The even number of bars that, with what rings on, comes nearest to the time."""
    pairs = (seconds - profile.tail_seconds) * bpm / 60 / BEATS_PER_BAR / 2
    return 2 * max(2, round(pairs))


def _key(brief: Brief, profile: Profile, felt: Feel, chance: Chance) -> tuple[int, str]:
    tonic = chance.whole(0, 11)
    wanted = None
    if brief.key is not None:
        tonic, wanted = theory.parse_key(brief.key)
    modes = [
        (mode, weight * max(0.02, 1 + felt.bright_mode * (1 if theory.family(mode) == "major" else -1)))
        for mode, weight in profile.modes
        if wanted is None or theory.family(mode) == wanted
    ]
    drawn = chance.share()
    if not modes:
        return tonic, wanted or "minor"
    total = sum(weight for _, weight in modes)
    for mode, weight in modes:
        drawn -= weight / total
        if drawn < 0:
            return tonic, mode
    return tonic, modes[-1][0]


def _effects(profile: Profile, sections: Sequence[Section]) -> tuple[Effect, ...]:
    """Risers into louder sections, an impact where they begin, and what falls away into quieter ones."""
    effects: list[Effect] = []
    for before, section in pairwise(sections):
        beat = section.bar * BEATS_PER_BAR
        if section.energy > before.energy + 0.1:
            beats = min(8 if before.bars >= 8 else 4, before.bars * BEATS_PER_BAR)
            effects.append(
                Effect(kind="riser", beat=beat - beats, beats=beats, level=round(0.5 + 0.5 * section.energy, 3))
            )
            if section.name == "hook":
                effects.append(Effect(kind="impact", beat=beat, beats=8, level=round(0.7 * section.energy, 3)))
        elif section.energy < before.energy - 0.1:
            effects.append(Effect(kind="fall", beat=beat, beats=4, level=0.6))
    if profile.mix.bed:
        beats = (sections[-1].bar + sections[-1].bars) * BEATS_PER_BAR
        effects.append(Effect(kind="noise", beat=0, beats=beats, level=1.0))
    return tuple(sorted(effects, key=lambda effect: (effect.beat, effect.kind)))
