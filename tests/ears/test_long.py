"""Long recordings: what is kept of a second of music, and what is copied to work on it, stays small."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
from msgspec.structs import asdict, replace

from adapters.ears import spectrum
from adapters.ears.engine import Heard, understand
from adapters.ears.grid import Grid, together, usual_place
from adapters.ears.loudness import Loudness, Meter
from adapters.ears.metre import changes_around, entries_around, rooted
from adapters.ears.rhythm import hear_rhythm
from adapters.ears.spectrum import BATCH, CHORD_RATE, STEP
from adapters.ears.trace import Trace, Tracer
from tests.ears.grooves import RATE, ROCK, heard, played
from tests.ears.sounds import Sound, chord, chords, noise

Table = TypeVar("Table", Loudness, Trace)

#: What stays of a second, and what all work on it may add to that. Up to an hour it takes 4.2 kB a second, of which 3.7
#: are what was kept of the sound and its loudness; of longer recordings rhythm takes 6.7.
KEPT_BYTES_PER_SECOND = 3_300
BYTES_PER_SECOND = 5_000


@pytest.fixture(scope="module")
def band() -> Sound:
    sound = chords("C Am F G C G F C", 2.0, rate=RATE) + 0.5 * played(ROCK, 120, 16.0)
    return sound[: 86 * STEP]


@pytest.fixture(scope="module")
def piece(band: Sound) -> Heard:
    """Sixteen seconds, which are a whole number of chords."""
    meter = Meter(RATE, ("FC",))
    meter.push(band[None])
    return Heard(len(band) / RATE, RATE, 1, meter.finish(), heard(band))


def over_and_over(piece: Heard, times: int) -> Heard:
    """The same music so many times."""
    return piece._replace(
        seconds=piece.seconds * times,
        loudness=tiled(piece.loudness, times, {"lows", "highs", "momentary", "short_term"}),
        trace=replace(
            tiled(piece.trace, times, set(Trace.__struct_fields__) - {"power", "taps"}),
            seconds=piece.seconds * times,
            taps=np.concatenate([piece.trace.taps + piece.seconds * turn for turn in range(times)]),
        ),
    )


def tiled(table: Table, times: int, names: set[str]) -> Table:
    values = {name: value for name, value in asdict(table).items() if name in names and isinstance(value, np.ndarray)}
    return replace(table, **{name: np.concatenate([value] * times) for name, value in values.items()})


def traced(work: Callable[[], object]) -> int:
    """Bytes of memory that the work takes at its peak, beyond what there was before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_hardly_grows_while_a_recording_is_heard(band: Sound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "CHAPTER_CHORDS", round(20 * CHORD_RATE))
    heard(band)  # builds the filters, which stay for good

    def listen(times: int) -> None:
        meter, tracer = Meter(RATE, ("FC",)), Tracer()
        for _ in range(times):
            meter.push(band[None])
            tracer.feed(band)
        kept = (meter.finish(), tracer.finish())
        assert kept[1].seconds == pytest.approx(len(band) / RATE * times)

    assert (traced(lambda: listen(12)) - traced(lambda: listen(4))) / (8 * len(band) / RATE) < BYTES_PER_SECOND


def test_a_second_of_music_leaves_few_bytes_behind(piece: Heard) -> None:
    kept = sum(values.nbytes for values in asdict(piece.trace).values() if isinstance(values, np.ndarray))
    assert kept / piece.seconds < KEPT_BYTES_PER_SECOND


def test_all_that_follows_from_a_long_recording_takes_little_more_memory_than_from_a_short_one(piece: Heard) -> None:
    def peak(minutes: int) -> int:
        return traced(lambda: understand(over_and_over(piece, round(minutes * 60 / piece.seconds))))

    understand(piece)  # loads the networks, which stay for good
    # From twenty minutes on the picture of self-similarity grows no more.
    assert (peak(40) - peak(20)) / (20 * 60) < BYTES_PER_SECOND


def test_beats_of_hours_are_weighed_in_portions() -> None:
    """Up to an hour all of this is less than the picture of self-similarity, and after that it is the peak of all."""
    rng = np.random.default_rng(5)
    curve = rng.random(1_000_000, np.float32)
    beats = np.arange(2.0, len(curve) - 1, 43.07)
    rows, others = rng.random((2, len(beats), 12), np.float32)
    grid = Grid(period=0.5, spread=0.0, first=0.0, step=0.5, stray=0.0, holds=True)
    for work in (
        lambda: together(curve, beats),
        lambda: usual_place(grid, beats),
        lambda: changes_around(rows, 8),
        lambda: entries_around(rows, 8),
        lambda: rooted(rows, others, 4),
    ):
        # Rows of single precision, the results, and one portion: no whole table in double precision.
        assert traced(work) < 2 * rows.nbytes


def test_a_recording_in_chapters_is_heard_as_one_of_a_single_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    harmony = np.concatenate([chord(name, 2.0, rate=RATE, cents=20) for name in ("C", "Am", "F", "G") * 2])
    sound = np.tile(harmony + 0.5 * played(ROCK, 120, 16.0), 3)
    # A stroke just where one chapter ends and another begins.
    sound[4 * BATCH * STEP :][: RATE // 10] += noise(0.1, -3, rate=RATE)
    whole = heard(sound)
    monkeypatch.setattr(spectrum, "CHAPTER_CHORDS", 4 * BATCH)
    tracer = Tracer()
    for block in np.array_split(sound, 50):
        tracer.feed(block)
    parts = tracer.finish()
    assert parts.seconds == pytest.approx(whole.seconds) == pytest.approx(48)
    assert parts.tuning == pytest.approx(whole.tuning, abs=0.01) == pytest.approx(0.2, abs=0.04)
    np.testing.assert_allclose(parts.power, whole.power, rtol=1e-3)
    for name in ("strengths", "rms", "centroid", "cepstrum", "levels", "pitch", "salience"):
        one, other = getattr(parts, name).astype(np.float32), getattr(whole, name).astype(np.float32)
        assert one.shape == other.shape
        # A louder chapter later on makes attacks before it count for more, by a little.
        np.testing.assert_allclose(one, other, atol=0.02 * np.abs(other).max(), err_msg=name)
    assert hear_rhythm(parts).bpm == pytest.approx(hear_rhythm(whole).bpm, rel=1e-3)
