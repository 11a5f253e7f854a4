"""The three servers together: started, stopped, and found where another process runs them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from infra.embedded.blobs import EmbeddedBlobs
from infra.embedded.directories import DirectoryLock
from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.server import EmbeddedServer

#: Each keeps its files in the folder of its name.
SERVERS: tuple[type[EmbeddedServer], ...] = (EmbeddedPostgres, EmbeddedNats, EmbeddedBlobs)


def running_in(data_dir: Path) -> dict[str, Any]:
    """What an `up` of this directory has started there, by the names of settings; empty where none runs."""
    if not DirectoryLock(data_dir, "Ledgerline").is_held():
        return {}
    found: dict[str, Any] = {}
    for kind in SERVERS:
        server = kind(data_dir / kind.name)
        if server.running() is not None:
            found |= server.settings
    return found


def start_together(servers: Sequence[EmbeddedServer]) -> None:
    """Start them side by side; when one cannot start, stop the others and raise what it said."""
    if not servers:
        return
    with ThreadPoolExecutor(len(servers)) as pool:
        answers = [pool.submit(server.start) for server in servers]
    for answer in answers:
        if (error := answer.exception()) is not None:
            stop_together(servers)
            raise error


def stop_together(servers: Sequence[EmbeddedServer]) -> None:
    """Stop them side by side."""
    if servers:
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(lambda server: server.stop(), servers))
