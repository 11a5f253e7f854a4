"""Connections within limits: whoever sends too much, too slowly or nothing is sent away, and nobody else notices."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest
import uvicorn
from msgspec.structs import replace
from structlog.testing import CapturingLogger

from infra.serving.connections import (
    DROPPED_BYTES_MAX,
    PIPELINED_MAX,
    SURPLUS_MAX,
    Gate,
    Wording,
    plainly,
    with_files,
)
from infra.serving.settings import Connections, Proxies

PATIENCE_SECONDS = 10.0
QUICK = Connections(
    header_seconds_max=0.2, body_seconds_grace=0.3, idle_seconds_max=0.2, send_seconds_max=0.3, connections_max=100
)


class Echo:
    """Answers with the length of the body; `/big` and `/file` with more than fits on the way, `/wait` once told to.

    `/stream` never ends, and like `/file` listens meanwhile whether the client has gone.
    """

    def __init__(self) -> None:
        self.is_waiting = False
        self.go = asyncio.Event()
        self.headers: list[tuple[bytes, bytes]] = []
        self.left = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers = scope["headers"]
        size = 0
        if scope["path"] == "/wait":
            self.is_waiting = True
            await self.go.wait()
            self.is_waiting = False
        if scope["path"] != "/deaf":
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    self.left += 1
                    return
                size += len(message["body"])
                if not message["more_body"]:
                    break
        if scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            self.left += (await receive())["type"] == "http.disconnect"
            return
        body = bytes(32 * 1024 * 1024) if scope["path"] in ("/big", "/file") else str(size).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        if scope["path"] == "/file":
            listening = asyncio.ensure_future(receive())
            self.is_waiting = True
            await self.go.wait()
            self.left += listening.done()
        await send({"type": "http.response.body", "body": body})


class Server(uvicorn.Server):
    """Uvicorn without its signal handlers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(
    app: Any, limits: Connections = QUICK, trusted: tuple[str, ...] = (), wording: Wording = plainly
) -> AsyncIterator[int]:
    """The port of a server within limits."""
    gate = Gate(limits, trusted, wording)
    config = uvicorn.Config(
        app,
        port=0,
        loop="none",
        http=gate.protocol,  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=limits.idle_seconds_max,  # type: ignore[arg-type]
        timeout_graceful_shutdown=1,
    )
    server = Server(config)
    serving, watching = asyncio.create_task(server.serve()), asyncio.create_task(gate.watch())
    try:
        await until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        watching.cancel()
        await serving


async def until(look: Callable[[], object]) -> None:
    """Wait until this is so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not look():  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.005)


async def said(port: int, *pieces: bytes) -> bytes:
    """What a server answers to these bytes until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            with suppress(ConnectionError):
                writer.write(piece)
                await writer.drain()
        return await heard(reader)
    finally:
        writer.close()


async def heard(reader: asyncio.StreamReader) -> bytes:
    """Everything until the other side closes; what came before a reset counts."""
    answer = bytearray()
    async with asyncio.timeout(PATIENCE_SECONDS):
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                answer += piece
    return bytes(answer)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_24_megabytes_of_small_headers_are_refused_at_the_beginning() -> None:
    headers = b"".join(b"x-%06d: y\r\n" % number for number in range(1_700_000))
    async with served(Echo()) as port:
        began = time.process_time()
        answer = await said(port, b"GET / HTTP/1.1\r\nhost: here\r\n", headers)

        assert time.process_time() - began < 0.5
        assert answer == b"" or status(answer) == 431  # the rest of the headers may have reset the connection


@pytest.mark.parametrize(
    "head",
    [
        b"x: y\r\n" * 101 + b"\r\n",
        b"x: " + b"y" * 33_000 + b"\r\n\r\n",
        b"x: " + b"y" * 60_000,  # a header that does not end
        b"x" * 60_000,
    ],
)
async def test_a_head_that_is_too_large_is_told_so(head: bytes) -> None:
    async with served(Echo()) as port:
        answer = await said(port, b"GET / HTTP/1.1\r\nhost: here\r\n" + head)

    assert status(answer) == 431
    assert answer.endswith(b'{"detail":"The URL and headers of a request have 32768 bytes and 100 headers at most."}')


