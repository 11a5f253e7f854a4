"""Whether ears hear what the band has written, how loud it is, and what it costs.

    python -m tests.benchmarks.band [GENRE ...] [--seeds 100] [--first 0] [--seconds 40] [--peers] [--cost]

For each genre so many short pieces are made, first and second takes in turn, and heard by our own analysis: the tempo
must come back within 1 % and the very key, for 95 of 100. With `--peers` also by essentia and librosa where these are
installed (`uv pip install --group listeners`): the tempo within 4 %, octaves of it allowed, and
the key or its relative, for 85 of 100 by the better of the two. `--cost` makes one whole beat of three minutes a genre,
each in a process of its own with one thread, and tells its processor time and memory.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from adapters.band.compose import compose
from adapters.band.files import write_wav
from adapters.band.genres import PROFILES
from adapters.band.master import Levels, master
from adapters.band.render import mixed
from adapters.band.score import Brief, Score
from adapters.band.theory import parse_key
from adapters.ears.engine import analyse
from tests.benchmarks.ears_peers import ONE_THREAD, Listener, essentia_hears, librosa_hears

OCTAVES = (1.0, 0.5, 2.0)


def made(genre: str, seed: int, seconds: float, folder: Path) -> tuple[Score, Levels, Path]:
    """A short piece as a file, of a style and mood that goes round with the seed."""
    moods = (("", ""), ("Dark", "Aggressive"), ("Melodic", "Calm"), ("Energetic", "Happy"), ("Atmospheric", "Sad"))
    style, mood = moods[seed % len(moods)]
    score = compose(Brief(genre=genre, style=style, mood=mood, seed=seed, seconds=seconds, take=1 + seed // 5 % 2))
    mix = mixed(score)
    levels = master(score, mix)
    path = folder / "beat.wav"
    write_wav(path, mix, seed=seed)
    return score, levels, path


def is_tempo(heard: float | None, bpm: float, within: float, octaves: tuple[float, ...] = (1.0,)) -> bool:
    """Whether a tempo, or an octave of it, was heard."""
    return heard is not None and any(abs(heard / (bpm * factor) - 1) <= within for factor in octaves)


def is_key(heard: str | None, key: str, *, relatives: bool) -> bool:
    """Whether the key, or one with the same tones, was heard."""
    if heard is None:
        return False
    (tonic, scale), (wanted, kind) = parse_key(heard), parse_key(key)
    if (tonic, scale) == (wanted, kind):
        return True
    relative = (wanted + 3) % 12 if kind == "minor" else (wanted + 9) % 12
    return relatives and scale != kind and tonic == relative


def measure(genre: str, options: argparse.Namespace, peers: dict[str, Listener], console: Console) -> Counter[str]:
    """How many of the pieces of a genre pass each test."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        seeds = range(options.first, options.first + options.seeds)
        for seed in track(seeds, description=genre, console=Console(stderr=True), transient=True):
            score, levels, path = made(genre, seed, options.seconds, Path(name))
            found = analyse(path).findings
            tempo = is_tempo(found.bpm, score.bpm, 0.01)
            key = is_key(found.key_notation, score.key, relatives=False)
            counts["tempo"] += tempo
            counts["key"] += key
            counts["loud"] += abs(levels.lufs + 14) <= 0.5 and levels.true_peak_dbtp <= -1.0
            if not tempo or not key:
                console.print(
                    f"  {genre} {seed}: {score.bpm} {score.key} ({score.mode}), heard {found.bpm} {found.key_notation}",
                    highlight=False,
                )
            best_tempo = best_key = False
            for peer, listen in peers.items():
                bpm, heard = listen(path)
                right = is_tempo(bpm, score.bpm, 0.04, OCTAVES), is_key(heard, score.key, relatives=True)
                counts[f"{peer} tempo"] += right[0]
                counts[f"{peer} key"] += right[1]
                best_tempo, best_key = best_tempo or right[0], best_key or right[1]
            counts["peer tempo"] += best_tempo
            counts["peer key"] += best_key
    return counts


def cost(genre: str) -> tuple[float, float]:
    """Seconds of processor and megabytes of one whole beat of three minutes, from a fresh start to the WAV."""
    code = "import sys; from tests.benchmarks.band import whole; whole(sys.argv[1])"
    answer = subprocess.run(
        [sys.executable, "-c", code, genre],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **ONE_THREAD},
    )
    seconds, megabytes = answer.stdout.split()
    return float(seconds), float(megabytes)


def whole(genre: str) -> None:
    """Make a beat of three minutes and print what that cost this process since its imports, and its highest memory."""
    with tempfile.TemporaryDirectory() as name:
        started = time.process_time()
        made(genre, 1, 180.0, Path(name))
        print(time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _peers(console: Console) -> dict[str, Listener]:
    """Those that are installed; what is missing is said, and without any there is nothing to compare with."""
    known = {"essentia": essentia_hears, "librosa": librosa_hears}
    missing = [name for name in known if importlib.util.find_spec(name) is None]
    if len(missing) == len(known):
        sys.exit(
            "Neither essentia nor librosa is installed, so no peer hears anything: uv pip install --group listeners"
        )
    for name in missing:
        console.print(f"{name} is not installed and hears nothing: pip install {name}", highlight=False)
    return {name: make() for name, make in known.items() if name not in missing}


def main() -> None:
    """Print one row for each genre."""
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        again = [sys.executable, "-m", "tests.benchmarks.band", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, **ONE_THREAD})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("genres", nargs="*", metavar="GENRE")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--cost", action="store_true")
    options = parser.parse_args()
    genres = options.genres or list(PROFILES)
    console = Console(width=150)
    if options.cost:
        for genre in genres:
            seconds, megabytes = cost(genre)
            console.print(f"{genre:<14} {seconds:5.2f} s of processor {megabytes:6.0f} MB", highlight=False)
        return
    peers = _peers(console) if options.peers else {}
    columns = ["tempo", "key", "loud"]
    if peers:
        columns += [*(f"{peer} {what}" for peer in peers for what in ("tempo", "key")), "peer tempo", "peer key"]
    table = Table(title=f"of {options.seeds} pieces of {options.seconds:g} s", title_justify="left")
    for heading in ("genre", *columns):
        table.add_column(heading, justify="left" if heading == "genre" else "right")
    for genre in genres:
        counts = measure(genre, options, peers, console)
        table.add_row(genre, *(str(counts[column]) for column in columns))
        console.print(f"{genre}: {dict(counts)}", highlight=False)
    console.print(table)


if __name__ == "__main__":
    main()
