"""The order of sections, fitted to how long a piece is to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

from adapters.band.score import Section, SectionName

PLAYERS = {"d": "drums", "b": "bass", "c": "chords", "m": "melody", "a": "counter"}


class Row(NamedTuple):
    """One line of a form's table."""

    name: SectionName
    bars: int
    energy: float
    plays: tuple[str, ...]


def read_form(text: str) -> tuple[Row, ...]:
    """The rows of a table as `genres.py` writes them."""
    rows: list[Row] = []
    for line in text.strip().splitlines():
        name, bars, energy, letters = line.split()
        plays = tuple(PLAYERS[letter] for letter in letters)
        rows.append(Row(cast("SectionName", name), int(bars), float(energy), plays))
    return tuple(rows)


def fit(rows: Sequence[Row], bars: int) -> tuple[Section, ...]:
    """Sections of `bars` bars together, an even number: whole sections go or come before any is stretched."""
    rows = min(_variants(rows), key=lambda each: abs(math.log(_length(each) / bars)))
    lengths = _stretched(rows, bars)
    sections: list[Section] = []
    for row, length in zip(rows, lengths, strict=True):
        start = sections[-1].bar + sections[-1].bars if sections else 0
        sections.append(Section(name=row.name, bar=start, bars=length, energy=row.energy, plays=row.plays))
    return tuple(sections)


def _length(rows: Sequence[Row]) -> int:
    return sum(row.bars for row in rows)


def _variants(rows: Sequence[Row]) -> list[tuple[Row, ...]]:
    first, *middle, last = rows
    hook = next(row for row in middle if row.name == "hook")
    verse = next(row for row in middle if row.name == "verse")
    short = hook._replace(bars=min(hook.bars, 8))
    ends = first._replace(bars=2), last._replace(bars=2)
    return [
        (first, *middle, last),
        (first, *(row for row in middle if row.name != "bridge"), last),
        (first, hook, verse, hook, last),
        (ends[0], short, verse._replace(bars=8), short, ends[1]),
        (ends[0], short, ends[1]),
        (short._replace(bars=4),),
        *((first, *middle * times, last) for times in range(2, 30)),
    ]


def _stretched(rows: Sequence[Row], bars: int) -> list[int]:
    """Lengths that sum to `bars`: steps of four bars in the middle, of two at the ends."""
    if len(rows) == 1:
        return [bars]
    ratio = bars / _length(rows)
    steps = [2 if row.name in {"intro", "outro"} else 4 for row in rows]
    ideal = [row.bars * ratio for row in rows]
    lengths = [max(step, step * round(wanted / step)) for wanted, step in zip(ideal, steps, strict=True)]
    while (left := bars - sum(lengths)) != 0:
        step = 4 if abs(left) >= 4 else 2
        sign = 1 if left > 0 else -1
        places = [
            place
            for place in range(len(rows))
            if (steps[place] == step or step == 4 or len(rows) < 3) and lengths[place] + sign * step >= steps[place]
        ]
        if not places:
            lengths[max(range(len(rows)), key=lengths.__getitem__)] += left
            break
        place = min(places, key=lambda each: sign * (lengths[each] - ideal[each]) / ideal[each])
        lengths[place] += sign * step
    return lengths
