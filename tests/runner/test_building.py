"""The runner without any service: small projects become plug-ins, and hostile ones end without harm."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from adapters.runner.addresses import Outside
from adapters.runner.building import Job, Made, Workshop
from adapters.runner.failures import BuildFailed, Cancelled
from adapters.runner.fetching import Checkout, Git, Source, fetch, over_https
from adapters.runner.logs import Log
from adapters.runner.sandbox import Rooms, Sandbox
from tests.builds.little_github import LittleGithub
from tests.runner.projects import (
    clap_with_cmake,
    clap_with_make,
    commit,
    git,
    lv2_with_make,
    lv2_with_meson,
    repository,
)

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("git", "g++", "cmake", "ninja", "meson", "make", "bwrap", "lv2info")
missing = [name for name in NEEDED if not shutil.which(name)]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"this machine lacks {', '.join(missing)}")


@dataclass
class Watcher:
    """Says which version it is, notes the steps, and stops the build when it is told to."""

    version: str = "1.2.3"
    steps: list[str] = field(default_factory=list)
    checkouts: list[Checkout] = field(default_factory=list)
    stops: Callable[[], bool] = lambda: False

    def step(self, name: str) -> None:
        self.steps.append(name)

    def checked_out(self, checkout: Checkout) -> str:
        self.checkouts.append(checkout)
        return self.version

    def token_for(self, url: str) -> str:
        return ""

    def stop(self) -> bool:
        return self.stops()


def job(place: Path, *formats: str, **changed: object) -> Job:
    made = Job(Source(str(place)), "Tiny", "p1", formats, "1.2.3", 7)
    return replace(made, **changed)  # type: ignore[arg-type]


def built(shop: Workshop, what: Job, watcher: Watcher | None = None) -> tuple[list[Made], str]:
    log = Log()
    try:
        made = shop.build(what, log, watcher or Watcher())
    finally:
        log.close()
        text = log.take(100 << 20).decode()
        print(text)
    return made, text


def fetched(shop: Workshop, source: Source, token_for: Callable[[str], str] = lambda _: "") -> Checkout:
    rooms = Rooms(shop.room / "build", shop.room / "build" / "cache")
    rooms.make()
    deadline = time.monotonic() + 30
    git_here = Git(shop.sandbox, rooms, shop.limits, Log(), shop.outside, lambda: False, deadline)
    return fetch(source, git_here, token_for)


def refused(shop: Workshop, what: Job, watcher: Watcher | None = None) -> BuildFailed:
    with pytest.raises(BuildFailed) as caught:
        built(shop, what, watcher)
    return caught.value


def processes_of(sandbox: Sandbox) -> list[str]:
    """What the build's user still runs."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if sandbox.uid is not None and entry.stat().st_uid == sandbox.uid:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def test_this_machine_keeps_builds_apart(sandbox: Sandbox) -> None:
    assert sandbox.level in ("strong", "medium")


def test_cmake_builds_a_clap_that_knows_its_version_and_loads(shop: Workshop, tmp_path: Path) -> None:
    place = repository(tmp_path / "tiny", clap_with_cmake())
    watcher = Watcher()

    [made], _ = built(shop, job(place, "clap"), watcher)

    assert (made.format, made.file_name, made.is_signed) == ("clap", "Tiny.clap", False)
    assert (made.validation, made.validation_detail) == ("passed", "Tiny")
    assert b"1.2.3\0" in made.path.read_bytes()
    assert watcher.steps == ["fetching", "configuring", "building", "installing", "collecting", "validating"]
    assert not (shop.room / "build" / "src" / "VERSION").exists()


@pytest.mark.parametrize("files", [lv2_with_make, lv2_with_meson])
def test_make_and_meson_build_an_lv2_bundle(
    shop: Workshop, tmp_path: Path, files: Callable[[], dict[str, str]]
) -> None:
    place = repository(tmp_path / "tiny", files())

    [made], _ = built(shop, job(place, "lv2"))

    assert made.file_name == "tiny.lv2"
    assert made.validation == "passed", made.validation_detail
    with zipfile.ZipFile(made.path) as archive:
        assert {"tiny.lv2/manifest.ttl", "tiny.lv2/tiny.so"} <= set(archive.namelist())


