"""Trains the rhythm networks on the material and says how well they do on pieces they have not seen.

    python -m infra.training.rhythm MATERIAL... --weights adapters/ears/weights

Every figure printed is of pieces that the network behind it was not fitted on (three folds); the sureness of a tempo is
learned from such figures too, since a network is always too sure of what it has learned by heart.
"""

from __future__ import annotations

import argparse
import pickle
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.ears.beats import PARTS, folded, follow, frame_periods, local_periods, rotations
from adapters.ears.metre import METRES, bar_positions, beat_features, metre_features
from adapters.ears.network import Network, chances
from adapters.ears.spectrum import FRAME_RATE, Spectra
from adapters.ears.tempo import CANDIDATES, candidate_periods, features, pulse, sureness_features
from adapters.ears.trace import Trace, trace_of
from infra.training.fit import fit_choice, save, vote

Array = NDArray[np.float32]
Times = NDArray[np.float64]

NEAR = 0.04
VOTERS = 4
FOLDS = 3
#: Beats count as found within 70 ms.
BEAT_NEAR = 0.07


class Case(NamedTuple):
    """One heard piece, as each of the networks sees it."""

    style: str
    bpm: float
    numerator: int
    beats_per_bar: int
    #: Candidate periods in seconds, what was measured of each, and which are right.
    periods: Array
    measured: Array
    right: NDArray[np.bool_]
    #: What `sureness_features` makes of the likelihoods of the candidates is measured when these are known.
    sureness: Any
    #: Rotations of the folded pattern around the followed beats, and which of the first `PARTS` is right; or None.
    rotated: Array | None
    place: int
    #: What the metre is judged by at the true tempo; None without enough of them.
    metre: Array | None
    #: Features of the true beats, and which of them begin a bar.
    beats: Array
    first: NDArray[np.bool_]


