"""`ledgerline keys rotate`: data keys wrapped anew, while everything runs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from infra.cli import as_json, data_dir, group
from infra.cli.progress import bars
from infra.running import settings_for

keys = group("keys", "The keys of personal data.")


@keys.command("rotate")
@as_json
@data_dir
def rotate(as_json: bool, data_dir: Path | None) -> None:
    """Wrap the data key of every person and workspace with a new key, and destroy the ones before.

    Whoever has an older copy of the wrapped keys can do nothing with it any more, not even with the secret key. What is
    sealed stays as it is, and so does the secret key itself: digests that are in events for ever depend on it.
    """
    import psycopg

    from adapters.log.data_keys import rotate as rotated
    from adapters.log.settings import Sealing
    from adapters.postgres.settings import Postgres

    settings = settings_for("keys", data_dir=data_dir)
    secret = settings[Sealing].secret_key.reveal().encode()
    with (
        psycopg.connect(settings[Postgres].postgres_url, autocommit=True) as connection,
        bars(hidden=as_json) as tell,
    ):
        done = rotated(connection, secret, lambda made, total: tell("keys", made, total))
    click.echo(json.dumps({"data_keys": done}) if as_json else f"{done} data keys are wrapped with a new key.")