def test_the_same_commit_is_the_same_bytes_and_comes_out_of_the_cache(shop: Workshop, tmp_path: Path) -> None:
    place = repository(tmp_path / "tiny", {**clap_with_cmake(), "ledgerline-build.toml": 'env = {CCACHE_DEBUG = ""}'})
    [first], _ = built(shop, job(place, "clap", project_id="cached"))
    cached = sum(1 for each in (shop.room / "cache" / "cached").rglob("*") if each.is_file())

    [second], _ = built(shop, job(place, "clap", project_id="cached"))

    assert second.sha256 == first.sha256
    assert cached
    stats = (shop.room / "cache" / "cached" / "ccache").rglob("stats")
    hits = sum(int(each.read_text().split()[n]) for each in stats for n in (22, 23) if each.stat().st_size)
    assert hits or not shutil.which("ccache")


def test_tags_submodules_and_the_version_file_come_along(shop: Workshop, tmp_path: Path) -> None:
    files = clap_with_cmake()
    code = files.pop("tiny.cpp")
    repository(tmp_path / "code", {"tiny.cpp": code})
    asked = 'execute_process(COMMAND git describe --tags OUTPUT_VARIABLE it)\nmessage("it is ${it}")\n'
    files["CMakeLists.txt"] = files["CMakeLists.txt"].replace("tiny.cpp", "code/tiny.cpp") + asked
    place = repository(tmp_path / "tiny", {**files, "VERSION": "4.5.6\n" + "what changed\n" * 100})
    git(place, "submodule", "--quiet", "add", "../code", "code")
    commit(place, {})
    git(place, "tag", "v4.5.6")
    watcher = Watcher()

    made, text = built(shop, job(place, "clap"), watcher)

    assert [each.file_name for each in made] == ["Tiny.clap"]
    [checkout] = watcher.checkouts
    assert (checkout.tags, checkout.version_file) == (("v4.5.6",), "4.5.6")
    assert "it is v4.5.6" in text


def test_a_branch_a_tag_and_a_commit_are_found(shop: Workshop, tmp_path: Path) -> None:
    place = repository(tmp_path / "tiny", lv2_with_make())
    old = git(place, "rev-parse", "HEAD")
    git(place, "tag", "first")
    commit(place, {"VERSION": "2"})
    git(place, "branch", "feature/x")

    for source, version in (
        (Source(str(place), "feature/x"), "2"),
        (Source(str(place), "refs/heads/main"), "2"),
        (Source(str(place), "first"), None),
        (Source(str(place), "refs/tags/first"), None),
        (Source(str(place), "main", old), None),
        (Source(str(place)), "2"),
    ):
        assert fetched(shop, source).version_file == version, source
    for absent in ("absent", "0" * 40):
        with pytest.raises(BuildFailed) as caught:
            fetched(shop, Source(str(place), absent))
        assert caught.value.code == "fetch_failed"


def test_what_there_is_no_way_to_build_is_refused_with_what_was_looked_for(shop: Workshop, tmp_path: Path) -> None:
    problem = refused(shop, job(repository(tmp_path / "it", {"README": "x"}), "clap"))

    assert problem.code == "no_build_system"
    assert "meson.build" in problem.sentence


def test_the_first_compiler_error_is_the_reason(shop: Workshop, tmp_path: Path) -> None:
    broken = {**clap_with_make(), "tiny.cpp": "int main() { return nonsense; }\nint x = other;\n"}
    problem = refused(shop, job(repository(tmp_path / "it", broken), "clap"))

    assert problem.code == "step_failed"
    assert "tiny.cpp:1:" in problem.sentence
    assert "nonsense" in problem.sentence


