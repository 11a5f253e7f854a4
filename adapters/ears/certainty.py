"""What a likelihood has been worth: how often answers with the same evidence were right on music with known truth.

A network judges pieces like those it learned from; on other music it is too sure, or not sure enough. So the shares of
tempo, metre, key, first beats of bars and genre are made here, each by a logistic sum of a few measures (Platt,
"Probabilistic outputs for support vector machines", 1999) and a line of few bends over it that never falls (isotonic;
Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", 2002). Both are
fitted in `infra.training.certainty` and lie in `weights/certainty.json`.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Literal

import msgspec
import numpy as np

from adapters.ears.network import WEIGHTS

Measure = Literal["tempo", "metre", "key", "mode", "downbeat"]

#: A logarithm of odds is taken of nothing nearer to 0 or 1 than this.
NEAR = 0.001


class Worth(msgspec.Struct, frozen=True):
    """What evidence of one measure is worth."""

    #: Of the logistic sum: one weight per piece of evidence, and what stands before them.
    weights: tuple[float, ...]
    base: float
    #: The line: shares that the sum makes, rising, and what they have been worth.
    said: tuple[float, ...]
    right: tuple[float, ...]


@cache
def worths() -> dict[str, Worth]:
    """The fitted worth of the evidence of every measure, by its name."""
    return msgspec.json.decode((WEIGHTS / "certainty.json").read_bytes(), type=dict[str, Worth])


def earned(measure: Measure, *evidence: float) -> float:
    """How likely an answer with this evidence is right, 0 .. 1."""
    worth = worths()[measure]
    total = worth.base + sum(weight * one for weight, one in zip(worth.weights, evidence, strict=True))
    return float(np.interp(1 / (1 + math.exp(-max(-50.0, min(50.0, total)))), worth.said, worth.right))


def log_odds(probability: float) -> float:
    """The logarithm of the odds of a probability, from -6.9 to 6.9."""
    inside = min(max(probability, NEAR), 1 - NEAR)
    return math.log(inside / (1 - inside))
