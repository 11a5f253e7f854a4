"""How the beats are counted: the number in the time signature, and which beats begin a bar."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.ears.network import chances, trained
from adapters.ears.tempo import Pulse, features

Array = NDArray[np.float32]

#: The upper numbers of time signatures that are told apart, in the order of the network's outputs.
METRES = (2, 3, 4, 5, 6, 7, 9, 12)


class Metre(NamedTuple):
    """How bars are written and counted."""

    #: The upper and the lower number of the time signature.
    numerator: int
    unit: int
    #: 0 .. 1, how likely the upper number is right.
    confidence: float

    @property
    def beats(self) -> float:
        """Beats of the tempo in a bar: 2 in 6/8, where a beat is three eighths, and 3.5 in 7/8."""
        return {6: 2, 9: 3, 12: 4, 7: 3.5}.get(self.numerator, self.numerator)


def hear_metre(heard: Pulse, period: float) -> Metre:
    """The likeliest metre when beats are `period` seconds apart, from what repeats at its multiples and parts."""
    scores = trained("metre")(features(heard, np.array([period], np.float32)))[0]
    shares = chances(scores)
    best = int(np.argmax(shares))
    numerator = METRES[best]
    return Metre(numerator, 8 if numerator in {6, 7, 9, 12} else 4, float(shares[best]))
