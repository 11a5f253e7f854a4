"""`ledgerline settings`: what is set here, and all that can be."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from domain.sections import variable
from infra.cli import AFile, as_json, command, data_dir
from infra.running import read_settings_of
from infra.settings import markdown, public, settings_fields, shown, unknown_variables, with_table


@command("settings")
@click.option("--markdown", "as_markdown", is_flag=True, help="The table of all settings and their defaults.")
@click.option(
    "--into",
    type=AFile(),
    metavar="FILE",
    help="Put that table where FILE says <!-- settings -->.",
)
@as_json
@data_dir
def settings(as_markdown: bool, into: Path | None, as_json: bool, data_dir: Path | None) -> None:
    """Show the settings of this environment, secrets hidden."""
    if into is not None:
        into.write_text(with_table(into.read_text(encoding="utf-8")), encoding="utf-8")
        return
    if as_markdown:
        sys.stdout.write(markdown())
        return
    here = read_settings_of(data_dir)
    if as_json:
        click.echo(json.dumps({variable(name): public(here.value(name)) for name in settings_fields()}))
    else:
        for line in shown(here):
            click.echo(line)
    for sentence in unknown_variables():
        click.echo(f"ledgerline: {sentence}", err=True)
