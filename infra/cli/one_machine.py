"""`ledgerline up`: everything on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from infra.cli import RUN, command
from infra.cli.roles import host, port


@command("up", heading=RUN)
@host
@port
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where everything is kept.")
@click.option("--without-runner", is_flag=True, help="Start no runner of plug-in builds.")
def up(host: str | None, port: str | None, data_dir: Path | None, without_runner: bool) -> int:
    """Run everything here, with servers of its own, and stop it with Ctrl-C."""
    from infra import supervisor

    return supervisor.up(host=host, port=port, data_dir=data_dir, without_runner=without_runner)
