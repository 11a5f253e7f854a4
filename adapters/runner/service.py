"""The service as a runner talks to it: plain HTTP from the standard library, asked again while it is away."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

PREFIX = "/functions/v1/runner"
#: How long one request may take; a claim waits for a job meanwhile.
SECONDS_MAX = 60.0
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)


class Refused(Exception):
    """The service has an answer, and it is no."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        self.status = status
        self.code = code
        super().__init__(sentence or code)


class Away(Exception):
    """The service gives no answer."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A token goes nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Service:
    """One service, as one runner with its token."""

    def __init__(self, url: str, token: str = "") -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("the address of the service begins with http:// or https://")
        self._url = url.rstrip("/")
        self.token = token
        self._open = urllib.request.build_opener(_NoRedirects()).open

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
                    text = answer.read()
                return json.loads(text) if text else None
            except urllib.error.HTTPError as refusal:
                refused = _refused(refusal)
                if refused.status < 500 and refused.status != 429:
                    raise refused from None
                problem: Exception = refused
            except (OSError, http.client.HTTPException, ssl.SSLError) as away:
                problem = away
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
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        for wait in (*RETRY_SECONDS[:4], None):
            connection = kind(parts.netloc, timeout=SECONDS_MAX)
            try:
                with path.open("rb") as file:
                    place = parts.path + (f"?{parts.query}" if parts.query else "")
                    sizes = {**headers, "Content-Length": str(path.stat().st_size)}
                    connection.request("PUT", place, body=file, headers=sizes)
                    answer = connection.getresponse()
                    said = answer.read()
                if answer.status < 300:
                    return
                if answer.status < 500 and answer.status != 429:
                    raise Refused(answer.status, "upload_refused", said[:300].decode(errors="replace"))
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
    except (ValueError, AttributeError, OSError):
        return Refused(answer.code, "", "")
