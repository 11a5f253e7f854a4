"""Trains the rhythm networks on the material and says how well they do on pieces they have not seen.

    python -m infra.training.rhythm --weights adapters/ears/weights --count 6000 --font A.sf2 --font B.sf3 ...

The material is made on the way, shard by shard from its number, on all cores, and only what the networks look at stays.
Every figure printed is of pieces that the network behind it was not fitted on (three folds); the sureness of a tempo is
learned from such figures too, since a network is always too sure of what it has learned by heart.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.ears.beats import PARTS, folded, follow, frame_periods, local_periods, rotations
from adapters.ears.grid import beats_of, fit_grid, usual_place
from adapters.ears.metre import METRES, bar_positions, beat_features, metre_features
from adapters.ears.network import Network, chances
from adapters.ears.spectrum import FRAME_RATE, Spectra
from adapters.ears.tempo import CANDIDATES, candidate_periods, features, pulse, sureness_features
from adapters.ears.trace import Trace, trace_of
from infra.training.fit import fit_choice, save, vote
from infra.training.material import SHARD, Sources, add_sources, shard_of

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
    add_sources(parser)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--beatless", type=int, default=400, help="how many pieces without a beat are added")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no new shard is begun after so long")
    parser.add_argument("--weights", type=Path, required=True)
    options = parser.parse_args()
    sources = Sources.of(options)
    shards = [
        *((9100 + number, True) for number in range(-(-options.beatless // SHARD))),
        *((number, False) for number in range(options.first, options.first + -(-options.count // SHARD))),
    ]
    started = time.monotonic()
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        arguments = [(sources, number, beatless, started + options.seconds) for number, beatless in shards]
        made = pool.starmap(_shard, arguments, chunksize=1)
    cases = [case for shard in made for case in shard]
    print(f"{time.monotonic() - started:.0f} s, shards without cases:", sum(not shard for shard in made), flush=True)
    order = np.random.default_rng(0).permutation(len(cases))
    cases = [cases[index] for index in order]
    counted = [case for case in cases if case.bpm]
    print(len(cases), "pieces,", len(counted), "of them with a beat", flush=True)

    tables = {
        "tempo": _tempo_table(cases),
        "phase": _phase_table(counted),
        "downbeat": _downbeat_table(counted),
        "metre": _metre_table(counted),
    }
    networks = _fit_all(tables, options.jobs)
    print(f"{time.monotonic() - started:.0f} s", flush=True)
    likely = _tempo(cases, networks["tempo"], options.weights)
    _metre(counted, networks["metre"], tables["metre"], options.weights)
    _phase(counted, networks["phase"], options.weights)
    _downbeats(counted, networks["downbeat"], options.weights)
    sure = {"sureness": _sureness_table(cases, likely)}
    _sureness(_fit_all(sure, options.jobs)["sureness"], sure["sureness"], options.weights)
    print(f"{time.monotonic() - started:.0f} s", flush=True)


def _shard(sources: Sources, number: int, beatless: bool, until: float) -> list[Case]:
    """The cases of one shard of the material; none when it is too late to begin."""
    if time.monotonic() > until:
        return []
    cases = (_case(piece) for piece in shard_of(sources, number, beatless=beatless))
    return [case for case in cases if case is not None]


class Table(NamedTuple):
    """What a network is fitted to: (cases, alternatives, features), which are present, and which are right."""

    measured: Array
    present: NDArray[np.bool_]
    right: Array
    #: The piece each case belongs to; those of one piece are always in the same fold.
    piece: NDArray[np.intp]
    options: dict[str, Any]
    #: Networks that vote, in each fold and in the end.
    tried: int
    voters: int


#: The tables that the processes of a pool fit networks to; they are forked, and share them.
_TABLES: dict[str, Table] = {}


def _fit_all(tables: dict[str, Table], jobs: int) -> dict[str, list[Network]]:
    """For each table the networks of the three folds, and last the one of everything."""
    _TABLES.clear()
    _TABLES.update(tables)
    tasks = [
        (name, fold, seed)
        for name, table in tables.items()
        for fold in range(FOLDS + 1)
        for seed in range(table.tried if fold < FOLDS else table.voters)
    ]
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        fitted = dict(zip(tasks, pool.starmap(_fit_one, tasks, chunksize=1), strict=True))
    return {
        name: [
            vote([network for (whose, of, _), network in fitted.items() if (whose, of) == (name, fold)])
            for fold in range(FOLDS + 1)
        ]
        for name in tables
    }


def _fit_one(name: str, fold: int, seed: int) -> Network:
    table = _TABLES[name]
    some = table.piece % FOLDS != fold if fold < FOLDS else np.ones(len(table.piece), np.bool_)
    return fit_choice(table.measured[some], table.present[some], table.right[some], seed=seed, **table.options)


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


def _case(piece: dict[str, Any]) -> Case | None:
    """What the networks see of a piece; None where nothing repeats, so that there is nothing to choose from."""
    trace = heard_in(piece)
    heard = pulse(trace)
    periods = candidate_periods(heard)
    if not len(periods):
        return None
    right = np.abs(60 / periods - piece["bpm"]) <= NEAR * piece["bpm"]
    light = heard._replace(curve=heard.curve[:0], signals=heard.signals[:0], looks=heard.looks[:0])
    true = piece["beats"] * FRAME_RATE
    true = true[(true >= 0) & (true < len(heard.curve) - 4)]
    rotated, place, metre, beats, first = None, 0, None, np.zeros((0, 1), np.float32), np.zeros(0, np.bool_)
    if len(true) >= 8 and piece["bpm"]:
        locally = frame_periods(local_periods(heard.looks, 60 / piece["bpm"]), len(heard.curve))
        followed = follow(heard.curve, locally).astype(np.float64)
        grid = fit_grid(heard.curve, 60 / piece["bpm"])
        if grid is not None and grid.holds and len(followed):
            followed = beats_of(grid, heard.curve, usual_place(grid, followed))
        metre = metre_features(heard, 60 / piece["bpm"])
        found = place_of(followed, true)
        if found is not None:
            rotated, place = rotations(folded(heard.signals, followed)), found
        if piece["numerator"] != 7:
            beats = beat_features(heard, trace, true, plain=True)
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


def place_of(followed: Times, true: Times) -> int | None:
    """In which part of the followed beats the true ones fall, None where they keep no place."""
    if len(followed) < 5:
        return None
    within = true[(true > followed[0]) & (true < followed[-1])]
    if len(within) < 4:
        return None
    turn = np.exp(2j * np.pi * np.interp(within, followed, np.arange(len(followed)))).mean()
    return round(float(np.angle(turn)) / (2 * np.pi) * PARTS) % PARTS if abs(turn) > 0.7 else None


def _tempo_table(cases: Sequence[Case]) -> Table:
    count, width = len(cases), cases[0].measured.shape[1]
    measured = np.zeros((count, CANDIDATES + 1, width), np.float32)
    present = np.zeros(measured.shape[:2], np.bool_)
    right = np.zeros(measured.shape[:2], np.float32)
    for index, case in enumerate(cases):
        some = len(case.periods)
        measured[index, :some], present[index, :some] = case.measured, True
        right[index, :some] = case.right / max(1, case.right.sum())
    return Table(measured, present, right, np.arange(count), {}, 1, VOTERS)


def _tempo(cases: Sequence[Case], networks: Sequence[Network], weights: Path) -> list[Array]:
    """Save the choice among candidates; returns the likelihoods that networks which did not see a piece give it."""
    ordered = [networks[index % FOLDS](case.measured)[:, 0] for index, case in enumerate(cases)]
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
    save(networks[-1], weights / "tempo_wide.npz", sharpness)
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


def _classes(measured: Array, label: NDArray[np.intp], classes: int, **options: Any) -> Table:
    """The table of a classifier: one alternative a case, one output a class."""
    right = np.zeros((len(label), 1, classes), np.float32)
    right[np.arange(len(label)), 0, label] = 1
    return Table(
        measured[:, None], np.ones((len(label), 1), np.bool_), right, np.arange(len(label)), options, 1, VOTERS
    )


def _sureness_table(cases: Sequence[Case], likely: Sequence[Array]) -> Table:
    """How likely the first choice is right, sound without a beat included."""
    measured = np.stack(
        [
            sureness_features(case.sureness[0], case.periods, chance, case.sureness[1])
            for case, chance in zip(cases, likely, strict=True)
        ]
    )
    right = np.array([bool(case.right[int(np.argmax(chance))]) for case, chance in zip(cases, likely, strict=True)])
    return _classes(measured, right.astype(np.intp), 2, decay=0.01)


def _sureness(networks: Sequence[Network], table: Table, weights: Path) -> None:
    sure = _told(networks, table, weights / "sureness.npz")[:, 1]
    right = table.right[:, 0, 1] > 0
    print("sureness: said, right, n")
    for low, high in ((0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 0.9), (0.9, 0.97), (0.97, 1.01)):
        within = (sure >= low) & (sure < high)
        if within.any():
            print(f"   {low:.2f}..{high:.2f}: {sure[within].mean():.2f} {right[within].mean():.2f} {within.sum()}")


def _metre_table(cases: Sequence[Case]) -> Table:
    known = [case for case in cases if case.metre is not None and case.numerator in METRES]
    measured = np.stack([case.metre for case in known if case.metre is not None])
    label = np.array([METRES.index(case.numerator) for case in known])
    return _classes(measured, label, len(METRES), noise=0.5, drop=0.3, decay=0.01)


def _metre(cases: Sequence[Case], networks: Sequence[Network], table: Table, weights: Path) -> None:
    told = _told(networks, table, weights / "metre_wide.npz")
    label = table.right[:, 0].argmax(axis=1)
    matrix = np.zeros((len(METRES), len(METRES)), int)
    np.add.at(matrix, (label, told.argmax(axis=1)), 1)
    print(f"metre: {np.trace(matrix) / matrix.sum():.3f}, truth by row of {METRES}:", matrix.tolist())
    styles: dict[str, list[bool]] = defaultdict(list)
    known = [case for case in cases if case.metre is not None and case.numerator in METRES]
    for case, row, one in zip(known, told, label, strict=True):
        styles[case.style].append(int(row.argmax()) == one)
    print("  ", ", ".join(f"{style} {np.mean(hits):.2f}" for style, hits in sorted(styles.items())))


def _phase_table(cases: Sequence[Case]) -> Table:
    """Which place in the folded pattern is the beat."""
    known = [case for case in cases if case.rotated is not None]
    rotated = np.stack([case.rotated for case in known if case.rotated is not None])
    right = np.zeros(rotated.shape[:2], np.float32)
    label = np.array([case.place for case in known])
    for half in (0, PARTS):
        right[np.arange(len(known)), label + half] = 0.5
    options: dict[str, Any] = {"rounds": 25, "hidden": (48, 24)}
    return Table(rotated, np.ones(rotated.shape[:2], np.bool_), right, np.arange(len(known)), options, 1, VOTERS)


def _phase(cases: Sequence[Case], networks: Sequence[Network], weights: Path) -> None:
    known = [case for case in cases if case.rotated is not None]
    styles: dict[str, list[bool]] = defaultdict(list)
    label = np.array([case.place for case in known])
    for index, case in enumerate(known):
        assert case.rotated is not None
        likely = chances(networks[index % FOLDS](case.rotated)[:, 0])
        guess = int(np.argmax(likely[:PARTS] + likely[PARTS:]))
        for group in ("all", case.style):
            styles[group].append(guess == case.place)
    print(f"phase: {np.mean(label == 0):.3f} if never moved, n={len(known)};", end=" ")
    print(", ".join(f"{style} {np.mean(hits):.2f}" for style, hits in sorted(styles.items())))
    save(networks[-1], weights / "phase_wide.npz")


def _downbeat_table(cases: Sequence[Case]) -> Table:
    """Whether a beat begins a bar, from itself and its neighbours."""
    known = [case for case in cases if len(case.beats)]
    measured = np.concatenate([case.beats for case in known])
    first = np.concatenate([case.first for case in known])
    table = _classes(measured, first.astype(np.intp), 2, rounds=5, noise=0.2, drop=0.25)
    piece = np.repeat(np.arange(len(known)), [len(case.beats) for case in known])
    return table._replace(piece=piece, tried=1, voters=3)


def _downbeats(cases: Sequence[Case], networks: Sequence[Network], weights: Path) -> None:
    known = [case for case in cases if len(case.beats)]
    hits: dict[str, list[float]] = defaultdict(list)
    for index, case in enumerate(known):
        scores = networks[index % FOLDS](case.beats)
        begins = bar_positions(scores[:, 1] - scores[:, 0], case.beats_per_bar) == 0
        found = float(2 * (begins & case.first).sum() / max(1, begins.sum() + case.first.sum()))
        for group in ("all", case.style):
            hits[group].append(found)
    print("downbeats, F:", ", ".join(f"{group} {np.mean(values):.2f}" for group, values in sorted(hits.items())))
    save(networks[-1], weights / "downbeat.npz")


def _told(networks: Sequence[Network], table: Table, path: Path) -> Array:
    """Save a classifier; returns the (n, classes) likelihoods from networks that did not see the case."""
    scores = np.stack([networks[index % FOLDS](row)[0] for index, row in enumerate(table.measured)])
    label = table.right[:, 0].argmax(axis=1)
    trials = [float(trial) for trial in np.linspace(0.3, 1.5, 25)]

    def loss(factor: float) -> float:
        raised = np.exp(scores * factor - (scores * factor).max(axis=1, keepdims=True))
        shares = raised / raised.sum(axis=1, keepdims=True)
        return -float(np.log(shares[np.arange(len(label)), label] + 1e-6).mean())

    sharpness = trials[int(np.argmin([loss(trial) for trial in trials]))]
    save(networks[-1], path, sharpness)
    return np.stack([chances(row * np.float32(sharpness)) for row in scores])


if __name__ == "__main__":
    main()
