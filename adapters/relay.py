"""Publishes the ledger to JetStream: one publisher at a time, nothing out of order, healing what NATS forgets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import nats
import structlog
from msgspec import json
from nats.aio.msg import Msg
from nats.js.api import StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError
from psycopg import AsyncConnection, OperationalError

from adapters.bus import POSITION, PREVIOUS, Bus, encode_wire, to_wire
from adapters.eventlog import EventLog, LedgerUnavailable, StoredRow

log = structlog.get_logger(__name__)

PAGE_EVENTS = 2_000
#: How long the relay trusts its idea of the stream while nothing happens; then it looks whether it is still so.
VERIFY_SECONDS = 1.0
_RELAYING = 0x1ED6E3


class OutOfStep(Exception):
    """The stream is not as we left it: another relay, a wiped store, or messages it has lost."""


class Relay:
    """Copies the ledger into the stream, starting after the last event that is really in there.

    Every message says which stream sequence it expects before it. A second relay, or one that slept through a change,
    is therefore refused by the server and looks again. An empty stream is filled from the beginning of the ledger.
    """

    def __init__(self, log: EventLog, bus: Bus, postgres_url: str, *, replicas: int = 1) -> None:
        self._log = log
        self._bus = bus
        self._url = postgres_url
        self._replicas = replicas
        self._rung = asyncio.Event()
        self._acks: asyncio.Queue[bytes] = asyncio.Queue()
        self._inbox = ""
        self._sequence = 0
        self.position = 0
        self.is_active = False

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until told to stop; stand by while another relay is at work."""
        await self._bus.on(f"{self._bus.prefix}.bell", self._wake)
        while not stop.is_set():
            try:
                async with self._leadership(stop) as mine:
                    if mine:
                        await self._relay(stop)
            except OutOfStep as reason:
                log.info("relay.out_of_step", reason=str(reason))
            except (nats.errors.Error, APIError, OSError, TimeoutError, LedgerUnavailable, OperationalError) as problem:
                log.warning("relay.interrupted", problem=repr(problem))
                await _pause(stop, 0.2)
            finally:
                self.is_active = False

    async def _wake(self, _: bytes) -> None:
        self._rung.set()

    @contextlib.asynccontextmanager
    async def _leadership(self, stop: asyncio.Event) -> AsyncIterator[bool]:
        async with await AsyncConnection.connect(self._url, autocommit=True, connect_timeout=5) as connection:
            while not stop.is_set():
                cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (_RELAYING,))
                if (await cursor.fetchone() or (False,))[0]:
                    yield True
                    return
                await _pause(stop, 0.5)
            yield False

    async def _relay(self, stop: asyncio.Event) -> None:
        if not await self._bus.connected(1.0):
            return
        await self._resume()
        self.is_active = True
        verified = asyncio.get_running_loop().time()
        while not stop.is_set():
            self._rung.clear()
            rows = await self._log.raw_page(self.position, PAGE_EVENTS)
            if rows:
                await self._publish(rows)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._rung.wait(), 0.1)
            now = asyncio.get_running_loop().time()
            if now - verified > VERIFY_SECONDS:
                await self._verify()
                verified = now

    async def _resume(self) -> None:
        """Learn from the stream itself which event it holds last; make the stream when it is not there."""
        jetstream = self._bus.client.jetstream()
        try:
            info = await jetstream.stream_info(self._bus.stream)
        except NotFoundError:
            info = await jetstream.add_stream(
                StreamConfig(
                    name=self._bus.stream,
                    subjects=[self._bus.events],
                    storage=StorageType.FILE,
                    num_replicas=self._replicas,
                    allow_direct=True,
                    description="The ledger, event by event, in order of position",
                )
            )
        self._sequence, self.position = info.state.last_seq, 0
        if info.state.messages:
            last = await jetstream.get_msg(self._bus.stream, info.state.last_seq)
            self.position = int((last.headers or {}).get(POSITION, 0))
        self._acks = asyncio.Queue()
        self._inbox = self._bus.client.new_inbox()
        await self._bus.client.subscribe(self._inbox, cb=self._acknowledged)
        log.info("relay.resumed", position=self.position, sequence=self._sequence)

    async def _acknowledged(self, message: Msg) -> None:
        self._acks.put_nowait(message.data)

    async def _publish(self, rows: list[StoredRow]) -> None:
        previous = self.position
        for sequence, row in enumerate(rows, self._sequence):
            await self._bus.client.publish(
                self._bus.subject(row[4]),
                encode_wire(to_wire(row, previous)),
                reply=self._inbox,
                headers={
                    POSITION: str(row[0]),
                    PREVIOUS: str(previous),
                    "Nats-Expected-Last-Sequence": str(sequence),
                },
            )
            previous = row[0]
        async with asyncio.timeout(10.0):
            for row in rows:
                self._settle(await self._acks.get())
                self.position = row[0]

    def _settle(self, answer: bytes) -> None:
        ack: dict[str, Any] = json.decode(answer) if answer else {"error": {"description": "no stream answers"}}
        if "error" in ack:
            raise OutOfStep(ack["error"].get("description", "refused"))
        self._sequence += 1
        if ack["seq"] != self._sequence:
            raise OutOfStep(f"expected sequence {self._sequence}, the stream gave {ack['seq']}")

    async def _verify(self) -> None:
        try:
            info = await self._bus.client.jetstream().stream_info(self._bus.stream)
        except NotFoundError:
            raise OutOfStep("the stream is gone") from None
        if info.state.last_seq != self._sequence or (self._sequence and not info.state.messages):
            raise OutOfStep(f"expected sequence {self._sequence}, the stream is at {info.state.last_seq}")


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
