"""How a recording is built: where its sections change, which of them repeat, and where it fades in and out."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from adapters.ears.trace import cosine_shapes
from domain.analyses.findings import Segment

Array = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: The picture of self-similarity has at most so many cells a side; longer recordings get coarser cells.
CELLS_MAX = 1200
#: A cell is this long, or longer where there would be too many.
CELL_SECONDS = 1.0
#: A border moves to the nearest bar line if that is so near.
SNAP_SECONDS = 1.3
SECTION_SECONDS_MIN = 6.0
#: A change is one when the novelty there stands out of its surroundings by so much of the whole curve's range.
NOVELTY_MIN = 0.10
#: Two stretches are the same section when they resemble each other more than this; see `_resemblance`.
ALIKE_MIN = 0.05

SEGMENTS_MAX = 4000
#: Rows of a long table that are summed at once.
ROWS_AT_ONCE = 4096

#: A fade is a monotone way of at least so many LU, not steeper than a cut, not slower than a crescendo.
FADE_LU = 12.0
FADE_SECONDS = (1.0, 40.0)


class Stretch(Struct, frozen=True):
    """A section: its times in seconds, the letter it shares with its repeats, and how clear its borders are, 0..1."""

    start: float
    end: float
    label: str
    confidence: float


class Fades(NamedTuple):
    """Seconds at which the fade-in has ended and the fade-out begins; null where there is none."""

    in_end: float | None
    out_start: float | None


class Clocks(NamedTuple):
    """How often per second frames, moments and chords come, and how long the recording is."""

    frames: float
    moments: float
    chords: float
    seconds: float


def hear_sections(
    chroma: Array, timbre: NDArray[np.floating], rate: float, downbeats: Float64, seconds: float
) -> tuple[Stretch, ...]:
    """The sections of a recording, without gaps, from 0 to `seconds`.

    `chroma` is (moments, 12) and `timbre` (moments, bands) in dB, both at `rate` per second. Borders are peaks of the
    checkerboard novelty along the diagonal of the self-similarity matrix (Foote 2000), at two widths, moved onto
    `downbeats` (seconds) where one is near; stretches get one letter when they sound alike and a stripe parallel to the
    diagonal shows that one repeats the other (after Paulus, Müller & Klapuri 2010).
    """
    edges = _cells(seconds)
    if len(edges) < 5 or not len(chroma):
        return (Stretch(0.0, seconds, "A", 0.0),) if seconds > 0 else ()
    points = _harmony(averages(chroma, rate, edges)).astype(np.float32)
    harmony, colour = points @ points.T, _kernel(_colour(averages(timbre, rate, edges)).astype(np.float32))
    borders, clarity = _borders(harmony, colour, float(edges[1]))
    letters = _letters(harmony, colour, borders)
    times = [0.0, *(_snapped(float(edges[border]), downbeats) for border in borders[1:-1]), seconds]
    return tuple(
        Stretch(start, end, letters[index], (clarity[index] + clarity[index + 1]) / 2)
        for index, (start, end) in enumerate(pairwise(times))
    )


def hear_fades(loudness: Float64, steps_per_second: float) -> Fades:
    """Where the fade-in ends and the fade-out starts, from the (steps,) short-term loudness in LUFS.

    A fade is a way between silence and the level of the music on which loudness moves in one direction only, taking
    1 to 40 seconds; a hard start, a hard end and a piece that merely dies away within a second are none.
    """
    heard = np.flatnonzero(loudness > -70)
    if heard.size < 2 * steps_per_second:
        return Fades(None, None)
    first, last = int(heard[0]), int(heard[-1])
    inside = loudness[first : last + 1]
    return Fades(
        in_end=_fade_end(inside, first, steps_per_second),
        out_start=_fade_start(inside, first, steps_per_second),
    )


def hear_segments(
    onsets: Float64, chroma: Array, cepstrum: NDArray[np.floating], rms: NDArray[np.floating], clocks: Clocks
) -> tuple[Segment, ...]:
    """The stretches between onsets (seconds): loudness in dBFS, pitches relative to the strongest, and timbre.

    `chroma` is (chords, 12), `cepstrum` (moments, 12) and `rms` (frames,), at the rates in `clocks`. Timbre is the mean
    cepstrum of the band levels, its first coefficient the mean level. At most `SEGMENTS_MAX` are kept: in longer
    recordings a segment spans several onsets.
    """
    inside = onsets[(onsets > 0.02) & (onsets < clocks.seconds - 0.02)]
    every = -(-(len(inside) + 1) // SEGMENTS_MAX)
    edges = np.concatenate([[0.0], inside[::every], [clocks.seconds]])
    if not len(rms) or not len(chroma):
        return ()
    starts = np.minimum(np.rint(edges[:-1] * clocks.frames).astype(int), len(rms) - 1)
    pitches = averages(chroma, clocks.chords, edges)
    pitches /= np.maximum(pitches.max(axis=1, keepdims=True), 1e-9)
    timbre = averages(cepstrum, clocks.moments, edges)
    # Rounded all at once: a call for each of thousands of segments costs more than everything else here.
    pitch_rows, timbre_rows = np.round(pitches, 3).tolist(), np.round(timbre, 2).tolist()
    segments: list[Segment] = []
    for index, (start, end) in enumerate(pairwise(edges)):
        first = int(starts[index])
        last = max(first + 1, int(starts[index + 1]) if index + 1 < len(starts) else len(rms))
        peak = first + int(rms[first:last].argmax())
        begin, loudest = _level(rms[first]), _level(rms[peak])
        segments.append(
            Segment(
                start=round(float(start), 3),
                duration=round(float(end - start), 3),
                confidence=round(min(1.0, (loudest - begin) / 20), 3),
                loudness_start=round(begin, 2),
                loudness_max=round(loudest, 2),
                loudness_max_time=round((peak - first) / clocks.frames, 3),
                pitches=tuple(pitch_rows[index]),
                timbre=tuple(timbre_rows[index]),
            )
        )
    return tuple(segments)


def _level(amplitude: float) -> float:
    return 20 * math.log10(max(float(amplitude), 1e-6))


def _fade_end(loudness: Float64, offset: int, rate: float) -> float | None:
    length = _fade_length(loudness, rate)
    return None if length is None else (offset + length) / rate


def _fade_start(loudness: Float64, offset: int, rate: float) -> float | None:
    length = _fade_length(loudness[::-1], rate)
    return None if length is None else (offset + len(loudness) - length) / rate


def _fade_length(loudness: Float64, rate: float) -> int | None:
    """How many steps the rise from the beginning takes, if it is a fade."""
    level = float(np.median(loudness[loudness > loudness.max() - 20]))
    arrived = np.flatnonzero(loudness >= level - 2.0)
    if not arrived.size:
        return None
    length = int(arrived[0])
    if not FADE_SECONDS[0] * rate <= length <= FADE_SECONDS[1] * rate or level - loudness[0] < FADE_LU:
        return None
    # Smoothed over half a second the way must lead up; music that starts with a quiet verse goes up and down.
    width = max(1, round(rate / 2))
    way = np.convolve(np.maximum(loudness[: length + 1], -70), np.ones(width) / width, mode="valid")
    steps = np.diff(way)
    if not steps.size:
        return None
    risen, fallen = float(steps[steps > 0].sum()), float(-steps[steps < 0].sum())
    # A cut followed by a plateau has its whole rise in one place; a fade spreads it.
    spread = float(np.sort(steps)[::-1][: max(1, len(steps) // 4)].sum())
    return length if fallen < 0.15 * risen and spread < 0.75 * risen else None


def _cells(seconds: float) -> Float64:
    """The edges of equal cells in seconds; the last one may be shorter."""
    cell = max(CELL_SECONDS, seconds / CELLS_MAX)
    edges: Float64 = np.append(np.arange(0.0, seconds - cell / 2, cell), seconds)
    return edges


def _snapped(time: float, downbeats: Float64) -> float:
    if not len(downbeats):
        return time
    nearest = float(downbeats[np.abs(downbeats - time).argmin()])
    return nearest if abs(nearest - time) <= SNAP_SECONDS else time


def averages(values: NDArray[np.floating], rate: float, edges: Float64) -> Float64:
    """(edges - 1, width) the mean of the rows of a clock at `rate` between each two edges in seconds, one at least."""
    first = np.clip(np.rint(edges[:-1] * rate).astype(int), 0, len(values) - 1)
    ends = np.append(first[1:], len(values))
    sums = np.empty((len(first), values.shape[1]))
    at = 0
    while at < len(first):
        # As many stretches as fit into some thousand rows, since the sum in double precision copies what it adds.
        until = max(at + 1, int(np.searchsorted(ends, first[at] + ROWS_AT_ONCE, side="right")))
        rows = values[first[at] : max(ends[until - 1], first[until - 1] + 1)]
        sums[at:until] = np.add.reduceat(rows, first[at:until] - first[at], axis=0, dtype=np.float64)
        at = until
    means: Float64 = sums / np.maximum(ends - first, 1)[:, None]
    return means


def _harmony(cells: Float64) -> Float64:
    """Unit vectors of each cell and its neighbour, from which the average chord of the piece has been taken."""
    shape = cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-9)
    shape = shape - shape.mean(axis=0)
    shape = np.hstack([shape, np.vstack([shape[1:], shape[-1:]])])
    unit: Float64 = shape / np.maximum(np.linalg.norm(shape, axis=1, keepdims=True), 1e-9)
    return unit


def _colour(cells: Float64) -> Float64:
    """The first cepstral coefficients of each cell's band levels, loudness included, each with unit spread."""
    cepstrum = np.maximum(cells, cells.max() - 70) @ cosine_shapes(cells.shape[1]) / cells.shape[1]
    centred = cepstrum - cepstrum.mean(axis=0)
    # One scale for all, so that a coefficient that hardly moves does not count as much as one that does.
    unit: Float64 = centred / (np.sqrt((centred**2).sum(axis=1).mean()) + 1e-9)
    return unit


