"""`ledgerline parked` and `retry`: what was given up after its last attempt, and another try."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from adapters.postgres.settings import Postgres
from infra.cli import as_json, command, data_dir
from infra.running import settings_for

_PARKED = """
    SELECT 'job' AS kind, reaction AS name, stream, position, problem FROM jobs WHERE state = 'parked'
    UNION ALL
    SELECT 'stream', subscription, stream, position, problem FROM parked
    ORDER BY kind, name, position
"""


@command("parked")
@as_json
@data_dir
def parked(as_json: bool, data_dir: Path | None) -> int:
    """Show what was given up: jobs, and streams with an event that could not be folded.

    The exit status is 1 where there is any.
    """
    settings = settings_for("parked", data_dir=data_dir)
    import psycopg
    from psycopg.rows import dict_row

    with psycopg.connect(settings[Postgres].postgres_url, row_factory=dict_row) as connection:
        rows = connection.execute(_PARKED).fetchall()
    for row in rows:
        click.echo(
            json.dumps(row)
            if as_json
            else f"{row['kind']:<7} {row['name']:<24} {row['stream']} at {row['position']}: {row['problem']}"
        )
    if not rows and not as_json:
        click.echo("Nothing is parked.")
    return 1 if rows else 0


@command("retry")
@click.option("--reaction", metavar="NAME", help="Only jobs of this reaction.")
@click.option("--stream", metavar="STREAM", help="Only this stream, in every read model it is parked in.")
@as_json
@data_dir
def retry(reaction: str | None, stream: str | None, as_json: bool, data_dir: Path | None) -> None:
    """Give what is parked another set of attempts: all of it, or only what is named."""
    if reaction and stream:
        raise click.UsageError("Name a reaction or a stream, not both.", click.get_current_context())
    settings = settings_for("retry", data_dir=data_dir)
    from adapters.jobs import worker
    from adapters.readmodels import projector

    async def ask() -> tuple[int, int]:
        import psycopg

        url = settings[Postgres].postgres_url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            jobs = 0 if stream else await worker.request_retry(connection, reaction)
            streams = 0 if reaction else await projector.request_retry(connection, stream)
        return jobs, streams

    jobs, streams = asyncio.run(ask())
    if as_json:
        click.echo(json.dumps({"jobs": jobs, "streams": streams}))
    else:
        click.echo(f"Asked for again: jobs {jobs}, streams {streams}.")
