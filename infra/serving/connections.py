"""Connections of the HTTP server, each within limits: of bytes before they are parsed, of time, and of number.

Uvicorn reads whatever a client sends for as long as it likes to. Here a head is counted while it arrives, everybody who
keeps us waiting is given a deadline, and one look at all connections a second costs less than a timer for each.
"""

from __future__ import annotations

import asyncio
import re
import resource
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from random import getrandbits
from time import monotonic
from typing import Any

import structlog
from msgspec import json
from msgspec.structs import replace
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from adapters.web.rate_limits import network_of
from infra.serving.settings import Connections

log = structlog.get_logger(__name__)

#: As much as is parsed at a time, so that a head is counted before the rest of what came with it is looked at.
SLICE_BYTES = 16 * 1024
#: Requests that a client may send ahead of their answers.
PIPELINED_MAX = 16
#: Of a body that nobody reads any more so much is dropped, because most clients listen only after they have spoken.
DROPPED_BYTES_MAX = 64 * 1024 * 1024
#: How long the last words to a client may take to leave.
LINGER_SECONDS = 5.0
#: Files that a process needs besides its connections.
FILES_RESERVED = 256
#: Of the connections that are too many so many may say what they want before they are told so, and for so long:
#: a refusal has the shape of what was asked for, and few clients hear one that comes before they have spoken.
SURPLUS_MAX = 128
SURPLUS_SECONDS_MAX = 1.0
#: So many refusals a second have a line of their own in the log: whoever floods us shall not also fill it.
REFUSALS_TOLD_MAX = 20

#: What is taken for the id of a request; anything else is replaced by one of ours.
_REQUEST_ID = re.compile(rb"[\x21-\x7e]+")
#: So much of it is repeated; the audit remembers as much.
REQUEST_ID_LENGTH = 128

#: Gives an application what comes next from its client.
Receive = Callable[[], Awaitable[Any]]

#: Writes a refusal in the words of the surface that a path belongs to: media type and body.
Wording = Callable[[str, int, str], tuple[str, bytes]]


def request_id(said: bytes | None) -> bytes:
    """The id of a request: what its client says, as far as that can be one, or a new one."""
    if said is not None and _REQUEST_ID.fullmatch(said):
        return said[:REQUEST_ID_LENGTH]
    # It joins lines and protects nothing, so it need not come from the kernel's randomness, which is a system call.
    return b"%032x" % getrandbits(128)


def plainly(_path: str, _status: int, sentence: str) -> tuple[str, bytes]:
    """A refusal as our own surfaces write it."""
    return "application/json", json.encode({"detail": sentence})


class Gate:
    """Counts the connections of one process, and looks after those that wait.

    `trusted` are networks of proxies: behind one of their addresses are many clients.
    """

    def __init__(self, limits: Connections, trusted: Collection[str] = (), wording: Wording = plainly) -> None:
        self.limits = limits
        self.wording = wording
        self._trusted = [ip_network(each) for each in trusted]
        self._connections: set[Connection] = set()
        self._held: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._told: list[dict[str, Any]] = []
        self._surplus = 0

    @property
    def protocol(self) -> Callable[..., asyncio.Protocol]:
        """What Uvicorn makes for each connection."""
        return partial(Connection, gate=self)

    def enter(self, connection: Connection, address: str) -> str | None:
        """Count a connection; a sentence when it is one too many."""
        holder = network_of(address)
        self._connections.add(connection)
        self._held[holder] += 1
        if len(self._connections) > self.limits.connections_max:
            return "There are too many connections at the moment. Try again shortly."
        if self._held[holder] > self.limits.connections_per_address_max and not self._is_proxy(address):
            return "There are too many connections from your address. Use those that are open."
        return None

    def let_speak(self) -> bool:
        """Whether one of those that are too many may say what it wants."""
        if self._surplus >= SURPLUS_MAX:
            return False
        self._surplus += 1
        return True

    def leave(self, connection: Connection, address: str, *, is_surplus: bool) -> None:
        """Forget a connection that is closed."""
        self._connections.discard(connection)
        self._surplus -= is_surplus
        holder = network_of(address)
        self._held[holder] -= 1
        if not self._held[holder]:
            del self._held[holder]

    def note(self, reason: str, **facts: Any) -> None:
        """Remember that a client was sent away, and what it was told if anything, until the log is written."""
        self._refused[reason] += 1
        if facts and len(self._told) < REFUSALS_TOLD_MAX:
            self._told.append({"reason": reason, **facts})

    async def watch(self) -> None:
        """Close what keeps us waiting for too long, until cancelled."""
        limits = self.limits
        pause = min(1.0, limits.header_seconds_max / 4, limits.body_seconds_grace / 4, limits.send_seconds_max / 4)
        while True:
            await asyncio.sleep(pause)
            now = monotonic()
            for connection in tuple(self._connections):
                connection.check(now)
            for facts in self._told:
                log.info("request.refused", **facts)
            self._told.clear()
            if self._refused:
                log.warning("connections.refused", open=len(self._connections), **self._refused)
                self._refused.clear()

    def _is_proxy(self, address: str) -> bool:
        try:
            place = ip_address(address)
        except ValueError:
            return False
        return any(place in network for network in self._trusted)


