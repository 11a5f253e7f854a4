"""`ledgerline operator rotate`: another credential for `/admin/*`."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import click

from infra.cli import Amount, as_json, data_dir, group
from infra.running import settings_for

operator = group("operator", "The credential of operators, which `/admin/*` asks for.")


@operator.command("rotate")
@click.option("--grace-hours", type=Amount(0, 24 * 7), default=0, help="How long the one before is good still.")
@as_json
@data_dir
def rotate(grace_hours: float, as_json: bool, data_dir: Path | None) -> None:
    """Make another credential, and put it into the data directory of `up`; elsewhere it is shown, once."""
    from adapters.operators.credentials import OPERATOR_TOKEN, new_token
    from adapters.operators.credentials import rotate as rotated
    from adapters.postgres.settings import Postgres
    from infra.embedded.directories import write_private
    from infra.settings import Operation

    settings = settings_for("operator", data_dir=data_dir)
    token = new_token()

    path = settings[Operation].data_dir / OPERATOR_TOKEN
    is_kept = path.exists()

    async def ask() -> None:
        import psycopg

        url = settings[Postgres].postgres_url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection, connection.transaction():
            await rotated(connection, token, grace=timedelta(hours=grace_hours))
            # While nobody else can rotate: the file has what is good, and where it cannot be written nothing changes.
            if is_kept:
                write_private(path, token + "\n")

    try:
        asyncio.run(ask())
    except OSError as problem:
        raise click.ClickException(f"{path}: {problem.strerror}. The credential is the one before.") from None
    if is_kept:
        click.echo(json.dumps({"path": str(path)}) if as_json else f"The new credential is in {path}.")
    else:
        click.echo(json.dumps({"token": token}) if as_json else token)
