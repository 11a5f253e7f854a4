"""`ledgerline orchards`: what an orchard may hold."""

from __future__ import annotations

import click

from infra.cli import command


@command("orchards", heading="Orchards")
def orchards() -> None:
    """Say how many apples a tree bears at most."""
    from infra.settings import read_settings
    from tests.orchards.commands.orchards.settings import Orchards

    click.echo(f"{read_settings()[Orchards].orchard_apples_max} apples")
