"""What becomes of a motif: its answer, its growth, its close, its mirror, and itself at half the speed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from adapters.band.groove import STEPS


class Event(NamedTuple):
    """A note of a motif: where and how long in sixteenths, and how many tones of the scale from its tonic."""

    step: int
    steps: int
    offset: int


Motif = tuple[Event, ...]


def halves(motif: Motif, bars: int) -> tuple[Motif, Motif]:
    """A motif of two bars as two of one; one of one bar twice."""
    if bars == 1:
        return motif, motif
    cut = tuple(event._replace(steps=min(event.steps, STEPS - event.step)) for event in motif if event.step < STEPS)
    rest = tuple(event._replace(step=event.step - STEPS) for event in motif if event.step >= STEPS)
    return cut, rest or cut


def struck(rhythm: str) -> Iterator[tuple[int, int]]:
    """Where the notes of a rhythm begin, and how long they are, in sixteenths."""
    for step, sign in enumerate(rhythm):
        if sign == "x":
            held = rhythm[step + 1 :]
            yield step, 1 + len(held) - len(held.lstrip("-"))


def answered(motif: Motif) -> Motif:
    """The same rhythm; from its middle on the line goes the other way."""
    half = len(motif) // 2
    pivot = motif[max(0, half - 1)].offset
    return tuple(
        event if place < half else event._replace(offset=2 * pivot - event.offset) for place, event in enumerate(motif)
    )


def developed(motif: Motif, news: Motif) -> Motif:
    """The head of the motif, by which it is known, and another end, which goes on from there."""
    head = [event for event in motif if event.step < STEPS // 2]
    tail = [event for event in news if event.step >= STEPS // 2]
    joint = head[-1].offset - tail[0].offset + 1 if head and tail else 0
    return (*head, *(event._replace(offset=event.offset + joint) for event in tail))


def closing(motif: Motif) -> Motif:
    """The first half of the motif, and a long note to rest on: home, or below where it is home already."""
    kept = [event for event in motif if event.step < STEPS // 2]
    rest = -2 if kept and kept[-1].offset == 0 else 0
    return (*kept, Event(STEPS // 2, STEPS // 2, rest))


def inverted(motif: Motif) -> Motif:
    return tuple(event._replace(offset=-event.offset) for event in motif)


def stretched(motif: Motif) -> Motif:
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
