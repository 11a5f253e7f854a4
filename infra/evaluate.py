"""`ledgerline evaluate MANIFEST`: how often the ears are right about recordings whose truth is known.

The manifest is CSV with a header: `path` (beside the manifest), and where known `bpm` (a number), `key` (`D minor` or
`Dm`, `F# major` or `F#`), `time_signature` (`6/8`, or its upper number), `lufs` (a number); `kind` and `trust` group
the figures, other columns are ignored. A value that is none of these stops the evaluation before it begins.

Tempo counts as right within 4 % (Accuracy1), also at a half, double, third or triple (Accuracy2; Gouyon et al. 2006);
keys are weighed as in MIREX: exact 1, fifth .5, relative .3, parallel .2. A `sections.csv` beside it (`path`,
`start_s`) has the borders of sections: they count as found within 0.5 and 3 s.
"""

from __future__ import annotations

import csv
import math
import multiprocessing
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from domain.analyses.findings import Unreadable
from infra.cli import complain

#: Multiples of the true tempo that Accuracy2 forgives.
FORGIVEN = (1.0, 0.5, 2.0, 1 / 3, 3.0)
TEMPO_TOLERANCE = 0.04
LOUDNESS_TOLERANCE_LU = 0.1
#: Seconds within which a border of sections counts as found (MIREX structural segmentation).
BORDER_TOLERANCES = (0.5, 3.0)
SECTIONS = "sections.csv"
#: Upper edges of the rows of the reliability table.
CONFIDENCE_EDGES = (0.2, 0.4, 0.6, 0.8, 0.9, 1.0)

NOTES = {
    name: pitch
    for pitch, names in enumerate(
        ("C B# Dbb", "C# Db", "D", "D# Eb", "E Fb", "F E#", "F# Gb", "G", "G# Ab", "A", "A# Bb", "B Cb")
    )
    for name in names.split()
}


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one recording; empty text where nothing is."""

    path: str
    bpm: str = ""
    key: str = ""
    time_signature: str = ""
    lufs: str = ""
    kind: str = ""
    trust: str = ""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What the ears said about one recording, and what it cost; `error` instead where they could not hear it."""

    path: str
    bpm: float | None = None
    key: str | None = None
    time_signature: int | None = None
    lufs: float | None = None
    #: Processor seconds of the analysis, and seconds of sound.
    seconds: float = 0.0
    duration: float = 0.0
    bpm_confidence: float = 0.0
    key_confidence: float = 0.0
    time_signature_confidence: float = 0.0
    #: Seconds at which sections begin, the first aside.
    borders: tuple[float, ...] = ()
    error: str | None = None


def evaluate(manifest: Path, *, as_json: bool = False, jobs: int = 1) -> int:
    """Print how right the ears are; 0 when all was heard, 1 when a recording could not be, 2 without a manifest."""
    try:
        truths = read_manifest(manifest)
        borders = read_borders(manifest.parent / SECTIONS)
    except (OSError, ValueError, msgspec.ValidationError) as fault:
        complain(f"The manifest cannot be read: {fault}")
        return 2
    estimates = _listen(truths, manifest.parent, max(1, min(jobs, len(truths))))
    if as_json:
        encoder = msgspec.json.Encoder()
        sys.stdout.writelines(encoder.encode(estimate).decode() + "\n" for estimate in estimates)
    else:
        # A file or a pipe has no width of its own, and a folded table is no table.
        console = Console(width=None if sys.stdout.isatty() else 132)
        console.print(scores_table(truths, estimates))
        console.print(reliability_table(truths, estimates))
        if borders:
            console.print(borders_table(borders, estimates))
        for estimate in estimates:
            if estimate.error:
                console.print(f"{estimate.path}: {estimate.error}", style="red", markup=False)
    return 1 if any(estimate.error for estimate in estimates) else 0


def read_manifest(manifest: Path) -> list[Truth]:
    """The truths of a manifest; raises ValueError when it has no column `path` or no rows."""
    with manifest.open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.DictReader(lines)
        if "path" not in (rows.fieldnames or ()):
            raise ValueError("it has no column named path")
        known = set(Truth.__struct_fields__)
        truths = [Truth(**{name: value or "" for name, value in row.items() if name in known}) for row in rows]
    if not truths:
        raise ValueError("it has no rows")
    for line, truth in enumerate(truths, 2):
        _check(truth, line)
    return truths


