"""`ledgerline webhooks`: telling an endpoint of whichever workspace a range of the past, watched and cancelled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from infra.cli import as_json, data_dir, group
from infra.cli.progress import bars
from infra.running import settings_for

if TYPE_CHECKING:
    from api.webhooks.ports import Ports
    from domain.ledger import Context

T = TypeVar("T")

LOOK_SECONDS = 0.3

webhooks = group("webhooks", "Replays of published events to the endpoints of workspaces.")


class Place(click.ParamType[int | datetime]):
    """A position of the log, or a moment."""

    name = "position"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | datetime:
        """The number, or the moment."""
        if isinstance(value, int | datetime):
            return value
        if value.isascii() and value.isdecimal() and len(value) <= 18:
            return int(value)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail("A position of the log, or a moment such as 2026-03-01T12:00:00Z.", param, ctx)
        return moment


@webhooks.command("replay")
@click.argument("endpoint_id", metavar="ENDPOINT")
@click.option(
    "--from", "after", type=Place(), required=True, metavar="POSITION|TIME", help="Tell what came after this."
)
@click.option(
    "--to", "until", type=Place(), metavar="POSITION|TIME", help="And up to this; the newest event otherwise."
)
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only these, as in 'builds.*'; may be repeated.")
@click.option("--all", "again", is_flag=True, help="Tell what has arrived there once more, under the id it had.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--no-wait", is_flag=True, help="Do not watch how far it is.")
@as_json
@data_dir
def replay(
    endpoint_id: str,
    after: int | datetime,
    until: int | datetime | None,
    types: tuple[str, ...],
    again: bool,
    dry_run: bool,
    no_wait: bool,
    as_json: bool,
    data_dir: Path | None,
) -> int:
    """Tell an endpoint published events of a range of the log, a few at a time beside what happens now.

    Ctrl-C ends the watching and not the replay. The exit status is 1 where something did not arrive at the first try,
    or the replay did not come to its end.
    """
    from api.webhooks.replays import EventReplay, begin

    async def work(ports: Ports, told: Context) -> int:
        wish = EventReplay(after=after, until=until, event_types=list(types) or None, only="all" if again else "missed")
        replay_id = ports.vault.new_id()
        counted = await begin(wish, endpoint_id, replay_id, told, ports, dry_run=dry_run)
        assert counted is not None
        if dry_run:
            number = {"events": counted.events, "after": counted.after, "until": counted.until}
            click.echo(json.dumps(number) if as_json else f"{counted.events} events would be looked at.")
            return 0
        if no_wait:
            click.echo(json.dumps({"id": replay_id}) if as_json else replay_id)
            return 0
        if not as_json:
            click.echo(f"It is replay {replay_id}; `ledgerline webhooks cancel {replay_id}` ends it.", err=True)
        return await _watched(replay_id, told.workspace_id, ports, as_json=as_json)

    return _with(data_dir, "webhook_endpoints", endpoint_id, work)


@webhooks.command("watch")
@click.argument("replay_id", metavar="REPLAY")
@as_json
@data_dir
def watch(replay_id: str, as_json: bool, data_dir: Path | None) -> int:
    """Show how far a replay is, until it is over; the exit status is that of `replay`."""

    async def work(ports: Ports, told: Context) -> int:
        return await _watched(replay_id, told.workspace_id, ports, as_json=as_json)

    return _with(data_dir, "webhook_replays", replay_id, work)


@webhooks.command("cancel")
@click.argument("replay_id", metavar="REPLAY")
@as_json
@data_dir
def cancel(replay_id: str, as_json: bool, data_dir: Path | None) -> int:
    """Send nothing more by a replay; what has failed is tried again all the same. One that is over stays as it is."""
    from commands.webhooks.replays import EndReplay

    async def work(ports: Ports, told: Context) -> int:
        await ports.execute(EndReplay(replay_id=replay_id, because="cancelled"), told)
        _show(await _view(replay_id, told.workspace_id, ports), as_json=as_json)
        return 0

    return _with(data_dir, "webhook_replays", replay_id, work)


def _with(
    data_dir: Path | None, projection: str, identity: str, work: Callable[[Ports, Context], Awaitable[int]]
) -> int:
    """Do something in the name of an operator for the workspace that has a thing."""
    from uuid import uuid4

    from adapters.postgres.retrying import Pool
    from api.webhooks.ports import Ports
    from domain.kernel import Refusal
    from domain.ledger import Context
    from domain.sections import CannotStart
    from infra.cli.roles import runner
    from infra.container import container

    settings = settings_for("webhooks", data_dir=data_dir)

    async def run() -> int:
        async with container(settings) as here:
            pool, ports = await here.get(Pool), await here.get(Ports)
            async with pool.connection() as connection:
                cursor = await connection.execute(
                    "SELECT d.workspace_id FROM documents d "
                    "JOIN checkpoints f ON f.name = d.projection AND f.version = d.version AND f.live "
                    "WHERE d.projection = %s AND d.id = %s",
                    (projection, identity.replace("\0", "")),
                )
                row = await cursor.fetchone()
            if row is None:
                raise CannotStart(
                    f"There is no {'endpoint' if projection == 'webhook_endpoints' else 'replay'} {identity}."
                )
            try:
                return await work(ports, Context(workspace_id=row[0], actor="operator", correlation_id=uuid4()))
            except Refusal as refusal:
                raise CannotStart(refusal.sentence) from refusal

    with runner() as loop:
        return loop.run(run())


async def _view(replay_id: str, workspace_id: str, ports: Ports) -> dict[str, Any]:
    from projections.webhooks.replays import webhook_replays

    found: dict[str, Any] = json.loads(await ports.views.get(webhook_replays, replay_id, workspace_id))
    return found


async def _watched(replay_id: str, workspace_id: str, ports: Ports, *, as_json: bool) -> int:
    with bars(hidden=as_json) as tell:
        while True:
            view = await _view(replay_id, workspace_id, ports)
            tell("events", view["delivered"] + view["failed"] + view["skipped"], max(view["events"], 1))
            if view["status"] != "running":
                break
            await asyncio.sleep(LOOK_SECONDS)
    _show(view, as_json=as_json)
    return 0 if view["status"] == "done" and not view["failed"] else 1


def _show(view: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(view))
        return
    numbers = ", ".join(f"{view[name]} {name}" for name in ("delivered", "failed", "skipped"))
    click.echo(f"{view['status']} at position {view['position']}: {numbers} of {view['events']} events.")
