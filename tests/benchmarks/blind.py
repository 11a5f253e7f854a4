"""Whether genres can be told apart by the sound alone: a portrait of a piece, and whose portraits are nearest.

A portrait knows nothing of the score: only what the wave shows and where our own ears hear beats and bars. It is made
of how fast the piece is, how its energy is spread over octaves and over the width of the room, how often something
begins, and when in the bar low, middle and high things begin, which is the drum pattern.
"""

from __future__ import annotations

import wave
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domain.analyses.findings import Analysis

Array = NDArray[np.floating]

FRAME, HOP = 1024, 441
#: Octaves by their middle (Hz), and the registers in which a bar is looked at.
OCTAVES = tuple(31.25 * 2**octave for octave in range(10))
REGISTERS = ((20, 130), (200, 2_000), (6_000, 20_000))
STEPS = 16
#: How many neighbours vote.
NEIGHBOURS = 5


def portrait(path: Path, heard: Analysis) -> tuple[float, ...]:
    """What a piece sounds like in numbers; pieces that sound alike have portraits near one another."""
    middle, side, rate = _sides(path)
    spectrum = _spectrum(middle)
    hertz = np.fft.rfftfreq(FRAME, 1 / rate)
    octaves = [(hertz >= at / 2**0.5) & (hertz < at * 2**0.5) for at in OCTAVES]
    power = np.array([spectrum[:, each].sum(axis=1).mean() for each in octaves])
    width = np.mean(side**2) / (np.mean(middle**2) + 1e-12)
    seconds = len(middle) / rate
    # A whole group weighs as much as any other, however many numbers it has.
    groups = (
        3.0 * np.log2([heard.findings.bpm or 60.0]),
        _decibels(power / power.sum()) / 10 / len(OCTAVES) ** 0.5,
        _decibels(np.array([width])) / 10,
        np.array([np.log2(0.1 + len(heard.detail.onsets) / seconds)]),
        1.5 * _bar(spectrum, hertz, rate / HOP, heard).ravel(),
    )
    return tuple(float(round(each, 4)) for group in groups for each in group)


def _sides(path: Path) -> tuple[Array, Array, int]:
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2) / 32768
    return samples.mean(axis=1), (samples[:, 0] - samples[:, 1]) / 2, rate


def _spectrum(sound: Array) -> Array:
    """(moments, bins) power."""
    window = np.hanning(FRAME)
    frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[::HOP]
    return np.concatenate(
        [np.abs(np.fft.rfft(frames[at : at + 512] * window, axis=1)) ** 2 for at in range(0, len(frames), 512)]
    )


def _decibels(ratio: Array) -> Array:
    return np.asarray(10 * np.log10(np.maximum(ratio, 1e-9)))


def _bar(spectrum: Array, hertz: Array, per_second: float, heard: Analysis) -> Array:
    """(registers, steps) how much begins on each sixteenth of a bar, as shares of all that begins in the register."""
    downbeats = np.array(heard.detail.downbeats) * per_second
    rows = np.zeros((len(REGISTERS), STEPS))
    if len(downbeats) < 2:
        return rows
    for register, (low, high) in enumerate(REGISTERS):
        level = np.log(spectrum[:, (hertz >= low) & (hertz < high)].sum(axis=1) + 1e-6)
        begins = np.maximum(np.diff(level, prepend=level[0]), 0)
        for start, end in pairwise(downbeats):
            places = start + (end - start) * (np.arange(STEPS) / STEPS)
            for step, place in enumerate(places):
                at = round(place)
                rows[register, step] += begins[max(0, at - 2) : at + 3].sum()
    return np.asarray(rows / (rows.sum(axis=1, keepdims=True) + 1e-9))


def told_apart(portraits: Sequence[tuple[float, ...]], genres: Sequence[str]) -> list[str]:
    """For each piece the genre that its nearest neighbours name, itself left out."""
    points = np.array(portraits)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    named = []
    for row in distances:
        near = np.argsort(row)[:NEIGHBOURS]
        votes: dict[str, float] = {}
        for each in near:
            votes[genres[each]] = votes.get(genres[each], 0.0) + 1 / (0.05 + row[each])
        named.append(max(votes, key=lambda name: votes[name]))
    return named
