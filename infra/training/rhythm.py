"""Trains the rhythm networks on the material and says how well they do on pieces they have not seen.

python -m infra.training.rhythm MATERIAL --weights adapters/ears/weights
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.ears.metre import METRES
from adapters.ears.network import Network, chances
from adapters.ears.onsets import attacks
from adapters.ears.spectrum import Spectra
from adapters.ears.tempo import CANDIDATES, candidate_periods, features, pulse
from infra.training.fit import fit_choice, save, vote

Array = NDArray[np.float32]

NEAR = 0.04
VOTERS = 5


class Case(NamedTuple):
    """One heard piece, as the tempo and metre networks see it."""

    piece: dict[str, Any]
    periods: Array
    measured: Array
    right: NDArray[np.bool_]


def main() -> None:
    """Fit on four fifths, report on the last fifth, then fit on everything and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("material", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    options = parser.parse_args()
    cases = [_case(piece) for piece in pieces(options.material)]
    print(len(cases), "pieces")
    held = len(cases) // 5
    for part in ("report", "ship"):
        fitted_on = cases[held:] if part == "report" else cases
        tempo = _fit_tempo(fitted_on)
        metre = _fit_metre(fitted_on)
        if part == "report":
            sharpness = _report_tempo(tempo, cases[:held])
            _report_metre(metre, cases[:held])
        else:
            save(tempo, options.weights / "tempo.npz", sharpness)
            save(metre, options.weights / "metre.npz")


def pieces(folder: Path) -> Iterator[dict[str, Any]]:
    """Every heard piece of the material."""
    for shard in sorted(folder.glob("*.pkl")):
        yield from pickle.loads(shard.read_bytes())  # noqa: S301 - our own files


def spectra_of(piece: dict[str, Any]) -> Spectra:
    """The parts of the spectrogram that rhythm uses, as they were heard."""
    nothing = np.zeros(0, np.float32)
    return Spectra(
        seconds=piece["seconds"],
        levels=piece["levels"],
        rms=nothing,
        centroid=nothing,
        rolloff=nothing,
        flatness=nothing,
        crossings=nothing,
        tonal=piece["tonal"],
        taps=piece["taps"],
    )


def _case(piece: dict[str, Any]) -> Case:
    spectra = spectra_of(piece)
    heard = pulse(attacks(spectra.levels), spectra)
    periods = candidate_periods(heard)
    right = np.abs(60 / periods - piece["bpm"]) <= NEAR * piece["bpm"]
    slim = {key: value for key, value in piece.items() if key not in {"levels", "tonal"}}
    return Case(slim, periods, features(heard, periods), right)


def _fit_tempo(cases: list[Case]) -> Network:
    count, width = len(cases), cases[0].measured.shape[1]
    measured = np.zeros((count, CANDIDATES + 1, width), np.float32)
    present = np.zeros(measured.shape[:2], np.bool_)
    right = np.zeros(measured.shape[:2], np.float32)
    for index, case in enumerate(cases):
        some = len(case.periods)
        measured[index, :some], present[index, :some] = case.measured, True
        right[index, :some] = case.right / max(1, case.right.sum())
    return vote([fit_choice(measured, present, right, seed=seed) for seed in range(VOTERS)])


def _fit_metre(cases: list[Case]) -> Network:
    known = [case for case in cases if case.right.any() and case.piece["numerator"] in METRES]
    measured = np.stack([case.measured[int(np.argmax(case.right))] for case in known])[:, None]
    present = np.ones(measured.shape[:2], np.bool_)
    right = np.zeros((len(known), 1, len(METRES)), np.float32)
    for index, case in enumerate(known):
        right[index, 0, METRES.index(case.piece["numerator"])] = 1
    return vote([fit_choice(measured, present, right, seed=seed, noise=0.2) for seed in range(VOTERS)])


def _report_tempo(network: Network, cases: list[Case]) -> float:
    """Print both accuracies on unseen pieces, by style; the sharpness that makes the probabilities honest."""
    scores = [network(case.measured)[:, 0] for case in cases]
    first: list[bool] = []
    second: list[bool] = []
    styles: dict[str, list[bool]] = {}
    for case, score in zip(cases, scores, strict=True):
        bpm = 60 / float(case.periods[int(np.argmax(score))])
        truth = case.piece["bpm"]
        first.append(abs(bpm - truth) <= NEAR * truth)
        second.append(any(abs(bpm - truth * factor) <= NEAR * truth * factor for factor in (1, 0.5, 2, 1 / 3, 3)))
        styles.setdefault(case.piece["style"], []).append(first[-1])
    print(f"tempo: Accuracy1 {np.mean(first):.3f} Accuracy2 {np.mean(second):.3f} n={len(first)}")
    print("  ", ", ".join(f"{style} {np.mean(hits):.2f}" for style, hits in sorted(styles.items())))

    def loss(sharpness: float) -> float:
        return -float(
            np.mean(
                [
                    np.log(chances(score * np.float32(sharpness))[case.right].sum() + 1e-6)
                    for case, score in zip(cases, scores, strict=True)
                    if case.right.any()
                ]
            )
        )

    trials = np.linspace(0.3, 1.5, 25)
    sharpness = float(trials[int(np.argmin([loss(float(trial)) for trial in trials]))])
    print("   sharpness", sharpness)
    return sharpness


def _report_metre(network: Network, cases: list[Case]) -> None:
    table = np.zeros((len(METRES), len(METRES)), int)
    for case in cases:
        if case.right.any() and case.piece["numerator"] in METRES:
            guess = int(np.argmax(network(case.measured[[int(np.argmax(case.right))]])[0]))
            table[METRES.index(case.piece["numerator"]), guess] += 1
    print(f"metre: {np.trace(table) / table.sum():.3f}", "truth by row", METRES, table.tolist())


if __name__ == "__main__":
    main()
