"""A process without an API still says whether it lives and whether it can work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from infra import health
from infra.health import Health, answers


@pytest.fixture
async def relay() -> AsyncIterator[Health]:
    async with Health("relay") as probe:
        yield await probe.start("127.0.0.1", 0)


async def ask(port: int, request: str) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{request} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *headers = head.decode().split("\r\n")
    return int(status.split()[1]), dict(header.split(": ", 1) for header in headers), body


async def test_it_lives_from_the_start_and_is_ready_only_while_its_role_says_so(relay: Health) -> None:
    for ready, status, word in ((False, 503, "not_ready"), (True, 200, "ready"), (False, 503, "not_ready")):
        relay.set_ready(ready)
        code, headers, body = await ask(relay.port, "GET /ready")
        assert (code, json.loads(body)) == (status, {"status": word, "role": "relay"})
        assert headers["content-type"] == "application/json"
        assert headers["content-length"] == str(len(body))
        assert await answers("/ready", "127.0.0.1", relay.port) is ready
        code, _, body = await ask(relay.port, "GET /health?verbose")
        assert (code, json.loads(body)) == (200, {"status": "ok", "role": "relay"})


@pytest.mark.parametrize(
    ("request_line", "status"), [("GET /", 404), ("GET /health/x", 404), ("POST /health", 405), ("HEAD /health", 200)]
)
async def test_other_requests_get_their_proper_answer(relay: Health, request_line: str, status: int) -> None:
    code, _, body = await ask(relay.port, request_line)
    assert code == status
    assert bool(body) == (not request_line.startswith("HEAD"))


async def test_a_client_that_says_nothing_or_too_much_is_dropped(
    relay: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS_MAX", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    assert await reader.read() == b""
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(b"x" * 100_000)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()
    assert (await ask(relay.port, "GET /health"))[0] == 200


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"x" * 200_000, id="an endless line"),
        pytest.param(b"HTTP/1.1 " + b"x" * 200_000 + b"\r\n", id="a long line"),
        pytest.param(b"\xff\x00\r\n", id="rubbish"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_a_stranger_that_says_something_else_is_not_ready(said: bytes) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as stranger:
        assert not await answers("/ready", "127.0.0.1", stranger.sockets[0].getsockname()[1])


async def test_nobody_there_is_not_ready() -> None:
    async with Health("relay") as probe:
        port = (await probe.start("127.0.0.1", 0)).port
    assert not await answers("/ready", "127.0.0.1", port)
