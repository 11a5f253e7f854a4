"""Processes of the service that start where its imports end: that is most of what a start costs."""

from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path

from infra import telemetry

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["tests.journeys.forked", "tests.journeys.imported"])


class Forked:
    """`python -m` of a module in a process of its own, handled as a `subprocess.Popen` is; it dies with the tests."""

    def __init__(
        self, arguments: list[str], environment: Mapping[str, str], log: Path, errors: Path | None = None
    ) -> None:
        self._process = _server.Process(target=_run, args=(arguments, dict(environment), log, errors or log))
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """How it ended, once it has."""
        self._process.join(timeout)
        if (status := self._process.exitcode) is None:
            raise subprocess.TimeoutExpired("ledgerline", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


def _run(arguments: list[str], environment: dict[str, str], log: Path, errors: Path) -> None:
    """What a process does that has just been forked: all that exec would have done for it, and then `python -m`.

    A fork ends without what is registered for the end of an interpreter: its last lines have to be written before.
    """
    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: nobody would tell how it ended
    threading.Thread(target=_die_with_the_tests, name="tests", daemon=True).start()
    os.environ.clear()
    os.environ |= environment
    for descriptor, path in ((1, log), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), descriptor)
    faulthandler.enable()
    warnings.filterwarnings("error", category=RuntimeWarning)
    sys.argv = list(arguments)
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    finally:
        telemetry.flush()


def _die_with_the_tests() -> None:
    """The server of forks is our parent, and goes with the tests only once all that it has forked have ended."""
    if (tests := multiprocessing.parent_process()) is not None:
        tests.join()
    os.kill(os.getpid(), signal.SIGKILL)
