"""Publishes the ledger to JetStream: one publisher at a time, nothing out of order, healing what NATS forgets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, NamedTuple
from uuid import UUID

import nats
import structlog
from msgspec import DecodeError, json
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import RawStreamMsg, StorageType, StreamConfig, StreamInfo, SubjectTransform
from nats.js.errors import APIError, NotFoundError
from psycopg import AsyncConnection, OperationalError
from psycopg.rows import TupleRow

from adapters.log.eventlog import EventLog, LedgerUnavailable
from adapters.log.recorder import StoredRow
from adapters.pausing import pause
from adapters.postgres.settings import Postgres
from adapters.provides import provides
from adapters.stream.bus import POSITION, PREVIOUS, Bus, decode_wire, encode_wire, to_wire
from adapters.stream.settings import Nats
from domain.tracing import following, span

log = structlog.get_logger(__name__)

PAGE_EVENTS = 2_000
#: How long the relay trusts its idea of the stream while nothing happens; then it looks whether it is still so.
VERIFY_SECONDS = 1.0
#: How often the relay looks for new events by itself, in case nobody rings: as often as those who would read there do.
POLL_SECONDS = 0.25
#: How long to wait for the next acknowledgement, and how often meanwhile to look whether the stream is there.
ACK_SECONDS_MAX = 10.0
ACK_LOOK_SECONDS = 0.5
#: After a page that was not full the relay rests so long for each of its events, and so long at most: a lone event is
#: carried at once, and of many more go in one page.
REST_SECONDS_PER_EVENT = 0.00025
REST_SECONDS_MAX = 0.01
#: A stream that takes nothing for so long is made anew. A server whose disk was full goes on refusing what comes to a
#: stream after there is room again, until the stream is gone; and everything that was in it is in the log.
STUCK_SECONDS_MAX = 15.0
_RELAYING = 0x1ED6E3
#: How often a relay that nobody needs looks whether somebody does.
UNWANTED_SECONDS = 0.5


class OutOfStep(Exception):
    """The stream is not as we left it: another relay, a wiped store, or messages it has lost."""


class Message(NamedTuple):
    """An event as it is carried; without an id of its own it gets one of the round."""

    subject: str
    body: bytes
    id: str = ""


@dataclass(frozen=True)
class Carried:
    """What a relay carries into which stream; the `lock` is of the one that is at work.

    `message` is what a stored event becomes after the one at a position, None where it is not carried; `held` tells the
    position and the id of the event in a message, None where there is none. A stream that `begins_anew` is deleted and
    not emptied when it is no longer whole, because those who read it would be given it again. While it `is_wanted` by
    nobody, nothing is carried.
    """

    stream: str
    subjects: str
    description: str
    lock: int
    message: Callable[[StoredRow, int], Message | None]
    held: Callable[[bytes], tuple[int, UUID] | None]
    transform: SubjectTransform | None = None
    begins_anew: bool = False
    is_wanted: Callable[[], Awaitable[bool]] | None = None


def whole_log(bus: Bus) -> Carried:
    """Every event as it is stored, for the processes of the service."""

    def held(data: bytes) -> tuple[int, UUID] | None:
        try:
            wire = decode_wire(data)
        except DecodeError:
            return None
        return wire.position, wire.id

    return Carried(
        stream=bus.stream,
        subjects=bus.events,
        description="The ledger, event by event, in order of position",
        lock=_RELAYING,
        message=lambda row, previous: Message(bus.subject(row[4]), encode_wire(to_wire(row, previous))),
        held=held,
    )


class Relay:
    """Copies the ledger into the stream, starting after the last event that is really in there.

    Every message says which sequence and which message of ours it expects before it (the sequence alone would let a
    later message of a page in after a stranger's). A second relay, or one that slept through a change, is therefore
    refused by the server and looks again. A stream that has lost messages, or holds another ledger's, is
    emptied and filled from the beginning.
    """

    def __init__(
        self, log: EventLog, bus: Bus, postgres_url: str, *, replicas: int = 1, carried: Carried | None = None
    ) -> None:
        self._log = log
        self._bus = bus
        self._carried = carried or whole_log(bus)
        self._url = postgres_url
        self._replicas = replicas
        self._rung = asyncio.Event()
        self._acks: asyncio.Queue[bytes] = asyncio.Queue()
        self._inbox = ""
        self._sequence = 0
        self._first = 1
        self._round = self._last_id = ""
        #: When events began to wait that the stream does not take, and whether that has been said.
        self._refused_since: float | None = None
        self._is_stuck = False
        #: The position of the last event in the stream; `position` is past those that are not carried.
        self._previous = 0
        self.position = 0
        self.is_active = False

    @property
    def is_ready(self) -> bool:
        """Whether events can be carried; one that stands by is as ready as the one at work."""
        return not self._is_stuck

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until told to stop; stand by while another relay is at work."""
        await self._bus.on(f"{self._bus.prefix}.bell", self._wake)
        while not stop.is_set():
            try:
                if not await self._is_wanted():
                    await pause(stop, UNWANTED_SECONDS)
                    continue
                async with self._leadership(stop) as lease:
                    if lease is not None and await self._bus.connected(1.0):
                        await self._relay(stop, lease)
                    # A server that is away refuses nothing.
                    self._refused_since = None
            except OutOfStep as reason:
                log.info("relay.out_of_step", reason=str(reason))
                await self._refused(str(reason))
                await pause(stop, 0.05)
            except (APIError, nats.errors.TimeoutError) as problem:
                log.warning("relay.interrupted", problem=repr(problem))
                await self._refused(repr(problem))
                await pause(stop, 0.2)
            except (nats.errors.Error, OSError, TimeoutError, LedgerUnavailable, OperationalError) as problem:
                # Neither a connection that is lost nor a Postgres that is away is the stream's doing.
                self._refused_since = None
                log.warning("relay.interrupted", problem=repr(problem))
                await pause(stop, 0.2)
            finally:
                self.is_active = False

    async def _is_wanted(self) -> bool:
        return self._carried.is_wanted is None or await self._carried.is_wanted()

    async def _refused(self, reason: str) -> None:
        """The stream did not take what was to come next; one that takes nothing for long is made anew."""
        now = asyncio.get_running_loop().time()
        if self._refused_since is None:
            self._refused_since = now
        if now - self._refused_since < STUCK_SECONDS_MAX:
            return
        if not self._is_stuck:
            self._is_stuck = True
            log.error("relay.stuck", reason=reason, seconds=round(now - self._refused_since))
        self._refused_since = now
        with contextlib.suppress(nats.errors.Error, APIError, OSError, TimeoutError):
            await self._bus.client.jetstream().delete_stream(self._carried.stream)
            log.warning("relay.stream_made_anew")

    def _taken(self) -> None:
        """The stream has taken an event."""
        self._refused_since = None
        if self._is_stuck:
            self._is_stuck = False
            log.info("relay.recovered", position=self.position)

    async def _wake(self, _: bytes) -> None:
        self._rung.set()

    @contextlib.asynccontextmanager
    async def _leadership(self, stop: asyncio.Event) -> AsyncIterator[AsyncConnection[TupleRow] | None]:
        """The connection that holds the relay's lock, once nobody else does; None when told to stop before."""
        async with await AsyncConnection.connect(self._url, autocommit=True, connect_timeout=5) as connection:
            while not stop.is_set():
                cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (self._carried.lock,))
                if (await cursor.fetchone() or (False,))[0]:
                    yield connection
                    return
                # Who stands by is refused nothing, whatever it has met when it was at work.
                self._refused_since, self._is_stuck = None, False
                await pause(stop, 0.5)
            yield None

    async def _relay(self, stop: asyncio.Event, lease: AsyncConnection[TupleRow]) -> None:
        async with self._acknowledgements():
            await self._resume()
            self.is_active = True
            verified = asyncio.get_running_loop().time()
            while not stop.is_set():
                self._rung.clear()
                rows = await self._log.raw_page(self.position, PAGE_EVENTS)
                if rows:
                    await self._publish(rows)
                    if len(rows) < PAGE_EVENTS:
                        await asyncio.sleep(min(len(rows) * REST_SECONDS_PER_EVENT, REST_SECONDS_MAX))
                else:
                    self._taken()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(POLL_SECONDS):
                            await self._rung.wait()
                now = asyncio.get_running_loop().time()
                if now - verified > VERIFY_SECONDS:
                    if not await self._is_wanted():
                        return
                    await lease.execute("SELECT")  # whoever has lost the lock with its connection steps down
                    await self._verify()
                    verified = now

    @contextlib.asynccontextmanager
    async def _acknowledgements(self) -> AsyncIterator[None]:
        """An inbox for the server's answers, thrown away with all that still comes when this round is over."""
        answers: asyncio.Queue[bytes] = asyncio.Queue()

        async def receive(message: Msg) -> None:
            answers.put_nowait(message.data)

        self._acks, self._inbox = answers, self._bus.client.new_inbox()
        self._round, self._last_id = f"{token_hex(4)}-", ""
        inbox: Subscription = await self._bus.client.subscribe(self._inbox, cb=receive)
        try:
            yield
        finally:
            with contextlib.suppress(nats.errors.Error, OSError):
                await inbox.unsubscribe()

    async def _resume(self) -> None:
        """Learn from the stream itself which event it holds last; make the stream when it is not there."""
        info = await self._info()
        if info is None:
            info = await self._bus.client.jetstream().add_stream(
                StreamConfig(
                    name=self._carried.stream,
                    subjects=[self._carried.subjects],
                    subject_transform=self._carried.transform,
                    storage=StorageType.FILE,
                    num_replicas=self._replicas,
                    allow_direct=True,
                    # Message ids chain the messages of one round; nobody needs them remembered.
                    duplicate_window=1.0,
                    description=self._carried.description,
                )
            )
        self._sequence, self.position = info.state.last_seq, 0
        self._first = info.state.last_seq + 1
        if info.state.messages:
            last = await self._last_of_ours(info)
            if last is None:
                log.warning("relay.refills", stream=self._carried.stream, messages=info.state.messages)
                if self._carried.begins_anew:
                    await self._bus.client.jetstream().delete_stream(self._carried.stream)
                    raise OutOfStep("the stream begins anew")
                await self._bus.client.jetstream().purge_stream(self._carried.stream)
            else:
                self.position = last
                self._first = info.state.first_seq
        self._previous = self.position
        log.info("relay.resumed", stream=self._carried.stream, position=self.position, sequence=self._sequence)

    async def _last_of_ours(self, info: StreamInfo) -> int | None:
        """The position of the last message of a stream that is whole and of this ledger; None when it is not."""
        if _has_lost(info):
            return None
        first, last = await self._message(info.state.first_seq), await self._message(info.state.last_seq)
        if first is None or last is None or not last.data:
            return None
        if not is_limited(info) and int((first.headers or {}).get(PREVIOUS, -1)) != 0:
            return None
        held = self._carried.held(last.data)
        # What is not marked with its position somebody else has written, be it a copy of ours: events would come twice
        # after it.
        if held is None or (last.headers or {}).get(POSITION) != str(held[0]):
            return None
        position, event_id = held
        rows = await self._log.raw_page(position - 1, 1)
        return position if rows and rows[0][3] == event_id else None

    async def _message(self, sequence: int) -> RawStreamMsg | None:
        try:
            return await self._bus.client.jetstream().get_msg(self._carried.stream, sequence)
        except NotFoundError:
            return None

    async def _info(self) -> StreamInfo | None:
        try:
            return await self._bus.client.jetstream().stream_info(self._carried.stream)
        except NotFoundError:
            return None

    async def _publish(self, rows: list[StoredRow]) -> None:
        previous, sequence = self._previous, self._sequence
        sent: list[int] = []
        for row in rows:
            message = self._carried.message(row, previous)
            if message is None:
                continue
            message_id = message.id or f"{self._round}{row[0]}"
            headers = {
                POSITION: str(row[0]),
                PREVIOUS: str(previous),
                "Nats-Msg-Id": message_id,
                "Nats-Expected-Last-Sequence": str(sequence),
            }
            if self._last_id:
                headers["Nats-Expected-Last-Msg-Id"] = self._last_id
            with following(row[12]), span("publish", "producer", event=row[4], position=row[0]):
                await self._bus.client.publish(message.subject, message.body, reply=self._inbox, headers=headers)
            previous, self._last_id, sequence = row[0], message_id, sequence + 1
            sent.append(row[0])
        for position in sent:
            self._settle(self._acks.get_nowait() if self._acks.qsize() else await self._next_ack())
            self.position = self._previous = position
        self.position = rows[-1][0]
        self._taken()

    async def _next_ack(self) -> bytes:
        """Wait for the server; when it is silent, see whether the stream is still there to answer."""
        for _ in range(round(ACK_SECONDS_MAX / ACK_LOOK_SECONDS)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ACK_LOOK_SECONDS):
                    return await self._acks.get()
            if await self._info() is None:
                raise OutOfStep("the stream is gone")
        raise OutOfStep("the stream does not answer")

    def _settle(self, answer: bytes) -> None:
        ack: dict[str, Any] = json.decode(answer) if answer else {"error": {"description": "no stream answers"}}
        if "error" in ack:
            raise OutOfStep(ack["error"].get("description", "refused"))
        self._sequence += 1
        if ack["seq"] != self._sequence:
            raise OutOfStep(f"expected sequence {self._sequence}, the stream gave {ack['seq']}")

    async def _verify(self) -> None:
        """See whether the stream is as we left it."""
        info = await self._info()
        if info is None:
            raise OutOfStep("the stream is gone")
        if info.state.last_seq != self._sequence or (self._sequence and not info.state.messages):
            raise OutOfStep(f"expected sequence {self._sequence}, the stream is at {info.state.last_seq}")
        is_cut = not is_limited(info) and info.state.first_seq != self._first
        if info.state.messages and (is_cut or _has_lost(info)):
            raise OutOfStep("the stream has lost messages")


def is_limited(info: StreamInfo) -> bool:
    """Whether somebody has told the stream to forget its oldest messages."""
    return any(limit and limit > 0 for limit in (info.config.max_age, info.config.max_msgs, info.config.max_bytes))


def _has_lost(info: StreamInfo) -> bool:
    """Whether messages are missing between the first and the last one."""
    state = info.state
    return state.messages > 0 and state.last_seq - state.first_seq + 1 != state.messages


@provides
def relay(log: EventLog, bus: Bus, postgres: Postgres, nats: Nats) -> Relay:
    """What copies the log into JetStream."""
    return Relay(log, bus, postgres.postgres_url, replicas=nats.nats_replicas)
