"""Files sent to a running service, one after the other, with a bar while they go and a report of what came of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

PIECE_BYTES = 256 * 1024
LOOK_SECONDS = 0.25
ROWS_SHOWN = 5

Import = dict[str, Any]


async def import_all(files: Sequence[Path], url: str, key: str, options: Mapping[str, str], *, as_json: bool) -> int:
    """Send files and wait for each; 0 when every row of every file is in the books."""
    console = Console(stderr=True)
    clean = True
    timeout = aiohttp.ClientTimeout(total=None, sock_read=120)
    async with aiohttp.ClientSession(headers={"X-API-Key": key}, timeout=timeout) as http:
        for path in files:
            with Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
                TransferSpeedColumn(), TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True,
            ) as bar:  # fmt: skip
                task = bar.add_task(path.name, total=2 * max(path.stat().st_size, 1))
                try:
                    found = await _imported(http, url, path, options, bar, task)
                except aiohttp.ClientError as problem:
                    raise click.ClickException(f"{url} cannot be reached: {problem}") from problem
            rows = [row for kind in ("rejected", "queued") for row in await _odd_rows(http, url, found, kind)]
            if as_json:
                click.echo(json.dumps(found))
            else:
                _show(Console(), path, found, rows)
            clean = clean and found["outcome"] == "imported" and not found["counts"]["rejected"]
    return 0 if clean else 1


async def _imported(
    http: aiohttp.ClientSession, url: str, path: Path, options: Mapping[str, str], bar: Progress, task: TaskID
) -> Import:
    async def pieces() -> AsyncIterator[bytes]:
        with path.open("rb") as file:
            while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                yield piece
                bar.advance(task, len(piece))

    async with http.post(
        f"{url}/api/v1/imports",
        params={"filename": path.name, **options},
        data=pieces(),
        headers={"Content-Type": "application/octet-stream"},
    ) as answer:
        found = await _read(answer)
    size = found["size"]
    while found["outcome"] is None:
        await asyncio.sleep(LOOK_SECONDS)
        async with http.get(f"{url}/api/v1/imports/{found['id']}") as answer:
            found = await _read(answer)
        if progress := found["progress"]:
            share = progress["bytes_read"] / max(progress["bytes_total"], 1)
            bar.update(task, completed=size + share * size)
    bar.update(task, completed=2 * size)
    return found


async def _read(answer: aiohttp.ClientResponse) -> Import:
    body = await answer.json()
    if answer.status >= 400:
        raise click.ClickException(str(body.get("error", answer.reason)))
    found: Import = body["data"]
    return found


async def _odd_rows(http: aiohttp.ClientSession, url: str, found: Import, kind: str) -> list[Import]:
    if not found["counts"] or not found["counts"][kind]:
        return []
    asked = {"kind": kind, "limit": str(ROWS_SHOWN)}
    async with http.get(f"{url}/api/v1/imports/{found['id']}/rows", params=asked) as answer:
        rows: list[Import] = (await answer.json())["data"]
        return rows


def _show(console: Console, path: Path, found: Import, rows: Sequence[Import]) -> None:
    """What came of a file, for people."""
    console.print(Text(f"{path.name}: {_said(found)}", style="bold"))
    counts = found["counts"]
    if counts is None:
        return
    table = Table(box=None, show_header=False, padding=(0, 2))
    for name in ("total", "accepted", "rejected", "queued", "new", "changed", "unchanged", "missing"):
        table.add_row(name, f"{counts[name]:,}")
    for reason, number in counts["ignored"].items():
        table.add_row(f"left alone: {reason}", f"{number:,}")
    for currency, total in found["totals"].items():
        table.add_row(currency, total)
    console.print(table)
    if found["periods"]:
        console.print(Text(f"  about {found['periods'][0]} to {found['periods'][-1]}"))
    _show_rows(console, found, rows)


def _show_rows(console: Console, found: Import, rows: Sequence[Import]) -> None:
    """What is to be said of some rows: found by their titles, not in the catalogue, wrong, or waiting."""
    for warning in found["warnings"]:
        console.print(Text(f"  warning: {warning}", style="yellow"))
    for each in found["resolved"][:ROWS_SHOWN]:
        console.print(Text(f"  {each['title']} is {each['isrc']}, by its title"))
    if total := found["unknown_isrcs_total"]:
        console.print(Text(f"  not in the catalogue: {', '.join(found['unknown_isrcs'][:ROWS_SHOWN])} ({total:,})"))
    for row in rows:
        waits = row["kind"] == "queued"
        told = f"  line {row['line']}: {row['reason']}{', waits for somebody who knows' if waits else ''}"
        console.print(Text(told, style="yellow" if waits else "red"))
    if found["counts"]["queued"]:
        console.print(Text("  what waits is at GET /api/v1/unresolved"))


#: What answers a question here.
_OPTIONS = {
    "currency": "--currency", "date_order": "--date-order", "period": "--period-start, --period-end", "track": "--isrc"
}  # fmt: skip


def _said(found: Import) -> str:
    match found["outcome"]:
        case "imported":
            return f"imported as {found['source']}"
        case "needs_answer":
            return f"asks for the {found['question']}. {found['detail']} ({_OPTIONS[found['question']]})"
    return f"refused ({found['reason']}). {found['detail']}"
