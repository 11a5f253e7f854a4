"""Processes that are forked for tests leave nothing behind, and nothing out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.journeys.forked import Forked
from tests.journeys.kit import ROOT, eventually

#: Tests that have a process forked which does not end by itself, and say which.
TESTS = """
import os, sys, time
from pathlib import Path
from tests.journeys import forked

forked._server.set_forkserver_preload([])
process = forked.Forked(["tests.journeys.stays"], dict(os.environ), Path(sys.argv[1]))
print(process.pid, flush=True)
time.sleep(600)
"""


def test_a_forked_process_ends_with_the_tests_however_they_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", TESTS, str(log)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        forked = psutil.Process(int(tests.stdout.readline()))
        eventually(lambda: log.exists() and "here" in log.read_text(), 60)
        tests.kill()
    try:
        eventually(lambda: not forked.is_running() or forked.status() == psutil.STATUS_ZOMBIE)
    finally:
        if forked.is_running():
            forked.kill()


def test_whoever_ends_has_said_all_that_there_was_to_say(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert Forked(["tests.journeys.speaking"], os.environ, log).wait(60) == 0
    assert '"last.words"' in log.read_text()
