"""The C++ client as a program for Windows: what it does on Linux it does there, under Wine.

Run by `make studio`, which installs a cross compiler and Wine.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builds.studio import install, run
from tests.identity.crowd import Visitor
from tests.journeys.kit import Stack
from tests.licensing.studio import ACTIVATION, new_code, new_project
from tests.studio.elsewhere import WARNINGS
from tests.studio.test_clients import (
    Plugin,
    Tools,
    developer,
    plugin,
    test_a_machine_without_a_network_is_licensed_by_its_file,
    test_a_plug_in_is_activated_and_works_without_the_service_for_seven_days,
    test_an_explicit_answer_wins_over_grace_and_is_remembered,
    test_it_is_made_at_once_and_goes_at_once_although_nobody_answers,
    test_the_headers_hash_and_verify_as_others_do,
    test_what_is_unsigned_replayed_or_about_something_else_counts_as_no_answer,
    unpacked,
)

__all__ = [
    "developer",
    "plugin",
    "test_a_machine_without_a_network_is_licensed_by_its_file",
    "test_a_plug_in_is_activated_and_works_without_the_service_for_seven_days",
    "test_an_explicit_answer_wins_over_grace_and_is_remembered",
    "test_it_is_made_at_once_and_goes_at_once_although_nobody_answers",
    "test_the_headers_hash_and_verify_as_others_do",
    "test_what_is_unsigned_replayed_or_about_something_else_counts_as_no_answer",
    "unpacked",
]

COMPILER = "x86_64-w64-mingw32-g++-posix"


@pytest.fixture(scope="module")
def tools(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    """The examples for Windows, each in a script that starts it."""
    install("g++-mingw-w64-x86-64-posix", "wine", "wine64")
    room = tmp_path_factory.mktemp("windows")
    wine = {**os.environ, "WINEPREFIX": str(room / "prefix"), "WINEDEBUG": "-all", "DISPLAY": ""}
    subprocess.run(["wine", "wineboot", "--init"], env=wine, check=True, capture_output=True)
    made = []
    for name in ("console", "checks"):
        program, source = room / f"{name}.exe", unpacked / f"cpp/examples/{name}.cpp"
        libraries = ("-static", "-lws2_32", "-ladvapi32")
        run(
            COMPILER,
            *WARNINGS,
            "-O1",
            "-DNOMINMAX",
            f"-I{unpacked}/cpp/include",
            str(source),
            "-o",
            str(program),
            *libraries,
        )
        assert program.read_bytes()[:2] == b"MZ"
        script = room / name
        said = "".join(f"export {key}='{wine[key]}'\n" for key in ("WINEPREFIX", "WINEDEBUG", "DISPLAY"))
        script.write_text(f'#!/bin/sh\n{said}exec wine {program} "$@"\n')
        script.chmod(0o755)
        made.append(script)
    # Somebody who stays: the services of Windows would otherwise begin with each program, and hold its output open.
    nothing = subprocess.DEVNULL
    with subprocess.Popen(["wine", "cmd"], env=wine, stdin=subprocess.PIPE, stdout=nothing, stderr=nothing) as stays:
        yield Tools(*made)
        assert stays.stdin is not None
        stays.stdin.close()
        stays.wait(60)


def test_a_machine_is_known_by_what_windows_says_it_is(
    tools: Tools, developer: Visitor, stack: Stack, tmp_path: Path
) -> None:
    project = new_project(developer)
    key = developer.http.get(f"{ACTIVATION}/public-key", params={"project_id": project}).json()["public_key"]
    code = new_code(developer, project, max_activations=1)
    for name in ("one", "two"):
        here = Plugin(tools.console, project, key, tmp_path / name / "activation.json", stack.url, machine="")
        assert here.say(f"activate {code}")[0].startswith("licensed ok reached valid 1/1")
