"""Trains the network of first beats, and the weights by which place, metre and first beats are chosen together.

    python -m infra.training.bars make OUT --count 1200 --first 95000 --font A.sf2 [--abc FOLDER --scores scores.pkl]
    python -m infra.training.bars fit OUT [--dry]

`make` keeps of every piece what the ears keep (`Trace`) and its truth; half of the pieces are of the grooves whose
bars are hard to hear. `fit` prints what is right of pieces that the fit has not seen, and writes `bars.npz` and
`count.json`.
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.ears import metre
from adapters.ears.beats import moved
from adapters.ears.counting import EVIDENCE, readings
from adapters.ears.metre import METRES, beat_features, beats_in, metre_chances
from adapters.ears.network import WEIGHTS, Network, trained
from adapters.ears.rhythm import row_at
from adapters.ears.spectrum import FRAME_RATE
from adapters.ears.tempo import Pulse, pulse
from adapters.ears.trace import Trace, Tracer
from infra.training.certainty import BARS_RIGHT, NEAR_SECONDS, _share_found
from infra.training.composer import compose
from infra.training.fit import fit_choice, save, vote
from infra.training.material import Sources, add_sources, drawn
from infra.training.performer import Performance, perform

Array = NDArray[np.float32]
Times = NDArray[np.float64]

#: Grooves whose first beats are hard to hear, each as often as it stands here.
HARD = (
    "jazz", "jazz", "shuffle", "shuffle", "shuffle", "swing", "onedrop", "onedrop", "onedrop", "reggae", "ska", "five",
    "five", "slow6", "slow6", "rumble", "techno", "house", "trance", "samba", "salsa", "latin", "waltz", "viennese",
    "bossa", "disco",
)  # fmt: skip
SHARD = 20
FOLDS, VOTERS = 3, 3
BEATS_RIGHT = 0.8
#: How strongly the weights of evidence are drawn to 0.
RIDGE = 0.3


class Known(NamedTuple):
    """What stayed of a piece, and its truth: seconds of beats and of first beats of bars."""

    style: str
    bpm: float
    numerator: int
    trace: Trace
    beats: NDArray[np.float64]
    downbeats: NDArray[np.float64]


def known_of(performance: Performance) -> Known:
    """What is kept of a piece that was played."""
    piece, tracer = performance.piece, Tracer()
    tracer.feed(performance.sound)
    known = piece.style, performance.bpm, piece.numerator, tracer.finish()
    return Known(*known, performance.beats, performance.downbeats)


def known_in(folders: Sequence[Path]) -> list[Known]:
    """Everything in the shards of some folders."""
    return [
        one
        for folder in folders
        for path in sorted(folder.glob("*.pkl"))
        for one in pickle.loads(path.read_bytes())  # noqa: S301 - our own files
    ]


def make(out: Path, sources: Sources, first: int, count: int) -> None:
    """Write shards of `SHARD` pieces; shard n depends on the seed n alone, and what is there is kept."""
    out.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + -(-count // SHARD)):
        path, rng = out / f"{number}.pkl", np.random.default_rng(number)
        made: list[Known] = []
        while len(made) < SHARD and not path.exists():
            hard = rng.random() < 0.5
            seconds = float(rng.uniform(14, 36))
            piece = compose(rng, str(rng.choice(HARD)), seconds) if hard else drawn(rng, sources.tunes, sources.scores)
            if piece is None or not piece.counted:
                continue
            try:
                performance = perform(piece, rng, sources.fonts)
            except (subprocess.SubprocessError, OSError) as fault:
                print(f"{piece.style}: {fault}", file=sys.stderr)
                continue
            made.append(known_of(performance))
        if made:
            path.write_bytes(pickle.dumps(made, 5))
            print(path, flush=True)


class Row(NamedTuple):
    """A piece as both fits see it: rows of beats at several places, and what is true of them."""

    known: Known
    heard: Pulse
    #: Frames of the beats as they are followed at the true tempo, and both networks' chances of each metre there.
    beats: Times
    chances: tuple[Array, Array]


def row_of(known: Known) -> Row | None:
    """What is followed in a piece; None where there is too little."""
    heard = pulse(known.trace)
    period = 60 / known.bpm
    beats = row_at(heard, period).beats
    if len(beats) < 8 or known.numerator == 7:
        return None
    return Row(known, heard, beats, metre_chances(heard, period))


def examples(row: Row) -> tuple[Array, NDArray[np.intp]]:
    """Features of beats where they are tapped, with which of them begin bars, and of the same beats at wrong places."""
    frames = len(row.heard.signals)
    features: list[Array] = []
    labels: list[NDArray[np.intp]] = []
    for place in (0, 3, 6, 9):
        beats = moved(row.beats, place, frames)
        right = _share_found(beats / FRAME_RATE, row.known.beats) >= BEATS_RIGHT
        # Wrong quarters of a beat are wrong in many ways: one of the two is enough.
        if len(beats) < 8 or (place == 3 and not right):
            continue
        features.append(beat_features(row.heard, row.known.trace, beats))
        apart = np.abs(beats[:, None] / FRAME_RATE - row.known.downbeats).min(axis=1, initial=9.0)
        labels.append(((apart < NEAR_SECONDS) if right else np.zeros(len(beats), np.bool_)).astype(np.intp))
    return np.concatenate(features), np.concatenate(labels)


def fit(sources: Sequence[Path], *, dry: bool) -> None:
    """Fit the network of bars, then the weights of readings to what such networks say of pieces they have not seen."""
    known = known_in(sources)
    rows = [row for row in map(row_of, known) if row is not None]
    made = [examples(row) for row in rows]
    fold = np.random.default_rng(5).permutation(len(rows)) % FOLDS
    networks = [network_of([one for one, at in zip(made, fold, strict=True) if at != out], 1) for out in range(FOLDS)]
    cases = []
    for row, at in zip(rows, fold, strict=True):
        with_network("bars", networks[at])
        cases.append(case_of(row))
    usable = [case for case in cases if case is not None]
    print(len(rows), "pieces,", len(usable), "with a right reading")
    weights = logit([(evidence, right) for evidence, right, _ in usable])
    parts = np.random.default_rng(6).permutation(len(usable)) % FOLDS
    told = []
    for out in range(FOLDS):
        fitted = logit([case[:2] for case, at in zip(usable, parts, strict=True) if at != out])
        told += [
            truth[int(np.argmax(evidence @ fitted))]
            for (evidence, _, truth), at in zip(usable, parts, strict=True)
            if at == out
        ]
    beats, metre, bars = np.mean(told, axis=0)
    print(f"of these: beats {beats:.3f}, metre {metre:.3f}, bars {bars:.3f}")
    print(", ".join(f"{name} {weight:.2f}" for name, weight in zip(EVIDENCE, weights, strict=True)))
    if not dry:
        save(network_of(made, VOTERS), WEIGHTS / "bars.npz")
        (WEIGHTS / "count.json").write_bytes(msgspec.json.encode([round(float(one), 4) for one in weights]) + b"\n")


def network_of(made: Sequence[tuple[Array, NDArray[np.intp]]], voters: int) -> Network:
    """Networks that tell first beats of bars from others and from what is no beat, as one that votes."""
    measured, label = (np.concatenate(parts) for parts in zip(*made, strict=True))
    right = np.zeros((len(label), 1, 2), np.float32)
    right[np.arange(len(label)), 0, label] = 1
    present = np.ones((len(label), 1), np.bool_)
    options: dict[str, Any] = {"rounds": 5, "noise": 0.2, "drop": 0.25}
    return vote([fit_choice(measured[:, None], present, right, seed=seed, **options) for seed in range(voters)])


def with_network(name: str, network: Network) -> None:
    """Let the ears hear by this network instead of the one that is stored."""
    vars(metre)["trained"] = lambda wanted: network if wanted == name else trained(wanted)


def case_of(row: Row) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Of each reading the evidence, whether it is right, and whether beats, metre and first beats are."""
    found, rows = readings(row.heard, row.known.trace, row.beats, row.chances)
    truth = []
    for one in found:
        seconds = rows[one.place][0] / FRAME_RATE
        begins = seconds[one.first :: beats_in(METRES[one.metre])]
        truth.append(
            (
                _share_found(seconds, row.known.beats) >= BEATS_RIGHT,
                METRES[one.metre] == row.known.numerator,
                _share_found(begins, row.known.downbeats) >= BARS_RIGHT,
            )
        )
    right = np.array([all(one) for one in truth], np.float64)
    if not right.any():
        return None
    return np.array([one.evidence for one in found]), right / right.sum(), np.array(truth, np.float64)


def logit(cases: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> NDArray[np.float64]:
    """The weights that make the right readings likeliest (McFadden 1974), by Newton's method with a ridge."""
    width = cases[0][0].shape[1]
    weights = np.zeros(width)
    for _ in range(60):
        slope, bend = RIDGE * weights, RIDGE * np.eye(width)
        for evidence, right in cases:
            scores = evidence @ weights
            likely = np.exp(scores - scores.max())
            likely /= likely.sum()
            mean = evidence.T @ likely
            slope = slope + mean - evidence.T @ right
            bend = bend + (evidence * likely[:, None]).T @ evidence - np.outer(mean, mean)
        weights = weights - np.clip(np.linalg.solve(bend, slope), -1, 1)
    return weights


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=("make", "fit"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="more folders to fit to")
    parser.add_argument("--dry", action="store_true", help="print what is right only")
    add_sources(parser)
    options = parser.parse_args()
    if options.task == "make":
        make(options.folder, Sources.of(options), options.first, options.count)
    else:
        fit([options.folder, *options.also], dry=options.dry)


if __name__ == "__main__":
    main()
