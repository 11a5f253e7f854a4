"""`ledgerline status` and `top`: how everything is that runs, once or again and again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from infra.cli import Amount, as_json, command, data_dir
from infra.running import settings_for

if TYPE_CHECKING:
    from adapters.operators.status import Follower, Role, Status
    from infra.settings import Settings

TOP_SECONDS = 2.0
#: Of those who wait; `--json` has a hundred.
WAITING_SHOWN = 5


@command("status")
@as_json
@data_dir
def status(as_json: bool, data_dir: Path | None) -> int:
    """Show every role, how far behind the log each follower is, queues, stores and room.

    The exit status is 1 where there is something to look after.
    """
    from adapters.operators.status import encode_status

    found = asyncio.run(_once(settings_for("status", data_dir=data_dir)))
    if as_json:
        click.echo(encode_status(found))
    else:
        for line in drawn(found):
            click.echo(line)
    return 0 if found.is_well else 1


@command("top")
@click.option("--seconds", type=Amount(0.2, 86_400), default=TOP_SECONDS, show_default=True, help="Between looks.")
@data_dir
def top(seconds: float, data_dir: Path | None) -> None:
    """Show the same again and again, until Ctrl-C."""
    settings = settings_for("top", data_dir=data_dir)
    asyncio.run(_again(settings, seconds))


async def _once(settings: Settings) -> Status:
    async with _looking(settings) as look:
        return await look()


async def _again(settings: Settings, seconds: float) -> None:
    async with _looking(settings) as look:
        while True:
            lines = list(drawn(await look()))
            if sys.stdout.isatty():
                click.clear()
            click.echo("\n".join(lines))
            await asyncio.sleep(seconds)


@asynccontextmanager
async def _looking(settings: Settings) -> AsyncIterator[Callable[[], Awaitable[Status]]]:
    """What looks once each time it is called."""
    import psycopg

    from adapters.operators.status import status as asked
    from adapters.postgres.settings import Postgres
    from adapters.storage.blobs import Blobs
    from adapters.stream.bus import Bus
    from infra.container import container
    from infra.settings import Operation

    async with (
        container(settings) as here,
        await psycopg.AsyncConnection.connect(settings[Postgres].postgres_url, autocommit=True) as connection,
    ):
        bus, blobs = await here.get(Bus), await here.get(Blobs)

        async def look() -> Status:
            return await asked(connection, bus, blobs, settings[Operation].data_dir)

        yield look


def drawn(found: Status) -> Iterator[str]:
    """The status for people."""
    yield f"Log       {_log(found)}"
    yield ""
    yield f"{'ROLE':<22}{'STATE':<10}{'PROCESS':>9}  {'MEMORY':>8}  {'SEEN':>8}  VERSION"
    for role in found.roles:
        yield _role(role)
    yield ""
    yield f"{'FOLLOWER':<28}{'POSITION':>10}  {'BEHIND':>8}  {'SECONDS':>8}  {'SEEN':>8}  {'RATE':>10}"
    for label, follower in _worst(found.followers):
        rate = follower.positions_per_second
        yield (_follower(label, follower) + ("" if rate is None else f"  {rate:>8,.1f}/s")).rstrip()
    yield ""
    yield f"{'QUEUE':<22}{'READY':>7}{'RUNNING':>9}{'WAITING':>9}{'PARKED':>8}  OLDEST"
    for queue in found.queues:
        oldest = f"{queue.oldest_seconds:.0f} s" if queue.ready else ""
        parked = click.style(f"{queue.parked:>8}", fg="red" if queue.parked else None)
        yield f"{queue.queue:<22}{queue.ready:>7}{queue.running:>9}{queue.waiting:>9}{parked}  {oldest}"
    for things, number in found.given_up.items():
        if number:
            yield f"{number} {things} were given up (`ledgerline parked`)."
    for each in found.waiting[:WAITING_SHOWN]:
        told = f"{each.ready} ready, for {each.oldest_seconds:.0f} s at most; {each.running} running"
        yield f"{each.workspace_id} waits for {each.reaction}: {told}"
    yield ""
    for store in found.stores:
        size = "" if store.size_bytes is None else f"  {store.size_bytes / 1e6:,.0f} MB"
        state = click.style(f"{store.state:<6}", fg=None if store.state == "ok" else "red")
        yield f"{store.name:<22}{state}{size}  {store.version or ''}".rstrip()
    if found.disk is not None:
        free, total = found.disk.free_bytes / 1e9, found.disk.total_bytes / 1e9
        yield f"{'disk':<22}{free:,.1f} of {total:,.1f} GB free at {found.disk.path}"
    yield ""
    yield from (click.style(problem, fg="red") for problem in found.problems)
    if found.is_well:
        yield "There is nothing to look after."


def _log(found: Status) -> str:
    """How much there is in the log, and how much is being written, in a sentence.

    Postgres has an estimate once it has looked through a table; before that there are no more events than positions.
    """
    if not found.head:
        return "Nothing has happened yet."
    count = f"about {found.events_estimate:,}" if found.events_estimate else f"at most {found.head:,}"
    many = f"The newest event is at position {found.head}; there are {count}"
    if found.events_per_second is None:
        return f"{many}."
    if not found.events_per_second:
        return f"{many}, and it has been quiet of late."
    return f"{many}, and about {found.events_per_second:g} are written a second."


def _role(role: Role) -> str:
    state = "not ready" if role.state == "running" and not role.is_ready else role.state
    memory = "" if role.memory_bytes is None else f"{role.memory_bytes / 1e6:.0f} MB"
    shown = click.style(f"{state:<10}", fg=None if state == "running" else "red")
    return f"{role.role:<22}{shown}{role.pid:>9}  {memory:>8}  {role.seen_seconds:>6.0f} s  {role.version}"


def _follower(label: str, follower: Follower) -> str:
    seen = "" if follower.seen_seconds is None else f"{follower.seen_seconds:.0f} s"
    behind = f"{follower.position:>10}  {follower.behind_events:>8}  {follower.behind_seconds:>8.1f}  {seen:>8}"
    return f"{label:<28}{behind}"


def _worst(followers: Sequence[Follower]) -> list[tuple[str, Follower]]:
    """Read models move together, so the slowest speaks for those that are where it is."""
    models = [each for each in followers if each.kind == "read model"]
    apart = [each for each in models[1:] if each.position != models[0].position]
    together = f"{len(models) - len(apart)} read models"
    others = [*apart, *(each for each in followers if each.kind != "read model")]
    return [*((together, each) for each in models[:1]), *((each.name, each) for each in others)]
