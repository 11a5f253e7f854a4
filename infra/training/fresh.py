"""Writes composed pieces as recordings with their truth: material to measure certainty on, never to learn rhythm from.

    python -m infra.training.fresh OUT --count 400 --first 90000 --font A.sf2 [--abc FOLDER --scores scores.pkl]

OUT then holds WAV files, a `manifest.csv` as `ledgerline evaluate` reads it, and `bars.jsonl` with the seconds of all
beats and first beats of bars. Shard n (`SHARD` pieces) depends on the seed n alone; what is already there is kept.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np

from adapters.ears.key import NOTE_NAMES
from infra.training.composer import DRUM
from infra.training.material import SHARD, Sources, add_sources, drawn
from infra.training.performer import RATE, Performance, perform

COLUMNS = ("path", "bpm", "key", "time_signature", "kind")


def main() -> None:
    """Write pieces until there are `--count`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    add_sources(parser)
    options = parser.parse_args()
    sources = Sources.of(options)
    options.out.mkdir(parents=True, exist_ok=True)
    manifest = options.out / "manifest.csv"
    if not manifest.exists():
        manifest.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    done = {row["path"] for row in csv.DictReader(manifest.read_text(encoding="utf-8").splitlines())}
    for shard in range(options.first, options.first + -(-options.count // SHARD)):
        if f"{shard}-{SHARD - 1:02d}.wav" not in done:
            _write(shard, sources, options.out, done)


def _write(shard: int, sources: Sources, out: Path, done: set[str]) -> None:
    rng = np.random.default_rng(shard)
    count = 0
    while count < SHARD:
        piece = drawn(rng, sources.tunes, sources.scores)
        if piece is None:
            continue
        try:
            performance = perform(piece, rng, sources.fonts)
        except (subprocess.SubprocessError, OSError) as fault:
            print(f"{piece.style}: {fault}", file=sys.stderr)
            continue
        name = f"{shard}-{count:02d}.wav"
        count += 1
        if name in done:
            continue
        _save(performance, out / name)
        truth = {"path": name, "style": piece.style, "voices": sorted(piece.programs)}
        if piece.counted:
            truth |= {
                "beats": performance.beats.round(4).tolist(),
                "downbeats": performance.downbeats.round(4).tolist(),
            }
        with (out / "bars.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(truth) + "\n")
        with (out / "manifest.csv").open("a", encoding="utf-8", newline="") as rows:
            csv.writer(rows).writerow((name, *truths(performance), piece.style))


def truths(performance: Performance) -> tuple[str, str, str]:
    """Tempo, key and metre as the manifest has them, empty where there is none."""
    piece = performance.piece
    tonal = piece.tonic is not None and any(note.voice != DRUM for note in piece.notes)
    key = (
        f"{NOTE_NAMES[piece.tonic % 12]} {'minor' if piece.minor else 'major'}"
        if tonal and piece.tonic is not None
        else ""
    )
    if not piece.counted:
        return "", key, ""
    return f"{performance.bpm:.3f}", key, str(piece.numerator)


def _save(performance: Performance, path: Path) -> None:
    loudest = float(np.abs(performance.sound).max(initial=1e-6))
    samples = np.rint(performance.sound * (0.9 / max(loudest, 0.9)) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())


if __name__ == "__main__":
    main()
