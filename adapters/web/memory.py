"""Other people's servers in memory: what they serve and how they answer is written down beforehand."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from adapters.web.http import Fetched, FetchFailed, Guard, HttpResponse, OutboundFailed, TooLarge


class Sent(Struct, frozen=True, kw_only=True):
    """One delivery that was made."""

    url: str
    body: bytes
    headers: Mapping[str, str]


class MemoryOutbound:
    """Serves `files` to `fetch`, gives `answers` to `post` one after the other (the last one for ever), keeps `sent`.

    A failure among the answers is raised. Addresses are refused as the real one refuses them on their face.
    """

    def __init__(self, *, allow: Iterable[str] = ()) -> None:
        self.files: dict[str, tuple[bytes, str]] = {}
        self.answers: dict[str, list[HttpResponse | OutboundFailed]] = {}
        self.sent: list[Sent] = []
        self._guard = Guard(allow, own=frozenset)

    def check_url(self, url: str) -> None:
        """Refuse a URL that is wrong on its face."""
        self._guard.check_url(url)

    async def fetch(self, url: str, to: Path, *, size_max: int, seconds_max: float) -> Fetched:
        """Write the file that is served there, or fail as the real one does when there is none or too much of it."""
        del seconds_max  # nothing here is ever late
        self.check_url(url)
        if url not in self.files:
            raise FetchFailed("The server answered 404 (Not Found).", transient=False)
        data, content_type = self.files[url]
        if len(data) > size_max:
            raise TooLarge(f"The file is larger than {size_max / 1_000_000:g} MB.", transient=False)
        await asyncio.to_thread(to.write_bytes, data)
        return Fetched(size=len(data), sha256=hashlib.sha256(data).hexdigest(), content_type=content_type)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds_max: float) -> HttpResponse:
        """Note the delivery and give the next answer; 200 where none is written down."""
        del seconds_max  # nothing here is ever late
        self.check_url(url)
        self.sent.append(Sent(url=url, body=body, headers=dict(headers)))
        script = self.answers.get(url, [])
        answer = (script.pop(0) if len(script) > 1 else script[0]) if script else _FINE
        if isinstance(answer, OutboundFailed):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing is open."""


_FINE = HttpResponse(status=200, retry_after_seconds=None, body_prefix="", duration_seconds=0.0)
