"""README.md as it is written: every block of its tour in order, in one shell, against a running stack.

`make tour` runs this, and not the suite: the text sleeps for as long as a person would wait.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.journeys.kit import ROOT, Stack

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


def typed(text: str, place: Path, stack: Stack) -> str:
    """What a shell says to all of it, which ends with the first command that fails."""
    assert ADDRESS in text
    asked = ["bash", "-eu", "-c", TELLING + text.replace(ADDRESS, stack.url)]
    done = subprocess.run(asked, cwd=place, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr
    statuses = re.findall(r"^status (\d+)$", done.stderr, re.MULTILINE)
    assert len(statuses) == text.count("curl ")
    assert set(statuses) <= {"200", "201", "202"}, f"{statuses}\n{done.stdout[-2000:]}"
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="the text asks with curl")
def test_the_tour_of_the_readme_goes_as_it_is_written_and_again(stack: Stack, place: Path) -> None:
    tour, *further = blocks()
    assert len(further) == 3
    said = typed("".join([tour, *further, 'echo "KEY=$KEY BEAT=$BEAT"\n']), place, stack)
    assert '"status": "completed"' in said, said
    assert said.count('"delivered"') >= 1
    assert (place / "beat.mp3").stat().st_size > 100_000
    found = re.search(r"KEY=(\S+) BEAT=(\S+)", said)
    assert found is not None
    beat = httpx.get(f"{stack.url}/api/beats/{found[2]}", headers={"X-API-Key": found[1]}, timeout=30).json()
    assert beat["data"]["name"] if "data" in beat else beat["name"]
    assert '"status": "completed"' in typed(tour, place, stack)
