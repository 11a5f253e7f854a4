"""Long recordings: what is kept of a second of music, and what is copied to work on it, stays small."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import asdict, replace

from adapters.ears.key import pitch_salience
from adapters.ears.rhythm import hear_rhythm
from adapters.ears.spectrum import FRAME_RATE, Listener, Spectra
from adapters.ears.structure import averages
from tests.ears.grooves import RATE, ROCK, played, spectra_of
from tests.ears.sounds import Sound, chords

TIMES = 40
KEPT_BYTES_PER_SECOND = 11_500
#: Attacks, onset curves and their sources in single precision are 5 kB; double precision would be as much again.
RHYTHM_BYTES_PER_SECOND = 16_000


def repeated(values: object, times: int) -> object:
    """An array that many times over; anything else as it is."""
    return np.concatenate([values] * times) if isinstance(values, np.ndarray) else values


@pytest.fixture(scope="module")
def band() -> Sound:
    return chords("C Am F G C F G C C Am F G C F G", 2.0, rate=RATE) + 0.5 * played(ROCK, 120, 30.0)


@pytest.fixture(scope="module")
def spectra(band: Sound) -> Spectra:
    """Twenty minutes, made of the same half minute."""
    short = spectra_of(band)
    more = {name: repeated(values, TIMES) for name, values in asdict(short).items()}
    return replace(short, **(more | {"seconds": 30.0 * TIMES}))


def test_a_second_of_music_leaves_few_bytes_behind(band: Sound) -> None:
    listener = Listener()
    listener.feed(band)  # builds the filters, which stay for good
    tracemalloc.start()
    try:
        for block in np.array_split(np.tile(band, 3), 40):
            listener.feed(block)
        spectra = listener.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    kept = sum(values.nbytes for values in asdict(spectra).values() if isinstance(values, np.ndarray))
    assert spectra.seconds == pytest.approx(120)
    assert kept / 120 < KEPT_BYTES_PER_SECOND
    # Growing in place needs an eighth more than is kept; the rest is the working set, which is always the same.
    assert peak < 1.2 * kept + 24e6


def traced(work: Callable[[], object]) -> int:
    """Bytes of memory that the work takes at its peak, beyond what there was before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_following_the_rhythm_copies_little_of_a_long_recording(spectra: Spectra) -> None:
    assert traced(lambda: hear_rhythm(spectra)) / spectra.seconds < RHYTHM_BYTES_PER_SECOND


def test_means_over_segments_copy_little_of_a_long_recording(spectra: Spectra) -> None:
    edges = np.arange(0.0, spectra.seconds, 0.25)
    assert traced(lambda: averages(spectra.levels, FRAME_RATE, edges)) < 0.2 * spectra.levels.nbytes + 4e6


def test_naming_keys_copies_little_of_a_long_recording(spectra: Spectra) -> None:
    assert traced(lambda: pitch_salience(spectra.tonal, 0.1)) < 2 * spectra.tonal.nbytes + 16e6
