"""How the servers of tests answer: at once, and without a word."""

from __future__ import annotations

from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import ClassVar


class Answering(BaseHTTPRequestHandler):
    """What a server of a test is made of; connections are kept."""

    protocol_version: ClassVar[str] = "HTTP/1.1"  # type: ignore[misc]  # the library declares it as an instance's
    # Head and body are sent one after the other; the second would wait 40 ms until the first is acknowledged.
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer whoever has connected; they may be killed meanwhile."""
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""
