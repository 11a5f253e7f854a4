"""A real mail server on loopback, in a thread of its own, and what has come to whom."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

from tests.adapters.test_mail import Sink, running
from tests.journeys.kit import eventually


class Postbox:
    """Letters as they arrived."""

    def __init__(self, writer: Sink) -> None:
        self._writer = writer

    @property
    def url(self) -> str:
        """Where it takes letters."""
        return f"smtp://127.0.0.1:{self._writer.port}"

    def to(self, email: str) -> list[EmailMessage]:
        """The letters to an address so far."""
        return [each for each in list(self._writer.letters) if each["To"] == email]

    def about(self, subject_id: str) -> EmailMessage:
        """The letter about a challenge or an invitation, once it has come."""

        def come() -> list[EmailMessage]:
            return [each for each in list(self._writer.letters) if each["Message-ID"].startswith(f"<{subject_id}@")]

        return eventually(come)[0]

    def code(self, challenge_id: str) -> str:
        """The code in the letter about a challenge."""
        found = re.search(r"\b\d{6}\b", self.about(challenge_id).get_content())
        assert found is not None
        return found[0]


@contextmanager
def postbox() -> Iterator[Postbox]:
    """A mail server that runs for a while."""
    writer, ready, loop = Sink(), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with running(writer):
            ready.set()
            await stop.wait()

    def work() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield Postbox(writer)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
