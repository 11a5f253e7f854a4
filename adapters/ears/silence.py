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
#: A beat may lie this far before the first sound, whose attack takes its time, and after the last.
EDGE_SECONDS = 0.07


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
    """Those of some times in seconds around which something sounds, none before the first sound or after the last."""
    if not len(times) or not len(rms):
        return times
    sounds = _sounds(rms)
    at_all = np.flatnonzero(sounds)
    if not len(at_all):
        return times[:0]
    times = times[(times >= at_all[0] / FRAME_RATE - EDGE_SECONDS) & (times <= at_all[-1] / FRAME_RATE + EDGE_SECONDS)]
    heard = np.concatenate([[0], np.cumsum(sounds)])
    rest = round(REST_SECONDS * FRAME_RATE)
    at = np.rint(times * FRAME_RATE).astype(np.intp)
    low, high = np.clip(at - rest, 0, len(rms)), np.clip(at + rest + 1, 0, len(rms))
    return times[heard[high] > heard[low]]


def _sounds(rms: NDArray[np.floating]) -> NDArray[np.bool_]:
    return rms > max(FLOOR, FLOOR_SHARE * float(rms.max(initial=0.0)))
