"""`ledgerline log`: tail it, look at an event, search it, and see what one request has led to."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click

from infra.cli import POSITION, as_json, data_dir, group
from infra.cli.progress import bars

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

    from adapters.operators.explaining import Effect, Explanation, Job
    from adapters.operators.log import Line, Search

T = TypeVar("T")

#: How often the log is looked at for what is new.
FOLLOW_SECONDS = 0.5
PAGE = 500

log = group("log", "Look through the log: what happened, to what, by whom, and what followed.")


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option("--stream", metavar="NAME", help="Events of this stream, or of all whose names begin so."),
        click.option("--type", "name", metavar="NAME", help="Events of this type; `*` stands for anything."),
        click.option("--workspace", "workspace_id", metavar="ID", help="Events in this workspace."),
        click.option("--actor", metavar="ID", help="Events that this person or key has caused."),
        click.option("--correlation", type=click.UUID, metavar="ID", help="Events that followed from one request."),
        click.option("--trace", metavar="ID", help="Events of this trace (32 digits in hex)."),
        click.option("--text", metavar="TEXT", help="Events that hold this text (personal texts are sealed)."),
        click.option("--since", metavar="TIME", help="From this moment on: 2026-03-01T12:00:00Z, or 2026-03-01."),
        click.option("--until", metavar="TIME", help="Up to this moment."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@log.command("tail")
@_filters
@click.option("-n", "count", type=click.IntRange(0, 10_000), default=20, show_default=True, help="How many at first.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is appended, until Ctrl-C.")
@as_json
@data_dir
def tail(count: int, follow: bool, as_json: bool, data_dir: Path | None, **wanted: Any) -> None:
    """Show the newest events, oldest first."""
    search = _search(**wanted)

    async def ask() -> None:
        from msgspec.structs import replace

        from adapters.operators.log import newest, oldest

        async with _database(data_dir) as connection:
            lines = await newest(connection, search, count) if count else []
            _show(lines, as_json)
            if not follow:
                return
            # A position that is drawn but not committed may appear below what is there already: it is waited for.
            seen = {line.position for line in lines}
            floor = await _settled(connection)
            while True:
                await asyncio.sleep(FOLLOW_SECONDS)
                settled = await _settled(connection)
                found = await oldest(connection, replace(search, after=floor, before=settled + 1), PAGE)
                _show([line for line in found if line.position not in seen], as_json)
                floor = found[-1].position if len(found) == PAGE else settled

    asyncio.run(ask())


@log.command("search")
@_filters
@click.option("--after", type=POSITION, metavar="POSITION", help="Events after this position.")
@click.option("--before", type=POSITION, metavar="POSITION", help="Events before this position.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@as_json
@data_dir
def search(limit: int, as_json: bool, data_dir: Path | None, **wanted: Any) -> int:
    """Show the first events that match, oldest first. The exit status is 1 where there is none."""
    what = _search(**wanted)

    async def ask() -> list[Line]:
        from adapters.operators.log import oldest

        async with _database(data_dir) as connection:
            return await oldest(connection, what, limit)

    found = asyncio.run(ask())
    _show(found, as_json)
    if len(found) == limit:
        click.echo(f"There may be more: --after {found[-1].position}", err=True)
    return 0 if found else 1


@log.command("show")
@click.argument("position", type=POSITION)
@as_json
@data_dir
def show(position: int, as_json: bool, data_dir: Path | None) -> int:
    """Show one event with everything that it says; personal texts stay sealed."""

    async def ask() -> list[Line]:
        from adapters.operators.log import Search, oldest

        async with _database(data_dir) as connection:
            return await oldest(connection, Search(after=position - 1, before=position + 1), 1)

    found = asyncio.run(ask())
    if not found:
        raise click.ClickException(f"There is no event at {position}.")
    [line] = found
    if as_json:
        click.echo(json.dumps(line.plain))
        return 0
    for name, value in line.plain.items():
        if name != "facts":
            click.echo(f"{name:<16}{'' if value is None else value}")
    click.echo(json.dumps(line.facts, indent=2, ensure_ascii=False))
    return 0


@log.command("explain")
@click.argument("name", metavar="ID")
@as_json
@data_dir
def explain(name: str, as_json: bool, data_dir: Path | None) -> None:
    """Show what one request has led to, as a tree with times.

    ID is a request id (X-Request-ID), a correlation id, an event id, a trace id or a position; or a stream, or the id
    of an analysis, a build, a beat or whatever has a history, whose last event is meant then.
    """

    async def ask() -> Explanation:
        from adapters.operators.explaining import NothingToExplain
        from adapters.operators.explaining import explain as explained

        async with _database(data_dir) as connection:
            try:
                return await explained(connection, name)
            except NothingToExplain as nothing:
                raise click.ClickException(str(nothing)) from None

    from adapters.operators.explaining import plain
    from infra.container import load_everything

    load_everything()
    found = asyncio.run(ask())
    if as_json:
        click.echo(json.dumps(plain(found)))
    else:
        for line in _drawn(found):
            click.echo(line)


@log.command("export")
@click.option("--after", type=POSITION, default=0, metavar="POSITION", help="Events after this position.")
@click.option("--until", type=POSITION, metavar="POSITION", help="Events up to this position.")
@click.option(
    "--parquet",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="As Parquet files in this directory instead; needs the extra `pyarrow`.",
)
@data_dir
def export(after: int, until: int | None, parquet: Path | None, data_dir: Path | None) -> None:
    """Write the log as lines of JSON, events and the seals over them; personal texts stay sealed.

    `ledgerline log export | python infra/verify_log.py KEY` checks it without us.
    """
    import psycopg

    from adapters.operators import parquet as files
    from adapters.operators.exporting import encode_line
    from adapters.operators.exporting import export as exported
    from adapters.postgres.settings import Postgres
    from infra.running import settings_for

    settings = settings_for("log", data_dir=data_dir)
    # Where the lines go to the same terminal a bar would stand among them.
    is_among_lines = parquet is None and sys.stdout.isatty()
    with psycopg.connect(settings[Postgres].postgres_url) as connection, bars(hidden=is_among_lines) as tell:
        if parquet is not None:
            try:
                events, seals = files.write(connection, parquet, after=after, until=until, progress=tell)
            except OSError as problem:
                raise click.ClickException(f"No Parquet files can be written there: {problem.strerror}.") from None
            click.echo(f"{events} events, {seals} seals: {parquet}", err=True)
            return
        for line in exported(connection, after=after, until=until, progress=tell):
            click.echo(encode_line(line))


@log.command("key")
@data_dir
def key(data_dir: Path | None) -> None:
    """Show the public key of the seals over the log.

    Keep it elsewhere, so that nobody here can put another in its place.
    """
    from adapters.log.seals import seal_key
    from adapters.log.settings import Sealing
    from infra.running import settings_for

    settings = settings_for("log", data_dir=data_dir)
    click.echo(seal_key(settings[Sealing].secret_key.reveal().encode()).public_key().public_bytes_raw().hex())


# --- asking ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _database(data_dir: Path | None) -> AsyncIterator[AsyncConnection[TupleRow]]:
    import psycopg

    from adapters.postgres.settings import Postgres
    from infra.running import settings_for

    settings = settings_for("log", data_dir=data_dir)
    async with await psycopg.AsyncConnection.connect(settings[Postgres].postgres_url, autocommit=True) as connection:
        yield connection


async def _settled(connection: AsyncConnection[TupleRow]) -> int:
    """The position up to which everything that will ever be there is there: so far the projectors have waited."""
    cursor = await connection.execute("SELECT coalesce(max(position), 0) FROM checkpoints WHERE name = 'jobs' AND live")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _search(
    *, since: str | None, until: str | None, correlation: UUID | None, trace: str | None, **rest: Any
) -> Search:
    from adapters.operators.log import Search

    from_, to = _moment(since), _moment(until)
    return Search(since=from_, until=to, correlation_id=correlation, trace_id=trace, **rest)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is no moment. Write 2026-03-01T12:00:00Z, or 2026-03-01.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


# --- showing --------------------------------------------------------------------------------------------------------


def _show(lines: Iterable[Line], as_json: bool) -> None:
    for line in lines:
        if as_json:
            click.echo(json.dumps(line.plain, ensure_ascii=False))
            continue
        moment = line.recorded_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        name = click.style(line.name, bold=True)
        click.echo(f"{line.position:>8}  {moment}  {name}  {line.stream} v{line.version}  {line.actor}")


def _drawn(found: Explanation) -> Iterator[str]:
    yield f"correlation {found.correlation_id}"
    if found.origin is not None:
        named = f"request {found.origin.request_id} " if found.origin.request_id else ""
        yield f"{named}from {found.origin.ip or 'an unknown address'}"
    began = found.roots[0].line.recorded_at if found.roots else None
    for each in found.roots:
        yield from _branch(each, began, "")


def _branch(effect: Effect, began: datetime | None, indent: str) -> Iterator[str]:
    line = effect.line
    after = 0.0 if began is None else (line.recorded_at - began).total_seconds()
    name = click.style(line.name, bold=True)
    yield f"{indent}{name}  {line.stream} v{line.version}  at {line.position}  +{after:.3f} s"
    inner = f"{indent}   "
    if effect.folded:
        yield f"{inner}shown by {', '.join(effect.folded)}"
    if effect.behind:
        yield f"{inner}not yet shown by {', '.join(effect.behind)}"
    if effect.parked:
        yield click.style(f"{inner}parked in {', '.join(effect.parked)}", fg="red")
    for job in effect.jobs:
        yield f"{inner}{_job(job)}"
    for each in effect.effects:
        yield from _branch(each, began, inner)


def _job(job: Job) -> str:
    text = f"job {job.reaction}: {job.state}"
    if job.state == "waiting" and job.due_at is not None:
        text += f" until {job.due_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    if job.attempts:
        text += f", {job.attempts} attempts"
    if job.problem:
        text += f": {job.problem}"
    return click.style(text, fg="red") if job.state == "parked" else text
