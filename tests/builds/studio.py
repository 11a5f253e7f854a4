"""Real plug-ins through the API: one of our own, heard, and some that others wrote, from Debian's source archive.

Not in the quick suite, because it installs compilers' packages and builds for minutes: `make studio`. Everything is
built as it was published; only what a release leaves out of its archive, DPF as a submodule, is put back as one.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.builds.test_journey import Runner, over
from tests.builds.test_over_http import BUILDS, asked, project_of
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import ROOT, Stack
from tests.runner.projects import commit, git, repository

GAIN = Path(__file__).with_name("gain")
TOOLS = (
    "bubblewrap", "ccache", "cmake", "dpf-source", "g++", "git", "lilv-utils", "lv2-dev", "make", "meson",
    "ninja-build", "pkg-config", "python3", "xz-utils",
)  # fmt: skip
BUILD_SECONDS_MAX = 3600


@dataclass(frozen=True)
class Theirs:
    """A plug-in of others: its source package, what it needs besides, submodules to put back, and what comes of it."""

    name: str
    tool: str
    needs: tuple[str, ...]
    expected: frozenset[tuple[str, str]]
    dpf: bool = False


THEIRS = (
    Theirs("mda-lv2", "meson", (), frozenset({("lv2", "mda.lv2")})),
    Theirs(
        "lv2",
        "waf",
        ("libsndfile1-dev", "libcairo2-dev"),
        frozenset(("lv2", f"eg-{name}.lv2") for name in ("amp", "fifths", "metro", "midigate", "params", "sampler")),
    ),
    Theirs(
        "dragonfly-reverb",
        "make",
        ("libgl-dev", "libjack-dev", "libx11-dev", "libxcursor-dev", "libxext-dev", "libxrandr-dev"),
        frozenset(
            (kind, f"Dragonfly{name}{suffix}")
            for name in ("EarlyReflections", "HallReverb", "PlateReverb", "RoomReverb")
            for kind, suffix in (("vst3", ".vst3"), ("clap", ".clap"), ("lv2", ".lv2"), ("standalone", ""))
        ),
        dpf=True,
    ),
)  # fmt: skip


def run(*command: str, folder: Path | None = None) -> str:
    """What a command prints; what it complains about when it fails."""
    made = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert made.returncode == 0, f"{command}: {made.stdout[-2000:]}{made.stderr[-2000:]}"
    return made.stdout


def install(*packages: str) -> None:
    """Have these packages of Debian; root installs what is missing."""
    told = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *packages],
        check=False, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    missing = [each for each in packages if f"{each} installed" not in told]
    if missing:
        assert os.geteuid() == 0, f"this machine lacks {', '.join(missing)}, which only root may install"
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        run("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options with which apt-get knows the sources of this machine's packages; its own lists stay as they are."""
    room = tmp_path_factory.mktemp("apt")
    (room / "parts").mkdir()
    (room / "lists").mkdir()
    for place in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").iterdir())):
        if not place.is_file():
            continue
        lines = []
        for line in place.read_text().splitlines():
            if place.suffix == ".sources":
                lines.append("Types: deb-src" if line.startswith("Types:") else line)
            elif line.startswith("deb "):
                lines.append("deb-src " + line.removeprefix("deb "))
        (room / "parts" / place.name).write_text("\n".join(lines) + "\n")
    options = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": f"{room}/parts",
        "Dir::State::lists": f"{room}/lists",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
    }
    found = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    run("apt-get", *found, "update")
    return found


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """What every build here needs."""
    install(*TOOLS)


@pytest.fixture(scope="module")
def developer(client: httpx.Client) -> Visitor:
    return sign_in(client)


@pytest.fixture(scope="module")
def runner(stack: Stack, developer: Visitor, tools: None) -> Iterator[Runner]:
    token = developer.post("/functions/v1/runners/registration-token").json()["token"]
    room = Path("/var/tmp", f"ledgerline-studio-{os.getpid()}")
    room.mkdir(mode=0o711)
    made = Runner(stack.url, token, room)
    yield made
    made.stop()
    print(made.log.read_text())
    shutil.rmtree(room)
    made.log.unlink()


