"""`ledgerline parked`: what was given up after its last attempt, and what becomes of it; `retry` for short."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from infra.cli import POSITION, Commands, as_json, command, data_dir
from infra.running import settings_for

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

    from adapters.operators.given_up import Ask, Asks, Connections, Done
    from adapters.operators.parked import Filter, Parked
    from infra.settings import Settings


class Kind(click.ParamType[str]):
    """What is ever given up, by the word for one of it."""

    name = "kind"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The kind, once it is known that there is such a one."""
        from adapters.operators.given_up import NoSuchKind, check_kind

        try:
            check_kind(value)
        except NoSuchKind as refusal:
            self.fail(refusal.sentence, param, ctx)
        return str(value)


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option(
            "--kind", type=Kind(), help="Only each `job`, `stream` (in a read model) or `delivery` (webhook)."
        ),
        click.option(
            "--name",
            "--reaction",
            "name",
            metavar="NAME",
            help="Only of this reaction, read model, endpoint or type of message.",
        ),
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
    """Show what was given up: jobs, streams with an event that could not be folded, webhooks; retry or skip it.

    Whether something is to be seen to is said by the exit status of `ledgerline status`.
    """
    return 0 if context.invoked_subcommand else _list(as_json, data_dir, **meant)


@parked.command("list")
@_filters
@as_json
@data_dir
def list_parked(as_json: bool, data_dir: Path | None, **meant: Any) -> int:
    """Show what was given up, if anything."""
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
def retry(as_json: bool, data_dir: Path | None, **meant: Any) -> int:
    """Give what was given up another set of attempts: all of it, or only what is named.

    The exit status is 1 where some of it cannot be tried again.
    """
    from adapters.operators import given_up

    return _say("Asked for again", _done(data_dir, given_up.retry, **meant), as_json)


parked.add_command(retry)


@parked.command("skip")
@_filters
@click.option("--yes", is_flag=True, help="Do not ask first.")
@as_json
@data_dir
def skip(yes: bool, as_json: bool, data_dir: Path | None, **meant: Any) -> int:
    """Leave out for good what was given up: a job is never done, an event never folded; what waited behind goes on.

    A message is not seen here any more; its workspace may have it sent again.
    """
    from adapters.operators import given_up

    if not any(value is not None for value in meant.values()):
        raise click.UsageError("Say what to skip: --name, --stream, --position, or another filter.")
    number = len(_found(data_dir, **meant))
    if not yes and number and not click.confirm(f"Leave out {number} for good?", err=True):
        return 1
    return _say("Left out", _done(data_dir, given_up.skip, **meant), as_json)


def _list(as_json: bool, data_dir: Path | None, **meant: Any) -> int:
    found = _found(data_dir, **meant)
    for each in found:
        click.echo(
            json.dumps(_plain(each))
            if as_json
            else f"{each.kind:<8} {each.name:<24} {_what(each)} at {each.position}: {each.problem}"
        )
    if not found and not as_json:
        click.echo("Nothing is parked.")
    return 0


def _what(each: Parked) -> str:
    return each.stream if each.about is None else f"{each.about} in {each.stream}"


def _found(data_dir: Path | None, **meant: Any) -> list[Parked]:
    from adapters.operators.given_up import look
    from adapters.operators.parked import Filter

    settings = settings_for("parked", data_dir=data_dir)

    async def asking() -> list[Parked]:
        async with _connections(settings)() as connection:
            return await look(connection, Filter(**meant))

    return asyncio.run(asking())


def _done(data_dir: Path | None, do: Callable[[Connections, Filter, Asks], Awaitable[Done]], **meant: Any) -> Done:
    from adapters.operators.parked import Filter
    from infra.container import container

    settings = settings_for("parked", data_dir=data_dir)

    async def asking() -> Done:
        async with container(settings) as here:

            async def in_name() -> Ask:
                from adapters.operators.given_up import in_name_of_operators
                from commands.kernel import Execute

                return in_name_of_operators(await here.get(Execute), uuid4())

            return await do(_connections(settings), Filter(**meant), in_name)

    return asyncio.run(asking())


def _connections(settings: Settings) -> Connections:
    from adapters.postgres.settings import Postgres

    @asynccontextmanager
    async def connected() -> AsyncIterator[AsyncConnection[TupleRow]]:
        import psycopg

        url = settings[Postgres].postgres_url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            yield connection

    return connected


def _plain(each: Parked) -> dict[str, Any]:
    from msgspec import to_builtins

    told: dict[str, Any] = to_builtins(each)
    return told


def _say(what: str, done: Done, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps(done.plain))
    else:
        click.echo(f"{what}: {', '.join(f'{name} {number}' for name, number in done.numbers.items())}.")
        for each in done.refused:
            click.echo(click.style(f"{each.number} of the kind {each.kind} not: {each.message}", fg="red"))
    return 1 if done.refused else 0