def _check(truth: Truth, line: int) -> None:
    """Raise ValueError where a truth is none."""
    for name, value in (("bpm", truth.bpm), ("lufs", truth.lufs)):
        if value and not _is_number(value):
            raise ValueError(f"{name} in line {line} is {value!r}, which is no number")
    if truth.bpm and float(truth.bpm) <= 0:
        raise ValueError(f"bpm in line {line} is {truth.bpm!r}, which is no tempo")
    if truth.time_signature and not truth.time_signature.split("/")[0].isdecimal():
        raise ValueError(f"time_signature in line {line} is {truth.time_signature!r}, which is none such as 4/4")
    if truth.key and parsed_key(truth.key) is None:
        raise ValueError(f"key in line {line} is {truth.key!r}, which is none such as D minor, Dm or F# major")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def read_borders(path: Path) -> dict[str, list[float]]:
    """Seconds at which the sections of each recording begin, the first aside; nothing when there is no such file."""
    if not path.exists():
        return {}
    starts: dict[str, list[float]] = defaultdict(list)
    with path.open(newline="", encoding="utf-8-sig") as lines:
        for row in csv.DictReader(lines):
            if not _is_number(start := row.get("start_s") or ""):
                raise ValueError(f"start_s in {path.name} is {start!r}, which is no number")
            starts[row.get("path") or ""].append(float(start))
    return {name: sorted(times)[1:] for name, times in starts.items()}


def _listen(truths: Sequence[Truth], folder: Path, jobs: int) -> list[Estimate]:
    """The estimates in the order of the truths, with a progress bar on standard error."""
    # One thread of linear algebra per process: several of them on the same cores only wait for each other.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    columns = (TextColumn("Listening"), BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn())
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar, pool:
        task = bar.add_task("Listening", total=len(truths))
        running: dict[Future[Estimate], int] = {
            pool.submit(estimate_of, truth.path, folder / truth.path): index for index, truth in enumerate(truths)
        }
        found: dict[int, Estimate] = {}
        for future in as_completed(running):
            found[running[future]] = future.result()
            bar.advance(task)
    return [found[index] for index in range(len(truths))]


def estimate_of(name: str, path: Path) -> Estimate:
    """What the ears say about one file, in a process of its own."""
    from adapters.ears.engine import analyse

    started = time.process_time()
    try:
        heard = analyse(path).findings
    except Unreadable as fault:
        return Estimate(path=name, seconds=time.process_time() - started, error=str(fault))
    return Estimate(
        path=name,
        bpm=heard.bpm,
        key=_spelled(heard.key, heard.scale),
        time_signature=heard.time_signature,
        lufs=heard.loudness_lufs,
        seconds=time.process_time() - started,
        duration=heard.duration_seconds,
        bpm_confidence=heard.bpm_confidence,
        key_confidence=heard.key_confidence,
        time_signature_confidence=heard.time_signature_confidence,
        borders=tuple(section.start for section in heard.sections[1:]),
    )


def _spelled(key: str | None, scale: str | None) -> str | None:
    return f"{key} {scale}" if key and scale else None


def parsed_key(text: str | None) -> tuple[int, bool] | None:
    """Pitch class and whether it is major, of a key such as "F# minor", "F#m" or "B♭ major"; None if it is no key."""
    parts = (text or "").replace("♯", "#").replace("♭", "b").split()
    if len(parts) == 1:
        name = parts[0].removesuffix("m")
        parts = [name, "minor" if name != parts[0] else "major"]
    if len(parts) != 2 or parts[0] not in NOTES or parts[1].lower()[:3] not in {"maj", "min"}:
        return None
    return NOTES[parts[0]], parts[1].lower().startswith("maj")


def key_score(said: tuple[int, bool] | None, true: tuple[int, bool]) -> float:
    """The MIREX weight of a named key."""
    if said is None:
        return 0.0
    (pitch, major), (true_pitch, true_major) = said, true
    up = (pitch - true_pitch) % 12
    if major == true_major:
        return {0: 1.0, 7: 0.5, 5: 0.5}.get(up, 0.0)
    relative = 9 if true_major else 3
    return {relative: 0.3, 0: 0.2}.get(up, 0.0)


def tempo_right(said: float | None, true: float) -> bool:
    """Whether a tempo is within 4 % of the true one."""
    return said is not None and abs(said - true) <= TEMPO_TOLERANCE * true


def marks(truth: Truth, estimate: Estimate) -> dict[str, float]:
    """The marks of one estimate, from 0 to 1, for everything whose truth is known."""
    given: dict[str, float] = {}
    if truth.bpm:
        bpm = float(truth.bpm)
        given["Accuracy1"] = float(tempo_right(estimate.bpm, bpm))
        given["Accuracy2"] = float(any(tempo_right(estimate.bpm, bpm * factor) for factor in FORGIVEN))
    true_key = parsed_key(truth.key)
    if true_key is not None:
        given["key MIREX"] = key_score(parsed_key(estimate.key), true_key)
        given["key exact"] = float(given["key MIREX"] == 1.0)
    if truth.time_signature and estimate.time_signature:
        given["metre"] = float(int(truth.time_signature.split("/")[0]) == estimate.time_signature)
    if truth.lufs and estimate.lufs is not None:
        given["LUFS ± 0.1"] = float(abs(float(truth.lufs) - estimate.lufs) <= LOUDNESS_TOLERANCE_LU)
    return given


