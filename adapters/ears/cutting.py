"""Where a recording was cut: loops, and songs as programs write them out, are whole bars long and begin with one.

A bass alone does not tell the beat from its half, and drums that never change do not tell one beat from another. But a
length that is whole bars to a hundredth of a beat is an accident in one recording of two hundred.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adapters.ears.beats import PARTS
from adapters.ears.spectrum import FRAME_RATE

Times = NDArray[np.float64]

#: A recording is whole beats long when its length is, to this part of a beat.
NEAR = 0.01
#: Excerpts are cut at whole seconds (to so much of one), which at many tempi are whole bars; longer ones are no loops.
NEAR_SECOND, LOOP_SECONDS_MAX = 0.005, 60.0
#: An attack is heard so many seconds after its beat at most.
LATE = 0.04


def beats_between_cuts(seconds: float, period: float) -> int | None:
    """How many beats of `period` seconds long a recording is that was cut at beats, as loops are; None of others."""
    if seconds > LOOP_SECONDS_MAX or abs(seconds - round(seconds)) < NEAR_SECOND:
        return None
    beats = seconds / period
    return round(beats) if abs(beats - round(beats)) < NEAR else None


def places_of_cut(beats: Times) -> set[int]:
    """By how many PARTS some beats (in frames) may be late, so that the recording begins with one of them.

    The nearest such place, and those a little later, where a slow attack is heard.
    """
    period = float(np.median(np.diff(beats)))
    latest = max(0.5 / PARTS, LATE * FRAME_RATE / period)
    after = [(float(beats[0]) / period + place / PARTS + 0.5) % 1 - 0.5 for place in range(PARTS)]
    return {place for place, share in enumerate(after) if -0.5 / PARTS <= share < latest}
