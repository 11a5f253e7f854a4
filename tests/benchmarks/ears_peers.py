"""How fast and how right the ears are beside essentia and librosa, in one run on one core.

    python -m tests.benchmarks.ears_peers MANIFEST [--limit N] [--repeat N]

Every recording is heard by each system in turn, `--repeat` times over, and the median time of each counts.
Peers that are not installed are left out (`uv pip install --group listeners`); the tests never need them. Every system
reads the file itself. Ours always gives everything; peers are asked for tempo and key alone, and essentia also for
what else it has of our outputs: beats, onsets, loudness with its range and curves, danceability, chords, and, in a row
of its own because it costs the most by far, the true peak. It has no metre, sections, fades, moods and genres.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from infra.evaluate import Estimate, Truth, estimate_of, marks, read_manifest

Listener = Callable[[Path], tuple[float | None, str | None]]

#: One core means one thread of linear algebra too, which must be said before numpy is imported.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
#: Krumhansl and Kessler's profiles (1982), which librosa's users correlate its chroma with.
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def essentia_hears() -> Listener:
    """The algorithms essentia recommends: RhythmExtractor2013 (multifeature) and KeyExtractor (bgate)."""
    standard = _essentia()

    def hear(path: Path) -> tuple[float | None, str | None]:
        audio = standard.MonoLoader(filename=str(path), sampleRate=44_100)()
        bpm = standard.RhythmExtractor2013(method="multifeature")(audio)[0]
        key, scale, _ = standard.KeyExtractor(profileType="bgate")(audio)
        return float(bpm), f"{key} {scale}"

    return hear


def essentia_hears_more(*, true_peak: bool) -> Listener:
    """The same, and what else essentia has of what we give; the file is decoded once, as ours is."""
    standard = _essentia()

    def hear(path: Path) -> tuple[float | None, str | None]:
        sound, rate, channels, *_ = standard.AudioLoader(filename=str(path))()
        audio = standard.MonoMixer()(sound, channels)
        if rate != 44_100:
            audio = standard.Resample(inputSampleRate=rate, outputSampleRate=44_100)(audio)
        bpm, _beats, *_ = standard.RhythmExtractor2013(method="multifeature")(audio)
        key, scale, _ = standard.KeyExtractor(profileType="bgate")(audio)
        standard.LoudnessEBUR128(sampleRate=rate)(sound)
        standard.Danceability()(audio)
        standard.OnsetRate()(audio)
        standard.TonalExtractor()(audio)  # for its chords
        if true_peak:
            for channel in range(channels):
                standard.TruePeakDetector(sampleRate=rate)(np.ascontiguousarray(sound[:, channel]))
        return float(bpm), f"{key} {scale}"

    return hear


def _essentia() -> Any:
    essentia: Any = importlib.import_module("essentia")
    essentia.log.infoActive = False
    essentia.log.warningActive = False
    return importlib.import_module("essentia.standard")


def librosa_hears() -> Listener:
    """What librosa's manual shows: beat_track, and constant-Q chroma correlated with Krumhansl's profiles."""
    librosa: Any = importlib.import_module("librosa")

    def hear(path: Path) -> tuple[float | None, str | None]:
        audio, rate = librosa.load(path, sr=22_050)
        tempo, _ = librosa.beat.beat_track(y=audio, sr=rate)
        chroma = librosa.feature.chroma_cqt(y=audio, sr=rate).mean(axis=1)
        fits = {
            f"{NAMES[root]} {scale}": float(np.corrcoef(np.roll(profile, root), chroma)[0, 1])
            for scale, profile in (("major", MAJOR), ("minor", MINOR))
            for root in range(12)
        }
        return float(np.atleast_1d(tempo)[0]), max(fits, key=lambda name: fits[name])

    return hear


def measured(listener: Listener, truth: Truth, path: Path, duration: float) -> Estimate:
    """One recording heard by a peer, with the processor time that took."""
    started = time.process_time()
    bpm, key = listener(path)
    return Estimate(path=truth.path, bpm=bpm, key=key, seconds=time.process_time() - started, duration=duration)


def main() -> None:
    """Print one table: systems by rate and marks."""
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        again = [sys.executable, "-m", "tests.benchmarks.ears_peers", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, **ONE_THREAD})
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--limit", type=int, default=None, help="only so many recordings, spread over the manifest")
    parser.add_argument("--repeat", type=int, default=3, help="how often each recording is heard")
    options = parser.parse_args()
    truths = spread([truth for truth in read_manifest(options.manifest) if truth.bpm or truth.key], options.limit)
    folder = options.manifest.parent
    peers: dict[str, Listener] = {}
    if _installed("essentia"):
        peers["essentia, tempo and key"] = essentia_hears()
        peers["essentia, shared outputs"] = essentia_hears_more(true_peak=False)
        peers["essentia, and true peak"] = essentia_hears_more(true_peak=True)
    if _installed("librosa"):
        peers["librosa, tempo and key"] = librosa_hears()
    # Once unmeasured, so that nobody pays for imports, compilation or a cold file cache.
    warm = folder / truths[0].path
    estimate_of(truths[0].path, warm)
    for listener in peers.values():
        listener(warm)
    results: dict[str, list[Estimate]] = {name: [] for name in ("ledgerline, everything", *peers)}
    for truth in track(truths, console=Console(stderr=True), transient=True):
        heard: dict[str, list[Estimate]] = {name: [] for name in results}
        for _ in range(options.repeat):
            # In turns on the same recording, so that a busy machine slows all of them alike.
            ours = estimate_of(truth.path, folder / truth.path)
            heard["ledgerline, everything"].append(ours)
            for name, listener in peers.items():
                heard[name].append(measured(listener, truth, folder / truth.path, ours.duration))
        for name, times in heard.items():
            results[name].append(sorted(times, key=lambda one: one.seconds)[len(times) // 2])
    Console(width=110).print(table_of(truths, results))


def _installed(name: str) -> bool:
    there = importlib.util.find_spec(name) is not None
    if not there:
        Console().print(f"{name} is not installed and left out.")
    return there


def spread(truths: list[Truth], limit: int | None) -> list[Truth]:
    """At most `limit` of them at even distances, for manifests are sorted by kind."""
    count = min(limit or len(truths), len(truths))
    return [truths[index * len(truths) // count] for index in range(count)]


def table_of(truths: list[Truth], results: dict[str, list[Estimate]]) -> Table:
    """Rates in times real time and ratio to ours, mean marks in per cent."""
    table = Table(title=f"{len(truths)} recordings on one core", box=None, padding=(0, 2, 0, 0), title_justify="left")
    for heading in ("", "x real time", "ours is faster by", "Accuracy1", "Accuracy2", "key MIREX", "key exact"):
        table.add_column(heading, justify="right" if heading else "left")
    rates = {
        name: sum(one.duration for one in estimates) / max(sum(one.seconds for one in estimates), 1e-9)
        for name, estimates in results.items()
    }
    ours = next(iter(rates.values()))
    for name, estimates in results.items():
        given = [marks(truth, estimate) for truth, estimate in zip(truths, estimates, strict=True)]
        shares = []
        for mark in ("Accuracy1", "Accuracy2", "key MIREX", "key exact"):
            values = [one[mark] for one in given if mark in one]
            shares.append(f"{100 * np.mean(values):.1f}" if values else "-")
        table.add_row(name, f"{rates[name]:.0f}", f"{ours / rates[name]:.1f}", *shares)
    return table


if __name__ == "__main__":
    main()
