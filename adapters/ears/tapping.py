"""A second pair of ears on the beat: aubio's causal beat tracker, which taps along while the sound goes by.

It hears the music only once and forwards (Davies and Plumbley, "Causal tempo tracking of audio", 2004), so its errors
are other ones than those of an estimator that sees the whole recording: where both agree, both are likely right.
"""

from __future__ import annotations

import aubio
import numpy as np
from numpy.typing import NDArray

from adapters.ears.decode import ANALYSIS_RATE

Array = NDArray[np.float32]

WINDOW = 1024
HOP = 512


class Tapper:
    """Hears mono sound at `ANALYSIS_RATE` in any portions and remembers when aubio tapped."""

    def __init__(self) -> None:
        self._tempo = aubio.tempo("default", WINDOW, HOP, ANALYSIS_RATE)
        self._rest: Array = np.zeros(0, np.float32)
        self._taps: list[float] = []

    def feed(self, mono: Array) -> None:
        """Listen to (n,) more samples."""
        sound = np.concatenate([self._rest, mono]).astype(np.float32, copy=False)
        whole = len(sound) // HOP * HOP
        for start in range(0, whole, HOP):
            if self._tempo(sound[start : start + HOP])[0]:
                self._taps.append(self._tempo.get_last_s())
        self._rest = sound[whole:].copy()

    def finish(self) -> NDArray[np.float64]:
        """(taps,) seconds of the taps so far."""
        return np.array(self._taps, np.float64)


def tapped_period(taps: NDArray[np.float64]) -> float | None:
    """The median time between taps in seconds; None where there were too few to speak of a beat."""
    if len(taps) < 4:
        return None
    return float(np.median(np.diff(taps)))
