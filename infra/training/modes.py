"""Trains the ear for modes: songs in mixolydian, dorian, phrygian, lydian and on dominant sevenths among plain ones.

    python -m infra.training.modes --count 6000 [--abc FOLDER ...] [--scores scores.pkl]

Pieces are sketched as `infra.training.key` sketches them: half are plain, half are not. Scores
(`infra.training.scores`) come without their keys, so of them the network of keys is believed. What is printed is of
pieces that the networks have not seen, at the share of modal music that the ears assume
(`adapters.ears.key.RARER`).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.ears.key import KINDS, evidence, key_probabilities, modes_in
from adapters.ears.network import WEIGHTS
from adapters.ears.spectrum import CHORD_RATE
from infra.training.corpus import score_piece, tunes_of
from infra.training.key import (
    SMOOTHING,
    VOTERS,
    Heard,
    drawn_piece,
    forward,
    hear,
    key_of,
    modal_song,
    no_music,
    saved,
    sharpness,
    trained_on,
)

PLAIN = 2


class Case(NamedTuple):
    """A piece as the network sees it: `evidence`, and how right each of its answers (kind by kind) is."""

    source: str
    heard: NDArray[np.float32]
    target: NDArray[np.float64]


def main() -> None:
    """Make the material, fit to it, say what was right, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--abc", type=Path, nargs="*", default=[])
    parser.add_argument("--scores", type=Path)
    options = parser.parse_args()
    tunes = [one for one in tunes_of(sorted(f for folder in options.abc for f in folder.glob("*.abc"))) if key_of(one)]
    scores = pickle.loads(options.scores.read_bytes()) if options.scores else []  # noqa: S301 - our own file
    shards = range(options.first, options.first + -(-options.count // 50))
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        made = pool.starmap(shard, [(number, tunes, scores) for number in shards], chunksize=1)
    cases = [case for one in made for case in one]
    views = np.stack([[np.roll(case.heard, -tonic, axis=1).ravel() for tonic in range(12)] for case in cases])
    targets = np.stack([case.target for case in cases])
    held_back = np.arange(len(cases)) % 8 == 0
    networks = [trained_on(views[~held_back], targets[~held_back], seed) for seed in range(VOTERS)]
    scores_given = np.mean([forward(network, views[held_back])[1] for network in networks], axis=0)
    factor = sharpness(scores_given, targets[held_back])
    saved(networks, factor, WEIGHTS / "mode.npz")
    report([case for case, out in zip(cases, held_back, strict=True) if out])


def shard(number: int, tunes: list[str], scores: list[Any]) -> list[Case]:
    """Fifty cases that depend on their number alone."""
    rng, cases = np.random.default_rng(170_000 + number), list[Case]()
    while len(cases) < 50:
        case = drawn(rng, tunes, scores)
        if case is not None:
            cases.append(case)
    return cases


def drawn(rng: np.random.Generator, tunes: list[str], scores: list[Any]) -> Case | None:
    """A modal song, or a plain song, tune or score, or what has no key; now and then only a part of it."""
    target = np.zeros(12 * len(KINDS))
    if rng.random() < 0.5:
        modal = modal_song(rng)
        source, salience = modal.source, modal.salience
        target[12 * KINDS.index(source) + (modal.tonic or 0)] = 1
    elif scores and rng.random() < 0.25:
        _, metre, notes = scores[int(rng.integers(len(scores)))]
        score = score_piece(notes, metre, rng, float(rng.uniform(16, 40)))
        if score is None:
            return None
        source, salience = "score", hear(score, rng)
        target[: 12 * PLAIN] = key_probabilities(salience)
    else:
        one: Heard | None = no_music(rng) if rng.random() < 0.12 else drawn_piece(rng, tunes, [])
        if one is None:
            return None
        source, salience = one.source, one.salience
        if one.tonic is None:
            target[: 12 * PLAIN] = 1 / (12 * PLAIN)
        else:
            target[12 * one.minor + one.tonic] = 1
    if rng.random() < 0.3:
        count = len(salience)
        salience = salience[int(rng.integers(count // 3 + 1)) : count - int(rng.integers(count // 3 + 1))]
    if len(salience) < CHORD_RATE:
        return None
    return Case(source, evidence(salience), (1 - SMOOTHING) * target + SMOOTHING / len(target))


def report(cases: list[Case]) -> None:
    """Print how often a mode is named of each kind of piece, and how often that is right."""
    said = [modes_in(case.heard) for case in cases]
    for source in sorted({case.source for case in cases}):
        some = [(one.ravel(), case.target) for one, case in zip(said, cases, strict=True) if case.source == source]
        row = [f"{source:12s} n={len(some):4d} best right {np.mean([a.argmax() == t.argmax() for a, t in some]):.2f};"]
        for least in (0.5, 0.7, 0.8, 0.9, 0.95):
            named = [(a, t) for a, t in some if a.argmax() >= 12 * PLAIN and a.max() >= least]
            right = sum(int(a.argmax() == t.argmax()) for a, t in named)
            row.append(f"{least:g}: {len(named)} named, {right} right;")
        print(" ".join(row))


if __name__ == "__main__":
    main()
