"""`ledgerline runner`: takes builds from a service and makes plug-ins of them; `runner-token`: lets machines do so."""

from __future__ import annotations

import time
from pathlib import Path

import click

from infra.cli import RUN, command, data_dir


@command(
    "runner",
    heading=RUN,
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def runner(arguments: tuple[str, ...]) -> int:
    """Take builds from a service and make plug-ins of them (`ledgerline runner --help`)."""
    from adapters.runner import agent

    return agent.run(arguments)


@command("runner-token")
@click.option("--hours", type=click.IntRange(1, 24 * 365), default=24, help="How long it registers runners (24).")
@data_dir
def runner_token(hours: int, data_dir: Path | None) -> int:
    """Print a token that registers runners for all workspaces."""
    from adapters.log.settings import Sealing
    from adapters.vault import Vault
    from api.builds.runners import registration_token
    from infra.running import settings_for

    secret = settings_for("runner-token", data_dir=data_dir)[Sealing].secret_key.reveal()
    click.echo(registration_token(Vault(secret.encode()), int(time.time()) + hours * 3600))
    return 0
