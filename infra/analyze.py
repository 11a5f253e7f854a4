"""`ledgerline analyze FILE...`: what the service would say of these files, with no service running."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from adapters.ears.listening import Ears
from domain.analyses.findings import Analysis, Findings, Section, Unreadable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be said after `ledgerline analyze`."""
    parser.description = "Listen to audio files and say what is in them: tempo, key, loudness, sections, moods."
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="an audio file of any common format")
    parser.add_argument("--json", action="store_true", help="one line of JSON per file instead of tables")
    parser.add_argument("--detail", action="store_true", help="with --json: beats, chords, segments and curves as well")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw the first file's picture into this file")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="files at once (all cores)")


def run(args: argparse.Namespace) -> int:
    """Analyse all files; 0 if every one could be heard, 1 otherwise."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    results = await _listen(args.files, args.jobs)
    console = Console()
    failed = False
    for path, result in zip(args.files, results, strict=True):
        if isinstance(result, Unreadable):
            failed = True
        if args.json:
            sys.stdout.buffer.write(_line(path, result, detail=args.detail) + b"\n")
        elif isinstance(result, Unreadable):
            console.print(Text.assemble((f"{path}: ", "bold"), (str(result), "red")))
        elif len(args.files) == 1:
            console.print(_portrait(path, result.findings))
            console.print(_sections(result.findings.sections))
    if not args.json and len(args.files) > 1:
        console.print(_overview(args.files, results))
    if args.plot is not None and isinstance(results[0], Analysis):
        from adapters.ears.pictures import overview

        args.plot.write_bytes(overview(results[0], title=args.files[0].name))
        Console(stderr=True).print(f"The picture is in {args.plot}.")
    return 1 if failed else 0


async def _listen(paths: list[Path], jobs: int) -> list[Analysis | Unreadable]:
    """What each file sounds like, or why it cannot be told, with a progress bar on a terminal."""
    ears = Ears(workers=max(1, min(jobs, len(paths))))
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f} %"),
        MofNCompleteColumn() if len(paths) > 1 else TextColumn(""),
        TimeElapsedColumn(),
    )
    shares = dict.fromkeys(range(len(paths)), 0.0)
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            title = paths[0].name if len(paths) == 1 else "Listening"
            task = bar.add_task(title, total=len(paths))

            async def hear(number: int, path: Path) -> Analysis | Unreadable:
                def advance(share: float) -> None:
                    shares[number] = share
                    bar.update(task, completed=sum(shares.values()))

                try:
                    return await ears.listen(path, progress=advance)
                except Unreadable as problem:
                    return problem
                finally:
                    advance(1.0)

            return list(await asyncio.gather(*(hear(number, path) for number, path in enumerate(paths))))
    finally:
        await ears.close()


def _line(path: Path, result: Analysis | Unreadable, *, detail: bool) -> bytes:
    if isinstance(result, Unreadable):
        return msgspec.json.encode({"path": str(path), "error": str(result)})
    told = {"path": str(path), **msgspec.structs.asdict(result.findings)}
    return msgspec.json.encode({**told, "detail": result.detail} if detail else told)


def _portrait(path: Path, findings: Findings) -> Table:
    table = Table(
        title=path.name, title_style="bold", show_header=False, box=None, padding=(0, 2), title_justify="left"
    )
    table.add_column(style="cyan", justify="right")
    table.add_column()
    for name, value in _rows(findings):
        table.add_row(name, value)
    return table


def _rows(findings: Findings) -> list[tuple[str, str]]:
    f = findings
    relatives = [other for other in f.bpm_candidates if other.relation in {"half", "double"}]
    others = ", ".join(f"{other.bpm:g} at {other.relation} time" for other in relatives)
    loudness = [
        _unit(f.loudness_lufs, "LUFS"),
        _unit(f.loudness_range_lu, "LU range"),
        _unit(f.true_peak_dbtp, "dBTP peak"),
    ]
    genre = " or ".join(f.genre_suggestions) or "outside the six we know"
    doubt = f", worth a look: {f.genre_review_code.replace('_', ' ')}" if f.genre_review_code else ""
    fades = [
        f"in until {_clock(f.fade_in_end_seconds)}" if f.fade_in_end_seconds is not None else "",
        f"out from {_clock(f.fade_out_start_seconds)}" if f.fade_out_start_seconds is not None else "",
    ]
    rows = [
        ("Length", _clock(f.duration_seconds)),
        ("Tempo", f"{f.bpm:g} BPM, {_sure(f.bpm_confidence)}" if f.bpm is not None else "no steady beat"),
        ("", f"or {others}" if others and f.bpm is not None else ""),
        ("Metre", f"{f.time_signature_text}, {_sure(f.time_signature_confidence)}" if f.time_signature_text else ""),
        ("Key", f"{f.key_notation} ({f.camelot}), {_sure(f.key_confidence)}" if f.key_notation else "no clear key"),
        ("Tuning", f"A = {f.tuning_hz:g} Hz ({f.tuning_cents:+g} cents)" if f.tuning_hz is not None else ""),
        ("Chords", " ".join(f.chord_progression)),
        ("Loudness", ", ".join(part for part in loudness if part) or "silence"),
        ("Energy", _bar(f.energy)),
        ("Danceability", _bar(f.danceability)),
        ("Valence", _bar(f.valence)),
        ("Mood", ", ".join(f.mood_tags)),
        ("Genre", genre + doubt if f.energy is not None else ""),
        ("Fades", ", ".join(part for part in fades if part)),
    ]
    return [(name, value) for name, value in rows if value]


def _sections(sections: tuple[Section, ...]) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("Section", "From", "To", "Key", "Loudness", "Energy"):
        table.add_column(heading)
    for section in sections:
        table.add_row(
            section.label,
            _clock(section.start),
            _clock(section.end),
            section.key or "",
            _unit(section.loudness, "LUFS"),
            _bar(section.energy, 10),
        )
    return table


def _overview(paths: list[Path], results: list[Analysis | Unreadable]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("File", overflow="fold", min_width=18)
    for heading in ("Length", "BPM", "Key", "", "LUFS", "Energy"):
        table.add_column(heading, no_wrap=True)
    table.add_column("Mood")
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, Unreadable):
            continue
        f = result.findings
        table.add_row(
            path.name,
            _clock(f.duration_seconds),
            f"{f.bpm:.1f}" if f.bpm is not None else "",
            f.key_notation or "",
            f.camelot or "",
            f"{f.loudness_lufs:.1f}" if f.loudness_lufs is not None else "",
            "" if f.energy is None else f"{f.energy:.2f}",
            ", ".join(f.mood_tags[:2]),
        )
    return table


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _unit(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.1f} {unit}"


def _sure(confidence: float) -> str:
    return f"{100 * confidence:.0f} % sure"


def _bar(share: float | None, width: int = 20) -> str:
    if share is None:
        return ""
    full = round(share * width)
    return f"{'█' * full}{'░' * (width - full)} {share:.2f}"
