"""A load generator: keep-alive connections that each send the next request when the last one is answered."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit


class Load(NamedTuple):
    """What came of it."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]


async def load(url: str, request: bytes, *, connections: int, seconds: float, warm_up_seconds: float = 1.0) -> Load:
    """Send the same request over and over; `request` is everything after the start line's `HTTP/1.1`."""
    place = urlsplit(url)
    assert place.hostname is not None
    start = time.perf_counter() + warm_up_seconds
    end = start + seconds
    latencies: list[float] = []
    statuses: dict[int, int] = {}

    async def caller() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        while (sent := time.perf_counter()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _length(head)
            if length:
                await reader.readexactly(length)
            if sent >= start:
                latencies.append(time.perf_counter() - sent)
                status = int(head[9:12])
                statuses[status] = statuses.get(status, 0) + 1
        writer.close()

    await asyncio.gather(*(caller() for _ in range(connections)))
    latencies.sort()
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


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line[15:])
    return 0
