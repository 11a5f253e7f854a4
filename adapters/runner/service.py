"""The service as a runner talks to it: plain HTTP from the standard library, asked again while it is away.

A request ends in bounded time, from its connection to the last byte of its answer: deadlines between two bytes alone
are kept by whoever drips. Only looking up the name of the service is left to the system.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

PREFIX = "/functions/v1/runner"
#: How long one request may take; a claim waits for a job meanwhile.
SECONDS_MAX = 60.0
#: How long it may take to be connected, at each address of the service.
CONNECT_SECONDS_MAX = 10.0
#: An upload has a second more for so many bytes: the pace that the service itself asks for at least.
UPLOAD_BYTES_PER_SECOND_MIN = 32 * 1024
#: No honest answer is longer; a job with all that belongs to it is some kilobytes.
ANSWER_BYTES_MAX = 4 * 1024 * 1024
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)


class Refused(Exception):
    """The service has an answer, and it is no."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        self.status = status
        self.code = code
        super().__init__(sentence or code)


class Away(Exception):
    """The service gives no answer."""


def _left(deadline: float) -> float:
    """How much time is left; TimeoutError when there is none."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("it took too long")
    return seconds


class _Received(io.RawIOBase):
    """What comes from a socket until the deadline."""

    def __init__(self, raw: Any, connection: socket.socket, deadline: float) -> None:
        self._raw, self._connection, self._deadline = raw, connection, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(_left(self._deadline))
        size: int | None = self._raw.readinto(buffer)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer whose every byte comes before a deadline."""

    def __init__(self, deadline: float, connection: socket.socket, *rest: Any, **more: Any) -> None:
        super().__init__(connection, *rest, **more)
        self.fp = io.BufferedReader(_Received(self.fp.detach(), connection, deadline))


class _Plain(http.client.HTTPConnection):
    """A connection for one request, whose time-out is the time for all of it."""

    def __init__(self, *rest: Any, **more: Any) -> None:
        super().__init__(*rest, **more)
        assert isinstance(self.timeout, float)
        self._deadline = time.monotonic() + self.timeout
        self.timeout = min(self.timeout, CONNECT_SECONDS_MAX)
        self.response_class = partial(_Answer, self._deadline)  # type: ignore[assignment]  # it is only called

    def send(self, data: Any) -> None:
        """Send what comes as bytes, a body piece by piece, while there is time."""
        if self.sock is None:
            self.connect()
        self.sock.settimeout(_left(self._deadline))
        super().send(data)


class _Secure(_Plain, http.client.HTTPSConnection):
    """The same over TLS."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A token goes nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class _OverPlain(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Plain, req)


class _OverSecure(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Secure, req, context=ssl.create_default_context())


class Service:
    """One service, as one runner with its token."""

    def __init__(self, url: str, token: str = "") -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("the address of the service begins with http:// or https://")
        self._url = url.rstrip("/")
        self.token = token
        self._open = urllib.request.build_opener(_NoRedirects(), _OverPlain(), _OverSecure()).open

    def ask(self, method: str, path: str, body: Any = None, *, patient: bool = True) -> Any:
        """The JSON of an answer, None where there is none. Raises Refused, and Away when it stays away."""
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        headers = {"Content-Type": kind, "Accept": "application/json", "User-Agent": "ledgerline-runner/1"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        for wait in (*RETRY_SECONDS, None) if patient else (None,):
            request = urllib.request.Request(f"{self._url}{PREFIX}{path}", data, headers, method=method)  # noqa: S310
            try:
                with self._open(request, timeout=SECONDS_MAX) as answer:
                    text = answer.read(ANSWER_BYTES_MAX)
                return json.loads(text) if text else None
            except urllib.error.HTTPError as refusal:
                refused = _refused(refusal)
                if refused.status < 500 and refused.status != 429:
                    raise refused from None
                problem: Exception = refused
            except (OSError, http.client.HTTPException, ValueError, RecursionError) as away:
                problem = away  # nobody there, too slow, or something else than the service
            if wait is None:
                raise Away(str(problem)) from problem
            time.sleep(wait)
        raise AssertionError

    def log(self, job_id: str, fence: int, offset: int, piece: bytes) -> int:
        """Append to a log; how long it is then."""
        query = urlencode({"offset": offset, "fence": fence})
        answer = self.ask("POST", f"/jobs/{job_id}/logs?{query}", piece)
        size: int = answer["size"]
        return size

    def upload(self, url: str, headers: dict[str, str], path: Path) -> None:
        """PUT a file to where it was asked for, from the beginning again when the connection breaks."""
        parts = urlsplit(url)
        kind = _Secure if parts.scheme == "https" else _Plain
        size = path.stat().st_size
        for wait in (*RETRY_SECONDS[:4], None):
            connection = kind(parts.netloc, timeout=SECONDS_MAX + size / UPLOAD_BYTES_PER_SECOND_MIN)
            try:
                with path.open("rb") as file:
                    place = parts.path + (f"?{parts.query}" if parts.query else "")
                    sizes = {**headers, "Content-Length": str(size)}
                    connection.request("PUT", place, body=file, headers=sizes)
                    answer = connection.getresponse()
                    said = answer.read(300)
                if answer.status < 300:
                    return
                if answer.status < 500 and answer.status != 429:
                    raise Refused(answer.status, "upload_refused", said.decode(errors="replace"))
                problem: Exception = Away(f"{answer.status}")
            except (OSError, http.client.HTTPException) as away:
                problem = away
            finally:
                connection.close()
            if wait is None:
                raise Away(str(problem)) from problem
            time.sleep(wait)


def _refused(answer: urllib.error.HTTPError) -> Refused:
    try:
        told = json.loads(answer.read(1 << 16))
        return Refused(answer.code, str(told.get("error", "")), str(told.get("message", "")))
    except (ValueError, AttributeError, RecursionError, OSError):
        return Refused(answer.code, "", "")
