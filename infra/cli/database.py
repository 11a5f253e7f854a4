"""`ledgerline migrate` and `replay`: the shape of the database, and read models folded again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import structlog
from msgspec import to_builtins

from adapters.log.settings import Sealing
from adapters.postgres.settings import Postgres
from domain.sections import CannotStart
from infra import telemetry
from infra.cli import POSITION, as_json, command, data_dir
from infra.cli.progress import bars
from infra.cli.roles import runner
from infra.running import settings_for

if TYPE_CHECKING:
    from adapters.operators.folded import Folded

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


def _of_replays(given: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `replay` and `rebuild`."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Only say what would differ; nothing is changed."),
        click.option(
            "--from", "after", type=POSITION, metavar="POSITION",
            help="Of a dry run: only documents whose newest event came after this.",
        ),
        click.option(
            "--to", "until", type=POSITION, metavar="POSITION",
            help="Of a dry run: and not after this.",
        ),
        click.option("--cancel", is_flag=True, help="Let go of what is being folded; the live ones stay."),
        click.option("--no-wait", is_flag=True, help="Do not watch how far it is."),
        as_json,
        data_dir,
    ):  # fmt: skip
        given = option(given)
    return given


@command("replay")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@_of_replays
def replay(names: tuple[str, ...], **chosen: Any) -> int:
    """Fold projections again from the first event, side by side.

    NAME is a projection. The one that is there is read until the new one has caught up and takes its place; nothing
    that happened is done again. Ctrl-C ends the watching and not the folding, which goes on where it was whatever
    happens to its projector. The exit status of a dry run is 1 where something would differ.
    """
    return _replayed(names, **chosen)


@command("rebuild")
@_of_replays
def rebuild(**chosen: Any) -> int:
    """Fold all projections again, as `replay` does one."""
    from infra import processes

    return _replayed(sorted(processes.read_models()), **chosen)


def _replayed(
    names: Sequence[str], *, dry_run: bool, after: int | None, until: int | None, cancel: bool, no_wait: bool,
    as_json: bool, data_dir: Path | None,
) -> int:  # fmt: skip
    from infra import processes

    if dry_run and (cancel or no_wait):
        raise click.UsageError("--dry-run changes nothing, so that there is nothing to cancel or to wait for.")
    if not dry_run and (after is not None or until is not None):
        raise click.UsageError("A projection is folded whole. --from and --to say what --dry-run compares.")
    settings = settings_for("replay", data_dir=data_dir)
    unknown = [name for name in names if name not in processes.read_models()]
    if unknown:
        there = ", ".join(sorted(processes.read_models()))
        raise CannotStart(f"No projection is called {unknown[0]}; there are {there}.")
    telemetry.tame_libraries()
    with runner() as loop, bars(hidden=as_json) as tell:
        if dry_run:
            found = loop.run(processes.would_differ(settings, names, after or 0, until, tell))
            _show(found, as_json=as_json)
            return 1 if found.findings else 0
        if cancel:
            told = {
                name: ({"cancelled": count}, f"{count} let go of")
                for name, count in loop.run(processes.cancel_replay(settings, names)).items()
            }
        elif no_wait:
            told = {
                name: ({"version": version}, f"asked for, as version {version}")
                for name, version in loop.run(processes.ask_for_replay(settings, names)).items()
            }
        else:
            told = {
                name: ({"version": version, "position": at}, f"folded up to {at}, and live as version {version}")
                for name, (version, at) in loop.run(processes.replay(settings, names, tell)).items()
            }
    for name, (facts, text) in told.items():
        click.echo(json.dumps({"projection": name, **facts}) if as_json else f"{name}: {text}")
    return 0


def _show(found: Folded, *, as_json: bool) -> None:
    """What would differ, one line for each thing and one for all."""
    numbers = {"events": found.events, "read_models": found.read_models, "skipped": found.skipped}
    if as_json:
        for each in [*map(to_builtins, found.findings), {**numbers, "would_differ": found.different}]:
            click.echo(json.dumps(each))
        return
    for each in found.findings:
        click.echo(f"{each.kind}: {each.message}")
    click.echo(f"{len(found.different)} of {found.read_models} would differ, after {found.events:,} events.")
    if found.skipped:
        click.echo(f"Being folded already: {', '.join(found.skipped)}.")