def _kernel(points: Array) -> Array:
    """(cells, cells) 1 for the same point, falling to -1 with the square of the distance; of one table, in place."""
    squares = (points**2).sum(axis=1)
    alike = points @ points.T
    alike *= 2
    alike -= squares[:, None]
    alike -= squares[None, :]
    np.exp(np.minimum(alike, 0, out=alike), out=alike)
    alike *= 2
    alike -= 1
    return alike


def _borders(harmony: Array, colour: Array, cell: float) -> tuple[list[int], list[float]]:
    """Cell numbers at which sections begin, with the two ends, and how clear each border is."""
    count = len(harmony)
    near, far = (_novelty(harmony, colour, max(2, min(count // 3, round(width / cell)))) for width in (8.0, 16.0))
    novelty: Float64 = (near + far) / 2
    apart = max(2, round(SECTION_SECONDS_MIN / cell))
    borders, clarity = [0], [1.0]
    top = float(novelty.max())
    peaks = [
        i
        for i in range(1, count)
        if novelty[i] == novelty[max(0, i - apart) : i + apart + 1].max() and novelty[i] > max(NOVELTY_MIN, 0.2 * top)
    ]
    for peak in peaks:
        if peak - borders[-1] >= apart and count - peak >= apart:
            borders.append(peak)
            clarity.append(float(min(1.0, novelty[peak] / 0.5)))
    return [*borders, count], [*clarity, 1.0]


def _novelty(harmony: Array, colour: Array, half: int) -> Float64:
    """(cells,) how much the cells before differ from those after, by a tapered checkerboard of 2 * half a side."""
    count = len(harmony)
    position = np.arange(-half, half) + 0.5
    taper = np.exp(-0.5 * (position / (0.5 * half)) ** 2)
    board = np.outer(taper * np.sign(position), taper * np.sign(position))
    board /= np.abs(board).sum()
    # What lies beyond the ends is a mirror image of what lies within.
    mirror = np.pad(np.arange(count), half, mode="reflect" if count > half else "edge")
    novelty = np.zeros(count)
    for cell in range(1, count):
        around = mirror[cell : cell + 2 * half]
        if half <= cell <= count - half:
            rows = slice(cell - half, cell + half)
            block = harmony[rows, rows] + colour[rows, rows]
        else:
            block = (harmony[around] + colour[around])[:, around]
        novelty[cell] = 0.5 * (block * board).sum()
    return np.maximum(novelty, 0)


def _letters(harmony: Array, colour: Array, borders: list[int]) -> list[str]:
    """A letter for each stretch, in the order of appearance: A, B, ... Z, AA, ..."""
    count = len(borders) - 1
    resemblance = np.ones((count, count))
    for one in range(count):
        for other in range(one):
            resemblance[one, other] = resemblance[other, one] = _resemblance(harmony, colour, borders, one, other)
    groups = [{index} for index in range(count)]
    # Sums over all pairs of two groups, so that joining them is adding two rows and two columns.
    while len(groups) > 1:
        sizes = np.array([len(group) for group in groups])
        means = np.where(np.tri(len(groups), k=-1, dtype=np.bool_), resemblance / np.outer(sizes, sizes), -np.inf)
        best = float(means.max())
        if best < ALIKE_MIN:
            break
        i, j = np.argwhere(means == best)[-1].tolist()
        groups[j] |= groups.pop(i)
        resemblance[j] += resemblance[i]
        resemblance[:, j] += resemblance[:, i]
        resemblance = np.delete(np.delete(resemblance, i, axis=0), i, axis=1)
    groups.sort(key=min)
    letter_of = {index: _letter(number) for number, group in enumerate(groups) for index in group}
    return [letter_of[index] for index in range(count)]


def _resemblance(harmony: Array, colour: Array, borders: list[int], one: int, other: int) -> float:
    """How alike two stretches are: near 0.5 for a repeat, below 0 for another part.

    Their colours are set against how much each varies in itself; the best stripe of harmony adds up to a half.
    """
    rows, columns = slice(borders[one], borders[one + 1]), slice(borders[other], borders[other + 1])
    across = float(colour[rows, columns].mean())
    inside = float(colour[rows, rows].mean() + colour[columns, columns].mean()) / 2
    return across - inside + 0.5 * _best_stripe(harmony[rows, columns])


def _best_stripe(block: Array) -> float:
    """The highest mean of a diagonal that is three quarters as long as the shorter side, or of all if none is."""
    height, width = block.shape
    # With one column less, each row moves on by one: upside down, diagonals become columns.
    slanted = np.zeros((height, height + width), np.float32)
    slanted[:, :width] = block[::-1]
    sums = slanted.ravel()[: height * (height + width - 1)].reshape(height, -1).sum(axis=0, dtype=np.float64)
    offsets = np.arange(-(height - 1), width)
    lengths = np.minimum(height, width - offsets) - np.maximum(0, -offsets)
    long = lengths >= max(2, 0.75 * min(height, width))
    return float((sums[long] / lengths[long]).max()) if long.any() else float(block.mean())


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else _letter(number // 26 - 1) + _letter(number % 26)
