"""Follows a service's published events from any machine: over HTTP, from a position on, as often as the line breaks."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from adapters.hanging_up import hang_up
from domain.sections import CannotStart

STREAM = "/v1/events/stream"
#: A stream that is silent for longer than a few of its heartbeats is dead.
SILENCE_SECONDS_MAX = 60.0
#: Waits before another try: doubled each time, and never longer than this.
RETRY_SECONDS, RETRY_SECONDS_MAX = 1.0, 60.0
#: How often a checkpoint is written while events only pass by.
CHECKPOINT_SECONDS = 0.5
#: How long a receiver may take to say whether it takes an event, however it says so.
ANSWER_SECONDS_MAX = 60.0
#: How long the words of a receiver are listened to that has said already whether it takes an event.
WORDS_SECONDS_MAX = 1.0
#: How a path and a query are written (RFC 3986), as far as it matters here.
_WRITTEN = re.compile("[!-~]*")
#: No position has as many digits.
POSITION_BYTES_MAX = 20

Say = Callable[[str], None]
#: Does with an event what is to be done, however often that takes.
Handle = Callable[[bytes], None]


class SubscriptionRefused(CannotStart):
    """The service does not let us subscribe, and would not another time."""


class Event(NamedTuple):
    """An event as it was sent, and its position; without a text, how far there is none."""

    position: int
    body: bytes | None


class Source(NamedTuple):
    """Which events of which service."""

    url: str
    key: str
    types: str = ""
    subject: str = ""

    @contextmanager
    def stream(self, after: int | str) -> Iterator[HTTPResponse]:
        """A stream after a position. Raises OSError or HTTPException, and SubscriptionRefused for good."""
        query = {"after": str(after), "type": self.types, "subject": self.subject}
        asked = urlencode({name: each for name, each in query.items() if each})
        path = f"{urlsplit(self.url).path.rstrip('/')}{STREAM}?{asked}"
        with closing(connect(self.url)) as connection:
            try:
                connection.request("GET", path, headers={"X-API-Key": self.key, "Accept": "text/event-stream"})
            except ValueError:
                raise SubscriptionRefused("A key has no line breaks and no letters outside Latin-1.") from None
            with closing(connection.getresponse()) as answer:
                if answer.status == 429 or answer.status >= 500:
                    raise _Busy(answer.status, answer.headers.get("retry-after"))
                if answer.status != 200:
                    said = answer.read(2000).decode(errors="replace")
                    raise SubscriptionRefused(f"{self.url} answers {answer.status}: {said}")
                yield answer


class _Busy(OSError):
    """The service has no room for us at the moment."""

    def __init__(self, status: int, retry_after: str | None) -> None:
        super().__init__(f"it answers {status}")
        self.seconds = float(retry_after) if retry_after is not None and retry_after.isdecimal() else 0.0


def connect(url: str) -> HTTPConnection:
    """A connection to the host of an address, not yet open. Raises SubscriptionRefused for what is no such address."""
    no_address = SubscriptionRefused("An address begins with http:// or https:// and names a host.")
    try:
        parts = urlsplit(url)
        kind: type[HTTPConnection] = {"http": HTTPConnection, "https": HTTPSConnection}[parts.scheme]
        connection = kind(parts.hostname or "", parts.port, timeout=SILENCE_SECONDS_MAX)
    except (KeyError, ValueError):
        raise no_address from None
    if not connection.host:
        raise no_address
    if parts.username is not None:
        raise SubscriptionRefused("An address names no user and no password: they would not be sent.")
    if not _WRITTEN.fullmatch(parts.path + parts.query):
        raise SubscriptionRefused("An address has no spaces, and what is not ASCII is written as %C3%B6 in it.")
    return connection


def events(source: Source, after: int | str, say: Say, *, until_caught_up: bool = False) -> Iterator[Event]:
    """Everything after a position, each once and in order, for ever; a line that breaks is taken up where it was."""
    waits = retries()
    while True:
        retry = 0.0
        try:
            with source.stream(after) as answer:
                for event, said in _read(answer):
                    retry = said
                    waits = retries()
                    after = event.position
                    yield event
                    if event.body is None and until_caught_up:
                        return
        except (OSError, HTTPException) as problem:
            retry = max(next(waits), getattr(problem, "seconds", 0.0))
            say(f"{source.url} cannot be followed ({problem or type(problem).__name__}); again in {retry:.0f} s")
        time.sleep(retry)


def _read(answer: HTTPResponse) -> Iterator[tuple[Event, float]]:
    """The events of a stream, and how long to wait before another one (HTML, 9.2.6)."""
    position, retry = 0, 1.0
    data: list[bytes] = []
    moved = False
    for line in answer:
        name, _, value = line.rstrip(b"\r\n").partition(b":")
        value = value.removeprefix(b" ")
        if not line.strip():
            if data or moved:
                yield Event(position, b"\n".join(data) if data else None), retry
            data, moved = [], False
        elif name == b"data":
            data.append(value)
        elif name == b"id":
            if not value.isdigit():
                raise HTTPException("what it sends is no stream of events")
            position, moved = int(value), True
        elif name == b"retry" and value.isdigit():
            retry = int(value) / 1000


def retries() -> Iterator[float]:
    """How long to wait, longer each time."""
    seconds = RETRY_SECONDS
    while True:
        yield seconds
        seconds = min(2 * seconds, RETRY_SECONDS_MAX)


# --- what is done with them ------------------------------------------------------------------------------------------


def printing(body: bytes) -> None:
    """A line for each event."""
    sys.stdout.buffer.write(body + b"\n")
    # Whoever reads it wants it now, and the position is written for what is out of our hands only.
    sys.stdout.buffer.flush()


def executing(command: str, say: Say) -> Handle:
    """Give each event to a command on its standard input, again until its exit status is 0."""
    try:
        words = shlex.split(command)
    except ValueError as problem:
        raise CannotStart(f"--exec is no command: {problem}.") from problem
    if not words:
        raise CannotStart("--exec names no command.")

    def handle(body: bytes) -> None:
        for seconds in retries():
            try:
                status = subprocess.run(words, input=body + b"\n", check=False).returncode  # noqa: S603 - it is asked for
            except OSError as problem:
                raise CannotStart(f"{words[0]} cannot be run: {problem.strerror}.") from problem
            if status == 0:
                return
            end = f"ended with {status}" if status > 0 else f"was ended by signal {-status}"
            say(f"{words[0]} {end}; again in {seconds:.0f} s")
            time.sleep(seconds)

    return handle


def posting(url: str, say: Say) -> Handle:
    """Post each event to an address, again until it is taken with a status of 200 to 299."""
    connect(url)
    parts = urlsplit(url)
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"

    def handle(body: bytes) -> None:
        for seconds in retries():
            retry, problem = seconds, ""
            connection = connect(url)
            try:
                connection.connect()
                line = connection.sock
                with _hanging_up(line, ANSWER_SECONDS_MAX):
                    connection.request("POST", path, body, {"Content-Type": "application/cloudevents+json"})
                    answer = connection.getresponse()
                with suppress(OSError, HTTPException), _hanging_up(line, WORDS_SECONDS_MAX):
                    # It has decided. Words without end make nothing of that undone, and few like to be cut short.
                    answer.read(1024)
                if 200 <= answer.status < 300:
                    return
                busy = _Busy(answer.status, answer.headers.get("retry-after"))
                retry, problem = min(max(retry, busy.seconds), RETRY_SECONDS_MAX), str(busy)
            except (OSError, HTTPException) as away:
                problem = str(away) or type(away).__name__
            finally:
                connection.close()
            say(f"{parts.hostname} does not take it ({problem}); again in {retry:.0f} s")
            time.sleep(retry)

    return handle


@contextmanager
def _hanging_up(line: socket.socket, seconds: float) -> Iterator[None]:
    """Cut a connection when the block takes longer; its own limit begins anew with every byte."""
    timer = threading.Timer(seconds, lambda: hang_up(line.fileno()))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


# --- how far one has come --------------------------------------------------------------------------------------------


class Checkpoint:
    """A file that holds the position of the last event that is done with; without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._position: int | None = None
        self._written_at = 0.0
        self._is_written = True

    def read(self) -> int | None:
        """The position, where there is one. Raises CannotStart for a file that holds something else."""
        if self._path is None:
            return None
        try:
            if not self._path.exists():
                return None
            if not self._path.is_file():
                raise CannotStart(f"{self._path} is no file, and a position is kept in one.")
            with self._path.open("rb") as file:
                text = file.read(POSITION_BYTES_MAX).strip()
        except OSError as problem:
            raise CannotStart(f"No position can be kept in that file: {problem.strerror}.") from None
        if not text.isdigit() or len(text) == POSITION_BYTES_MAX:
            raise CannotStart(f"{self._path} holds no position. Remove it to begin anew.")
        return int(text)

    def move(self, position: int, *, at_once: bool) -> None:
        """Come so far; `at_once` on disk too, or a moment later together with what comes meanwhile."""
        self._position, self._is_written = position, False
        if at_once or time.monotonic() - self._written_at > CHECKPOINT_SECONDS:
            self.write()

    def write(self) -> None:
        """Put it on disk: the file holds the old position or the new one, whatever happens meanwhile."""
        if self._path is None or self._position is None or self._is_written:
            return
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        with beside.open("w") as file:
            file.write(f"{self._position}\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        with suppress(OSError):
            os.fsync(directory)
        os.close(directory)
        self._written_at, self._is_written = time.monotonic(), True


def follow(
    source: Source, after: int | str, handle: Handle, checkpoint: Checkpoint, say: Say, *, until_caught_up: bool = False
) -> None:
    """Do with every event what is to be done, and then remember it: after a crash the last ones come once more."""
    kept = checkpoint.read()
    is_printing = handle is printing
    try:
        for event in events(source, after if kept is None else kept, say, until_caught_up=until_caught_up):
            if event.body is not None:
                handle(event.body)
            checkpoint.move(event.position, at_once=not is_printing or event.body is None)
    finally:
        checkpoint.write()
