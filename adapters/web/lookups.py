"""Looking names up that tenants have given us: each in a thread of its own, and whoever asks for many leaves room.

The system's resolver blocks, for as long as half a minute where a name server does not answer, and cannot be stopped.
The loop's own pool has two threads for it: two such names, and nothing in the process was looked up any more.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

#: Threads that wait for a name server cost little, and are let go as soon as it answers or the system gives up.
LOOKUPS_MAX = 256
_FLAGS = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class Lookups(AbstractResolver):
    """The system's resolver, asked so many times at once.

    Names below one domain take another thread as long as they hold fewer than are free, as workspaces do in queues
    (decision 0170): one domain whose name server is a tar pit holds up its own names only.
    """

    def __init__(self, places: int = LOOKUPS_MAX) -> None:
        self._places = places
        self._held: Counter[str] = Counter()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Every address of the host; raises socket.gaierror, also when too many look-ups are under way."""
        domain = ".".join(host.rstrip(".").lower().split(".")[-2:])
        if self._held[domain] >= self._places - self._held.total():
            raise socket.gaierror(socket.EAI_AGAIN, "too many look-ups are under way")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Any]] = loop.create_future()
        self._held[domain] += 1

        def ended(outcome: list[Any] | OSError) -> None:
            self._held[domain] -= 1
            if not self._held[domain]:
                del self._held[domain]
            if found.done():
                return
            if isinstance(outcome, OSError):
                found.set_exception(outcome)
            else:
                found.set_result(outcome)

        def look() -> None:
            outcome: list[Any] | OSError
            try:
                outcome = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            except OSError as problem:
                outcome = problem
            except UnicodeError as problem:  # a label that IDNA does not know
                outcome = socket.gaierror(socket.EAI_NONAME, str(problem))
            with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                loop.call_soon_threadsafe(ended, outcome)

        # A daemon, so that a process that ends does not wait for somebody's name server.
        threading.Thread(target=look, name="lookup", daemon=True).start()
        return [_result(host, port, *info) for info in await found]

    async def close(self) -> None:
        """Nothing is held."""


def _result(host: str, port: int, family: int, _type: int, proto: int, _name: str, place: Any) -> ResolveResult:
    address, scope = str(place[0]), place[3] if len(place) > 3 else 0
    return ResolveResult(
        hostname=host,
        host=f"{address}%{scope}" if scope and "%" not in address else address,
        port=port,
        family=family,
        proto=proto,
        flags=_FLAGS,
    )
