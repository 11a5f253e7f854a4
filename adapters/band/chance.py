"""Chance that falls the same way everywhere: one seed, one sequence, on every machine and version of Python."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """Dice for one purpose. Only `Random.random` is used, whose sequence Python promises to keep."""

    def __init__(self, *purpose: object) -> None:
        self._random = random.Random("/".join(map(str, purpose)))  # noqa: S311  (music, not secrets)

    def share(self) -> float:
        """From 0 to 1, exclusive."""
        return self._random.random()

    def between(self, low: float, high: float) -> float:
        """Any value between two others."""
        return low + (high - low) * self.share()

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, inclusive."""
        return low + int(self.share() * (high - low + 1))

    def happens(self, probability: float) -> bool:
        """True with this probability."""
        return self.share() < probability

    def one_of(self, things: Sequence[T]) -> T:
        """One of them, all alike."""
        return things[int(self.share() * len(things))]

    def weighted(self, things: Sequence[tuple[T, float]]) -> T:
        """One of them, by weight."""
        rest = self.share() * sum(weight for _, weight in things)
        for thing, weight in things:
            rest -= weight
            if rest < 0:
                return thing
        return things[-1][0]

    def about(self, width: float) -> float:
        """Near 0, seldom as far as `width`: the mean of three, which is nearly a bell."""
        return width * (self.share() + self.share() + self.share() - 1.5) / 1.5
