"""`ledgerline analyze FILE...`: what the service would say of these files, with no service running."""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import msgspec
import structlog
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from adapters.ears.listening import Ears, shown
from domain.analyses.findings import WARNINGS, Analysis, Detail, Findings, Section, Unreadable
from infra.cli import complain

#: Endings of files that are looked at in folders; a file that is named itself may have any.
ENDINGS = frozenset(
    f".{ending}"
    for ending in (
        *("aac", "ac3", "aif", "aifc", "aiff", "amr", "ape", "au", "avi", "caf", "dff", "dsf", "dts", "eac3", "flac"),
        *("flv", "m4a", "m4b", "m4r", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "oga", "ogg", "opus", "snd", "spx"),
        *("ts", "tta", "w64", "wav", "wave", "webm", "wma", "wv"),
    )
)
#: The columns of `--csv`, in order; all but the first three are findings of the same name.
COLUMNS = (
    "path", "bytes", "error", "duration_seconds", "complete", "bpm", "bpm_confidence", "bpm_stdev",
    "first_beat_seconds",
    "time_signature_text", "time_signature_confidence", "downbeat_confidence", "key_notation", "camelot",
    "key_confidence", "loudness_lufs",
    "loudness_range_lu", "true_peak_dbtp", "energy", "danceability", "valence", "mood_tags", "genre_suggestions",
    "genre_confidence", "warnings",
)  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Analyse what `infra.cli.listening` asks for; 0 if all was heard, 1 if not, 2 if something cannot be written."""
    # Standard output is for results alone; the stream is looked up at each line, for whoever changes it in between.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    fault = _fault(args)
    if fault is not None:
        complain(fault)
        return 2
    return asyncio.run(_run(args))


def _fault(args: argparse.Namespace) -> str | None:
    """Why something that was asked for cannot be written; looked at before hours are spent."""
    for target, endings in (
        (args.plot, (".png",)),
        (args.click, (".wav",)),
        (args.csv, (".csv",)),
        (args.rekordbox, (".xml",)),
        (args.traktor, (".nml",)),
    ):
        if target is None:
            continue
        if target.suffix.lower() not in endings:
            return f"{target} must end in {' or '.join(endings)}."
        if (why := _unwritable(target)) is not None:
            return f"{target} cannot be written: {why}."
    if args.tags is not None and not _is_folder(args.tags):
        return f"There is no folder {args.tags}."
    return None


def _unwritable(target: Path) -> str | None:
    folder = target.absolute().parent
    if not _is_folder(folder):
        return f"there is no folder {target.parent}"
    try:
        if stat.S_ISDIR(target.stat().st_mode):
            return "it is a folder"
    except FileNotFoundError:
        return None if os.access(folder, os.W_OK) else "its folder may not be changed"
    except OSError as problem:
        return problem.strerror
    return None if os.access(target, os.W_OK) else "it may not be changed"


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # there can be nothing of that name: it is too long
        return False


def _found(paths: Sequence[Path], *, recursive: bool) -> Iterator[Path]:
    """The files that were named, and those of named folders that have the ending of a recording, in order."""
    for path in paths:
        if not _is_folder(path):
            yield path
            continue
        inside = path.rglob("*") if recursive else path.glob("*")
        yield from sorted(file for file in inside if file.suffix.lower() in ENDINGS and file.is_file())


async def _run(args: argparse.Namespace) -> int:
    files = list(_found(args.files, recursive=args.recursive))
    if not files:
        further = "" if args.recursive else " (-r looks into folders within it as well)"
        complain(f"There are no recordings in {shown(args.files[0])}{further}.")
        return 1
    if args.csv is not None:
        done = _done(args.csv)
        left = [file for file in files if (shown(file), _bytes(file)) not in done]
        if len(left) < len(files):
            _note(f"{len(files) - len(left)} of {len(files)} are in {args.csv} already.")
        files = left
    collected = args.rekordbox is not None or args.traktor is not None or args.tags is not None
    everything = collected or (args.json and args.detail)
    results: list[Analysis | Unreadable | None] = [None] * len(files)

    def keep(number: int, result: Analysis | Unreadable) -> None:
        if args.csv is not None:
            _append(args.csv, files[number], result)
        first = number == 0 and (args.plot is not None or args.click is not None)
        if isinstance(result, Analysis) and not everything and not first:
            # Of a library of thousands only the summaries stay in memory.
            result = replace(result, detail=Detail())
        results[number] = result

    await _listen(files, args.jobs, keep)
    heard = [result for result in results if result is not None]
    _tell(args, files, heard)
    if heard and isinstance(heard[0], Analysis):
        _write_first(args, files[0], heard[0])
    if collected:
        _write_collection(
            args, [(file, one) for file, one in zip(files, heard, strict=True) if isinstance(one, Analysis)]
        )
    return 1 if any(isinstance(result, Unreadable) for result in heard) else 0


def _tell(args: argparse.Namespace, files: list[Path], results: list[Analysis | Unreadable]) -> None:
    console = Console()
    for path, result in zip(files, results, strict=True):
        if args.json:
            sys.stdout.buffer.write(_line(path, result, detail=args.detail) + b"\n")
        elif isinstance(result, Unreadable):
            console.print(Text.assemble((f"{shown(path)}: ", "bold"), (str(result), "red")))
        elif len(files) == 1:
            console.print(_portrait(path, result.findings))
            console.print(_sections(result.findings.sections))
    if not args.json and len(files) > 1 and args.csv is None:
        console.print(_overview(files, results))


def _write_first(args: argparse.Namespace, path: Path, analysis: Analysis) -> None:
    if args.plot is not None:
        from adapters.ears.pictures import overview

        args.plot.write_bytes(overview(analysis, title=shown(path.name)))
        _note(f"The picture is in {args.plot}.")
    if args.click is not None:
        from adapters.ears.players import write_click

        write_click(path, analysis, args.click)
        _note(f"The recording with its clicks is in {args.click}.")


def _write_collection(args: argparse.Namespace, tracks: list[tuple[Path, Analysis]]) -> None:
    from adapters.ears.players import rekordbox, traktor
    from adapters.ears.tags import Untaggable, tagged

    for target, written in ((args.rekordbox, rekordbox), (args.traktor, traktor)):
        if target is not None:
            target.write_bytes(written(tracks))
            _note(f"The collection is in {target}.")
    for path, analysis in tracks if args.tags is not None else []:
        try:
            tagged(path, analysis, args.tags / path.name)
        except FileExistsError:
            _note(f"{shown(args.tags / path.name)} exists already and was left as it is.")
        except Untaggable as fault:
            _note(f"{shown(path)} got no tags: {fault}")


def _note(sentence: str) -> None:
    """Say something beside the results."""
    click.echo(sentence, err=True)


def _bytes(path: Path) -> str:
    try:
        return str(path.stat().st_size)
    except OSError:
        return ""


def _done(table: Path) -> set[tuple[str, str]]:
    """(path, bytes) of the rows that an earlier run wrote; a row that it was stopped in counts as none."""
    if not table.exists():
        return set()
    content = table.read_bytes()
    if content and not content.endswith(b"\n"):
        table.write_bytes(content[: content.rfind(b"\n") + 1])
    with table.open(newline="", encoding="utf-8") as lines:
        return {(row.get("path") or "", row.get("bytes") or "") for row in csv.DictReader(lines)}


def _append(table: Path, path: Path, result: Analysis | Unreadable) -> None:
    new = not table.exists() or table.stat().st_size == 0
    values: dict[str, object] = {"path": shown(path), "bytes": _bytes(path)}
    if isinstance(result, Unreadable):
        values["error"] = str(result)
    else:
        values |= {name: getattr(result.findings, name) for name in COLUMNS[3:]}
    row = [" ".join(value) if isinstance(value, tuple) else value for value in (values.get(name) for name in COLUMNS)]
    with table.open("a", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        if new:
            writer.writerow(COLUMNS)
        writer.writerow(row)


async def _listen(paths: list[Path], jobs: int, keep: Callable[[int, Analysis | Unreadable], None]) -> None:
    """Tell what each file sounds like, or why it cannot be told, with a progress bar on a terminal."""
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
            title = shown(paths[0].name) if len(paths) == 1 else "Listening"
            task = bar.add_task(title, total=len(paths))

            async def hear(number: int, path: Path) -> None:
                def advance(share: float) -> None:
                    bar.advance(task, share - shares[number])
                    shares[number] = share

                try:
                    result: Analysis | Unreadable = await ears.listen(path, progress=advance)
                except Unreadable as problem:
                    result = problem
                advance(1.0)
                keep(number, result)

            await asyncio.gather(*(hear(number, path) for number, path in enumerate(paths)))
    finally:
        await ears.close()


def _line(path: Path, result: Analysis | Unreadable, *, detail: bool) -> bytes:
    if isinstance(result, Unreadable):
        return msgspec.json.encode({"path": shown(path), "error": str(result)})
    told = {"path": shown(path), **msgspec.structs.asdict(result.findings)}
    return msgspec.json.encode({**told, "detail": result.detail} if detail else told)


def _key(findings: Findings) -> str:
    f = findings
    if f.key_notation is None:
        return "no clear key"
    mode = f"{f.key} {f.mode}, " if f.mode else ""
    return f"{mode}{f.key_notation} ({f.camelot}), {_sure(f.key_confidence)}"


def _portrait(path: Path, findings: Findings) -> Table:
    table = Table(
        title=shown(path.name), title_style="bold", show_header=False, box=None, padding=(0, 2), title_justify="left"
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
        ("Mind", " ".join(WARNINGS[warning] for warning in f.warnings)),
        ("Tempo", f"{f.bpm:g} BPM, {_sure(f.bpm_confidence)}" if f.bpm is not None else "no steady beat"),
        ("", f"or {others}" if others and f.bpm is not None else ""),
        ("Metre", f"{f.time_signature_text}, {_sure(f.time_signature_confidence)}" if f.time_signature_text else ""),
        ("First beats", _sure(f.downbeat_confidence) if f.time_signature_text else ""),
        ("Key", _key(f)),
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
            shown(path.name),
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
    # Nothing is ever certain, however near it comes.
    return f"{min(99, round(100 * confidence))} % sure"


def _bar(share: float | None, width: int = 20) -> str:
    if share is None:
        return ""
    full = round(share * width)
    return f"{'█' * full}{'░' * (width - full)} {share:.2f}"
