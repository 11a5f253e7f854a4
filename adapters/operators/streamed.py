"""Whether JetStream holds what it should: each event of the log, and each published one, in order, once, and nothing
else; and a consumer for each subscriber who reads there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from operator import eq
from typing import Any, NamedTuple

import nats
from msgspec import DecodeError, json
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamInfo
from nats.js.errors import NotFoundError

from adapters.log.eventlog import EventLog
from adapters.log.recorder import StoredRow
from adapters.operators.findings import Finding, Part, Progress, nobody
from adapters.postgres.retrying import Pool
from adapters.published import Envelopes
from adapters.stream.bus import POSITION, Bus, decode_wire, from_wire
from adapters.stream.relay import is_limited
from adapters.subscribing.publishing import published_events, wishes
from adapters.subscribing.readers import Readers
from domain.kernel import Value

FETCHED_TOGETHER = 500
FETCH_SECONDS_MAX = 5.0
#: An event that is in the log for so long is in the stream, too, or does not get there.
CARRIED_SECONDS_MAX = 10.0
LOOK_SECONDS = 0.1
#: So many messages that are wrong are named.
NAMED_MAX = 20
#: All subjects of a stream.
_ALL = ">"


class Streamed(Value):
    """How many messages there are, up to which position of the log, and how many positions they are behind."""

    messages: int
    position: int
    behind: int
    findings: tuple[Finding, ...]


class _Held(NamedTuple):
    """What a stream is to hold: `expected` is what an event is in it, None where it is not there; `read` is the
    position and the same of a message (raises DecodeError), and `is_same` whether they are."""

    part: Part
    stream: str
    expected: Callable[[StoredRow], Any]
    read: Callable[[Msg], tuple[int, Any]]
    is_same: Callable[[Any, Any], bool]

    def finding(self, kind: str, text: str, position: int) -> Finding:
        return Finding(part=self.part, kind=kind, message=text, position=position)


async def check_stream(log: EventLog, bus: Bus, *, progress: Progress = nobody) -> Streamed:
    """Compare the stream of all events with the log."""

    def read(message: Msg) -> tuple[int, Any]:
        row = from_wire(decode_wire(message.data))
        return row[0], row

    return await _check(log, bus, _Held("stream", bus.stream, tuple, read, eq), progress)


async def check_published(
    log: EventLog, bus: Bus, pool: Pool, envelopes: Envelopes, readers: Readers, *, progress: Progress = nobody
) -> Streamed:
    """Compare the stream of published events with what is published of the log, and its consumers with those that
    there are to be. Where nobody reads there, nothing has to be there."""
    consumer_ids = {each.id for each in await wishes(pool)}
    if not consumer_ids:
        return Streamed(messages=0, position=0, behind=0, findings=())
    carried = published_events(bus, envelopes)

    def expected(row: StoredRow) -> tuple[str, str, Any] | None:
        message = carried.message(row, 0)
        if message is None:
            return None
        subject = message.subject.removeprefix(f"{bus.prefix}-published")
        return f"{bus.prefix}{subject}", message.id, json.decode(message.body)

    def read(message: Msg) -> tuple[int, Any]:
        held = carried.held(message.data)
        if held is None:
            raise DecodeError
        headers = message.headers or {}
        return held[0], (message.subject, headers.get("Nats-Msg-Id", ""), json.decode(message.data))

    found = await _check(log, bus, _Held("published", carried.stream, expected, read, _tells_the_same), progress)
    deadline = asyncio.get_running_loop().time() + CARRIED_SECONDS_MAX
    while missing := consumer_ids - await readers.ready(consumer_ids):
        if found.findings or asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(LOOK_SECONDS)
    lost = [
        Finding(part="published", kind="consumer_missing", message=f"Nobody can read as {each}.", subject=each)
        for each in sorted(missing)[:NAMED_MAX]
    ]
    return Streamed(
        messages=found.messages, position=found.position, behind=found.behind, findings=(*found.findings, *lost)
    )


def _tells_the_same(held: tuple[str, str, Any], expected: tuple[str, str, Any]) -> bool:
    """Whether a message is what would be told today: the service may have had another address when it was told, and
    its events fewer fields (record 0270)."""

    def envelope(told: dict[str, Any]) -> dict[str, Any]:
        return {name: each for name, each in told.items() if name not in {"data", "dataschema"}}

    told, today = held[2], expected[2]
    return held[:2] == expected[:2] and envelope(told) == envelope(today) and _is_in(told.get("data"), today["data"])


def _is_in(told: Any, today: Any) -> bool:
    if isinstance(told, dict) and isinstance(today, dict):
        return all(name in today and _is_in(each, today[name]) for name, each in told.items())
    if isinstance(told, list) and isinstance(today, list):
        return len(told) == len(today) and all(map(_is_in, told, today))
    return bool(told == today)


async def _check(log: EventLog, bus: Bus, held: _Held, progress: Progress) -> Streamed:
    """Compare a stream with the log; what was appended meanwhile, and what is still on its way, is no finding.

    Of a stream that somebody has told to forget its oldest messages, the rest is looked at.
    """
    head = await log.head()
    info = await _there(bus, held.stream, is_needed=bool(head))
    if info is None:
        lost = Finding(part=held.part, kind="stream_missing", message=f"There is no stream {held.stream}.")
        return Streamed(messages=0, position=0, behind=head, findings=() if not head else (lost,))
    findings: list[Finding] = []
    ahead = _Events(log, held, is_whole=not is_limited(info))
    last = 0
    async for message in _messages(bus, held.stream, info.state.messages):
        if len(findings) > NAMED_MAX:
            break
        number = message.metadata.sequence.stream
        try:
            position, content = held.read(message)
        except DecodeError:
            findings.append(held.finding("message_differs", f"Message {number} is no event.", 0))
            continue
        findings += await ahead.compare(position, content)
        last = max(last, position)
        progress(held.part, number, max(info.state.last_seq, 1))
    behind = 0
    if not findings and (due := await ahead.last(head)) > last:
        last = await _arrived(bus, held.stream, last, due)
        behind = max(due - last, 0)
    if behind:
        text = f"The stream ends at {last}, and the log had come to {due} before: nothing carries events into it."
        findings.append(held.finding("stream_behind", text, last))
    return Streamed(messages=info.state.messages, position=last, behind=behind, findings=tuple(findings))


async def _there(bus: Bus, stream: str, *, is_needed: bool) -> StreamInfo | None:
    """The stream; one that is needed is waited for, since it is made anew where it is gone."""
    deadline = asyncio.get_running_loop().time() + CARRIED_SECONDS_MAX
    while True:
        try:
            return await bus.client.jetstream().stream_info(stream)
        except NotFoundError:
            if not is_needed or asyncio.get_running_loop().time() > deadline:
                return None
        await asyncio.sleep(LOOK_SECONDS)


async def _arrived(bus: Bus, stream: str, last: int, due: int) -> int:
    """The newest position in the stream, once it is what is due, or has not moved for some seconds."""
    deadline = asyncio.get_running_loop().time() + CARRIED_SECONDS_MAX
    while last < due and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
        with suppress(NotFoundError):
            message = await bus.client.jetstream().get_last_msg(stream, _ALL)
            position = int((message.headers or {}).get(POSITION, "0"))
            if position > last:
                last, deadline = position, asyncio.get_running_loop().time() + CARRIED_SECONDS_MAX
    return last


class _Events:
    """The events that messages are compared with, page by page."""

    def __init__(self, log: EventLog, held: _Held, *, is_whole: bool) -> None:
        self._log = log
        self._held = held
        self._is_whole = is_whole
        self._page: list[tuple[int, Any]] = []
        self._place = 0
        #: How far the log has been read, and the last event that was compared.
        self._read = self._position = 0

    async def _next(self) -> tuple[int, Any] | None:
        while self._place == len(self._page):
            rows = await self._log.raw_page(self._read, FETCHED_TOGETHER)
            if not rows:
                return None
            self._read, self._place = rows[-1][0], 0
            told = ((row[0], self._held.expected(row)) for row in rows)
            self._page = [each for each in told if each[1] is not None]
        return self._page[self._place]

    async def compare(self, position: int, content: Any) -> list[Finding]:
        if not self._is_whole:
            self._position = self._read = position - 1
            self._is_whole = True
        finding = self._held.finding
        if position <= self._position:
            return [finding("message_twice", f"The event at {position} comes again in the stream.", position)]
        expected = await self._next()
        missing = []
        while expected is not None and expected[0] < position:
            text = f"The event at {expected[0]} is missing in the stream."
            missing.append(finding("message_missing", text, expected[0]))
            self._take(expected)
            if len(missing) > NAMED_MAX:
                return missing
            expected = await self._next()
        if expected is None or expected[0] > position:
            text = f"The stream holds an event at {position} that is not in the log, or is not told."
            return [*missing, finding("message_differs", text, position)]
        self._take(expected)
        if not self._held.is_same(content, expected[1]):
            text = f"The event at {position} is another one in the stream."
            return [*missing, finding("message_differs", text, position)]
        return missing

    async def last(self, head: int) -> int:
        """The last event up to a position that is to be in the stream, of those that were not compared."""
        found = 0
        while (expected := await self._next()) is not None and expected[0] <= head:
            found = expected[0]
            self._take(expected)
        return found

    def _take(self, expected: tuple[int, Any]) -> None:
        self._position = expected[0]
        self._place += 1


async def _messages(bus: Bus, stream: str, count: int) -> AsyncIterator[Msg]:
    """So many messages of the stream, the oldest first; they stay as they are."""
    if not count:
        return
    config = ConsumerConfig(
        ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL, inactive_threshold=60.0, mem_storage=True
    )
    subscription = await bus.client.jetstream().pull_subscribe(_ALL, stream=stream, config=config)
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
