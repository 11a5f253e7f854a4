"""Whether JetStream holds the log: every event as it lies in Postgres, in order, once, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import nats
from msgspec import DecodeError
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from adapters.log.eventlog import EventLog
from adapters.log.recorder import StoredRow
from adapters.operators.findings import Finding, Progress, nobody
from adapters.stream.bus import POSITION, Bus, decode_wire, from_wire
from adapters.stream.relay import is_limited
from domain.kernel import Value

FETCHED_TOGETHER = 500
FETCH_SECONDS_MAX = 5.0
#: An event that is in the log for so long is in the stream, too, or does not get there.
CARRIED_SECONDS_MAX = 10.0
#: So many messages that are wrong are named.
NAMED_MAX = 20


class Streamed(Value):
    """How many messages there are, up to which position of the log, and how many positions they are behind."""

    messages: int
    position: int
    behind: int
    findings: tuple[Finding, ...]


async def check_stream(log: EventLog, bus: Bus, *, progress: Progress = nobody) -> Streamed:
    """Compare the stream with the log; what was appended meanwhile, and what is still on its way, is no finding.

    Of a stream that somebody has told to forget its oldest messages, the rest is looked at.
    """
    head = await log.head()
    try:
        info = await bus.client.jetstream().stream_info(bus.stream)
    except NotFoundError:
        lost = Finding(part="stream", kind="stream_missing", message=f"There is no stream {bus.stream}.")
        return Streamed(messages=0, position=0, behind=head, findings=() if not head else (lost,))
    findings: list[Finding] = []
    ahead = _Events(log, is_whole=not is_limited(info))
    last = 0
    async for message in _messages(bus, info.state.messages):
        if len(findings) > NAMED_MAX:
            break
        try:
            row = from_wire(decode_wire(message.data))
        except DecodeError:
            findings.append(_finding("message_differs", f"Message {message.metadata.sequence.stream} is no event.", 0))
            continue
        findings += await ahead.compare(row)
        last = max(last, row[0])
        progress("stream", message.metadata.sequence.stream, max(info.state.last_seq, 1))
    if not findings and last < head and (last := await _arrived(bus, last, head)) < head:
        text = f"The stream ends at {last}, and the log had come to {head} before: nothing carries events into it."
        findings.append(_finding("stream_behind", text, last))
    return Streamed(messages=info.state.messages, position=last, behind=max(head - last, 0), findings=tuple(findings))


def _finding(kind: str, text: str, position: int) -> Finding:
    return Finding(part="stream", kind=kind, message=text, position=position)


async def _arrived(bus: Bus, last: int, head: int) -> int:
    """The newest position in the stream, once it is what the log had come to, or after some seconds."""
    deadline = asyncio.get_running_loop().time() + CARRIED_SECONDS_MAX
    while last < head and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.1)
        with suppress(NotFoundError):
            message = await bus.client.jetstream().get_last_msg(bus.stream, bus.events)
            last = int((message.headers or {}).get(POSITION, "0"))
    return last


class _Events:
    """The events that messages are compared with, page by page."""

    def __init__(self, log: EventLog, *, is_whole: bool) -> None:
        self._log = log
        self._is_whole = is_whole
        self._page: list[StoredRow] = []
        self._place = 0
        self._position = 0

    async def _next(self) -> StoredRow | None:
        if self._place == len(self._page):
            self._page, self._place = await self._log.raw_page(self._position, FETCHED_TOGETHER), 0
        return self._page[self._place] if self._page else None

    async def compare(self, row: StoredRow) -> list[Finding]:
        if not self._is_whole:
            self._position, self._is_whole = row[0] - 1, True
        expected = await self._next()
        if row[0] <= self._position:
            return [_finding("message_twice", f"The event at {row[0]} comes again in the stream.", row[0])]
        missing = []
        while expected is not None and expected[0] < row[0]:
            text = f"The event at {expected[0]} is missing in the stream."
            missing.append(_finding("message_missing", text, expected[0]))
            self._take(expected)
            if len(missing) > NAMED_MAX:
                return missing
            expected = await self._next()
        if expected is None or expected[0] > row[0]:
            return [
                *missing,
                _finding("message_differs", f"The stream holds an event at {row[0]} that is not in the log.", row[0]),
            ]
        self._take(expected)
        if tuple(expected) != row:
            return [
                *missing,
                _finding("message_differs", f"The event at {row[0]} is another one in the stream.", row[0]),
            ]
        return missing

    def _take(self, row: StoredRow) -> None:
        self._position, self._place = row[0], self._place + 1


async def _messages(bus: Bus, count: int) -> AsyncIterator[Msg]:
    """So many messages of the stream, the oldest first; they stay as they are."""
    if not count:
        return
    config = ConsumerConfig(
        ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL, inactive_threshold=60.0, mem_storage=True
    )
    subscription = await bus.client.jetstream().pull_subscribe(bus.events, stream=bus.stream, config=config)
    try:
        while count > 0:
            try:
                batch = await subscription.fetch(min(count, FETCHED_TOGETHER), FETCH_SECONDS_MAX)
            except (TimeoutError, nats.errors.TimeoutError):
                return
            count -= len(batch)
            for message in batch:
                yield message
    finally:
        with suppress(nats.errors.Error):
            await subscription.unsubscribe()
