"""Where a recording sounds: silence before, after and between has no beats, and dilutes what is heard in the rest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.ears.spectrum import CHORD_EVERY, CHORD_RATE, FRAME_RATE

Times = NDArray[np.float64]

#: What lies so far below the loudest moment (60 dB), or below full scale (80 dB), is silence.
FLOOR_SHARE = 1e-3
FLOOR = 1e-4
#: Silence up to this long belongs to the music: rests, a breath before the beginning, the last note's end.
REST_SECONDS = 1.0


class Span(NamedTuple):
    """From which chord to which a recording sounds, the rests around it included."""

    first: int
    last: int

    @property
    def seconds(self) -> float:
        """When the span begins."""
        return self.first / CHORD_RATE


def sounding(rms: NDArray[np.floating], chords: int) -> Span:
    """From the first to the last sound in so many chords, by the root mean square of their frames."""
    heard = np.flatnonzero(_sounds(rms))
    if not len(heard):
        return Span(0, chords)
    rest = REST_SECONDS * FRAME_RATE
    return Span(
        max(0, int((heard[0] - rest) / CHORD_EVERY)),
        min(chords, -int(-(heard[-1] + rest) // CHORD_EVERY)),
    )


def audible(times: Times, rms: NDArray[np.floating]) -> Times:
    """Those of some times in seconds around which something sounds."""
    if not len(times) or not len(rms):
        return times
    heard = np.concatenate([[0], np.cumsum(_sounds(rms))])
    rest = round(REST_SECONDS * FRAME_RATE)
    at = np.rint(times * FRAME_RATE).astype(np.intp)
    low, high = np.clip(at - rest, 0, len(rms)), np.clip(at + rest + 1, 0, len(rms))
    return times[heard[high] > heard[low]]


def _sounds(rms: NDArray[np.floating]) -> NDArray[np.bool_]:
    return rms > max(FLOOR, FLOOR_SHARE * float(rms.max(initial=0.0)))
