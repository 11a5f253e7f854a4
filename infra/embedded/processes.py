"""Children that die with us, and ports that nobody uses."""

from __future__ import annotations

import ctypes
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO

from infra.embedded.directories import EmbeddedServerError

LOOPBACK = "127.0.0.1"

#: Below the range that kernels hand out to outgoing connections, so that a port is still free at the next start.
PORTS = range(20_000, 32_000)

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None


def _die_with(parent: int, last_signal: int) -> Callable[[], None]:
    """What a child does between fork and exec so that the kernel ends it when its parent goes."""

    def bind() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(last_signal), 0, 0, 0)
        if os.getppid() != parent:  # it went before we asked
            os._exit(1)

    return bind


class _Spawner:
    """One thread that starts every child and never ends: the kernel's "parent has died" means the parent thread."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]
        self._work = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._pid = 0

    def _run(self) -> None:
        while True:
            start, answer = self._work.get()
            try:
                answer.set_result(start())
            except BaseException as error:  # noqa: BLE001 - handed to the caller, who raises it
                answer.set_exception(error)

    def __call__(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._pid != os.getpid():  # threads do not survive a fork
                self._pid = os.getpid()
                self._work = queue.SimpleQueue()
                threading.Thread(target=self._run, name="spawner", daemon=True).start()
        answer: Future[subprocess.Popen[bytes]] = Future()
        self._work.put((start, answer))
        return answer.result()


_spawn_in_its_thread = _Spawner()


def spawn(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    output: IO[bytes] | int | None = None,
    account: tuple[int, int] | None = None,
    keep: Sequence[int] = (),
    last_signal: int = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own that gets `last_signal` when this process dies, however it dies."""
    parent = os.getpid()
    return _spawn_in_its_thread(
        lambda: subprocess.Popen(  # noqa: S603 - our own programs with our own arguments
            list(command),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            user=None if account is None else account[0],
            group=None if account is None else account[1],
            extra_groups=None if account is None else [],
            pass_fds=tuple(keep),
            # Ctrl-C in a terminal goes to its whole group; ours are stopped in order instead.
            start_new_session=True,
            # The call in the child is one system call through an already loaded library.
            preexec_fn=_die_with(parent, last_signal),  # noqa: PLW1509
        )
    )


def free_ports(count: int) -> list[int]:
    """This many ports on loopback that nobody listens on at the moment."""
    found: list[int] = []
    for _ in range(2_000):
        if len(found) == count:
            return found
        port = random.choice(PORTS)  # noqa: S311 - a guess that is checked, not a secret
        if port not in found and port_is_free(port):
            found.append(port)
    raise EmbeddedServerError(f"No {count} free ports between {PORTS.start} and {PORTS.stop} on {LOOPBACK}.")


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As servers do it themselves: connections of the last run that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
