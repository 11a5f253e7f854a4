"""`ledgerline subscribe`: the published events of a workspace, printed, handed to a command, or posted on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from infra.cli import POSITION, command


class After(click.ParamType[int | str]):
    """A position of the log, or `newest`."""

    name = "position"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """The number, or the word."""
        return "newest" if value == "newest" else int(POSITION.convert(value, param, ctx))


@command("subscribe")
@click.option("--url", envvar="LEDGERLINE_URL", default="http://127.0.0.1:8000", show_default=True, help="The service.")
@click.option("--key", envvar="LEDGERLINE_API_KEY", required=True, help="A key with the scope events:read.")
@click.option(
    "--from", "after", type=After(), default=0, show_default=True, metavar="POSITION",
    help="Begin after this position; `newest` begins with what happens from now on.",
)  # fmt: skip
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only these, as in 'builds.*'; may be repeated.")
@click.option("--subject", default="", metavar="SUBJECT", help="Only events about this, as in build-ID.")
@click.option("--exec", "program", metavar="COMMAND", help="Give each event to a command, again until it ends with 0.")
@click.option("--post", metavar="URL", help="Post each event to an address, again until it is taken.")
@click.option(
    "--checkpoint", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Remember the position here, and go on from there: each event comes at least once.",
)  # fmt: skip
@click.option("--no-follow", is_flag=True, help="End with what has happened so far.")
def subscribe(
    url: str,
    key: str,
    after: int | str,
    types: tuple[str, ...],
    subject: str,
    program: str | None,
    post: str | None,
    checkpoint: Path | None,
    no_follow: bool,
) -> int:
    """Follow what happens in a workspace, from any position on: one CloudEvent a line, until Ctrl-C."""
    from infra.subscribing import Checkpoint, Handle, Source, executing, follow, posting, printing

    if program is not None and post is not None:
        raise click.UsageError("Either --exec or --post.")

    def say(sentence: str) -> None:
        click.echo(f"ledgerline: {sentence}", err=True)

    handle: Handle = printing
    if program is not None:
        handle = executing(program, say)
    elif post is not None:
        handle = posting(post, say)
    source = Source(url, key, ",".join(types), subject)
    follow(source, after, handle, Checkpoint(checkpoint), say, until_caught_up=no_follow)
    return 0