def test_a_format_that_nothing_came_out_of_fails_and_says_what_did(shop: Workshop, tmp_path: Path) -> None:
    problem = refused(shop, job(repository(tmp_path / "it", clap_with_make()), "clap", "vst3"))

    assert problem.code == "no_artifacts"
    assert "vst3" in problem.sentence
    assert "Tiny.clap (clap)" in problem.sentence


@pytest.mark.parametrize(
    ("recipe", "word"),
    [
        ("build = 5", "build"),
        ("unknown = 1", "unknown"),
        ('subdir = "../.."', "subdir"),
        ('preset = "--help"', "preset"),
        ("not toml", "followed"),
        ('packages = ["no-such-package-anywhere"]', "no-such-package-anywhere"),
        (f"targets = {'[' * 20_000}", "nested"),
        (f"[defines]\nN = {'9' * 5000}", "digits"),
        (f"[defines]\nN = 0x{'f' * 5000}", "defines.N"),
    ],
)
def test_a_recipe_that_cannot_be_followed_says_why(shop: Workshop, tmp_path: Path, recipe: str, word: str) -> None:
    problem = refused(
        shop, job(repository(tmp_path / "it", {**clap_with_cmake(), "ledgerline-build.toml": recipe}), "clap")
    )

    assert problem.code in ("bad_recipe", "packages_missing")
    assert word in problem.sentence


def commands(*lines: str) -> dict[str, str]:
    quoted = ", ".join(f"'''{line}'''" for line in lines)
    return {"ledgerline-build.toml": f"build = [{quoted}]\n"}


