"""Whether ears hear what the band has written, how loud it is, and what it costs.

    python -m tests.benchmarks.band [GENRE ...] [--seeds 100] [--first 0] [--seconds 40] [--peers] [--cost]
        [--results FILE [--minutes 9]]

For each genre so many short pieces are made, first and second takes in turn, and heard by our own analysis: the tempo
must come back within 1 % and the very key, for 95 of 100. With `--peers` also by essentia and librosa where these are
installed (`uv pip install --group listeners`): the tempo within 4 %, octaves of it allowed, and the key or its
relative, for 85 of 100 by one of the two. With `--results` a run goes on where another has ended: what was heard of a
piece holds as long as its score, what plays it and what hears it are the same. With `--minutes` it ends in time: then
it tells what it has. Where several genres were heard, a second table says which of them the sound alone tells apart
(`tests.benchmarks.blind`). `--cost` makes one whole beat of three minutes a genre, each in a process of its own with
one thread, once as a WAV and once as all files that a worker stores, and tells processor time (start and imports
counted) and memory.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

import adapters
from adapters.band.compose import compose
from adapters.band.files import write_wav
from adapters.band.genres import PROFILES
from adapters.band.master import Levels, master
from adapters.band.render import mixed
from adapters.band.score import Brief, Score
from adapters.band.theory import parse_key
from adapters.ears.engine import analyse
from domain.kernel import Value
from tests.benchmarks.blind import portrait, told_apart
from tests.benchmarks.ears_peers import ONE_THREAD, Listener, essentia_hears, librosa_hears

OCTAVES = (1.0, 0.5, 2.0)
#: The name of our own analysis among those who listen.
OURS = "ours"
#: What is around the band and changes no sound, and what writes scores, which are looked at themselves.
UNHEARD = {"catalogue.json", "catalogue.py", "convert.py", "cover.py", "engine.py", "midi.py", "studio.py", "worker.py"}
COMPOSING = {"chance.py", "compose.py", "figures.py", "form.py", "genres.py", "groove.py", "moods.py", "motifs.py"}
COMPOSING |= {"score.py", "theory.py", "titles.py", "tonal.py", "tune.py"}


def written(genre: str, seed: int, seconds: float) -> Score:
    """A short piece of a style and mood that goes round with the seed, first and second takes in turn."""
    moods = (("", ""), ("Dark", "Aggressive"), ("Melodic", "Calm"), ("Energetic", "Happy"), ("Atmospheric", "Sad"))
    style, mood = moods[seed % len(moods)]
    return compose(Brief(genre=genre, style=style, mood=mood, seed=seed, seconds=seconds, take=1 + seed // 5 % 2))


def played(score: Score, folder: Path) -> tuple[Levels, Path]:
    """A piece as a file."""
    mix = mixed(score)
    levels = master(score, mix)
    path = folder / "beat.wav"
    write_wav(path, mix, seed=score.brief.seed)
    return levels, path


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


class Heard(Value):
    """What one listener made of one piece."""

    piece: str
    genre: str
    seed: int
    seconds: float
    listener: str
    bpm: int
    key: str
    heard_bpm: float | None
    heard_key: str | None
    tempo_is_right: bool
    key_is_right: bool
    #: Whether the master is as loud as it is to be; our own meter says.
    loud_is_right: bool
    #: What the piece sounds like in numbers, `tests.benchmarks.blind`; our own analysis says.
    portrait: tuple[float, ...] = ()


def fingerprint(score: Score) -> str:
    """Of a piece and everything that plays or hears it: what was heard of another says nothing of this one."""
    profile = PROFILES[score.genre]
    digest = hashlib.sha256(_sources())
    for part in (msgspec.structs.replace(score, engine="", title=""), profile.kit, profile.mix):
        digest.update(msgspec.json.encode(part))
    return digest.hexdigest()[:12]


@cache
def _sources() -> bytes:
    ours = Path(adapters.__file__).parent
    sources = sorted(path for folder in ("band", "ears") for path in (ours / folder).rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in sources:
        if path.suffix in {".py", ".npz", ".json"} and path.name not in UNHEARD | COMPOSING:
            digest.update(path.read_bytes())
    return digest.digest()


def listened(score: Score, missing: Mapping[str, Listener | None]) -> list[Heard]:
    """One piece, heard by each of these; None is our own analysis."""
    found: list[Heard] = []
    with tempfile.TemporaryDirectory() as name:
        levels, path = played(score, Path(name))
        for listener, listen in missing.items():
            looks: tuple[float, ...] = ()
            if listen is None:
                analysis = analyse(path)
                findings, looks = analysis.findings, portrait(path, analysis)
                bpm, key = findings.bpm, findings.key_notation
                right = is_tempo(bpm, score.bpm, 0.01), is_key(key, score.key, relatives=False)
            else:
                bpm, key = listen(path)
                right = is_tempo(bpm, score.bpm, 0.04, OCTAVES), is_key(key, score.key, relatives=True)
            found.append(
                Heard(
                    piece=fingerprint(score),
                    genre=score.genre,
                    seed=score.brief.seed,
                    seconds=score.brief.seconds,
                    listener=listener,
                    bpm=score.bpm,
                    key=f"{score.key} ({score.mode})",
                    heard_bpm=bpm,
                    heard_key=key,
                    tempo_is_right=right[0],
                    key_is_right=right[1],
                    loud_is_right=abs(levels.lufs + 14) <= 0.5 and levels.true_peak_dbtp <= -1.0,
                    portrait=looks,
                )
            )
    return found


def measure(
    genres: Sequence[str], options: argparse.Namespace, listeners: Mapping[str, Listener | None]
) -> list[Heard]:
    """What every listener makes of the pieces of all genres, seed by seed, as far as the time goes."""
    known: list[Heard] = []
    if options.results is not None and options.results.exists():
        known = list(map(_HEARD.decode, options.results.read_bytes().splitlines()))
    of_piece = {(each.piece, each.listener): each for each in known}
    seeds = range(options.first, options.first + options.seeds)
    wanted = [(genre, seed) for seed in seeds for genre in genres]
    until = time.monotonic() + 60 * options.minutes
    found: list[Heard] = []
    for genre, seed in track(wanted, console=Console(stderr=True), transient=True):
        score = written(genre, seed, options.seconds)
        piece = fingerprint(score)
        found += [of_piece[piece, name] for name in listeners if (piece, name) in of_piece]
        missing = {name: each for name, each in listeners.items() if (piece, name) not in of_piece}
        if not missing or time.monotonic() > until:
            continue
        heard = listened(score, missing)
        found += heard
        if options.results is not None:
            with options.results.open("ab") as file:
                file.writelines(msgspec.json.encode(each) + b"\n" for each in heard)
    return found


_HEARD = msgspec.json.Decoder(Heard)


def table_of(found: Sequence[Heard], genres: Sequence[str], listeners: Sequence[str], seconds: float) -> Table:
    """How many of the pieces of each genre passed each test, of how many."""
    peers = [name for name in listeners if name != OURS]
    columns = [*((name, what) for name in listeners for what in ("tempo", "key")), (OURS, "loud")]
    table = Table(title=f"pieces of {seconds:g} s", title_justify="left")
    for heading in ("genre", *(f"{name} {what}" for name, what in columns), *(("a peer",) if peers else ())):
        table.add_column(heading, justify="left" if heading == "genre" else "right")
    for genre in (*genres, ""):
        row = [genre or "all"]
        of_genre = [each for each in found if genre in ("", each.genre)]
        for name, what in columns:
            right = [getattr(each, f"{what}_is_right") for each in of_genre if each.listener == name]
            row.append(f"{sum(right)}/{len(right)}")
        if peers:
            pieces: dict[tuple[str, int], list[bool]] = {}
            for each in of_genre:
                if each.listener in peers:
                    so_far = pieces.setdefault((each.genre, each.seed), [False, False])
                    so_far[0] |= each.tempo_is_right
                    so_far[1] |= each.key_is_right
            row.append(f"{sum(all(each) for each in pieces.values())}/{len(pieces)}")
        table.add_row(*row)
    return table


#: A whole beat in a process of its own: what it writes besides the WAV, its processor time and its highest memory.
WHOLE = """
import resource, sys, tempfile, time
from pathlib import Path
from adapters.band.engine import Wanted, make
from adapters.band.score import Brief

