"""Sections, fades and segments of recordings whose plan is known."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from adapters.ears.decode import ANALYSIS_RATE
from adapters.ears.spectrum import BANDS, CHORD_RATE, FRAME_RATE, MOMENT_RATE
from adapters.ears.structure import SEGMENTS_MAX, Clocks, _best_stripe, hear_fades, hear_sections, hear_segments
from adapters.ears.trace import CEPSTRUM, trace_of
from tests.ears.grooves import spectra_of
from tests.ears.sounds import noise

RATE = 5.0
Array = NDArray[np.float32]


def parts(plan: str, seconds_each: float = 16.0) -> tuple[Array, Array]:
    """Harmony and timbre of a piece with these sections; equal letters are equal music, played a little otherwise."""
    rng = np.random.default_rng(1)
    count = round(seconds_each * RATE)
    score = {letter: (rng.random((count, 12)) ** 4, 15 * rng.standard_normal(40) - 40) for letter in sorted(set(plan))}
    chroma = np.concatenate([score[letter][0] + 0.05 * rng.random((count, 12)) for letter in plan])
    timbre = np.concatenate([score[letter][1] + 2 * rng.standard_normal((count, 40)) for letter in plan])
    return chroma.astype(np.float32), timbre.astype(np.float32)


@pytest.mark.parametrize("plan", ["ABA", "AABB", "ABAB", "ABACA", "ABCBA"])
def test_repeats_share_a_letter_and_borders_are_where_the_music_changes(plan: str) -> None:
    chroma, timbre = parts(plan)
    stretches = hear_sections(chroma, timbre, RATE, np.zeros(0), 16.0 * len(plan))
    where = {round(stretch.start, 1): stretch.label for stretch in stretches}
    changes = [16.0 * i for i in range(len(plan)) if i == 0 or plan[i] != plan[i - 1]]
    assert [time for time in where if where[time]] == pytest.approx(changes, abs=1.0)
    assert "".join(where.values()) == "".join(plan[i] for i in range(len(plan)) if i == 0 or plan[i] != plan[i - 1])


def test_a_border_moves_onto_the_bar_line_nearby() -> None:
    chroma, timbre = parts("AB")
    bars = np.arange(0.4, 32, 2.0)
    stretches = hear_sections(chroma, timbre, RATE, bars, 32.0)
    assert [stretch.start for stretch in stretches] == pytest.approx([0.0, 16.4])


def test_what_never_changes_has_one_letter() -> None:
    chroma, timbre = parts("AAAA")
    assert {stretch.label for stretch in hear_sections(chroma, timbre, RATE, np.zeros(0), 64.0)} == {"A"}


def test_a_moment_is_one_section_and_nothing_is_none() -> None:
    chroma, timbre = parts("A", 2.0)
    assert [(s.start, s.end, s.label) for s in hear_sections(chroma, timbre, RATE, np.zeros(0), 2.0)] == [(0, 2.0, "A")]
    assert hear_sections(chroma[:0], timbre[:0], RATE, np.zeros(0), 0.0) == ()


def test_hours_of_music_are_cut_in_bounded_time_and_memory() -> None:
    chroma, timbre = parts("ABCD" * 4, 500.0)
    stretches = hear_sections(chroma, timbre, RATE, np.zeros(0), 8000.0)
    assert stretches[-1].end == 8000.0
    assert len({stretch.label for stretch in stretches}) < 26


@pytest.mark.parametrize(
    ("height", "width", "offset"), [(8, 8, 0), (8, 12, 3), (12, 8, -3), (6, 6, 1), (1, 5, 0), (5, 1, 0)]
)
def test_the_best_stripe_is_the_mean_of_the_highest_long_diagonal(height: int, width: int, offset: int) -> None:
    rows, columns = np.indices((height, width))
    block = np.where(columns - rows == offset, 0.75, -0.25).astype(np.float32)
    if min(height, width) > 1:
        # Shorter diagonals than three quarters of the shorter side do not count, however high.
        block[-2, 0] = block[-1, 1] = block[0, -2] = block[1, -1] = 9.0
    assert _best_stripe(block) == pytest.approx(0.75 if min(height, width) > 1 else float(block.mean()))


def level(*points: tuple[float, float]) -> NDArray[np.float64]:
    """Loudness in LUFS at ten steps a second along straight lines between (second, LUFS)."""
    seconds, lufs = zip(*points, strict=True)
    line: NDArray[np.float64] = np.interp(np.arange(0, seconds[-1], 0.1), seconds, lufs)
    return line


def test_a_fade_at_each_end_is_found() -> None:
    fades = hear_fades(level((0, -60), (6, -14), (60, -14), (70, -65)), 10)
    assert fades.in_end == pytest.approx(6, abs=0.7)
    assert fades.out_start == pytest.approx(60, abs=0.7)


@pytest.mark.parametrize(
    "loudness",
    [
        level((0, -14), (60, -14)),
        level((0, -120), (0.2, -14), (60, -14), (60.2, -120), (61, -120)),
        level((0, -26), (20, -24), (21, -12), (60, -12)),
        level((0, -40), (3, -20), (5, -40), (8, -14), (60, -14)),
        level((0, -120), (30, -120)),
    ],
    ids=["steady", "cut", "quiet verse", "up and down", "silence"],
)
def test_what_is_no_fade_is_not_called_one(loudness: NDArray[np.float64]) -> None:
    assert hear_fades(loudness, 10) == (None, None)


def test_segments_lie_between_onsets_and_know_their_peak() -> None:
    clocks = Clocks(frames=100.0, moments=20.0, chords=10.0, seconds=3.0)
    rms = np.full(300, 0.01, np.float32)
    rms[150] = 1.0
    chroma = np.eye(12, dtype=np.float32)[[0] * 10 + [4] * 10 + [7] * 10]
    cepstrum = np.zeros((60, 12), np.float16)
    cepstrum[:, 0] = np.repeat([-30, -20, -10], 20)
    segments = hear_segments(np.array([1.0, 2.0]), chroma, cepstrum, rms, clocks)
    assert [(segment.start, segment.duration) for segment in segments] == [(0, 1), (1, 1), (2, 1)]
    assert [int(np.argmax(segment.pitches)) for segment in segments] == [0, 4, 7]
    assert (segments[1].loudness_max, segments[1].loudness_max_time) == (0.0, 0.5)
    assert segments[0].loudness_max == pytest.approx(-40)
    assert [segment.timbre[0] for segment in segments] == [-30, -20, -10]


def test_the_timbre_of_a_segment_is_the_mean_level_and_the_shape_of_the_bands() -> None:
    heard = spectra_of(noise(4, rate=ANALYSIS_RATE))
    flat = np.full(heard.levels.shape, -30, np.float16)
    # The fourth cosine stays itself in its own coefficient, halved, and is nothing in the others.
    ripple = 8 * np.cos(np.pi / BANDS * (np.arange(BANDS) + 0.5) * 3)
    for levels, expected in ((flat, {0: -30.0}), (flat + ripple.astype(np.float16), {0: -30.0, 3: 4.0})):
        trace = trace_of(replace(heard, levels=levels.astype(np.float16)), np.zeros(0))
        cepstrum = np.zeros(CEPSTRUM)
        cepstrum[list(expected)] = list(expected.values())
        np.testing.assert_allclose(trace.cepstrum, np.tile(cepstrum, (len(trace.cepstrum), 1)), atol=0.02)
        clocks = Clocks(FRAME_RATE, MOMENT_RATE, CHORD_RATE, heard.seconds)
        chroma = np.ones((len(heard.tonal), 12), np.float32)
        segments = hear_segments(np.array([1.0, 2.0]), chroma, trace.cepstrum, trace.rms, clocks)
        assert [segment.timbre for segment in segments] == [pytest.approx(cepstrum, abs=0.02)] * 3


def test_long_recordings_keep_a_bounded_number_of_segments() -> None:
    onsets = np.arange(0.1, 3600, 0.1)
    clocks = Clocks(frames=10.0, moments=10.0, chords=5.0, seconds=3600.0)
    chroma, cepstrum, rms = (
        np.ones((18_000, 12), np.float32),
        np.zeros((36_000, 12), np.float16),
        np.ones(36_000, np.float32),
    )
    assert len(hear_segments(onsets, chroma, cepstrum, rms, clocks)) <= SEGMENTS_MAX + 1
