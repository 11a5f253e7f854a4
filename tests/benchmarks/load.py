"""A load generator: keep-alive connections that each send the next request when the last one is answered.

It shares the processors with what it measures, so it is a bare protocol that reads of an answer only what it needs. Run
it with uvloop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import repeat
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Load(NamedTuple):
    """What came of it."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]

    @property
    def answered(self) -> int:
        """How many requests were counted."""
        return sum(self.statuses.values())


class _Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: Iterator[bytes], start: float, end: float, answers: list[tuple[float, bytes]]) -> None:
        self._requests = requests
        self._start = start
        self._end = end
        self._answers = answers
        self._received = b""
        self._sent = 0.0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received = received = self._received + data if self._received else data
        head = received.find(b"\r\n\r\n")
        if head < 0 or len(received) < head + 4 + _length(received, head):
            return
        if self._sent >= self._start:
            self._answers.append((time.perf_counter() - self._sent, received[9:12]))
        self._received = b""
        self._send()

    def connection_lost(self, problem: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(problem or ConnectionResetError("the server hung up"))

    def _send(self) -> None:
        self._sent = time.perf_counter()
        request = next(self._requests, None) if self._sent < self._end else None
        if request is not None:
            self._transport.write(request)
        else:
            self.done.set_result(None)
            self._transport.close()


async def load(
    url: str,
    request: bytes | Iterator[bytes],
    *,
    connections: int,
    seconds: float,
    warm_up_seconds: float = 1.0,
) -> Load:
    """Send the same whole request over and over, or one after the other for as long as there are any.

    What is sent before the warm-up is over does not count.
    """
    requests = repeat(request) if isinstance(request, bytes) else request
    place, loop = urlsplit(url), asyncio.get_running_loop()
    start = time.perf_counter() + warm_up_seconds
    answers: list[tuple[float, bytes]] = []
    callers = [_Caller(requests, start, start + seconds, answers) for _ in range(connections)]
    remaining = iter(callers)
    for _ in callers:
        await loop.create_connection(lambda: next(remaining), place.hostname or "", place.port or 80)
    await asyncio.gather(*(caller.done for caller in callers))
    latencies = sorted(latency for latency, _ in answers)
    statuses: dict[int, int] = {}
    for _, status in answers:
        statuses[int(status)] = statuses.get(int(status), 0) + 1
    return Load(
        requests_per_second=len(latencies) / seconds,
        p50_ms=median(latencies) * 1000,
        p99_ms=latencies[int(len(latencies) * 0.99)] * 1000,
        statuses=statuses,
    )


def message(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A whole HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _length(answer: bytes, head: int) -> int:
    name = b"\r\ncontent-length: "
    begin = answer[:head].lower().find(name)
    return int(answer[begin + len(name) : answer.find(b"\r\n", begin + 2)]) if begin >= 0 else 0
