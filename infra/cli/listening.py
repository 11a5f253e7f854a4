"""`ledgerline analyze` and `evaluate`: the ears without a server."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import click

from infra.cli import LISTEN, as_json, command

jobs = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=lambda: os.cpu_count() or 1,
    metavar="N",
    help="Files at once (all cores).",
)


@command("analyze", heading=LISTEN)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@as_json
@click.option("--detail", is_flag=True, help="With --json: beats, chords, segments and curves as well.")
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="OUT.png", help="Draw the first file's picture into this file."
)
@jobs
def analyze(files: tuple[Path, ...], as_json: bool, detail: bool, plot: Path | None, jobs: int) -> int:
    """Say what is in audio files: tempo, key, loudness, sections, moods."""
    from infra import analyze as ears

    return ears.run(argparse.Namespace(files=list(files), json=as_json, detail=detail, plot=plot, jobs=jobs))


@command("evaluate", heading=LISTEN)
@click.argument("manifest", type=click.Path(path_type=Path), metavar="MANIFEST")
@as_json
@jobs
def evaluate(manifest: Path, as_json: bool, jobs: int) -> int:
    """Measure the analysis against known answers.

    MANIFEST is a CSV file with the truth, beside the recordings.
    """
    from infra import evaluate as ears

    return ears.evaluate(manifest, as_json=as_json, jobs=jobs)