def scores_table(truths: Sequence[Truth], estimates: Sequence[Estimate]) -> Table:
    """Mean marks in per cent, with how many recordings each is the mean of, for all and for each kind and trust."""
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for truth, estimate in zip(truths, estimates, strict=True):
        for group in ("all", truth.kind, f"trust: {truth.trust}" if truth.trust else ""):
            for name, mark in marks(truth, estimate).items() if group else ():
                groups[group][name].append(mark)
    sound, work = sum(one.duration for one in estimates), sum(one.seconds for one in estimates)
    pace = sound / work if work else 0.0
    table = Table(
        title=f"{len(truths)} recordings, {pace:.0f} x real time on one core",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    names = ("Accuracy1", "Accuracy2", "key MIREX", "key exact", "metre", "LUFS ± 0.1")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    for group in sorted(groups, key=lambda group: (group != "all", group)):
        table.add_row(group, *(_share(groups[group].get(name, [])) for name in names))
    return table


def reliability_table(truths: Sequence[Truth], estimates: Sequence[Estimate]) -> Table:
    """How often the ears were right when they were so sure: an honest confidence has equal columns."""
    table = Table(
        title="Reliability: said how sure, was how right", title_justify="left", box=None, padding=(0, 2, 0, 0)
    )
    table.add_column("confidence")
    for name in ("tempo said", "right", "n", "key said", "right", "n", "metre said", "right", "n"):
        table.add_column(name, justify="right")
    answers: dict[str, list[tuple[float, bool]]] = {"tempo": [], "key": [], "metre": []}
    for truth, estimate in zip(truths, estimates, strict=True):
        given = marks(truth, estimate)
        if "Accuracy1" in given and estimate.bpm is not None:
            answers["tempo"].append((estimate.bpm_confidence, given["Accuracy1"] == 1))
        if "key exact" in given and estimate.key is not None:
            answers["key"].append((estimate.key_confidence, given["key exact"] == 1))
        if "metre" in given:
            answers["metre"].append((estimate.time_signature_confidence, given["metre"] == 1))
    low = 0.0
    for high in CONFIDENCE_EDGES:
        row = [f"{low:.1f} to {high:.1f}"]
        for given_answers in answers.values():
            within = [one for one in given_answers if low <= one[0] < high or (high == 1.0 and one[0] == 1.0)]
            row += [
                _share([sure for sure, _ in within], count=False),
                _share([float(right) for _, right in within], count=False),
                str(len(within)),
            ]
        table.add_row(*row)
        low = high
    row = ["calibration error"]
    for given_answers in answers.values():
        row += ["", f"{100 * calibration_error(given_answers):.1f}", str(len(given_answers))]
    table.add_row(*row)
    return table


def borders_table(true: dict[str, list[float]], estimates: Sequence[Estimate]) -> Table:
    """How many borders of sections were found, beside as many borders evenly spaced over each recording."""
    named = {one.path: one for one in estimates if one.path in true and not one.error}
    table = Table(
        title=f"Borders of sections, F measure in per cent, mean of {len(named)} recordings",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    table.add_column("found within")
    for name in ("ours", "evenly spaced"):
        table.add_column(name, justify="right")
    for tolerance in BORDER_TOLERANCES:
        ours = [borders_found(one.borders, true[path], tolerance) for path, one in named.items()]
        even = [borders_found(_even(one), true[path], tolerance) for path, one in named.items()]
        table.add_row(f"{tolerance:g} s", _share(ours, count=False), _share(even, count=False))
    return table


def _even(one: Estimate) -> tuple[float, ...]:
    parts = len(one.borders) + 1
    return tuple(one.duration * part / parts for part in range(1, parts))


def borders_found(said: Sequence[float], true: Sequence[float], tolerance: float) -> float:
    """The F measure of borders, each true one found by at most one that was said, from 0 to 1."""
    if not said or not true:
        return float(len(said) == len(true))
    left, hits = sorted(said), 0
    for border in sorted(true):
        # The earliest that fits leaves the most for the borders still to come.
        fitting = [one for one in left if abs(one - border) <= tolerance]
        if fitting:
            left.remove(fitting[0])
            hits += 1
    return 2 * hits / (len(said) + len(true))


def calibration_error(answers: Iterable[tuple[float, bool]]) -> float:
    """The mean distance between how sure and how right, over the rows of the reliability table, weighed by size."""
    answers = list(answers)
    if not answers:
        return math.nan
    total, low = 0.0, 0.0
    for high in CONFIDENCE_EDGES:
        within = [one for one in answers if low <= one[0] < high or (high == 1.0 and one[0] == 1.0)]
        total += abs(sum(sure - right for sure, right in within))
        low = high
    return total / len(answers)


def _share(values: Sequence[float], *, count: bool = True) -> str:
    if not values:
        return "-"
    mean = f"{100 * sum(values) / len(values):.1f}"
    return f"{mean} ({len(values)})" if count else mean
