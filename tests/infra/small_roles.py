"""Roles that do next to nothing, for tests of what starts and watches them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from commands.settings import Service
from infra.cli import main
from infra.cli.roles import Role
from infra.health import Health
from infra.settings import Operation, Settings


async def works(
    settings: Settings, stop: asyncio.Event, ready: Callable[[bool], None], **options: tuple[str, ...]
) -> None:
    """Say it is ready, wait for the end, and leave a note that it came to it in good order."""
    ready(True)
    await stop.wait()
    _note(settings, "drained", " ".join(options.get("only", ())))


async def serves(settings: Settings, stop: asyncio.Event, ready: Callable[[bool], None], **_: tuple[str, ...]) -> None:
    """Answer `/ready` on the port of the API."""
    async with Health("serve") as health:
        await health.start(settings[Service].host, settings[Service].port)
        health.set_ready(True)
        await works(settings, stop, ready)


async def drains(settings: Settings, stop: asyncio.Event, ready: Callable[[bool], None], **_: tuple[str, ...]) -> None:
    """Answer on the port of the API until told to stop, and then have work in progress for another while."""
    async with Health("serve") as health:
        await health.start(settings[Service].host, settings[Service].port)
        health.set_ready(True)
        ready(True)
        await stop.wait()
    await asyncio.sleep(float(os.environ["DRAINING_SECONDS"]))
    _note(settings, "drained", "serve")


async def fails(
    _settings: Settings, _stop: asyncio.Event, _ready: Callable[[bool], None], **_: tuple[str, ...]
) -> None:
    """Fall over at once."""
    raise RuntimeError("postgresql://me:hunter2@db is away")


async def ends(_settings: Settings, _stop: asyncio.Event, ready: Callable[[bool], None], **_: tuple[str, ...]) -> None:
    """Return although nobody has asked it to."""
    ready(True)


async def lingers(
    _settings: Settings, _stop: asyncio.Event, ready: Callable[[bool], None], **_: tuple[str, ...]
) -> None:
    """Never come to an end."""
    ready(True)
    await asyncio.Event().wait()


async def blocks(
    _settings: Settings, _stop: asyncio.Event, ready: Callable[[bool], None], **_: tuple[str, ...]
) -> None:
    """Ignore the polite signal altogether."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    ready(True)
    await asyncio.Event().wait()


async def hoards(settings: Settings, stop: asyncio.Event, ready: Callable[[bool], None], **_: tuple[str, ...]) -> None:
    """Fetch a recording, as it were, and work on it for ever."""
    with tempfile.TemporaryDirectory(prefix="ledgerline-") as directory:
        recording = Path(directory) / "source"
        recording.write_bytes(b"somebody's song")
        _note(settings, "fetched", str(recording))
        await works(settings, stop, ready)


def _note(settings: Settings, what: str, about: str) -> None:
    with (Path(settings[Operation].data_dir) / "notes").open("a") as notes:
        notes.write(f"{what} {os.getpid()} {about}\n")


ROLES: dict[str, Role] = {"serve": serves, "relay": works, "project": works, "react": works, "tick": works}
ROLES |= {role.__name__: role for role in (drains, fails, ends, hoards, lingers, blocks)}

if __name__ == "__main__":
    roles = dict(ROLES)
    for override in filter(None, os.environ.get("SMALL_ROLES", "").split(",")):
        name, _, other = override.partition("=")
        roles[name] = ROLES[other]
    sys.exit(main(sys.argv[1:], roles))