def built(
    who: Visitor, place: Path, *formats: str, project_id: str = ""
) -> tuple[dict[str, Any], dict[tuple[str, str], dict[str, Any]], str]:
    """The build of a repository, its artifacts by format and name, and its log."""
    build = over(who, asked(who, project_id or project_of(who, place), formats=list(formats))["id"], BUILD_SECONDS_MAX)
    log = who.get(f"{BUILDS}/{build['id']}/logs").text
    print(log[-6000:])
    assert build["status"] == "success", build["error_message"]
    artifacts = who.get(f"{BUILDS}/{build['id']}/artifacts").json()["artifacts"]
    return build, {(each["format"], each["file_name"]): each for each in artifacts}, log


def compiled_before(runner: Runner, project_id: str) -> int:
    """How often a compiler was not run for this project, because its result was there."""
    [cache] = runner.room.glob(f"*/cache/{project_id}/ccache")
    said = run("ccache", "--dir", str(cache), "--print-stats")
    counted = {name: int(number) for name, _, number in (line.partition("\t") for line in said.splitlines())}
    return counted["direct_cache_hit"] + counted["preprocessed_cache_hit"]


def downloaded(who: Visitor, build: dict[str, Any], artifact: dict[str, Any]) -> bytes:
    link = who.get(f"{BUILDS}/{build['id']}/download/{artifact['id']}").json()["url"]
    data = who.http.get(link).content
    assert hashlib.sha256(data).hexdigest() == artifact["checksum_sha256"]
    return data


def unpacked(data: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)


def test_a_plug_in_of_our_own_comes_in_four_formats_and_is_heard(
    developer: Visitor, runner: Runner, tmp_path: Path
) -> None:
    import numpy as np
    import pedalboard

    place = repository(tmp_path / "gain", {each.name: each.read_text() for each in GAIN.iterdir()})
    git(place, "tag", "v1.2.0")

    build, artifacts, _ = built(developer, place, "vst3", "clap", "lv2", "standalone")

    assert build["version_number"] == "1.2.0"
    assert set(artifacts) == {("vst3", "gain.vst3"), ("clap", "gain.clap"), ("lv2", "gain.lv2"), ("standalone", "gain")}
    verdicts = {kind: each["validation"] for (kind, _), each in artifacts.items()}
    assert verdicts == {"vst3": "passed", "clap": "passed", "lv2": "passed", "standalone": "skipped"}, artifacts
    unpacked(downloaded(developer, build, artifacts["vst3", "gain.vst3"]), tmp_path / "installed")
    load = getattr(pedalboard, "load_plugin")  # noqa: B009 - it comes without types
    plugin = load(str(tmp_path / "installed" / "gain.vst3"))
    noise = np.random.default_rng(7).uniform(-0.2, 0.2, (2, 44_100)).astype(np.float32)
    for factor in (2.0, 0.5, 0.0):
        plugin.parameters["gain"].raw_value = factor / 4.0
        heard = plugin.process(noise, 44_100, reset=True)
        # The parameter may be on its way during the first block.
        assert np.allclose(heard[:, 22_050:], factor * noise[:, 22_050:], atol=1e-5), factor
    program = tmp_path / "program"
    program.write_bytes(downloaded(developer, build, artifacts["standalone", "gain"]))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert b"ELF" in program.read_bytes()[:4]


def source(theirs: Theirs, archive: list[str], folder: Path) -> Path:
    """A repository with what others have published."""
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    run("apt-get", *archive, "source", "--download-only", "--tar-only", "--quiet", theirs.name, folder=folder)
    [tar] = folder.glob(f"{theirs.name}_*.orig.tar.*")
    place = folder / theirs.name
    place.mkdir()
    run("tar", "--extract", "--file", str(tar), "--strip-components=1", "--directory", str(place))
    git(place, "init", "--quiet")
    if theirs.dpf:
        framework = folder / "DPF"
        shutil.copytree("/usr/share/dpf", framework, symlinks=False)
        git(framework, "init", "--quiet")
        git(framework, "add", "--all", "--force")
        git(framework, "commit", "--quiet", "-m", "As the machine has it")
        shutil.rmtree(place / "dpf")
        (place / ".gitmodules").unlink(missing_ok=True)
        git(place, "submodule", "--quiet", "add", str(framework), "dpf")
    git(place, "add", "--all", "--force")
    git(place, "commit", "--quiet", "-m", "As it was published")
    return place


