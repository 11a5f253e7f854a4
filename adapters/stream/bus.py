"""NATS: carries what is already true in the ledger. Losing it, or anything in it, costs time and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import nats
import structlog
from msgspec import Raw, Struct, json
from nats.aio.client import Client
from nats.aio.msg import Msg

from adapters.log.recorder import StoredRow
from adapters.provides import provides
from adapters.stream.settings import Nats

log = structlog.get_logger(__name__)

POSITION = "Ledgerline-Position"
PREVIOUS = "Ledgerline-Previous"

#: Between two attempts to reach a NATS that is away.
RECONNECT_SECONDS = 0.1
_CONNECTING: dict[str, Any] = {
    "max_reconnect_attempts": -1,
    "reconnect_time_wait": RECONNECT_SECONDS,
    "connect_timeout": 2,
    "ping_interval": 5,
    "max_outstanding_pings": 2,
    # Nothing is kept for a server that is away: what it misses is read from the ledger.
    "pending_size": 0,
}


class Wire(Struct, omit_defaults=True):
    """An event as subscribers get it: its envelope, and the facts as stored (personal fields sealed)."""

    id: UUID
    position: int
    previous: int
    stream: str
    version: int
    type: str
    schema_version: int
    recorded_at: datetime
    workspace_id: str
    actor: str
    correlation_id: UUID
    causation_id: UUID | None
    data: Raw
    traceparent: str | None = None


encode_wire = json.Encoder().encode
decode_wire = json.Decoder(Wire).decode


def to_wire(row: StoredRow, previous: int) -> Wire:
    """The message for a stored event; `previous` is the position of the one before it in the ledger."""
    return Wire(
        id=row[3],
        position=row[0],
        previous=previous,
        stream=row[1],
        version=row[2],
        type=row[4],
        schema_version=row[5],
        recorded_at=row[6],
        workspace_id=row[7],
        actor=row[8],
        correlation_id=row[9],
        causation_id=row[10],
        data=Raw(row[11]),
        traceparent=row[12],
    )


def from_wire(wire: Wire) -> StoredRow:
    """The stored event in a message."""
    return (
        wire.position,
        wire.stream,
        wire.version,
        wire.id,
        wire.type,
        wire.schema_version,
        wire.recorded_at,
        wire.workspace_id,
        wire.actor,
        wire.correlation_id,
        wire.causation_id,
        bytes(wire.data),
        wire.traceparent,
    )


class Bus:
    """One connection to NATS (one server, or several of a cluster with commas) that never gives up, and its names."""

    def __init__(self, url: str, prefix: str = "ledgerline") -> None:
        #: Servers of one cluster; the client goes to another one when it loses its own. Without any it would turn in a
        #: circle that nothing else of this process gets out of, so that no address stands for one that is away.
        self._servers = [each.strip() for each in url.split(",") if each.strip()] or [url]
        self.prefix = prefix
        self.stream = prefix.upper()
        self._names = _names_in(self._servers)
        self.client = Client()
        self._connecting: asyncio.Task[None] | None = None
        self._handlers: list[tuple[str, str, Callable[[Msg], Awaitable[None]]]] = []
        self._begun = False
        self._listens = False
        self._is_over = False

    @property
    def events(self) -> str:
        """The subjects of all events."""
        return f"{self.prefix}.events.>"

    def subject(self, name: str) -> str:
        """The subject of events of this stored name."""
        return f"{self.prefix}.events.{name}"

    @property
    def is_connected(self) -> bool:
        """Whether messages flow right now."""
        return self._listens and self.client.is_connected

    def start(self) -> None:
        """Connect in the background, for as long as it takes."""
        self._connecting = asyncio.create_task(self._connect(), name="nats-connect")

    async def _connect(self) -> None:
        while not self.client.is_connected:
            client = self.client
            try:
                again = partial(self._again, client)
                await client.connect(self._servers, error_cb=_note, closed_cb=again, **self._names, **_CONNECTING)
            except (OSError, nats.errors.Error, TimeoutError) as problem:
                log.debug("nats.away", problem=repr(problem))
            if not client.is_connected:
                # Without a problem: it has taken news of the cluster for the answer that it waited for.
                self.client = Client()
                await _closed(client)
                await asyncio.sleep(RECONNECT_SECONDS)
        self._begun = True
        for subject, queue, handler in self._handlers:
            await self.client.subscribe(subject, queue, cb=handler)
        self._listens = True

    async def _again(self, client: Client) -> None:
        """Begin again with another client: one that a server has turned away gives up for good, whatever it is told."""
        if self._is_over or client is not self.client:
            return
        log.warning("nats.turned_away", problem=repr(client.last_error))
        self._begun = self._listens = False
        self.client = Client()
        self.start()

    async def connected(self, timeout_seconds: float) -> bool:
        """Wait for the connection; whether it is there."""
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while not self.is_connected and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        return self.is_connected

    async def on(self, subject: str, handler: Callable[[bytes], Awaitable[None]]) -> None:
        """Call `handler` with every message on a subject from now on, across reconnections."""

        async def receive(message: Msg) -> None:
            await handler(message.data)

        await self._subscribe(subject, "", receive)

    async def answer(self, subject: str, queue: str, handler: Callable[[Msg], Awaitable[None]]) -> None:
        """Have one of all those in a `queue` called with each message on a subject, to answer it."""
        await self._subscribe(subject, queue, handler)

    async def _subscribe(self, subject: str, queue: str, handler: Callable[[Msg], Awaitable[None]]) -> None:
        self._handlers.append((subject, queue, handler))
        if self._begun:
            # The client itself subscribes again after every reconnection.
            await self.client.subscribe(subject, queue, cb=handler)

    def ring(self, bell: str, payload: bytes = b"") -> None:
        """Wake whoever listens to a bell; lost when NATS is away, which is why everybody polls as well."""
        if self.client.is_connected:
            task = asyncio.ensure_future(self._publish(f"{self.prefix}.{bell}", payload))
            _rings.add(task)
            task.add_done_callback(_rings.discard)

    async def _publish(self, subject: str, payload: bytes) -> None:
        with contextlib.suppress(nats.errors.Error, OSError):
            await self.client.publish(subject, payload)

    async def close(self) -> None:
        """Let go of the connection."""
        self._is_over = True
        if self._connecting:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._connecting
        await _closed(self.client)


def _names_in(servers: list[str]) -> dict[str, Any]:
    """As whom a client comes to nodes that the cluster itself tells of: their addresses do not say it."""
    named = next((each for each in map(urlsplit, servers) if each.username is not None), None)
    if named is None or named.username is None:
        return {}
    return {"token": named.username} if named.password is None else {"user": named.username, "password": named.password}


_rings: set[asyncio.Future[Any]] = set()


async def _closed(client: Client) -> None:
    # An assertion is what a client says that never got as far as a connection.
    with contextlib.suppress(nats.errors.Error, OSError, AssertionError):
        await client.close()


async def _note(problem: Exception) -> None:
    log.debug("nats.problem", problem=repr(problem))


#: How long a process waits for NATS before it begins without.
CONNECT_SECONDS_MAX = 2.0


@provides
async def bus(settings: Nats) -> Bus:
    """A bus that is connected, or goes on trying."""
    made = Bus(settings.nats_url)
    made.start()
    await made.connected(CONNECT_SECONDS_MAX)
    return made
