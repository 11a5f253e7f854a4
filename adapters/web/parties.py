"""Asking servers that the operator has named: an identity provider, a payment provider, GitHub, a music provider.

They are believed to be who they are, and not to be well. Every answer ends in bounded time, counted from the look-up
of the name to its last byte, and in bounded size, whatever its server does in between: deadlines between two bytes
alone are kept by whoever drips.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
from msgspec import DecodeError, json

from adapters.web.http import FetchFailed, decoder, default_tls

_CHUNK_BYTES = 64 * 1024
#: A server that does not even take the connection is away, and is not waited for as long as one that has taken it.
_CONNECT_SECONDS_MAX = 10.0
_USUAL_BYTES_MAX = 1024 * 1024


class NoAnswer(Exception):
    """There was no whole answer. Where the request was never `sent`, nothing can have come of it there."""

    def __init__(self, sentence: str, *, sent: bool = True) -> None:
        super().__init__(sentence)
        self.sent = sent


class Answer(NamedTuple):
    """What a party has said, whatever its status; the body is decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def object(self) -> dict[str, Any]:
        """The JSON object that the body is; raises NoAnswer where it is none."""
        try:
            return json.decode(self.body, type=dict[str, Any])
        except (DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise NoAnswer("The answer is not what was asked for.") from problem


class Party:
    """One party, asked over a session of its own; redirects are answers, and no cookies are kept.

    An answer takes `seconds_max` seconds in all at most, and `bytes_max` bytes, as sent and as decoded.
    """

    def __init__(self, *, seconds_max: float, bytes_max: int = _USUAL_BYTES_MAX) -> None:
        self._seconds_max = seconds_max
        self._bytes_max = bytes_max
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | str | None = None
    ) -> Answer:
        """Send a request once, and return the answer; raises NoAnswer."""
        try:
            async with asyncio.timeout(self._seconds_max):
                async with self._open().request(
                    method, url, data=body, headers=headers, allow_redirects=False
                ) as response:
                    try:
                        return Answer(response.status, response.headers, await self._whole(response))
                    except BaseException:
                        response.close()  # also where it has taken no more than half of the request
                        raise
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as problem:
            raise NoAnswer("It cannot be connected to.", sent=False) from problem
        except TimeoutError as problem:
            raise NoAnswer(f"It did not finish within {self._seconds_max:g} seconds.") from problem
        except (aiohttp.ClientError, ConnectionError, FetchFailed) as problem:
            raise NoAnswer(f"Its answer cannot be used ({type(problem).__name__}).") from problem

    async def _whole(self, response: aiohttp.ClientResponse) -> bytes:
        decoded = decoder(response.headers.get("Content-Encoding", "identity"))
        body = bytearray()
        received = 0
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            received += len(chunk)
            for piece in decoded(chunk):
                body += piece
                if max(len(body), received) > self._bytes_max:
                    raise NoAnswer(f"It says more than {self._bytes_max} bytes.")
        return bytes(body)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # late, because a session belongs to the loop that runs when it is made
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=default_tls()),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(_CONNECT_SECONDS_MAX, self._seconds_max)),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Decoded here, so that what is inflated is counted while it is.
                auto_decompress=False,
                headers={"Accept-Encoding": "identity"},
            )
        return self._session

    async def close(self) -> None:
        """Give the connections back."""
        if self._session is not None:
            await self._session.close()