@pytest.mark.parametrize("theirs", THEIRS, ids=lambda each: each.name)
def test_plug_ins_that_others_wrote_build_as_they_are(
    theirs: Theirs, developer: Visitor, runner: Runner, archive: list[str], tmp_path: Path
) -> None:
    install(*theirs.needs)
    place = source(theirs, archive, tmp_path / "sources")

    build, artifacts, log = built(developer, place)

    assert f"Building with {theirs.tool}" in log
    assert theirs.expected <= set(artifacts), sorted(artifacts)
    assert {kind for kind, _ in artifacts} == {kind for kind, _ in theirs.expected}
    failed = {key: each["validation_detail"] for key, each in artifacts.items() if each["validation"] == "failed"}
    assert not failed
    if theirs.tool == "meson":
        # Meson has its own way to ccache: what was compiled once is the same bytes, out of the project's cache.
        _, others, _ = built(developer, place, project_id=build["project_id"])
        digests = [{key: each["checksum_sha256"] for key, each in found.items()} for found in (artifacts, others)]
        assert digests[0] == digests[1]
        assert compiled_before(runner, build["project_id"]) > 0
    kind, name = min(theirs.expected)
    assert len(downloaded(developer, build, artifacts[kind, name])) == artifacts[kind, name]["file_size"]


#: As the documentation has it.
SIGNED = """build = ["x86_64-w64-mingw32-g++-posix -shared -static -o Tiny.vst3 tiny.cpp"]
validate = "none"
sign = [
  'osslsigncode sign -pkcs12 certificate.p12 -pass "$SIGNING_PASSWORD" -in "$ARTIFACT" -out "$ARTIFACT.new"',
  'mv "$ARTIFACT.new" "$ARTIFACT"',
]
"""


def test_a_plug_in_for_windows_is_signed_by_a_tool_that_is_really_used_for_that(
    developer: Visitor, runner: Runner, tmp_path: Path
) -> None:
    install("g++-mingw-w64-x86-64-posix", "openssl", "osslsigncode")
    assert SIGNED.partition("sign = ")[2] in (ROOT / "docs" / "builds.md").read_text()
    request = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Ada")
    purpose = ("-addext", "extendedKeyUsage=codeSigning")
    run("openssl", *request, *purpose, "-keyout", "key.pem", "-out", "cert.pem", folder=tmp_path)
    files = {"ledgerline-build.toml": SIGNED, "tiny.cpp": 'extern "C" int GetPluginFactory() { return 0; }\n'}
    place = repository(tmp_path / "tiny", files)
    key = ("-inkey", "key.pem", "-in", "cert.pem", "-passout", "pass:horse")
    run("openssl", "pkcs12", "-export", *key, "-out", str(place / "certificate.p12"), folder=tmp_path)
    commit(place, {})
    project_id = project_of(developer, place)
    secret = f"/functions/v1/projects/{project_id}/secrets/SIGNING_PASSWORD"

    def ended() -> dict[str, Any]:
        return over(developer, asked(developer, project_id, formats=["vst3"])["id"], BUILD_SECONDS_MAX)

    developer.request("PUT", secret, json={"value": "wrong"})
    failed = ended()
    assert (failed["status"], failed["error_code"]) == ("failed", "signing_failed")
    assert "certificate.p12 (Wrong password?)" in failed["error_message"]
    developer.request("PUT", secret, json={"value": "horse"})
    build = ended()
    [artifact] = developer.get(f"{BUILDS}/{build['id']}/artifacts").json()["artifacts"]
    assert (artifact["file_name"], artifact["is_signed"]) == ("Tiny.vst3", True)
    (tmp_path / "Tiny.vst3").write_bytes(downloaded(developer, build, artifact))
    assert "Signature verification: ok" in run(
        "osslsigncode", "verify", "-CAfile", "cert.pem", "-in", "Tiny.vst3", folder=tmp_path
    )
