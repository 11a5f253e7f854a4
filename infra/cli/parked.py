"""`ledgerline parked`: what was given up after its last attempt, and what becomes of it; `retry` for short."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from infra.cli import POSITION, Commands, as_json, command, data_dir
from infra.running import settings_for

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

    from adapters.operators.parked import Done, Filter, Parked

T = TypeVar("T")


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option("--kind", type=click.Choice(["job", "stream"]), help="Only jobs, or only streams in read models."),
        click.option("--name", "--reaction", "name", metavar="NAME", help="Only of this reaction or read model."),
        click.option("--stream", metavar="STREAM", help="Only of this stream."),
        click.option("--workspace", "workspace_id", metavar="ID", help="Only of this workspace."),
        click.option("--position", type=POSITION, metavar="POSITION", help="Only at this position."),
        click.option("--problem", metavar="TEXT", help="Only whose problem has this text in it."),
        click.option("--code-version", metavar="VERSION", help="Only what this version of the code has given up."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.group("parked", cls=Commands, invoke_without_command=True)
@_filters
@as_json
@data_dir
@click.pass_context
def parked(context: click.Context, /, as_json: bool, data_dir: Path | None, **meant: Any) -> int:
    """Show what was given up: jobs, and streams with an event that could not be folded; retry or skip it.

    The exit status is 1 where there is any.
    """
    return 0 if context.invoked_subcommand else _list(as_json, data_dir, **meant)


@parked.command("list")
@_filters
@as_json
@data_dir
def list_parked(as_json: bool, data_dir: Path | None, **meant: Any) -> int:
    """Show what was given up. The exit status is 1 where there is any."""
    return _list(as_json, data_dir, **meant)


@parked.command("show")
@click.argument("position", type=POSITION)
@as_json
@data_dir
def show(position: int, as_json: bool, data_dir: Path | None) -> int:
    """Show everything that was given up at a position of the log. The exit status is 1 where there is nothing."""
    found = _found(data_dir, position=position)
    for each in found:
        told = _plain(each)
        if as_json:
            click.echo(json.dumps(told))
        else:
            click.echo("\n".join(f"{name:<14}{'' if value is None else value}" for name, value in told.items()) + "\n")
    return 0 if found else 1


@command("retry")
@_filters
@as_json
@data_dir
def retry(as_json: bool, data_dir: Path | None, **meant: Any) -> None:
    """Give what was given up another set of attempts: all of it, or only what is named."""
    from adapters.operators import parked as operators

    _say("Asked for again", _done(data_dir, operators.retry, **meant), as_json)


parked.add_command(retry)


@parked.command("skip")
@_filters
@click.option("--yes", is_flag=True, help="Do not ask first.")
@as_json
@data_dir
def skip(yes: bool, as_json: bool, data_dir: Path | None, **meant: Any) -> int:
    """Leave out for good what was given up: a job is never done, an event never folded; what waited behind goes on."""
    from adapters.operators import parked as operators

    if not any(value is not None for value in meant.values()):
        raise click.UsageError("Say what to skip: --name, --stream, --position, or another filter.")
    number = len(_found(data_dir, **meant))
    if not yes and number and not click.confirm(f"Leave out {number} for good?", err=True):
        return 1
    _say("Left out", _done(data_dir, operators.skip, **meant), as_json)
    return 0


def _list(as_json: bool, data_dir: Path | None, **meant: Any) -> int:
    found = _found(data_dir, **meant)
    for each in found:
        click.echo(
            json.dumps(_plain(each))
            if as_json
            else f"{each.kind:<7} {each.name:<24} {each.stream} at {each.position}: {each.problem}"
        )
    if not found and not as_json:
        click.echo("Nothing is parked.")
    return 1 if found else 0


def _found(data_dir: Path | None, **meant: Any) -> list[Parked]:
    from adapters.operators import parked as operators

    return _asked(data_dir, operators.parked, **meant)


def _done(
    data_dir: Path | None, ask: Callable[[AsyncConnection[TupleRow], Filter], Awaitable[Done]], **meant: Any
) -> Done:
    return _asked(data_dir, ask, **meant)


def _asked(data_dir: Path | None, ask: Callable[[AsyncConnection[TupleRow], Filter], Awaitable[T]], **meant: Any) -> T:
    from adapters.operators.parked import Filter
    from adapters.postgres.settings import Postgres

    settings = settings_for("parked", data_dir=data_dir)

    async def asking() -> T:
        import psycopg

        url = settings[Postgres].postgres_url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            return await ask(connection, Filter(**meant))

    return asyncio.run(asking())


def _plain(each: Parked) -> dict[str, Any]:
    from msgspec import to_builtins

    told: dict[str, Any] = to_builtins(each)
    return told


def _say(what: str, done: Done, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"jobs": done.jobs, "streams": done.streams}))
    else:
        click.echo(f"{what}: jobs {done.jobs}, streams {done.streams}.")