def test_a_build_sees_nothing_of_this_machine(shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_RUNNER", "hidden-value")
    secret = tmp_path / "secret"
    secret.write_text("hidden-value")
    look = (
        "cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'",
        f"ls -la {tmp_path} {secret} /root /home/*/.ssh 2>&1 || true",
        "test ! -r /etc/shadow",
        "cat /proc/net/route 2>/dev/null | wc -l",
        "unshare -U true 2>&1 && echo namespace-$((40 + 2)) || true",
        "python3 network.py",
    )
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = str(ours.getsockname()[1])
        place = repository(tmp_path / "it", {**commands(*look), "network.py": NETWORK.replace("PORT", port)})
        log = Log()
        with pytest.raises(BuildFailed):
            shop.build(job(place, "clap"), log, Watcher())
    log.close()
    text = log.take(10 << 20).decode()

    assert "hidden-value" not in text
    assert "SECRET_OF_THE_RUNNER" not in text
    assert "PYTEST_CURRENT_TEST" not in text
    assert "namespace-42" not in text
    assert "its own: reached, ours: refused" in text


#: Whether a build reaches itself over the loopback interface, and what listens on this machine.
NETWORK = """
import socket
def reached(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return "refused"
    return "reached"
with socket.create_server(("127.0.0.1", 0)) as own:
    print(f"its own: {reached(own.getsockname()[1])}, ours: {reached(PORT)}")
"""


def test_files_and_the_temporary_folder_of_a_build_are_bounded(shop: Workshop, tmp_path: Path) -> None:
    shop = replace(shop, limits=replace(shop.limits, file_bytes=4 << 20, tmp_bytes=6 << 20))
    place = repository(
        tmp_path / "it",
        commands(
            "head -c 9M /dev/zero > one || true",
            "for n in 1 2 3; do head -c 3M /dev/zero > /tmp/$n || true; done; du -sm /tmp",
            "echo one has $(stat -c %s one)",
        ),
    )
    log = Log()
    with pytest.raises(BuildFailed):
        shop.build(job(place, "clap"), log, Watcher())
    log.close()
    text = log.take(1 << 20).decode()

    assert "one has 4194304\n" in text
    assert "\n6\t/tmp\n" in text or not shop.sandbox.bwrap


def test_the_time_for_all_steps_together_ends_too(shop: Workshop, sandbox: Sandbox, tmp_path: Path) -> None:
    place = repository(tmp_path / "it", commands("sleep 0.2", "sleep 300"))

    problem = refused(shop, job(place, "clap", seconds_max=1.0))

    assert (problem.code, problem.sentence) == ("timeout", "The build took longer than it may.")
    assert processes_of(sandbox) == []


def test_where_nothing_isolates_a_step_ends_with_its_command_and_takes_along_what_that_has_begun(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS; Windows has another word for it."""
    monkeypatch.setenv("SECRET_OF_THE_RUNNER", "hidden-value")
    bare = replace(shop, sandbox=Sandbox(linux=False))
    files = clap_with_make()
    # Who holds the output open would otherwise be waited for.
    files["Makefile"] += "\t@env; (echo $$$$; exec sleep 600) > left & sleep 600 &\n\t@sleep 0.2; cat left\n"
    [made], log = built(bare, job(repository(tmp_path / "tiny", files), "clap"))

    assert (made.file_name, made.validation) == ("Tiny.clap", "passed")
    assert "Isolation of this build: none" in log
    assert "hidden-value" not in log
    left = next(line for line in log.splitlines() if line.isdigit())
    assert not Path("/proc", left).exists()

    slow = repository(tmp_path / "slow", commands("trap '' TERM; sleep 600 & sleep 600"))
    problem = refused(replace(bare, limits=replace(bare.limits, step_seconds=0.3)), job(slow, "clap"))
    assert problem.code == "timeout"


def test_nothing_of_a_build_outlives_it(shop: Workshop, sandbox: Sandbox, tmp_path: Path) -> None:
    lines = ("setsid sh -c 'trap \"\" TERM HUP; sleep 300' >/dev/null 2>&1 & sleep 0.3",)
    refused(shop, job(repository(tmp_path / "it", commands(*lines)), "clap"))

    assert processes_of(sandbox) == []


@pytest.mark.parametrize(
    "line",
    [
        "trap '' TERM INT HUP; while true; do sleep 1; done",
        "read answer || sleep 300",
        ":(){ :|:& };:; sleep 300",
        "while true; do setsid sleep 100 & sleep 0.01; done",
        "yes",
    ],
)
def test_a_step_that_does_not_end_is_ended_within_seconds(
    shop: Workshop, sandbox: Sandbox, tmp_path: Path, line: str
) -> None:
    shop = replace(shop, limits=replace(shop.limits, step_seconds=0.8, processes=100))
    begun = time.monotonic()

    problem = refused(
        shop, job(repository(tmp_path / "it", commands(f"bash -c '{line}'" if ":|:" in line else line)), "clap")
    )

    # Whoever begins processes without end may have been refused the next one before the time was over.
    assert problem.code in (("timeout", "step_failed") if "setsid" in line else ("timeout",))
    assert time.monotonic() - begun < 0.8 + 8
    assert processes_of(sandbox) == []


def test_a_cancelled_build_is_gone_within_five_seconds(shop: Workshop, sandbox: Sandbox, tmp_path: Path) -> None:
    place = repository(tmp_path / "it", commands("setsid sleep 300 & trap '' TERM; echo begun; sleep 300"))
    watcher = Watcher()
    asked: list[float] = []

    def stop() -> bool:
        if "building" in watcher.steps and processes_of(sandbox):
            asked.append(time.monotonic())
            return True
        return False

    watcher.stops = stop
    with pytest.raises(Cancelled):
        built(shop, job(place, "clap"), watcher)

    assert time.monotonic() - asked[0] < 5
    assert processes_of(sandbox) == []


def test_what_fills_the_disk_or_the_memory_is_stopped(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.runner.sandbox.DISK_LOOK_SECONDS", 0.1)
    shop = replace(shop, limits=replace(shop.limits, disk_bytes=64 << 20, memory_bytes=256 << 20))
    place = repository(tmp_path / "it", commands("while true; do head -c 8M /dev/zero > f$RANDOM$(date +%N); done"))
    assert refused(shop, job(place, "clap")).code == "disk_full"

    hoarder = repository(
        tmp_path / "hoarder", commands("while true; do head -c 8M /dev/zero > /cache/f$(date +%N); done")
    )
    shop = replace(shop, limits=replace(shop.limits, cache_bytes=32 << 20))
    problem = refused(shop, job(hoarder, "clap", project_id="hoarder"))
    assert (problem.code, "cache" in problem.sentence) == ("disk_full", True)
    assert not (shop.room / "cache" / "hoarder").exists()

    hungry = repository(tmp_path / "hungry", commands("python3 -c 'x = bytearray(2 << 30)'"))
    assert refused(shop, job(hungry, "clap")).code == "step_failed"


def test_endless_output_keeps_head_and_tail(shop: Workshop, tmp_path: Path) -> None:
    place = repository(tmp_path / "it", commands("echo the-head; head -c 4M /dev/urandom; echo; echo the-tail"))
    log = Log(head=1 << 18, tail=1 << 16)
    with pytest.raises(BuildFailed):
        shop.build(job(place, "clap"), log, Watcher())
    log.close()
    text = log.take(100 << 20)

    assert b"the-head" in text[: 1 << 18]
    assert b"the-tail" in text[-(1 << 15) :]
    assert b"bytes are left out here" in text
    assert len(text) < (1 << 18) + (1 << 16) + 200


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("--upload-pack=touch /tmp/owned", "source_refused"),
        ("ext::sh -c touch% /tmp/owned", "source_refused"),
        ("ssh://git@example.org/x", "source_refused"),
        ("http://example.org/x", "source_refused"),
        ("https://127.0.0.1/x", "source_refused"),
        ("https://169.254.169.254/x", "source_refused"),
        ("https://[::ffff:10.0.0.1]/x", "source_refused"),
        ("https://localhost/x/y", "source_refused"),
        ("https://user:password@example.org/x", "source_refused"),
        ("/etc", "source_refused"),
        ("file:///etc/../etc", "source_refused"),
    ],
)
def test_addresses_that_are_none_or_not_for_us_are_refused(shop: Workshop, url: str, code: str) -> None:
    assert refused(shop, job(Path(), "clap", source=Source(url))).code == code


@pytest.mark.parametrize("ref", ["--upload-pack=x", "a..b", "../x", "x;y", "a b", "-x", "x.lock"])
def test_refs_that_are_none_are_refused(shop: Workshop, tmp_path: Path, ref: str) -> None:
    place = repository(tmp_path / "it", {"a": ""})
    assert refused(shop, job(place, "clap", source=Source(str(place), ref))).code == "source_refused"


def test_a_submodule_outside_the_allowed_folders_is_refused(shop: Workshop, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    inside = tmp_path / "inside"
    inside.mkdir()
    repository(outside, {"secret": "x"})
    place = repository(inside / "it", clap_with_cmake())
    git(place, "submodule", "--quiet", "add", str(outside), "more")
    commit(place, {})

    narrow = replace(shop, outside=Outside(roots=(inside,)))
    assert refused(narrow, job(place, "clap")).code == "source_refused"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("git@github.com:juce-framework/JUCE.git", "https://github.com/juce-framework/JUCE.git"),
        ("ssh://git@example.org:2222/ada/x", "https://example.org/ada/x"),
        ("git://git.example.org/ada/x.git", "https://git.example.org/ada/x.git"),
        ("https://example.org/ada/x", "https://example.org/ada/x"),
        ("../x", "../x"),
        ("/srv/it@home:x", "/srv/it@home:x"),
        ("ext::sh -c touch% /tmp/owned", "ext::sh -c touch% /tmp/owned"),
        ("-o@host:x", "https://host/x"),
    ],
)
def test_submodules_that_are_written_for_their_developers_are_read_over_https(written: str, read: str) -> None:
    assert over_https(written) == read


def test_a_submodule_over_ssh_is_no_way_to_private_addresses(shop: Workshop, tmp_path: Path) -> None:
    repository(tmp_path / "code", {"a": ""})
    place = repository(tmp_path / "it", clap_with_cmake())
    git(place, "submodule", "--quiet", "add", "../code", "code")
    git(place, "config", "-f", ".gitmodules", "submodule.code.url", "git@localhost:ada/code.git")
    commit(place, {})

    problem = refused(shop, job(place, "clap"))

    assert (problem.code, problem.sentence) == ("source_refused", "localhost is not a public address.")


def test_a_repository_that_is_too_large_is_refused_while_it_is_fetched(shop: Workshop, tmp_path: Path) -> None:
    place = repository(tmp_path / "it", {"a": ""})
    (place / "big").write_bytes(os.urandom(12 << 20))
    commit(place, {})
    small = replace(shop, limits=replace(shop.limits, fetch_bytes=4 << 20))

    assert refused(small, job(place, "clap")).code in ("disk_full", "fetch_failed")


def test_hooks_of_a_repository_do_not_run(shop: Workshop, tmp_path: Path) -> None:
    template = {"hooks/post-checkout": "#!/bin/sh\necho hook-ran >&2\n"}
    place = repository(tmp_path / "it", {**lv2_with_make(), **template})
    git(place, "config", "core.hooksPath", "hooks")

    _, text = built(shop, job(place, "lv2"))

    assert "hook-ran" not in text


def test_signing_steps_alone_get_the_secrets_and_their_failure_is_the_reason(shop: Workshop, tmp_path: Path) -> None:
    recipe = 'sign = ["""test -f "$ARTIFACT" && echo "signed with $KEY" && printf signed >> "$ARTIFACT" """]\n'
    place = repository(tmp_path / "it", {**clap_with_make(), "ledgerline-build.toml": recipe})

    [unsigned], _ = built(shop, job(place, "clap"))
    [signed], text = built(shop, job(place, "clap", secrets={"KEY": "secret-of-the-project"}))

    assert (unsigned.is_signed, signed.is_signed) == (False, True)
    assert signed.path.read_bytes().endswith(b"signed")
    assert "signed with ***" in text
    assert "secret-of-the-project" not in text
    # As osslsigncode says it.
    why = "Failed to parse PKCS#12 file: c.p12 (Wrong password?)"
    failing = {"ledgerline-build.toml": f"sign = [\"echo Signing; echo '{why}' >&2; echo Failed; exit 255\"]\n"}
    problem = refused(
        shop, job(repository(tmp_path / "two", {**clap_with_make(), **failing}), "clap", secrets={"KEY": "x"})
    )
    assert problem.code == "signing_failed"
    assert problem.sentence == f"Tiny.clap could not be signed: {why}"


def test_a_strict_recipe_refuses_what_does_not_load(shop: Workshop, tmp_path: Path) -> None:
    nothing = {**clap_with_make(), "tiny.cpp": "int nothing;\n"}
    strict = {"ledgerline-build.toml": 'validate = "strict"\n'}

    [made], _ = built(shop, job(repository(tmp_path / "it", nothing), "clap"))
    assert made.validation == "failed"
    problem = refused(shop, job(repository(tmp_path / "two", {**nothing, **strict}), "clap"))
    assert problem.code == "validation_failed"


def test_a_plug_in_that_hangs_when_it_is_loaded_is_not_waited_for(
    shop: Workshop, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.runner.building.CHECK_SECONDS", 0.5)
    hanging = {**clap_with_make(), "tiny.cpp": "__attribute__((constructor)) static void f() { for (;;); }\n"}

    [made], _ = built(shop, job(repository(tmp_path / "it", hanging), "clap"))

    assert (made.validation, made.validation_detail) == ("failed", "it did not end within its time")
    assert processes_of(sandbox) == []


def test_a_recipe_says_where_how_and_what_counts(shop: Workshop, tmp_path: Path) -> None:
    recipe = {
        "ledgerline-build.toml": 'build = "make"\nsubdir = "plugins/tiny"\ntargets = ["two"]\nmake_args = ["OUT=out"]\n'
        'defines = {KIND = "release"}\nenv = {GREETING = "hello"}\nartifacts = ["plugins/*/out/*.clap"]\n'
    }
    makefile = (
        "one:\n\tfalse\ntwo:\n\tmkdir -p $(OUT) other; $(CXX) -shared -fPIC -o $(OUT)/Tiny.clap tiny.cpp\n"
        "\tcp $(OUT)/Tiny.clap other/Other.clap; echo $(KIND) $$GREETING\n"
    )
    files = {"plugins/tiny/Makefile": makefile, "plugins/tiny/tiny.cpp": clap_with_make()["tiny.cpp"]}

    [made], log = built(shop, job(repository(tmp_path / "it", {**files, **recipe}), "clap"))

    assert made.file_name == "Tiny.clap"
    assert "\nrelease hello\n" in log


def test_flags_reach_cmake_and_project_data(shop: Workshop, tmp_path: Path) -> None:
    files = clap_with_cmake()
    files["CMakeLists.txt"] += (
        'message("activation ${BEATCONNECT_ENABLE_ACTIVATION} type ${CMAKE_BUILD_TYPE}")\n'
        'file(READ resources/project_data.json data)\nmessage("${data}")\n'
    )
    place = repository(tmp_path / "it", {**files, "resources/readme": "x"})
    flags = {"enableActivationKeys": True, "enableDebugMode": True}

    _, text = built(shop, job(place, "clap", flags=flags, facts={"project_id": "p1", "api_base_url": "https://a"}))

    assert "activation ON type Debug" in text
    assert '"pluginId": "p1"' in text


def test_the_runner_needs_nothing_but_python() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import adapters.runner.agent, adapters.runner.checks"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_a_private_repository_is_fetched_with_a_token_that_is_left_nowhere(shop: Workshop, tmp_path: Path) -> None:
    repository(tmp_path / "root" / "ada" / "my-plugin", {"Makefile": "all:\n", **clap_with_make()})
    github = LittleGithub(tmp_path / "root")
    outside = Outside(frozenset({github.host}))
    shop = replace(shop, outside=outside)
    github.tokens["ghs_secret"] = ["my-plugin"]
    github.tokens["ghs_of_another"] = ["notes"]
    source = Source(f"{github.url}/ada/my-plugin", "main", token="ghs_secret")
    try:
        assert len(fetched(shop, source).commit) == 40
        kept = [path for path in shop.room.rglob("*") if path.is_file() and not path.is_symlink()]
        told = b"".join(path.read_bytes() for path in kept)
        assert b"my-plugin" in told, "the repository's address is known to the clone"
        assert b"ghs_secret" not in told
        assert source.basic.encode() not in told
        assert "ghs_secret" not in repr(source)
        for token in ("", "ghs_of_another", "x"):
            with pytest.raises(BuildFailed) as refused:
                fetched(shop, replace(source, token=token))
            assert refused.value.code == "fetch_failed"
    finally:
        github.close()


def test_private_submodules_of_the_same_owner_are_fetched_with_a_token_for_each(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    for name in ("ada/deep", "eve/theirs", "ada/notes", "ada/my-plugin"):
        repository(root / name, {"a": name})

    def add(to: str, what: str, url: str) -> None:
        name = what.partition("/")[2]
        git(root / to, "submodule", "--quiet", "add", str(root / what), name)
        git(root / to, "config", "-f", ".gitmodules", f"submodule.{name}.url", url)
        commit(root / to, {})

    add("ada/notes", "ada/deep", "git@github.com:ada/deep")
    add("ada/my-plugin", "ada/notes", "../notes")
    add("ada/my-plugin", "eve/theirs", "../../eve/theirs")
    github = LittleGithub(root)
    shop = replace(shop, outside=Outside(frozenset({github.host})))
    # What is written for SSH; this GitHub has no certificate.
    monkeypatch.setattr(
        "adapters.runner.fetching.over_https", lambda url: url.replace("git@github.com:", f"{github.url}/")
    )
    github.tokens |= {"ghs_mine": ["my-plugin"], "ghs_notes": ["notes"], "ghs_deep": ["deep"], "ghs_x": ["theirs"]}
    source = Source(f"{github.url}/ada/my-plugin", "main", token="ghs_mine")
    asked: list[str] = []

    def token_for(url: str) -> str:
        asked.append(url.removeprefix(github.url))
        return {"notes": "ghs_notes", "deep": "ghs_deep"}.get(url.rpartition("/")[2], "")

    try:
        with pytest.raises(BuildFailed):
            fetched(shop, source, token_for)
        assert asked == ["/ada/notes"], "nothing is asked for others"
        # Without the one of somebody else it goes through, with those inside it.
        git(root / "ada/my-plugin", "rm", "--quiet", "--force", "theirs")
        commit(root / "ada/my-plugin", {})
        del asked[:]
        fetched(shop, source, token_for)
        assert asked == ["/ada/notes", "/ada/deep"]
        [deep] = shop.room.rglob("notes/deep/a")
        assert deep.read_text() == "ada/deep"
        told = b"".join(each.read_bytes() for each in shop.room.rglob("*") if each.is_file() and not each.is_symlink())
        for token in github.tokens:
            assert token.encode() not in told
            assert Source("", token=token).basic.encode() not in told
    finally:
        github.close()


def test_a_list_of_submodules_that_are_not_there_keeps_nothing_from_being_built(shop: Workshop, tmp_path: Path) -> None:
    modules = '[submodule "gone"]\n\tpath = gone\n\turl = https://example.org/gone\n'
    place = repository(tmp_path / "released", {"a": "b", ".gitmodules": modules})
    assert fetched(shop, Source(str(place))).commit == git(place, "rev-parse", "HEAD")


def test_a_bundle_is_looked_at_without_those_beside_it(shop: Workshop, tmp_path: Path) -> None:
    files = lv2_with_make()
    other = (
        files["Makefile"].replace("tiny.lv2", "other.lv2").replace("manifest.ttl", "other.ttl").removeprefix("all: ")
    )
    second = other.partition("\n")[2].replace("cp other.ttl other.lv2/", "cp other.ttl other.lv2/manifest.ttl")
    files["Makefile"] = files["Makefile"].replace("all: ", "all: other.lv2/tiny.so ") + second
    files["other.ttl"] = files["manifest.ttl"].replace("urn:example:tiny", "urn:example:other")
    made, _ = built(shop, job(repository(tmp_path / "two", files), "lv2"))
    found = {each.file_name: (each.validation, each.validation_detail.split(" ")[0]) for each in made}
    assert found == {"tiny.lv2": ("passed", "urn:example:tiny"), "other.lv2": ("passed", "urn:example:other")}


@pytest.mark.parametrize("level", ["medium", "none"])
def test_weaker_isolation_builds_and_sweeps_and_says_what_it_is(
    shop: Workshop, sandbox: Sandbox, tmp_path: Path, level: str
) -> None:
    if level == "medium" and not sandbox.landlock:
        pytest.skip("this kernel has no Landlock")
    weaker = replace(sandbox, bwrap="", cgroups=(), landlock=level == "medium")
    assert weaker.level == level
    # Not below pytest's own folder: every pytest that begins closes that to other users again.
    secret = shop.room / f"secret-{level}"
    secret.write_text("of the machine")
    files = clap_with_make()
    files["Makefile"] += (
        f"\t@cat {secret} 2>/dev/null || echo read nothing\n"
        f"\t@echo x > {shop.room}/made-{level} 2>/dev/null || echo made nothing\n"
        "\t@setsid sleep 600 & setsid sleep 601 &\n"
    )
    made, log = built(replace(shop, sandbox=weaker), job(repository(tmp_path / "tiny", files), "clap"))
    assert [(each.format, each.validation) for each in made] == [("clap", "passed")]
    assert f"Isolation of this build: {level}" in log
    assert ("read nothing" in log, "of the machine" in log) == (level == "medium", level == "none")
    # Its user is another one than ours where we are root, so it writes nowhere at either level.
    assert ("made nothing" in log) == (level == "medium" or sandbox.uid is not None)
    assert processes_of(sandbox) == []