def main() -> None:
    """Report on three folds, then fit on everything and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("material", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path, required=True)
    options = parser.parse_args()
    cases = [_case(piece) for folder in options.material for piece in pieces(folder)]
    order = np.random.default_rng(0).permutation(len(cases))
    cases = [cases[index] for index in order]
    counted = [case for case in cases if case.bpm]
    print(len(cases), "pieces,", len(counted), "of them with a beat")

    likely = _tempo(cases, options.weights)
    _sureness(cases, likely, options.weights)
    _metre(counted, options.weights)
    _phase(counted, options.weights)
    _downbeats(counted, options.weights)


def pieces(folder: Path) -> Iterator[dict[str, Any]]:
    """Every heard piece of the material."""
    for shard in sorted(folder.glob("*.pkl")):
        yield from pickle.loads(shard.read_bytes())  # noqa: S301 - our own files


def heard_in(piece: dict[str, Any]) -> Trace:
    """What the ears keep of the parts of the spectrogram that rhythm uses, as they were heard."""
    nothing = np.zeros(0, np.float32)
    spectra = Spectra(
        seconds=piece["seconds"],
        levels=piece["levels"],
        rms=nothing,
        centroid=nothing,
        rolloff=nothing,
        flatness=nothing,
        crossings=nothing,
        tonal=piece["tonal"],
    )
    return trace_of(spectra, piece["taps"])


def _case(piece: dict[str, Any]) -> Case:
    trace = heard_in(piece)
    heard = pulse(trace)
    periods = candidate_periods(heard)
    right = np.abs(60 / periods - piece["bpm"]) <= NEAR * piece["bpm"]
    light = heard._replace(curve=heard.curve[:0], signals=heard.signals[:0], looks=heard.looks[:0])
    true = piece["beats"] * FRAME_RATE
    true = true[(true >= 0) & (true < len(heard.curve) - 4)]
    rotated, place, metre, beats, first = None, 0, None, np.zeros((0, 1), np.float32), np.zeros(0, np.bool_)
    if len(true) >= 8 and piece["bpm"]:
        locally = frame_periods(local_periods(heard.looks, 60 / piece["bpm"]), len(heard.curve))
        followed = follow(heard.curve, locally).astype(np.float64)
        metre = metre_features(heard, 60 / piece["bpm"])
        found = _place(followed, true)
        if found is not None:
            rotated, place = rotations(folded(heard.signals, followed)), found
        if piece["numerator"] != 7:
            beats = beat_features(heard, trace, true)
            bars = piece["downbeats"] * FRAME_RATE
            first = np.abs(true[:, None] - bars).min(axis=1) < BEAT_NEAR * FRAME_RATE
    return Case(
        style=piece["style"],
        bpm=piece["bpm"],
        numerator=piece["numerator"],
        beats_per_bar=piece["beats_per_bar"],
        periods=periods,
        measured=features(heard, periods),
        right=right,
        sureness=(light, piece["seconds"]),
        rotated=rotated,
        place=place,
        metre=metre,
        beats=beats,
        first=first,
    )


def _place(followed: Times, true: Times) -> int | None:
    """In which part of the followed beats the true ones fall, None where they keep no place."""
    if len(followed) < 5:
        return None
    within = true[(true > followed[0]) & (true < followed[-1])]
    if len(within) < 4:
        return None
    turn = np.exp(2j * np.pi * np.interp(within, followed, np.arange(len(followed)))).mean()
    return round(float(np.angle(turn)) / (2 * np.pi) * PARTS) % PARTS if abs(turn) > 0.7 else None


def _folds(count: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """(fitted on, asked about) indices; pieces are in random order already."""
    index = np.arange(count)
    return [(index[index % FOLDS != fold], index[index % FOLDS == fold]) for fold in range(FOLDS)]


def _tempo(cases: Sequence[Case], weights: Path) -> list[Array]:
    """Fit the choice among candidates; returns the likelihoods that networks which did not see a piece give it."""
    count, width = len(cases), cases[0].measured.shape[1]
    measured = np.zeros((count, CANDIDATES + 1, width), np.float32)
    present = np.zeros(measured.shape[:2], np.bool_)
    right = np.zeros(measured.shape[:2], np.float32)
    for index, case in enumerate(cases):
        some = len(case.periods)
        measured[index, :some], present[index, :some] = case.measured, True
        right[index, :some] = case.right / max(1, case.right.sum())
    scores: dict[int, Array] = {}
    for fitted, asked in _folds(count):
        network = vote([fit_choice(measured[fitted], present[fitted], right[fitted], seed=seed) for seed in range(2)])
        scores |= {int(index): network(cases[index].measured)[:, 0] for index in asked}
    ordered = [scores[index] for index in range(count)]
    sharpness = _sharpness(cases, ordered)
    first, second = [], []
    styles: dict[str, list[bool]] = defaultdict(list)
    for case, score in zip(cases, ordered, strict=True):
        if not case.bpm:
            continue
        bpm = 60 / float(case.periods[int(np.argmax(score))])
        first.append(abs(bpm - case.bpm) <= NEAR * case.bpm)
        factors = (1, 0.5, 2, 1 / 3, 3)
        second.append(any(abs(bpm - case.bpm * factor) <= NEAR * case.bpm * factor for factor in factors))
        styles[case.style].append(first[-1])
    print(f"tempo: Accuracy1 {np.mean(first):.3f} Accuracy2 {np.mean(second):.3f}, sharpness {sharpness:.2f}")
    print("  ", ", ".join(f"{style} {np.mean(hits):.2f}" for style, hits in sorted(styles.items())))
    network = vote([fit_choice(measured, present, right, seed=seed) for seed in range(VOTERS)])
    save(network, weights / "tempo.npz", sharpness)
    return [chances(score * np.float32(sharpness)) for score in ordered]


def _sharpness(cases: Sequence[Case], scores: Sequence[Array]) -> float:
    """The factor on the scores that makes their softmax the likeliest account of what was right."""

    def loss(factor: float) -> float:
        told = [
            np.log(chances(score * np.float32(factor))[case.right].sum() + 1e-6)
            for case, score in zip(cases, scores, strict=True)
            if case.right.any()
        ]
        return -float(np.mean(told))

    trials = [float(trial) for trial in np.linspace(0.3, 1.5, 25)]
    return trials[int(np.argmin([loss(trial) for trial in trials]))]


def _sureness(cases: Sequence[Case], likely: Sequence[Array], weights: Path) -> None:
    """Fit how likely the first choice is right, sound without a beat included."""
    measured = np.stack(
        [
            sureness_features(case.sureness[0], case.periods, chance, case.sureness[1])
            for case, chance in zip(cases, likely, strict=True)
        ]
    )
    right = np.array([bool(case.right[int(np.argmax(chance))]) for case, chance in zip(cases, likely, strict=True)])
    sure = _classified(measured, right.astype(np.intp), 2, weights / "sureness.npz", decay=0.01)[:, 1]
    print("sureness: said, right, n")
    for low, high in ((0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 0.9), (0.9, 0.97), (0.97, 1.01)):
        within = (sure >= low) & (sure < high)
        if within.any():
            print(f"   {low:.2f}..{high:.2f}: {sure[within].mean():.2f} {right[within].mean():.2f} {within.sum()}")


def _metre(cases: Sequence[Case], weights: Path) -> None:
    known = [case for case in cases if case.metre is not None and case.numerator in METRES]
    measured = np.stack([case.metre for case in known if case.metre is not None])
    label = np.array([METRES.index(case.numerator) for case in known])
    told = _classified(measured, label, len(METRES), weights / "metre.npz", noise=0.5, drop=0.3, decay=0.01)
    table = np.zeros((len(METRES), len(METRES)), int)
    np.add.at(table, (label, told.argmax(axis=1)), 1)
    print(f"metre: {np.trace(table) / table.sum():.3f}, truth by row of {METRES}:", table.tolist())


def _phase(cases: Sequence[Case], weights: Path) -> None:
    """Fit which place in the folded pattern is the beat."""
    known = [case for case in cases if case.rotated is not None]
    rotated = np.stack([case.rotated for case in known if case.rotated is not None])
    present = np.ones(rotated.shape[:2], np.bool_)
    right = np.zeros(rotated.shape[:2], np.float32)
    label = np.array([case.place for case in known])
    for half in (0, PARTS):
        right[np.arange(len(known)), label + half] = 0.5
    guess = np.zeros(len(known), int)
    options: dict[str, Any] = {"rounds": 25, "hidden": (48, 24)}
    for fitted, asked in _folds(len(known)):
        network = vote(
            [fit_choice(rotated[fitted], present[fitted], right[fitted], seed=seed, **options) for seed in range(2)]
        )
        for index in asked:
            likely = chances(network(rotated[index])[:, 0])
            guess[index] = int(np.argmax(likely[:PARTS] + likely[PARTS:]))
    print(f"phase: {np.mean(guess == label):.3f} right, {np.mean(label == 0):.3f} if never moved, n={len(known)}")
    network = vote([fit_choice(rotated, present, right, seed=seed, **options) for seed in range(VOTERS)])
    save(network, weights / "phase.npz")


def _downbeats(cases: Sequence[Case], weights: Path) -> None:
    """Fit whether a beat begins a bar, from itself and its neighbours."""
    known = [case for case in cases if len(case.beats)]
    options: dict[str, Any] = {"rounds": 6, "noise": 0.2, "drop": 0.25}
    hits: dict[str, list[float]] = defaultdict(list)

    def fitted_on(some: Sequence[Case], seed: int) -> Network:
        measured = np.concatenate([case.beats for case in some])[:, None]
        first = np.concatenate([case.first for case in some])
        right = np.zeros((len(first), 1, 2), np.float32)
        right[np.arange(len(first)), 0, first.astype(int)] = 1
        return fit_choice(measured, np.ones(measured.shape[:2], np.bool_), right, seed=seed, **options)

    for fitted, asked in _folds(len(known)):
        network = fitted_on([known[index] for index in fitted], 0)
        for index in asked:
            case = known[index]
            scores = network(case.beats)
            begins = bar_positions(scores[:, 1] - scores[:, 0], case.beats_per_bar) == 0
            found = float(2 * (begins & case.first).sum() / max(1, begins.sum() + case.first.sum()))
            for group in ("all", case.style):
                hits[group].append(found)
    print("downbeats, F:", ", ".join(f"{group} {np.mean(values):.2f}" for group, values in sorted(hits.items())))
    save(vote([fitted_on(known, seed) for seed in range(3)]), weights / "downbeat.npz")


def _classified(measured: Array, label: NDArray[np.intp], classes: int, path: Path, **options: Any) -> Array:
    """Fit a classifier and save it; returns the (n, classes) likelihoods from networks that did not see the case."""
    right = np.zeros((len(label), 1, classes), np.float32)
    right[np.arange(len(label)), 0, label] = 1
    present = np.ones((len(label), 1), np.bool_)
    told = np.zeros((len(label), classes), np.float32)
    for fitted, asked in _folds(len(label)):
        network = vote(
            [
                fit_choice(measured[fitted][:, None], present[fitted], right[fitted], seed=seed, **options)
                for seed in range(2)
            ]
        )
        told[asked] = network(measured[asked])
    trials = [float(trial) for trial in np.linspace(0.3, 1.5, 25)]

    def loss(factor: float) -> float:
        return -float(
            np.mean([np.log(chances(row * factor)[one] + 1e-6) for row, one in zip(told, label, strict=True)])
        )

    sharpness = trials[int(np.argmin([loss(trial) for trial in trials]))]
    network = vote([fit_choice(measured[:, None], present, right, seed=seed, **options) for seed in range(VOTERS)])
    save(network, path, sharpness)
    return np.stack([chances(row * np.float32(sharpness)) for row in told])


if __name__ == "__main__":
    main()
