"""`ledgerline generate CATEGORY --out FILE`: a beat composed, played and mastered here, with no service running."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters.band.catalogue import UnknownCategory, brief_of, catalogue, find
from adapters.band.compose import UnplayableBrief
from adapters.band.genres import UnknownGenre
from adapters.band.theory import UnknownKey
from infra.cli import complain

# What plays takes a second to be loaded, so it is not until something is to be played.
if TYPE_CHECKING:
    from adapters.band.engine import Made

FORMATS = (".wav", ".mp3", ".flac")


class Request(NamedTuple):
    """What was asked for on the command line."""

    category: str
    out: Path
    seed: int
    take: int
    bpm: int | None
    key: str | None
    seconds: float
    stems: Path | None
    midi: Path | None
    score: Path | None
    cover: Path | None
    preview: Path | None


def show_categories(*, as_json: bool) -> int:
    """Print what can be asked for."""
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(catalogue()) + b"\n")
        return 0
    table = Table(box=None, padding=(0, 2), header_style="dim")
    # A name that is broken into lines cannot be copied.
    for heading in ("Category", "For", "Tags"):
        table.add_column(heading, no_wrap=heading == "Category")
    for template in catalogue():
        table.add_row(template.category, template.use_case, ", ".join(template.tags))
    Console().print(table)
    return 0


def run(request: Request, *, as_json: bool) -> int:
    """Make the beat; 0, or 1 with a sentence when it cannot be made."""
    if request.out.suffix.lower() not in FORMATS:
        return _refused(f"{request.out.name} must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.")
    if (fault := _fault(request)) is not None:
        return _refused(fault)
    if (twice := _asked_for_twice(request)) is not None:
        return _refused(f"Two files cannot go to one place: {twice}.")
    try:
        made = _make(request)
    except (UnknownCategory, UnknownGenre, UnknownKey, UnplayableBrief) as problem:
        return _refused(str(problem))
    except OSError as problem:
        return _refused(f"The files could not be written: {problem}.")
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(made) + b"\n")
    else:
        Console().print(_portrait(made))
    return 0


def _fault(request: Request) -> str | None:
    """Why a file that was asked for cannot be written; looked at, and its folder made, before anything is played."""
    for path in (request.out, request.midi, request.score, request.cover, request.preview):
        try:
            if path is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                return f"{path} is a folder."
            if not os.access(path if path.exists() else path.parent, os.W_OK):
                return f"{path} cannot be written: permission denied."
        except OSError as problem:
            return f"{path} cannot be written: {problem.strerror}."
    return None


def _asked_for_twice(request: Request) -> Path | None:
    """A path that two of the files would go to, of which only the later one would be left."""
    single = (request.out, request.midi, request.score, request.cover, request.preview)
    wanted = [path for path in single if path is not None]
    if request.stems is not None:
        from adapters.band.render import STEMS

        wanted += [request.stems / f"{name}.wav" for name in (*STEMS, "mix")]
    seen: set[str] = set()
    for path in wanted:
        place = os.path.realpath(path)
        if place in seen:
            return path
        seen.add(place)
    return None


def _make(request: Request) -> Made:
    template = find(request.category)
    from adapters.band.engine import Wanted, make

    brief = brief_of(
        template,
        seed=request.seed,
        take=request.take,
        bpm=request.bpm,
        key=request.key,
        seconds=request.seconds,
    )
    form = request.out.suffix.lower()
    wanted = Wanted(
        wav=request.out if form == ".wav" else None,
        mp3=request.out if form == ".mp3" else None,
        flac=request.out if form == ".flac" else None,
        preview=request.preview,
        cover=request.cover,
        midi=request.midi,
        score=request.score,
        stems=request.stems,
    )
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=None), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Composing", total=1.0)

        def tell(stage: str, share: float) -> None:
            bar.update(task, description=stage.capitalize(), completed=share)

        return make(brief, wanted, tell=tell)


def _refused(sentence: str) -> int:
    complain(sentence)
    return 1


def _portrait(made: Made) -> Table:
    table = Table(
        title=made.title, title_style="bold", show_header=False, box=None, padding=(0, 2), title_justify="left"
    )
    table.add_column(style="cyan", justify="right")
    table.add_column(overflow="fold")
    minutes, seconds = divmod(made.duration_seconds, 60)
    words = " and ".join(word for word in (made.style, made.mood) if word)
    for name, value in (
        ("Genre", f"{made.genre}, {words.lower()}" if words else made.genre),
        ("Tempo", f"{made.bpm} BPM"),
        ("Key", made.key),
        ("Length", f"{int(minutes)}:{seconds:04.1f}"),
        ("Loudness", f"{made.lufs:.1f} LUFS, {made.true_peak_dbtp:.1f} dBTP peak"),
        ("Seed", f"{made.seed}, take {made.take}"),
        ("Files", "\n".join(made.files)),
    ):
        table.add_row(name, value)
    return table