async def test_a_url_counts_as_part_of_the_head() -> None:
    async with served(Echo()) as port:
        assert status(await said(port, b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nhost: here\r\n\r\n")) == 431


async def test_a_large_head_within_the_limit_is_read() -> None:
    head = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\nx: " + b"y" * 30_000 + b"\r\n\r\n"
    async with served(Echo()) as port:
        assert status(await said(port, head)) == 200


@pytest.mark.parametrize("chunk", [b"1;" + b"x" * 60_000, b"1" + b" " * 60_000, b"0\r\nx: " + b"y" * 60_000])
async def test_what_stands_between_the_pieces_of_a_body_is_counted_too(chunk: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n"
    async with served(Echo(), replace(QUICK, body_seconds_grace=60)) as port:
        answer = await said(port, head + chunk)

    assert answer == b"" or status(answer) in (400, 431)


async def test_headers_behind_a_body_are_not_taken_for_headers_of_the_request() -> None:
    app = Echo()
    async with served(app) as port:
        answer = await said(
            port,
            b"POST / HTTP/1.1\r\nhost: here\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
            b"1\r\nx\r\n0\r\nx-api-key: late\r\n\r\n",
        )

    assert status(answer) == 200
    assert b"x-api-key" not in dict(app.headers)


async def test_a_silent_connection_is_closed() -> None:
    async with served(Echo()) as port:
        assert await said(port) == b""


@pytest.mark.parametrize("beginning", [b"G", b"\r\n", b"GET / HTTP/1.1\r\nhost: h"])
async def test_a_head_that_does_not_end_in_time_is_refused(beginning: bytes) -> None:
    async with served(Echo()) as port:
        assert status(await said(port, beginning)) == 408


async def test_a_head_that_drips_gets_no_more_time() -> None:
    async with served(Echo()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def drip() -> None:
            while True:
                writer.write(b"\r\n")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert status(await heard(reader)) == 408
        dripping.cancel()
        writer.close()


async def test_a_connection_is_closed_some_time_after_its_answer() -> None:
    async with served(Echo()) as port:
        assert status(await said(port, b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")) == 200


@pytest.mark.parametrize("framing", [b"content-length: 1000", b"transfer-encoding: chunked"])
async def test_a_body_that_stops_is_refused_and_its_handler_told(framing: bytes) -> None:
    app = Echo()
    async with served(app) as port:
        answer = await said(port, b"POST / HTTP/1.1\r\nhost: here\r\n" + framing + b"\r\n\r\n3\r\nabc\r\n")

        assert status(answer) == 408
        assert app.left == 1


async def test_a_body_that_drips_is_refused() -> None:
    async with served(Echo()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 100000\r\n\r\n")

        async def drip() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert status(await heard(reader)) == 408
        dripping.cancel()
        writer.close()


async def test_a_body_that_comes_fast_enough_has_all_the_time_it_needs() -> None:
    limits = replace(QUICK, body_bytes_per_second_min=10)
    async with served(Echo(), limits) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: 100\r\n\r\n")
        began = time.monotonic()
        while time.monotonic() - began < 3 * limits.body_seconds_grace:
            writer.write(b"x")
            await asyncio.sleep(0.05)
        writer.write(b"x" * 100)
        assert status(await heard(reader)) == 200
        writer.close()


async def test_time_in_which_we_do_not_read_is_not_the_clients() -> None:
    app = Echo()
    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # More than is taken in while its handler is busy with something else.
        writer.write(b"POST /wait HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: 300000\r\n\r\n")
        writer.write(b"x" * 200_000)
        await asyncio.sleep(3 * QUICK.body_seconds_grace)
        app.go.set()
        writer.write(b"x" * 100_000)
        assert status(await heard(reader)) == 200
        writer.close()


async def test_a_body_that_nobody_reads_is_not_taken_for_ever() -> None:
    async with served(Echo(), replace(QUICK, body_seconds_grace=60)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /deaf HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n")
        sent, piece = 0, b"100000\r\n" + bytes(0x100000) + b"\r\n"
        async with asyncio.timeout(PATIENCE_SECONDS):
            with suppress(ConnectionError):
                while True:
                    writer.write(piece)
                    await writer.drain()
                    sent += 0x100000
        writer.close()

    assert sent < 2 * DROPPED_BYTES_MAX


async def test_whoever_does_not_read_the_answer_is_cut_off() -> None:
    async with served(Echo()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /big HTTP/1.1\r\nhost: here\r\n\r\n")
        await reader.readexactly(1)
        await asyncio.sleep(4 * QUICK.send_seconds_max)
        assert len(await heard(reader)) < 32 * 1024 * 1024
        writer.close()


async def test_one_address_has_only_so_many_connections_and_a_proxy_any_number() -> None:
    limits = replace(QUICK, header_seconds_max=60, connections_per_address_max=5)
    for trusted, last in (((), 503), (("127.0.0.0/8",), 200)):
        async with served(Echo(), limits, trusted) as port:
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
            answer = await said(port, b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
            for _, writer in silent:
                writer.close()

        assert status(answer) == last


async def test_a_process_has_only_so_many_connections_and_takes_new_ones_when_old_ones_go() -> None:
    limits = replace(QUICK, header_seconds_max=60, connections_max=5)
    async with served(Echo(), limits) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        asked = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n"
        assert status(await said(port, asked)) == 503
        for _, writer in silent:
            writer.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while status(await said(port, asked)) != 200:
                pass


async def test_hundreds_of_silent_connections_keep_nobody_out() -> None:
    async with served(Echo(), replace(QUICK, header_seconds_max=1.0)) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
        answers = await asyncio.gather(*(heard(reader) for reader, _ in silent))
        assert status(await said(port, b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")) == 200
        for _, writer in silent:
            writer.close()

    assert {answer[9:12] for answer in answers} == {b"", b"503"}


async def test_an_answer_that_is_owed_comes_before_the_connection_is_closed() -> None:
    app = Echo()
    async with served(app, replace(QUICK, header_seconds_max=60)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /wait HTTP/1.1\r\nhost: here\r\n\r\n")
        writer.write(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n")
        await asyncio.sleep(0.1)
        app.go.set()
        answer = await heard(reader)
        writer.close()

    assert status(answer) == 200
    assert answer.count(b"HTTP/1.1") == 1


async def half_closed(port: int, asked: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Somebody who has sent all they have to say, and shut their side down."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(asked)
    writer.write_eof()
    return reader, writer


@pytest.mark.parametrize("ask", [b"GET /wait HTTP/1.1\r\n\r\n", b"POST /wait HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"])
async def test_whoever_has_asked_and_says_nothing_more_is_answered(ask: bytes) -> None:
    app = Echo()
    async with served(app, replace(QUICK, header_seconds_max=60, idle_seconds_max=60)) as port:
        for asked in (ask, ask * 3):
            app.go.clear()
            reader, writer = await half_closed(port, asked)
            await until(lambda: app.is_waiting)
            assert not reader.at_eof()
            app.go.set()
            answer = await heard(reader)
            assert answer.count(b"HTTP/1.1 200 OK") == asked.count(b"HTTP/1.1"), answer
            assert answer.count(b"connection: close") == 1
            assert answer.endswith(b"3" if b"abc" in ask else b"0")
            writer.close()


async def test_half_a_request_is_answered_by_closing() -> None:
    async with served(app := Echo()) as port:
        for asked in (b"GET / HTT", b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc"):
            reader, writer = await half_closed(port, asked)
            assert await heard(reader) == b""
            writer.close()
        await until(lambda: app.left == 1)


async def test_a_file_is_sent_to_its_end_and_whoever_answers_without_one_hears_that_the_client_has_gone() -> None:
    app, patient = Echo(), replace(QUICK, send_seconds_max=60, header_seconds_max=60, idle_seconds_max=60)
    async with served(app, patient) as port:
        reader, writer = await half_closed(port, b"GET /file HTTP/1.1\r\n\r\n")
        await until(lambda: app.is_waiting)
        await said(port, b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")  # the end of the other one is known by now
        app.go.set()
        assert len(await heard(reader)) > 32 * 1024 * 1024
        assert not app.left
        writer.close()
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /stream HTTP/1.1\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            writer.close()
        await until(lambda: app.left == 2)


async def test_only_so_many_requests_are_sent_ahead_of_their_answers() -> None:
    app = Echo()
    async with served(app) as port:
        asked = b"GET /wait HTTP/1.1\r\nhost: here\r\n\r\n" * (4 * PIPELINED_MAX)
        assert (await said(port, asked)).count(b"HTTP/1.1") == 0


async def test_requests_sent_ahead_are_answered_in_order() -> None:
    asked = b"".join(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n%b" % (n, b"x" * n) for n in range(9))
    async with served(Echo()) as port:
        answer = await said(port, asked)

    assert [part[-1:] for part in answer.split(b"HTTP/1.1")[1:]] == [b"%d" % n for n in range(9)]


async def test_whoever_is_answered_is_gone_also_when_more_was_asked_behind_it() -> None:
    gone = asyncio.Event()

    async def stream(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (1 << 25))]})
        await send({"type": "http.response.body", "body": bytes(1 << 24), "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    async with served(stream) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /stream HTTP/1.1\r\nhost: here\r\n\r\n" * 2)  # and reads nothing, until it is cut off
        async with asyncio.timeout(PATIENCE_SECONDS):
            await gone.wait()
        writer.close()


async def test_what_is_no_http_is_told_so_in_the_shape_of_the_service() -> None:
    async with served(Echo()) as port:
        answer = await said(port, b"\x16\x03\x01\x02\x00\x01\r\n\r\n")

    assert status(answer) == 400
    assert b"content-type: application/json\r\n" in answer


def test_the_number_of_files_is_raised_and_the_limit_lowered_to_what_was_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised = []
    # Another test of this process may have closed what the log was written to.
    monkeypatch.setattr("infra.serving.connections.log", CapturingLogger())
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 2048))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: raised.append(limit))

    assert with_files(Connections(connections_max=4096)).connections_max == 2048 - 256
    assert with_files(Connections(connections_max=1000)).connections_max == 1000
    assert raised == [(2048, 2048), (1256, 2048)]


def test_a_proxy_is_an_address_or_a_network() -> None:
    assert not list(Proxies(trusted_proxies=("10.0.0.0/8", "::1", "127.0.0.1")).problems())
    assert list(Proxies(trusted_proxies=("proxy.example",)).problems())


def worded(path: str, code: int, sentence: str) -> tuple[str, bytes]:
    return "application/vnd.here+json", f"{code} of {path}: {sentence}".encode()


NAMED = b"host: here\r\nx-request-id: mine-7\r\n"


@pytest.mark.parametrize(
    ("asked", "code", "owner", "is_named"),
    [
        (b"GET /herbs?a=1 HTTP/1.1\r\n" + NAMED + b"x: y\r\n" * 101, 431, "/herbs", True),
        (b"GET /herbs HTTP/1.1\r\n" + NAMED + b"x: y\r\n", 408, "/herbs", True),
        (b"POST /herbs HTTP/1.1\r\n" + NAMED + b"content-length: 9\r\n\r\nabc", 408, "/herbs", True),
        (b"POST /herbs HTTP/1.1\r\n" + NAMED + b"content-length: x\r\n\r\n", 400, "/herbs", True),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, "", False),
    ],
)
async def test_a_refusal_below_the_application_has_the_shape_of_its_surface_and_the_id_of_its_request(
    asked: bytes, code: int, owner: str, is_named: bool
) -> None:
    async with served(Echo(), wording=worded) as port:
        answer = await said(port, asked)

    head, body = answer[answer.rindex(b"HTTP/1.1 ") :].split(b"\r\n\r\n", 1)
    assert status(head) == code
    assert body.startswith(f"{code} of {owner}: ".encode())
    assert b"content-length: %d\r\n" % len(body) in head
    assert b"\r\ncontent-type: application/vnd.here+json\r\n" in head
    ids = [line.partition(b": ")[2] for line in head.split(b"\r\n") if line.startswith(b"x-request-id: ")]
    assert len(ids) == 1
    assert (ids[0] == b"mine-7") is is_named
    assert ids[0]


async def test_of_the_request_before_nothing_is_said_of_what_is_none() -> None:
    async with served(Echo(), wording=worded) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /herbs HTTP/1.1\r\n" + NAMED + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"\x16\x03\r\n\r\n")
        answer = await heard(reader)
        writer.close()

    assert b"400 of : " in answer
    assert b"mine-7" not in answer


async def test_one_connection_too_many_is_told_so_in_the_shape_of_what_it_asks_for() -> None:
    limits = replace(QUICK, header_seconds_max=60, connections_max=3)
    async with served(Echo(), limits, wording=worded) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        answer = await said(port, b"GET /herbs HTTP/1.1\r\n" + NAMED + b"\r\n")
        bare = await said(port, b"HEAD /herbs HTTP/1.1\r\n" + NAMED + b"\r\n")
        for _, writer in silent:
            writer.close()

    assert status(answer) == 503
    assert b"\r\nx-request-id: mine-7\r\n" in answer
    assert b"503 of /herbs: " in answer
    assert status(bare) == 503
    assert bare.endswith(b"\r\n\r\n")


async def test_of_those_that_are_too_many_only_so_many_may_speak_first() -> None:
    limits = replace(QUICK, header_seconds_max=60, connections_max=1)
    async with served(Echo(), limits) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(1 + SURPLUS_MAX)]
        # None of them is waited for until it should have spoken.
        async with asyncio.timeout(limits.header_seconds_max / 2):
            assert status(await said(port)) == 503
        told = await asyncio.gather(*(heard(reader) for reader, _ in silent[1:]))
        for _, writer in silent:
            writer.close()

    assert {status(answer) for answer in told} == {503}


async def test_refusals_are_in_the_log_with_their_ids_as_far_as_they_do_not_fill_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = CapturingLogger()
    monkeypatch.setattr("infra.serving.connections.log", log)
    async with served(Echo()) as port:
        asked = b"GET / HTTP/1.1\r\n" + NAMED + b"x: y\r\n" * 101 + b"\r\n"
        await asyncio.gather(*(said(port, asked) for _ in range(50)))
        await until(lambda: sum(call.kwargs.get("large_head", 0) for call in log.calls) == 50)

    lines = [call.kwargs for call in log.calls if call.args == ("request.refused",)]
    assert lines[0] == {"reason": "large_head", "status": 431, "request_id": "mine-7"}
    assert len(lines) < 50 + 1
