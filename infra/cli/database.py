"""`ledgerline migrate` and `replay`: the shape of the database, and read models folded again."""

from __future__ import annotations

from pathlib import Path

import click
import structlog

from adapters.log.settings import Sealing
from adapters.postgres.settings import Postgres
from infra import telemetry
from infra.cli import command, data_dir
from infra.cli.roles import runner
from infra.running import settings_for

log = structlog.get_logger()


@command("migrate")
@data_dir
def migrate(data_dir: Path | None) -> None:
    """Bring the database to the shape that this version needs."""
    settings = settings_for("migrate", data_dir=data_dir)
    import asyncio

    from adapters.log.canary import check_secret
    from infra import migrate as migrations

    telemetry.tame_libraries()
    url = settings[Postgres].postgres_url
    ran = migrations.migrate(url)
    asyncio.run(check_secret(url, settings[Sealing].secret_key.reveal().encode()))
    log.info("database.migrated", ran=ran)


@command("replay")
@click.argument("name", metavar="NAME")
@data_dir
def replay(name: str, data_dir: Path | None) -> None:
    """Fold a projection again from the first event.

    NAME is the projection. The one that is there is read until the new one has caught up.
    """
    settings = settings_for("replay", data_dir=data_dir)
    from infra import processes

    telemetry.tame_libraries()
    with runner() as loop:
        version, position = loop.run(processes.replay(settings, name))
    log.info("replay.done", projection=name, version=version, position=position)
