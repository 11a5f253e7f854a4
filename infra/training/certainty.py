"""Fits how sure the ears may say they are, on music with known truth, and prints what was said and what was right.

    python -m infra.training.certainty gather FOLDER/manifest.csv --into evidence.jsonl     (for every set)
    python -m infra.training.certainty sketch --into evidence.jsonl --count 400 [--abc FOLDER]    (for keys)
    python -m infra.training.certainty fit evidence.jsonl

Evidence is gathered from the ears themselves: `earned` is asked by them, and what it is asked is kept with whether the
answer was right. Metre and bars rest on how sure the tempo is, so gather again after a fit that moved it. Every figure
printed is of pieces that the fit behind it has not seen (five folds); the shipped maps are fitted to everything. Pieces
come from `infra.training.fresh`, and from any manifest of recordings.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.ears import certainty, engine
from adapters.ears.certainty import Measure, Worth, log_odds
from adapters.ears.key import (
    agreement,
    chroma,
    evidence,
    keys_in,
    modal_key,
    modes_in,
    ranked,
    shows_mode,
    sureness_evidence,
)
from adapters.ears.network import WEIGHTS
from adapters.ears.spectrum import CHORD_RATE
from domain.analyses.findings import Analysis, Unreadable
from infra.evaluate import key_score, parsed_key, tempo_right
from infra.training.corpus import tunes_of
from infra.training.key import drawn_piece, key_of, modal_song, no_music

Floats = NDArray[np.float64]

MEASURES: tuple[Measure, ...] = ("tempo", "metre", "key", "mode", "downbeat")
#: First beats of bars are right when so large a part of them is, and of the true ones (F measure within 70 ms).
BARS_RIGHT, NEAR_SECONDS = 0.75, 0.07
FOLDS = 5
#: How much a recording counts against a composed piece: of keys more, for the composer's loops seldom settle theirs.
RECORDED = {"tempo": 1.0, "metre": 1.0, "key": 4.0, "mode": 4.0, "downbeat": 1.0}
#: What the network finds less likely is not named, whatever else speaks for it.
NAMED_MIN = 0.1
#: How strongly weights are drawn to 0, and the fewest answers that a step of the rising line stands for.
RIDGE, STEP_MIN = 1.0, 40
EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.001)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=("gather", "sketch", "fit"))
    parser.add_argument("source", type=Path, nargs="*")
    parser.add_argument("--into", type=Path)
    parser.add_argument("--abc", type=Path, nargs="*", default=[])
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--dry", action="store_true", help="print the tables only")
    options = parser.parse_args()
    if options.task == "gather":
        for manifest in options.source:
            gather(manifest, options.into)
    elif options.task == "sketch":
        sketch(options.into, options.count, options.abc)
    else:
        fit(options.source, dry=options.dry)


def gather(manifest: Path, into: Path) -> None:
    """Add a line for each recording of a manifest: of every measure the evidence, what was said, and what is right."""
    with manifest.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    listed = manifest.parent / "bars.jsonl"
    bars = {one["path"]: one for one in map(json.loads, listed.open())} if listed.exists() else {}
    done = {json.loads(line)["path"] for line in into.open()} if into.exists() else set()
    asked: dict[str, tuple[float, ...]] = {}
    told: dict[str, float] = {}
    earned = certainty.earned

    def noted(measure: Measure, *evidence: float) -> float:
        asked[measure] = evidence
        told[measure] = earned(measure, *evidence)
        return told[measure]

    # The ears ask by way of the module, so that one name stands for all of them.
    vars(certainty)["earned"] = noted
    with into.open("a", encoding="utf-8") as out:
        for row in rows:
            name = f"{manifest.parent.name}/{row['path']}"
            if name in done:
                continue
            asked.clear()
            told.clear()
            try:
                heard = engine.analyse(manifest.parent / row["path"])
            except Unreadable as fault:
                print(f"{name}: {fault}")
                continue
            right = _right(row, bars.get(row["path"], {}), heard)
            # A key that is named by its mode was asked for by both; only what was said is known to be right or wrong.
            asked.pop("key" if "mode" in asked else "", None)
            right["mode"] = right.get("key", False)
            kept = {one: [list(asked[one]), told[one], right[one]] for one in MEASURES if one in asked and one in right}
            out.write(json.dumps({"path": name, "kind": row.get("kind", ""), **kept}) + "\n")
            out.flush()


def sketch(into: Path, count: int, folders: list[Path]) -> None:
    """Add the evidence of keys in what `infra.training.key` sketches: whole, cut short, a moment held, and no music."""
    tunes = [one for one in tunes_of(sorted(f for folder in folders for f in folder.glob("*.abc"))) if key_of(one)]
    rng = np.random.default_rng(93_000)
    with into.open("a", encoding="utf-8") as out:
        for number in range(count):
            # One song in eight is modal, somewhat more than in the world, so that there is something to learn from.
            piece = (
                no_music(rng)
                if number % 5 == 4
                else modal_song(rng)
                if number % 8 == 3
                else drawn_piece(rng, tunes, [])
            )
            if piece is None:
                continue
            whole = piece.salience
            cut, start = int(2 ** rng.uniform(-0.5, 4) * CHORD_RATE), int(rng.integers(0, len(whole)))
            held = np.repeat(whole[start : start + 1], int(2 ** rng.uniform(0, 4) * CHORD_RATE), axis=0)
            for kind, salience in (("sketch", whole), ("cut", whole[start : start + max(2, cut)]), ("held", held)):
                harmonies = evidence(salience)
                modes, best = modes_in(harmonies), ranked(keys_in(harmonies), 1)[0]
                if best.confidence < NAMED_MIN:
                    continue
                classes, length = chroma(salience), len(salience) / CHORD_RATE
                named = modal_key(modes, best) if shows_mode(classes, length) else None
                measure: Measure = "key" if named is None else "mode"
                told = named or best
                usual = sureness_evidence(told.confidence, classes, length)
                asked = usual[:4] if named else (*usual, log_odds(agreement(modes, best)))
                right = (told.tonic, told.scale == "minor") == (piece.tonic, piece.minor)
                line = {"path": f"{kind} {number}", "kind": kind}
                out.write(json.dumps(line | {measure: [asked, certainty.earned(measure, *asked), right]}) + "\n")


def _right(row: dict[str, str], bars: dict[str, Any], heard: Analysis) -> dict[str, bool]:
    """Whether each answer that was given is right, as far as the truth is known; a tempo where is none is wrong."""
    findings = heard.findings
    right: dict[str, bool] = {}
    beatless = bool(bars) and "beats" not in bars
    if findings.bpm is not None and (row.get("bpm") or beatless):
        right["tempo"] = not beatless and tempo_right(findings.bpm, float(row["bpm"]))
    if findings.time_signature is not None and row.get("time_signature"):
        right["metre"] = int(row["time_signature"].split("/")[0]) == findings.time_signature
    said, true = parsed_key(f"{findings.key} {findings.scale}") if findings.key else None, parsed_key(row.get("key"))
    if said is not None and true is not None:
        right["key"] = key_score(said, true) == 1
    if "downbeats" in bars and heard.detail.downbeats:
        inside = [time for time in bars["downbeats"] if time < findings.duration_seconds]
        right["downbeat"] = _share_found(np.array(heard.detail.downbeats), np.array(inside)) >= BARS_RIGHT
    return right


def _share_found(said: Floats, true: Floats) -> float:
    """The F measure of times within `NEAR_SECONDS`."""
    if not len(true):
        return 0.0
    near = np.abs(said[:, None] - true) <= NEAR_SECONDS
    return 2 * min(int(near.any(axis=0).sum()), int(near.any(axis=1).sum())) / (len(said) + len(true))


def fit(sources: list[Path], *, dry: bool) -> None:
    """Fit all measures, print reliability before and after, and write the weights."""
    lines = [json.loads(line) for source in sources for line in source.open(encoding="utf-8")]
    worths = dict(certainty.worths())
    for measure in MEASURES:
        rows = [line for line in lines if measure in line]
        if not rows:
            continue
        evidence = np.array([row[measure][0] for row in rows], np.float64)
        right = np.array([row[measure][2] for row in rows], np.float64)
        composed = np.array([row["kind"] not in {"real", "rendered", "case"} for row in rows])
        weight = np.where(composed, 1.0, RECORDED[measure])
        kinds = np.array([row["kind"] if row["kind"] in {"cut", "held"} else "whole" for row in rows])
        groups = {
            "all": np.ones(len(rows), np.bool_),
            "composed": composed & (kinds == "whole"),
            "cut": kinds == "cut",
            "held": kinds == "held",
            "recorded": ~composed,
        }
        before = np.array([row[measure][1] for row in rows])
        fold = np.random.default_rng(1).permutation(len(rows)) % FOLDS
        after = np.zeros(len(rows))
        for number in range(FOLDS):
            out = fold == number
            after[out] = _said(_fitted(evidence[~out], right[~out], weight[~out]), evidence[out])
        worths[measure] = _fitted(evidence, right, weight)
        print(f"{measure}: weights {np.round(worths[measure].weights, 2)}, base {worths[measure].base:.2f}")
        for name, some in groups.items():
            if not some.any():
                continue
            for when, said in (("before", before), ("after", after)):
                print(f"  {name:9s} {when:6s} {_table(said[some], right[some])}")
    if not dry:
        (WEIGHTS / "certainty.json").write_bytes(msgspec.json.format(msgspec.json.encode(worths), indent=1) + b"\n")


def _fitted(evidence: Floats, right: Floats, weight: Floats) -> Worth:
    base, *weights = _logistic(evidence, right, weight)
    flat = Worth(weights=tuple(weights), base=float(base), said=(0.0, 1.0), right=(0.0, 1.0))
    said, worth = _rising(_said(flat, evidence), right, weight)
    return Worth(
        weights=tuple(round(float(one), 4) for one in weights),
        base=round(float(base), 4),
        said=tuple(round(float(one), 4) for one in said),
        right=tuple(round(float(one), 4) for one in worth),
    )


def _said(worth: Worth, evidence: Floats) -> Floats:
    total = worth.base + evidence @ np.array(worth.weights)
    shares: Floats = np.interp(1 / (1 + np.exp(-np.clip(total, -50, 50))), worth.said, worth.right)
    return shares


def _logistic(evidence: Floats, right: Floats, weight: Floats) -> Floats:
    """Base and weights by Newton's method, with a ridge on the weights."""
    columns = np.column_stack([np.ones(len(evidence)), evidence])
    values = np.zeros(columns.shape[1])
    ridge = np.eye(columns.shape[1]) * RIDGE
    ridge[0, 0] = 1e-3
    for _ in range(50):
        likely = 1 / (1 + np.exp(-np.clip(columns @ values, -50, 50)))
        slope = columns.T @ (weight * (likely - right)) + ridge @ values
        bend = (columns * (weight * likely * (1 - likely))[:, None]).T @ columns + ridge
        values = values - np.linalg.solve(bend, slope)
    return values


