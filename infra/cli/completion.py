"""`ledgerline completion`: what a shell needs in order to complete commands and options."""

from __future__ import annotations

import click

from infra.cli import LOOK_AFTER, command


@command("completion", heading=LOOK_AFTER)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what SHELL needs to complete commands: `source <(ledgerline completion bash)`."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "ledgerline", "_LEDGERLINE_COMPLETE").source())