class _Flow(FlowControl):
    """Flow control that knows how long we ourselves did not read, and since when the client does not."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self.unread_since: float | None = None
        self._paused_seconds = 0.0
        self._paused_at = 0.0

    def paused_seconds(self, now: float) -> float:
        return self._paused_seconds + (now - self._paused_at if self.read_paused else 0.0)

    def pause_reading(self) -> None:
        if not self.read_paused:
            self._paused_at = monotonic()
        super().pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused:
            self._paused_seconds += monotonic() - self._paused_at
        super().resume_reading()

    def pause_writing(self) -> None:
        self.unread_since = monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.unread_since = None
        super().resume_writing()


class _Joining:
    """A transport on which what is written in one turn of the loop leaves together.

    Uvicorn writes the head of an answer and then its body, each a system call of its own, and a small answer costs less
    than the two.
    """

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._held is None:
            self._held = data
            self._loop.call_soon(self._release)
        else:
            held, self._held = self._held, None
            self._transport.writelines((held, data))

    def close(self) -> None:
        self._release()
        self._transport.close()

    def _release(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._transport.write(held)


class Connection(HttpToolsProtocol):
    """One connection: Uvicorn's, with limits."""

    flow: _Flow

    def __init__(self, *arguments: Any, gate: Gate, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._gate = gate
        self._address = ""
        #: The client has said its last word.
        self._has_ended = False
        #: We have said the last word; what comes now is not read.
        self._is_deaf = False
        #: The request that is being answered; with others waiting behind it, it is not the newest.
        self._answering: RequestResponseCycle | None = None
        #: Why the parser was stopped: a status, a sentence, and a word for the log.
        self._refusal: tuple[int, str, str] | None = None
        #: What a connection is told that is one too many, and was let speak.
        self._surplus: str | None = None
        #: Bytes since there was a part of a body, or a request was whole: of a head, of its end, or of neither.
        self._fruitless = 0
        self._head_bytes = 0
        self._head_count = 0
        self._head_began: float | None = None
        self._body_began: float | None = None
        self._body_bytes = 0
        self._paused_before = 0.0
        self._closing_since: float | None = None

    # --- what the transport tells -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as Uvicorn's own
        super().connection_made(_Joining(transport))  # type: ignore[arg-type]  # all of it that is asked for is there
        self.flow = _Flow(transport)
        self._head_began = monotonic()
        self._address = self.client[0] if self.client else ""
        if sentence := self._gate.enter(self, self._address):
            if self._gate.let_speak():
                self._surplus = sentence
            else:
                self._refuse(503, sentence, "too_many")

    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.leave(self, self._address, is_surplus=self._surplus is not None)
        self._abandon()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """The client says nothing more, or has gone. Whether we go on: whoever has asked is owed an answer."""
        newest = self.cycle
        if self._is_deaf or newest is None or newest.response_complete or self._body_began is not None:
            return False
        self._has_ended = True
        newest.keep_alive = False
        if self._answering is not None:
            self._answering.message_event.set()
        return True

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), SLICE_BYTES):
            if self._is_deaf or self.transport.is_closing():
                return
            if self._head_began is None and self._body_began is None:
                self._head_began = monotonic()
            piece = data[start : start + SLICE_BYTES] if len(data) > SLICE_BYTES else data
            self._fruitless += len(piece)
            super().data_received(piece)
            if self._fruitless - len(piece) > self._gate.limits.header_bytes_max:
                self._refuse(431, self._too_large, "large_head")

    # --- what the parser tells ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._head_bytes = self._head_count = 0
        if self._head_began is None:
            self._head_began = monotonic()
        if len(self.pipeline) >= PIPELINED_MAX:
            raise ValueError("too many requests ahead of their answers")
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_count += 1
        self._count(len(name) + len(value))
        if self._body_began is None:  # what follows a body changes nothing of what has been decided about it
            super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        limits = self._gate.limits
        if self._head_bytes > limits.header_bytes_max or self._head_count > limits.headers_max:
            self._stop(431, self._too_large, "large_head")

    def _stop(self, status: int, sentence: str, reason: str) -> None:
        """Read no further, and say why."""
        self._refusal = (status, sentence, reason)
        raise ValueError(reason)

    def on_headers_complete(self) -> None:
        if self._surplus is not None:
            self._stop(503, self._surplus, "too_many")
        self._head_began = None
        self._body_began = monotonic()
        self._body_bytes = 0
        self._paused_before = self.flow.paused_seconds(self._body_began)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._fruitless = 0
        self._body_bytes += len(body)
        if self.cycle.response_complete and self._body_bytes > DROPPED_BYTES_MAX:
            self._close("unread_body")
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._fruitless = 0
        self._body_began = None
        super().on_message_complete()
        # What comes next may be no request at all, and then nothing of this one is said of it.
        self.url, self.headers = b"", []

    def send_400_response(self, msg: str) -> None:
        """The parser stumbled, or one of the above stopped it."""
        self._refuse(
            *self._refusal or (400, f"This is not HTTP that can be read: {msg.rstrip('.')}.", "malformed"),
        )

    # --- deadlines ----------------------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Close this connection if it has kept us waiting for too long; called about once a second."""
        if self.flow.unread_since is not None and now - self.flow.unread_since > self._gate.limits.send_seconds_max:
            self._gate.note("unread_answer")
            self.transport.abort()
        elif self.transport.is_closing():
            if self.flow.unread_since is None:
                self._closing_since = self._closing_since or now
                if now - self._closing_since > LINGER_SECONDS:
                    self.transport.abort()
        elif self._body_began is not None:
            self._check_body(now - self._body_began - (self.flow.paused_seconds(now) - self._paused_before))
        elif self._head_began is not None and not self.flow.read_paused:
            self._check_head(now - self._head_began)

    def _check_body(self, waited: float) -> None:
        limits = self._gate.limits
        if waited > limits.body_seconds_grace + self._body_bytes / limits.body_bytes_per_second_min:
            self._refuse(408, "The body of the request stopped before its end, or came too slowly.", "slow_body")

    def _check_head(self, waited: float) -> None:
        if self._surplus is not None and waited > SURPLUS_SECONDS_MAX:
            self._refuse(503, self._surplus, "too_many")
        elif waited > self._gate.limits.header_seconds_max:
            if self._fruitless:
                self._refuse(408, "The head of the request did not come in time.", "slow_head")
            else:
                self._close("silent")

    # --- the last word ------------------------------------------------------------------------------------------------

    @property
    def _too_large(self) -> str:
        limits = self._gate.limits
        return (
            f"The URL and headers of a request have {limits.header_bytes_max} bytes and {limits.headers_max} headers "
            "at most."
        )

    def _refuse(self, status: int, sentence: str, reason: str) -> None:
        """Say why, unless an answer is owed before this one, and close."""
        if self._is_deaf:
            return
        asked = self.cycle if self.cycle is not None and not self.cycle.response_complete else None
        if asked is not None and (self._body_began is None or asked.response_started or self.pipeline):
            # The answer that is owed comes first, and what the client sent after it gets none.
            asked.keep_alive = False
            if self._body_began is None and not self.pipeline:
                self._is_deaf = True
                self._gate.note(reason)
            else:
                self._close(reason)
            return
        has_begun = self.scope is not None
        path = self.url.partition(b"?")[0].decode("latin-1") if has_begun else ""
        known = request_id(dict(self.headers).get(b"x-request-id") if has_begun else None)
        media_type, body = self._gate.wording(path, status, sentence)
        headers = [
            *self.server_state.default_headers,
            (b"content-type", media_type.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", known),
            (b"connection", b"close"),
        ]
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        if has_begun and self.parser.get_method() == b"HEAD":
            body = b""
        self.transport.write(b"%b%b\r\n%b" % (head, b"".join(b"%b: %b\r\n" % each for each in headers), body))
        self._close(reason, status=status, request_id=known.decode())

    def _close(self, reason: str, **told: Any) -> None:
        self._is_deaf = True
        self._gate.note(reason, **told)
        self._abandon()
        self.transport.close()

    def _abandon(self) -> None:
        """Have whoever works on an answer learn at once that nobody listens; those who wait behind it never begin."""
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, partial(self._answer, cycle, app))

    async def _answer(self, cycle: RequestResponseCycle, app: Any, scope: Any, receive: Receive, send: Any) -> None:
        is_read = False

        async def hear() -> Any:
            nonlocal is_read
            message = await receive()
            while is_read and message["type"] == "http.request":
                # Nothing came but the end of what the client says. That may also be how it has gone, and who answers
                # without end and listens meanwhile must know; an answer of known length is sent as far as it can be.
                if cycle.chunked_encoding is not False:
                    cycle.disconnected = True
                    self.transport.close()
                    return {"type": "http.disconnect"}
                message = await receive()
            if message["type"] == "http.request" and not message["more_body"]:
                is_read = True
                if self._has_ended:
                    cycle.message_event.set()
            return message

        await app(scope, hear, send)


def with_files(limits: Connections) -> Connections:
    """Raise the number of files the process may open to what the limits need; the limits as far as that went."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections_max + FILES_RESERVED
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    possible = max(1, wanted - FILES_RESERVED)
    if possible < limits.connections_max:
        log.warning("connections.limited", connections_max=possible, files_max=wanted)
    return replace(limits, connections_max=possible)