with tempfile.TemporaryDirectory() as name:
    files = {Path(each).stem: Path(name) / each for each in sys.argv[2:]}
    make(Brief(genre=sys.argv[1], seed=1, seconds=180.0), Wanted(**files))
print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
#: What a worker stores of a track.
STORED = ("flac.flac", "mp3.mp3", "preview.mp3", "cover.png", "midi.mid", "score.json", "peaks.json")


def confusion_of(found: Sequence[Heard], genres: Sequence[str]) -> Table:
    """Which genre the nearest portraits of other pieces name: rows are what is played, columns what is named."""
    seen = [each for each in found if each.portrait]
    named = told_apart([each.portrait for each in seen], [each.genre for each in seen])
    pairs = Counter(zip((each.genre for each in seen), named, strict=True))
    right = sum(pairs[genre, genre] for genre in genres)
    table = Table(title=f"told apart by the sound alone: {right} of {len(seen)}", title_justify="left")
    table.add_column("is")
    for genre in genres:
        table.add_column(genre, justify="right")
    for genre in genres:
        table.add_row(genre, *(str(pairs[genre, other] or "") for other in genres))
    return table


def cost(genre: str, files: Sequence[str]) -> tuple[float, float]:
    """Seconds of processor and megabytes of one whole beat of three minutes, from the start of a process to its end."""
    answer = subprocess.run(
        [sys.executable, "-c", WHOLE, genre, *files],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **ONE_THREAD},
    )
    seconds, megabytes = answer.stdout.split()
    return float(seconds), float(megabytes)


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
    parser.add_argument("--minutes", type=float, default=1e6, help="make no more pieces after so many")
    parser.add_argument("--results", type=Path, help="keep what was heard there, and go on from it")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--cost", action="store_true")
    options = parser.parse_args()
    genres = options.genres or list(PROFILES)
    console = Console(width=150)
    if options.cost:
        for genre in genres:
            wav, stored = cost(genre, ("wav.wav",)), cost(genre, STORED)
            console.print(
                f"{genre:<14} WAV {wav[0]:5.2f} s of processor {wav[1]:4.0f} MB, "
                f"all that is stored {stored[0]:5.2f} s {stored[1]:4.0f} MB",
                highlight=False,
            )
        return
    listeners: dict[str, Listener | None] = {OURS: None, **(_peers(console) if options.peers else {})}
    found = measure(genres, options, listeners)
    for each in sorted(found, key=lambda each: (each.genre, each.seed)):
        if not (each.tempo_is_right and each.key_is_right and each.loud_is_right):
            console.print(
                f"  {each.genre} {each.seed}: {each.bpm} {each.key}, {each.listener} hears {each.heard_bpm} "
                f"{each.heard_key}{'' if each.loud_is_right else ', not as loud as it should be'}",
                highlight=False,
            )
    console.print(table_of(found, genres, list(listeners), options.seconds))
    if len(genres) > 1:
        console.print(confusion_of(found, genres))


if __name__ == "__main__":
    main()
