"""The C++ client where the quick suite does not compile it: over libcurl, for macOS, and in JUCE's example, heard.

Run by `make studio`, which installs what it needs: JUCE takes minutes. The example is built by a runner, as a
developer would have it built. Windows is in windows.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builds.studio import built, downloaded, install, run, runner, tools
from tests.builds.studio import unpacked as laid_out
from tests.builds.test_journey import Runner
from tests.identity.crowd import Visitor
from tests.journeys.kit import Stack
from tests.licensing.studio import ACTIVATION, new_code, new_project
from tests.runner.projects import commit, git
from tests.studio.test_clients import Plugin, developer, unpacked

__all__ = ["developer", "runner", "tools", "unpacked"]

WARNINGS = ("-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
#: Without optimising it compiles in a third of the time, and sounds the same.
RECIPE = """subdir = "examples/juce"
targets = ["LicensedGain_VST3"]
[defines]
CMAKE_BUILD_TYPE = "MinSizeRel"
CMAKE_C_FLAGS_MINSIZEREL = "-O0 -DNDEBUG"
CMAKE_CXX_FLAGS_MINSIZEREL = "-O0 -DNDEBUG"
"""
#: What is heard of the loudest sample, in a process of its own: a plug-in finds its files by HOME.
HEARD = """
import sys, numpy, pedalboard
plugin = pedalboard.load_plugin(sys.argv[1])
noise = numpy.random.default_rng(7).uniform(-0.2, 0.2, (2, 44_100)).astype(numpy.float32)
print(float(numpy.abs(plugin.process(noise, 44_100, reset=True)).max()))
"""


@pytest.fixture(scope="module")
def project(developer: Visitor) -> tuple[str, str]:
    """A plug-in's project, and the public half of its key."""
    made = new_project(developer)
    key = developer.http.get(f"{ACTIVATION}/public-key", params={"project_id": made}).json()["public_key"]
    return made, str(key)


def test_the_client_asks_over_libcurl(
    unpacked: Path, developer: Visitor, project: tuple[str, str], stack: Stack, tmp_path: Path
) -> None:
    install("g++", "libcurl4-openssl-dev")
    program, source = tmp_path / "console", unpacked / "cpp/examples/console.cpp"
    curl = ("-DBEATCONNECT_WITH_CURL", "-pthread", "-lcurl")
    run("g++", *WARNINGS, f"-I{unpacked}/cpp/include", str(source), "-o", str(program), *curl)
    plugin = Plugin(program, *project, tmp_path / "activation.json", stack.url)
    code = new_code(developer, project[0])
    assert plugin.say(f"activate {code}")[0].startswith("licensed ok reached valid 1/2")
    assert plugin.say("validate", url="http://127.0.0.1:1")[0].split()[1:3] == ["no", "away"]


#: What the client uses of Apple's headers, as they declare it, and what Linux has and macOS lacks.
APPLE = """#pragma once
#include <sys/socket.h>
#include <time.h>
#undef MSG_NOSIGNAL
#define SO_NOSIGPIPE 0x1022
typedef unsigned char uuid_t[16];
typedef char uuid_string_t[37];
extern "C" void uuid_unparse(const uuid_t, uuid_string_t);
extern "C" int gethostuuid(uuid_t, const struct timespec *);
"""


@pytest.mark.parametrize("name", ["console", "checks"])
def test_what_is_for_macos_is_cplusplus_at_least(unpacked: Path, tmp_path: Path, name: str) -> None:
    # There is no SDK of Apple's here: this finds what does not parse or fit its types, and nothing else.
    install("g++")
    (tmp_path / "uuid").mkdir()
    (tmp_path / "uuid" / "uuid.h").write_text(APPLE)
    seen = ("-fsyntax-only", "-D__APPLE__", "-include", f"{tmp_path}/uuid/uuid.h", f"-I{tmp_path}")
    run("g++", *WARNINGS, *seen, f"-I{unpacked}/cpp/include", f"{unpacked}/cpp/examples/{name}.cpp")


def test_the_example_with_juce_is_silent_until_it_is_activated(
    unpacked: Path, developer: Visitor, runner: Runner, project: tuple[str, str], stack: Stack, tmp_path: Path
) -> None:
    install("juce-modules-source", "libcurl4-openssl-dev")
    place, home = tmp_path / "juce", tmp_path / "home"
    home.mkdir()
    shutil.copytree(unpacked / "cpp", place)
    told = {"URL": stack.url, "PROJECT": project[0], "KEY": project[1]}
    (place / "ledgerline-build.toml").write_text(
        RECIPE + "".join(f'BEATCONNECT_{name} = "{told[name]}"\n' for name in told)
    )
    git(place, "init", "--quiet")
    commit(place, {})
    build, artifacts, _ = built(developer, place, "vst3")
    [artifact] = artifacts.values()
    assert (artifact["file_name"], artifact["validation"]) == ("Licensed Gain.vst3", "passed"), artifact
    laid_out(downloaded(developer, build, artifact), tmp_path / "installed")
    bundle = tmp_path / "installed" / "Licensed Gain.vst3"

    def heard() -> float:
        command = [sys.executable, "-c", HEARD, str(bundle)]
        environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
        found = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr[-2000:]
        return float(found.stdout.splitlines()[-1])

    assert heard() == 0.0
    # The program without JUCE on the same machine keeps what it knows in the same file.
    compiler = shutil.which("g++") or "g++"
    program, source = tmp_path / "console", unpacked / "cpp/examples/console.cpp"
    run(compiler, *WARNINGS, "-pthread", f"-I{unpacked}/cpp/include", str(source), "-o", str(program))
    kept = home / ".config" / "LicensedGain" / "activation.json"
    plugin = Plugin(program, *project, kept, stack.url, machine="")
    assert plugin.say(f"activate {new_code(developer, project[0])}")[0].startswith("licensed ok")
    assert 0.19 < heard() < 0.21
