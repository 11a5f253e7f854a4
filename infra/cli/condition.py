"""`ledgerline condition`: how far read models are, what is parked, and who waits for work."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click
from msgspec import to_builtins

from adapters.postgres.settings import Postgres
from infra.cli import as_json, command, data_dir
from infra.running import settings_for


@command("condition")
@as_json
@data_dir
def condition(as_json: bool, data_dir: Path | None) -> int:
    """Show how far read models are, how much is parked, and which workspaces wait for work.

    The exit status is 1 where there is something to look after.
    """
    settings = settings_for("condition", data_dir=data_dir)
    from adapters.readmodels import condition as asking

    async def ask() -> tuple[asking.Condition, list[asking.Waiting]]:
        import psycopg

        async with await psycopg.AsyncConnection.connect(settings[Postgres].postgres_url) as connection:
            return await asking.condition(connection), await asking.waiting(connection)

    found, waiting = asyncio.run(ask())
    if as_json:
        told = {"read_models": found.read_models, **to_builtins(found), "waiting": to_builtins(waiting)}
        click.echo(json.dumps(told))
        return 0 if found.is_well else 1
    click.echo(
        f"Read models   {found.read_models}, {found.behind_events} positions and {found.behind_seconds:.0f} s behind\n"
        f"Parked        {found.parked_jobs} jobs, {found.parked_events} streams (`ledgerline parked` shows them)"
    )
    for each in waiting:
        click.echo(
            f"Waiting       {each.workspace_id} for {each.reaction}: {each.ready} ready, for {each.oldest_seconds:.0f} "
            f"s at most; {each.running} running"
        )
    return 0 if found.is_well else 1
