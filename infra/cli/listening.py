"""`ledgerline analyze` and `evaluate`: the ears without a server."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from infra.cli import LISTEN, AFile, as_json, command

jobs = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=lambda: os.cpu_count() or 1,
    metavar="N",
    help="Files at once (all cores).",
)


def _into(name: str, metavar: str, text: str) -> Callable[[Any], Any]:
    return click.option(name, type=click.Path(path_type=Path), metavar=metavar, help=text)


@command("analyze", heading=LISTEN)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("-r", "--recursive", is_flag=True, help="Look into folders within folders as well.")
@as_json
@click.option("--detail", is_flag=True, help="With --json: beats, chords, segments and curves as well.")
@_into("--csv", "OUT.csv", "A row per file, written as each is done; those in it are left out.")
@_into("--plot", "OUT.png", "Draw the first file's picture into this file.")
@_into("--click", "OUT.wav", "The first file with a click on every beat.")
@_into("--rekordbox", "OUT.xml", "Grids, keys and cue points for rekordbox.")
@_into("--traktor", "OUT.nml", "The same as a collection of Traktor, also for Mixxx.")
@_into("--tags", "FOLDER", "Copies of MP3 files with tempo, key, grid and cues in their tags.")
@jobs
def analyze(**asked: Any) -> int:
    """Say what is in audio files, or in folders of them: tempo, key, loudness, sections, moods."""
    from infra import analyze as ears

    return ears.run(wishes(**asked))


def wishes(*, as_json: bool, **others: Any) -> argparse.Namespace:
    """What was asked for, as `infra.analyze.run` takes it."""
    return argparse.Namespace(json=as_json, **{**others, "files": list(others["files"])})


@command("evaluate", heading=LISTEN)
@click.argument("manifest", type=AFile(), metavar="MANIFEST")
@as_json
@jobs
def evaluate(manifest: Path, as_json: bool, jobs: int) -> int:
    """Measure the analysis against known answers.

    MANIFEST is a CSV file with the truth, beside the recordings.
    """
    from infra import evaluate as ears

    return ears.evaluate(manifest, as_json=as_json, jobs=jobs)