def _rising(said: Floats, right: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """The bends of a line that never falls: means of at least `STEP_MIN` answers in a row, pooled where they fall."""
    order = np.argsort(said, kind="stable")
    steps: list[list[float]] = []
    for part in np.array_split(order, max(1, len(order) // STEP_MIN)):
        whole = float(weight[part].sum())
        steps.append([float((said * weight)[part].sum()), float((right * weight)[part].sum()), whole])
        while len(steps) > 1 and steps[-2][1] / steps[-2][2] >= steps[-1][1] / steps[-1][2]:
            last = steps.pop()
            steps[-1] = [one + other for one, other in zip(steps[-1], last, strict=True)]
    # Half an answer each way, so that nothing is ever certain.
    places = [total / whole for total, _, whole in steps]
    shares = [(hits + 0.5) / (whole + 1) for _, hits, whole in steps]
    return np.array([0.0, *places, 1.0]), np.maximum.accumulate([0.0, *shares, 0.99])


def _table(said: Floats, right: Floats) -> str:
    """Said and right in per cent, and how many, of each row; the mean distance first."""
    rows, away = [], 0.0
    for low, high in itertools.pairwise(EDGES):
        within = (said >= low) & (said < high)
        if within.any():
            rows.append(f"{100 * said[within].mean():.0f}/{100 * right[within].mean():.0f} ({within.sum()})")
            away += within.sum() * abs(float(said[within].mean() - right[within].mean()))
    return f"{100 * away / max(1, len(said)):.1f}: " + ", ".join(rows)


if __name__ == "__main__":
    main()
