"""What makes a tune of a line of notes: it moves, it has room, it answers, grows and comes home."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby, pairwise

import pytest

from adapters.band import theory
from adapters.band.compose import compose
from adapters.band.genres import PROFILES, profile_of
from adapters.band.score import BEATS_PER_BAR, Brief, Note, Score

GENRES = tuple(PROFILES)
SEEDS = 40
PHRASE_BEATS = 8 * BEATS_PER_BAR
FEELS = (("", ""), ("Dark", "Aggressive"), ("Melodic", "Calm"), ("Energetic", "Happy"), ("Atmospheric", "Sad"))

Bar = tuple[Note, ...]


@lru_cache(maxsize=512)
def piece(genre: str, seed: int) -> Score:
    style, mood = FEELS[seed % len(FEELS)]
    return compose(Brief(genre=genre, style=style, mood=mood, seed=seed, take=1 + seed // 5 % 2, seconds=120))


def hooks(genre: str) -> Iterator[tuple[Score, list[Bar]]]:
    """The eight bars of the first whole phrase of each hook, of many pieces."""
    for seed in range(SEEDS):
        score = piece(genre, seed)
        hook = next(each for each in score.sections if each.name == "hook" and each.bars >= 8)
        melody = score.part("melody")
        assert melody is not None
        assert "melody" in hook.plays
        bars = range(hook.bar, hook.bar + 8)
        yield score, [tuple(note for note in melody.notes if note.beat // BEATS_PER_BAR == bar) for bar in bars]


def sung(bar: Bar) -> list[tuple[float, int]]:
    """When in its bar each note begins, and its pitch."""
    return [(note.beat % BEATS_PER_BAR, note.pitch) for note in bar]


def pitches_of(bars: list[Bar]) -> list[int]:
    return [note.pitch for bar in bars for note in bar]


def moves_of(bars: list[Bar]) -> list[int]:
    return [after - before for before, after in pairwise(pitches_of(bars))]


@pytest.mark.parametrize("genre", GENRES)
def test_no_tune_is_flat(genre: str) -> None:
    """It seldom stays where it is, has tones to choose from, and room between the lowest and the highest."""
    book = profile_of(genre).melody
    flat = []
    for score, bars in hooks(genre):
        pitches, moves = pitches_of(bars), moves_of(bars)
        stays = sum(move == 0 for move in moves) / len(moves)
        longest = max(len(list(run)) for _, run in groupby(pitches))
        tones, room = len(set(pitches)), max(pitches) - min(pitches)
        is_tune = stays <= book.stays_max and longest <= 4 and tones >= book.tones_min and room >= book.room_min
        if not is_tune:
            flat.append((score.brief.seed, round(stays, 2), longest, tones, room))
    assert flat == []


@pytest.mark.parametrize("genre", GENRES)
def test_a_tune_answers_grows_and_comes_home(genre: str) -> None:
    for score, bars in hooks(genre):
        seed, statement = score.brief.seed, sung(bars[0])
        assert sung(bars[1]) != statement, seed
        # The second phrase is not the first once more: its third bar goes on otherwise.
        assert sung(bars[6]) not in (statement, sung(bars[2])), seed
        for last in (bars[3][-1], bars[7][-1]):
            chord = next(each for each in score.chords if each.beat <= last.beat < each.beat + each.beats)
            tones = theory.harmony(chord.numeral, score.tonic, score.mode).tones
            assert last.pitch % 12 in tones, seed
            assert last.beats >= 1.5, seed
        if score.tonic in tones:
            assert last.pitch % 12 == score.tonic, seed


def test_drill_closes_in_by_half_steps_and_leaps_by_octaves() -> None:
    half_steps, leaping = 0.0, 0
    for _, bars in hooks("Drill"):
        moves = moves_of(bars)
        half_steps += sum(abs(move) == 1 for move in moves) / len(moves) / SEEDS
        leaping += any(abs(move) >= 10 for move in moves)
    assert half_steps >= 0.15
    assert leaping >= SEEDS / 2


def test_hooks_of_reggaeton_say_three_three_two_by_steps() -> None:
    """A bar of them has the two strokes of the dembow that are off the beat, in its first half or its second."""
    says, steps = 0.0, 0.0
    for _, bars in hooks("Reggaeton"):
        places = [{round(beat * 4) for beat, _ in sung(bar)} for bar in bars]
        says += sum(here >= {3, 6} or here >= {11, 14} for here in places) / 8 / SEEDS
        moves = moves_of(bars)
        steps += sum(1 <= abs(move) <= 4 for move in moves) / len(moves) / SEEDS
    assert says >= 0.75
    assert steps >= 0.65


def test_leads_of_synthwave_climb_along_the_chord() -> None:
    """By thirds and more, three tones and longer in one direction."""
    skips = 0.0
    for score, bars in hooks("Synthwave"):
        moves = moves_of(bars)
        skips += sum(abs(move) >= 3 for move in moves) / len(moves) / SEEDS
        runs = [len(list(run)) for _, run in groupby(move > 0 for move in moves if move)]
        assert max(runs) >= 2, score.brief.seed
    assert skips >= 0.7


def test_tunes_of_ambient_are_slow_and_wide() -> None:
    widths = 0.0
    for _, bars in hooks("Ambient"):
        moves = moves_of(bars)
        widths += sum(map(abs, moves)) / len(moves) / SEEDS
        assert len(pitches_of(bars)) <= 4 * len(bars)
    assert widths >= 4
