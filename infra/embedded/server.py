"""What the servers have in common: a directory, ports, a start that waits for an answer, a stop in good order."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Self

from infra.embedded.directories import DirectoryLock, EmbeddedServerError, make_directory, write_private
from infra.embedded.processes import LOOPBACK, free_ports, port_is_free

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
LOG_BYTES_MAX = 10_000_000

#: How the servers say that somebody else was quicker to take a port.
_PORT_TAKEN = ("address already in use", "is not available on 127.0.0.1")


class EmbeddedServer(ABC):
    """A server that lives in one directory: `start`, `stop`, `is_ready`, `url`, and a log file."""

    name: ClassVar[str]
    title: ClassVar[str]
    #: How it is asked to stop; it gets the same when this process is killed.
    stop_signal: ClassVar[int] = signal.SIGTERM
    port_count: ClassVar[int] = 1
    #: What it answers at once, whatever its state, as long as it lives; empty where it speaks first.
    hello: ClassVar[bytes] = b""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.expanduser().absolute()
        self.log_path = self.directory / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._lock = DirectoryLock(self.directory, self.title)
        self._lock_fd = -1
        self._note: dict[str, str | list[int]] = {}

    # -- life

    def start(self) -> Self:
        """Start it and wait until it answers; do nothing when it already runs."""
        if self.is_running():
            return self
        self.process = None
        make_directory(self.directory)
        self._lock_fd = self._lock.take()
        try:
            self._read_note()
            self._prepare()
            self._launch()
        except BaseException:
            self._kill()
            self._lock.release()
            raise
        return self

    def _launch(self) -> None:
        started = time.monotonic()
        for attempt in range(3):
            ports = self.ports
            if len(ports) != self.port_count or not all(map(port_is_free, ports)) or attempt:
                self._note["ports"] = list(free_ports(self.port_count))
            self._write_note()
            offset = self.log_path.stat().st_size if self.log_path.exists() else 0
            with self.log_path.open("ab") as log:
                self.process = self._spawn(log)
            if self._await_ready(started + START_SECONDS_MAX):
                return
            self._kill()
            tail = self._log_tail(offset)
            if not any(words in tail.lower() for words in _PORT_TAKEN):
                break
        raise EmbeddedServerError(f"{self.title} in {self.directory} did not start. Its log ends with:\n{tail}")

    def _await_ready(self, deadline: float) -> bool:
        pause = 0.01
        while time.monotonic() < deadline:
            if not self.is_running():
                return False
            if self.is_ready():
                return True
            time.sleep(pause)
            pause = min(pause * 1.3, 0.1)
        return False

    def stop(self, timeout: float = STOP_SECONDS_MAX) -> None:
        """Ask it to close its files and wait; kill it only when it does not listen."""
        process, self.process = self.process, None
        try:
            if process is None or process.poll() is not None:
                return
            process.send_signal(self.stop_signal)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        finally:
            self._lock.release()

    def _kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def is_alive(self) -> bool:
        """Whether it says anything at all: a server that is stopped or hangs still has its port."""
        try:
            with socket.create_connection((LOOPBACK, self.ports[0]), timeout=2) as connection:
                connection.sendall(self.hello)
                return bool(connection.recv(1))
        except OSError:
            return False

    def kill(self) -> None:
        """End it at once, as one that hangs has to be."""
        if self.process is not None:
            self.process.kill()

    def keep_log_small(self) -> None:
        """Move a log that has grown aside; the server goes on writing at the beginning of its file."""
        with suppress(OSError):
            if self.log_path.stat().st_size > LOG_BYTES_MAX:
                shutil.copyfile(self.log_path, self.log_path.with_suffix(".log.1"))
                os.truncate(self.log_path, 0)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def running(self) -> Self | None:
        """The server that another process runs in this directory, to be reached and not to be started; or None."""
        if not self._lock.is_held():
            return None
        self._read_note()
        return self

    # -- the note: ports and passwords, kept beside the data

    @property
    def ports(self) -> list[int]:
        """The ports it listens on, the one for clients first."""
        ports = self._note.get("ports")
        return ports if isinstance(ports, list) else []

    def _secret(self, key: str) -> str:
        value = self._note.get(key)
        return value if isinstance(value, str) else ""

    def _read_note(self) -> None:
        path = self.directory / "server.json"
        if path.exists():
            try:
                self._note = json.loads(path.read_text())
            except ValueError as error:
                raise EmbeddedServerError(
                    f"{path} is damaged: it must hold the server's ports and passwords."
                ) from error

    def _write_note(self) -> None:
        write_private(self.directory / "server.json", json.dumps(self._note, indent=1) + "\n")

    def _refuse_older_program(self, written_by: str, ours: str) -> None:
        """A directory that a later version has written is not ours to touch."""
        if _version(written_by) > _version(ours):
            raise EmbeddedServerError(
                f"{self.directory} was last written by {self.title} {written_by}; this is {ours}. "
                "Install that version or a later one, or choose another directory."
            )

    def _log_tail(self, offset: int = 0) -> str:
        with suppress(OSError), self.log_path.open("rb") as log:
            log.seek(max(offset, self.log_path.stat().st_size - 4_000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-12:])
        return ""

    # -- what each does its own way

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it, credentials included where URLs carry them."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the service is told of it, by the names of settings."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers now."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make the data directory on the first start; refuse one of another version."""

    @abstractmethod
    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the process on the ports of the note."""


def _version(text: str) -> tuple[int, ...]:
    """The leading number groups of a version, for comparing."""
    numbers: list[int] = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def program(name: str) -> str:
    """The path of a binary that a package has put beside our Python."""
    beside = Path(sysconfig.get_path("scripts")) / name
    if beside.exists():
        return str(beside)
    found = shutil.which(name)
    if found is None:
        raise EmbeddedServerError(f"The program {name} is missing. Install the packages again with `make install`.")
    return found
