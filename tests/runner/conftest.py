"""What builds are tried in: a room and a sandbox of these tests' own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.runner.addresses import Outside
from adapters.runner.building import Workshop
from adapters.runner.sandbox import Limits, Sandbox, probe


@pytest.fixture(scope="session")
def room() -> Iterator[Path]:
    # Not below pytest's own folder, which only its user may enter.
    folder = Path("/var/tmp", f"ledgerline-tests-{os.getpid()}")
    folder.mkdir(mode=0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def sandbox(room: Path) -> Sandbox:
    # Of its own, so that builds of others on this machine are not taken for what has been left behind.
    return probe(room, 61_800 + os.getpid() % 3000)


@pytest.fixture
def shop(sandbox: Sandbox, room: Path, tmp_path: Path) -> Workshop:
    limits = Limits(step_seconds=60, total_seconds=90, fetch_seconds=20)
    return Workshop(sandbox, limits, Outside(roots=(tmp_path,)), room)
