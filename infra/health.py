"""Says over HTTP whether a process without an API of its own lives and can really work, and what it has counted."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from types import TracebackType
from typing import Self

from adapters.operators.metrics import CONTENT_TYPE, exposition

REQUEST_SECONDS_MAX = 5.0


class Health:
    """`/health`, `/ready` and `/metrics` on a port of its own; the role says by `set_ready` whether it can work."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.port = 0
        self._ready = False
        self._server: asyncio.Server | None = None

    @property
    def is_ready(self) -> bool:
        """What `/ready` says."""
        return self._ready

    def set_ready(self, ready: bool) -> None:
        """From now on the role can, or cannot, do its work."""
        self._ready = ready

    async def start(self, host: str, port: int) -> Self:
        """Listen; port 0 takes a free one."""
        self._server = await asyncio.start_server(self._answer, host, port, limit=8_192)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(head))
                await writer.drain()
        writer.close()

    def _response(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        media_type = "application/json"
        body: bytes | dict[str, str]
        match (method, path):
            case (b"GET" | b"HEAD", b"/metrics"):
                status, body, media_type = "200 OK", exposition(), CONTENT_TYPE
            case (b"GET" | b"HEAD", b"/health"):
                status, body = "200 OK", {"status": "ok", "role": self.role}
            case (b"GET" | b"HEAD", b"/ready") if self._ready:
                status, body = "200 OK", {"status": "ready", "role": self.role}
            case (b"GET" | b"HEAD", b"/ready"):
                status, body = "503 Service Unavailable", {"status": "not_ready", "role": self.role}
            case (_, b"/health" | b"/ready" | b"/metrics"):
                status, body = "405 Method Not Allowed", {"detail": "Method not allowed"}
            case _:
                status, body = "404 Not Found", {"detail": "Not found"}
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = (
            f"HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {len(octets)}\r\n"
            "cache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        return lines.encode() + (b"" if method == b"HEAD" else octets)


async def answers(path: str, host: str, port: int, seconds_max: float = 2.0) -> bool:
    """Whether `/health` or `/ready` there answers 200 within this time."""
    try:
        async with asyncio.timeout(seconds_max):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):  # a ValueError is a line that is too long for ours
        return False
    return status.split(b" ", 2)[1:2] == [b"200"]
