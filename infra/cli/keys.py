"""`ledgerline keys`: data keys wrapped anew while everything runs, and the key that lets subscribers into NATS."""

from __future__ import annotations

import json
from pathlib import Path

import click

from infra.cli import as_json, data_dir, group
from infra.cli.progress import bars
from infra.running import settings_for

keys = group("keys", "The keys of personal data, and of NATS for subscribers.")


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


@keys.command("nats")
@as_json
def nats(as_json: bool) -> None:
    """Make what lets subscribers into a NATS of your own: the settings of this service, and the part of the server's.

    Nothing is kept here: both are shown this once. `up` does the same for its own NATS by itself.
    """
    from secrets import token_urlsafe

    from adapters.subscribing.nkeys import new_seed, public_key
    from domain.sections import variable
    from infra.embedded.nats import letting_in

    seed, password, system_password = new_seed(), token_urlsafe(24), token_urlsafe(24)
    settings = {
        variable("nats_url"): f"nats://ledgerline:{password}@HOST:4222",
        variable("nats_system_url"): f"nats://system:{system_password}@HOST:4222",
        variable("nats_issuer_seed"): seed,
        variable("nats_public_url"): "tls://HOST:4222",
    }
    server = letting_in(password, system_password, public_key(seed))
    if as_json:
        click.echo(json.dumps({"settings": settings, "issuer": public_key(seed), "server": server}))
        return
    click.echo("\n".join(f"{name}={value}" for name, value in settings.items()))
    click.echo("\n# In the configuration of each server, whose language takes JSON:")
    click.echo(json.dumps(server, indent=1).strip("{}").strip())
