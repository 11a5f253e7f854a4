"""README.md and docs/builds.md as they are written: every block of a tour in order, in one shell.

`make tour` runs this, and not the suite: the text sleeps for as long as a person would wait.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapters.log.settings import Sealing
from adapters.vault import Vault
from api.builds.runners import registration_token
from tests.builds.test_journey import Runner
from tests.journeys.kit import ROOT, Stack
from tests.runner.test_building import missing

README = (ROOT / "README.md").read_text()
#: Where the text says that the service is, with `make up`.
ADDRESS = "http://127.0.0.1:8000"
#: What curl does not say when it is asked as the text asks it: how it was answered.
TELLING = """curl() { command curl -w '%{stderr}status %{http_code}\\n' "$@"; }\n"""


def blocks() -> list[str]:
    """What is to be typed in the tour."""
    tour = README[README.index("\n## A tour\n") : README.index("\n## How it works\n")]
    return re.findall(r"^```sh\n(.*?)^```$", tour, re.DOTALL | re.MULTILINE)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory like that of the README, whose files stay as they are."""
    for name in ("tests", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.fixture
def runner(stack: Stack) -> Iterator[Runner]:
    """A runner for everybody, as `up` starts one."""
    vault = Vault(stack.settings[Sealing].secret_key.reveal().encode())
    token = registration_token(vault, int(time.time()) + 600)
    room = Path("/var/tmp", f"ledgerline-tour-{os.getpid()}")
    room.mkdir(mode=0o711)
    made = Runner(stack.url, token, room)
    yield made
    made.stop()
    shutil.rmtree(room)
    made.log.unlink()


@pytest.fixture
def url(stack: Stack) -> Iterator[str]:
    """A service whose streams last as long as those of `make up`: the text waits for the end of a build's log."""
    with stack.door(stream_seconds_max=3600) as door:
        yield door


def typed(text: str, place: Path, url: str) -> str:
    """What a shell says to all of it, which ends with the first command that fails."""
    assert ADDRESS in text
    asked = ["bash", "-eu", "-c", TELLING + text.replace(ADDRESS, url)]
    done = subprocess.run(asked, cwd=place, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr
    statuses = re.findall(r"^status (\d+)$", done.stderr, re.MULTILINE)
    assert len(statuses) == text.count("curl ")
    assert set(statuses) <= {"200", "201", "202"}, f"{statuses}\n{done.stdout[-2000:]}"
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="the text asks with curl")
def test_the_tour_of_the_readme_goes_as_it_is_written_and_again(url: str, place: Path) -> None:
    tour, *further = blocks()
    assert len(further) == 3
    said = typed("".join([tour, *further, 'echo "KEY=$KEY BEAT=$BEAT"\n']), place, url)
    assert '"status": "completed"' in said, said
    assert said.count('"delivered"') >= 1
    assert (place / "beat.mp3").stat().st_size > 100_000
    found = re.search(r"KEY=(\S+) BEAT=(\S+)", said)
    assert found is not None
    beat = httpx.get(f"{url}/api/beats/{found[2]}", headers={"X-API-Key": found[1]}, timeout=30).json()
    assert beat["data"]["name"] if "data" in beat else beat["name"]
    assert '"status": "completed"' in typed(tour, place, url)


@pytest.mark.skipif(bool(missing), reason=f"this machine lacks {', '.join(missing)}")
def test_the_first_build_of_the_documentation_goes_as_it_is_written(url: str, place: Path, runner: Runner) -> None:
    text = (ROOT / "docs" / "builds.md").read_text()
    [block] = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    asked = ["bash", "-eu", "-c", TELLING + block.replace(ADDRESS, url)]
    done = subprocess.run(asked, cwd=place, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    statuses = set(re.findall(r"^status (\d+)$", done.stderr, re.MULTILINE))
    assert statuses <= {"200", "201"}, f"{statuses}\n{done.stdout[-2000:]}"
    for expected in (
        '"status":"success"',
        '"file_name": "gain.clap"',
        '"validation": "passed"',
        "gain.clap\n",
        '{"valid":true}',
    ):
        assert expected in done.stdout, f"{expected} is not in {done.stdout[-4000:]}"
