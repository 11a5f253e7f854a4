"""The runner's parts by themselves: what counts as a plug-in, how it is packed, and what becomes of a log."""

from __future__ import annotations

import os
import re
import stat
import threading
import zipfile
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters.runner import agent
from adapters.runner.addresses import is_public
from adapters.runner.agent import Assignment
from adapters.runner.building import Workshop
from adapters.runner.collecting import collect, pack, unique
from adapters.runner.failures import BuildFailed
from adapters.runner.logs import Log
from adapters.runner.recipes import RECIPE, Recipe, read_recipe
from adapters.runner.sandbox import Sandbox
from adapters.runner.service import Away, Service
from tests.runner.projects import MANIFEST

#: As much of a shared object, and of a program with an interpreter, as is looked at.
LIBRARY = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0" + bytes(46)
PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0" + bytes(46)


def put(path: Path, data: bytes | str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(mode)


def names(*roots: Path) -> list[tuple[str, str]]:
    return sorted((each.format, each.file_name) for each in collect(roots))


def test_what_counts_as_a_plug_in(tmp_path: Path) -> None:
    put(tmp_path / "a/Gain.vst3/Contents/x86_64-linux/Gain.so", LIBRARY)
    put(tmp_path / "a/Gain.clap", LIBRARY)
    put(tmp_path / "a/Gain", PROGRAM, 0o755)
    put(tmp_path / "build/manifest.ttl", MANIFEST)
    put(tmp_path / "build/tiny.so", LIBRARY)
    put(tmp_path / "art/Standalone/Other", PROGRAM, 0o755)
    # What is none of it: source folders, texts, tools, things for other formats, and what a build tried out.
    put(tmp_path / "source.lv2/manifest.ttl", MANIFEST)
    put(tmp_path / "source.lv2/tiny.c", "int x;")
    put(tmp_path / "ui.lv2/manifest.ttl", "<x> a ui:X11UI .")
    put(tmp_path / "ui.lv2/x.so", LIBRARY)
    put(tmp_path / "Empty.vst3/Contents/x86_64-linux/Empty.so", "text")
    put(tmp_path / "text.clap", "not a library")
    put(tmp_path / "lv2_ttl_generator", PROGRAM, 0o755)
    put(tmp_path / "Standalone/tests", PROGRAM, 0o755)
    put(tmp_path / "CompilerIdCXX/Gain", PROGRAM, 0o755)
    put(tmp_path / "CMakeFiles/Gain.clap", LIBRARY)
    put(tmp_path / "Gain-vst.so", LIBRARY)
    put(tmp_path / "b/Gain", PROGRAM, 0o644)

    assert names(tmp_path) == [
        ("clap", "Gain.clap"), ("lv2", "tiny.lv2"), ("standalone", "Gain"), ("standalone", "Other"),
        ("vst3", "Gain.vst3"),
    ]  # fmt: skip


def test_the_same_plug_in_counts_once_and_another_of_its_name_gets_a_number(tmp_path: Path) -> None:
    put(tmp_path / "stage/Gain.clap", LIBRARY)
    put(tmp_path / "build/Gain.clap", LIBRARY + b"not stripped")
    assert names(tmp_path / "stage", tmp_path / "build") == [("clap", "Gain.clap")]
    put(tmp_path / "stage/x/Gain.clap", LIBRARY)
    assert names(tmp_path / "stage") == [("clap", "Gain.clap")]
    put(tmp_path / "stage/y/Gain.clap", LIBRARY + b"debug")
    assert names(tmp_path / "stage") == [("clap", "Gain-2.clap"), ("clap", "Gain.clap")]


def test_a_plug_in_is_called_what_every_system_can_call_it(tmp_path: Path) -> None:
    for name in ("What?.clap", "What*.clap", "Tab\t.clap"):
        put(tmp_path / name, LIBRARY + name.encode())
    put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff/Other.clap")), LIBRARY)
    assert sorted(each.file_name for each in unique(collect([tmp_path]))) == ["What--2.clap", "What-.clap"]


def test_a_bundle_is_packed_with_its_top_folder_its_modes_and_its_inner_links(tmp_path: Path) -> None:
    bundle = tmp_path / "Gain.vst3"
    put(bundle / "Contents/x86_64-linux/Gain.so", LIBRARY, 0o755)
    put(bundle / "Contents/Resources/a.txt", "a")
    (bundle / "Contents/Resources/b.txt").symlink_to("a.txt")
    [found] = collect([tmp_path])
    pack(found, tmp_path / "one.zip")
    pack(found, tmp_path / "two.zip")

    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        modes = {each.filename: each.external_attr >> 16 for each in archive.infolist()}
        assert archive.read("Gain.vst3/Contents/Resources/b.txt") == b"a.txt"
    assert modes["Gain.vst3/Contents/x86_64-linux/Gain.so"] == stat.S_IFREG | 0o755
    assert stat.S_ISLNK(modes["Gain.vst3/Contents/Resources/b.txt"])


@pytest.mark.parametrize("leads", ["/etc/passwd", "../../../secret", "../../Gain.vst3/../secret", "loop"])
def test_a_link_that_leaves_its_bundle_is_refused(tmp_path: Path, leads: str) -> None:
    put(tmp_path / "secret", "of this machine")
    put(tmp_path / "Gain.vst3/Contents/x86_64-linux/Gain.so", LIBRARY)
    (tmp_path / "Gain.vst3/Contents/loop").symlink_to("..")
    (tmp_path / "Gain.vst3/Contents/x").symlink_to(leads if leads != "loop" else "loop/../secret")
    [found] = collect([tmp_path])
    with pytest.raises(BuildFailed) as refused:
        pack(found, tmp_path / "out.zip")
    assert refused.value.code == "artifact_refused"


def test_a_pipe_in_a_bundle_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "Gain.vst3/Contents/x86_64-linux/Gain.so", LIBRARY)
    os.mkfifo(tmp_path / "Gain.vst3/Contents/pipe")
    [found] = collect([tmp_path])
    with pytest.raises(BuildFailed):
        pack(found, tmp_path / "out.zip")


@pytest.mark.parametrize("name", [b"\xff.txt", b"..\\..\\evil", b"a\nb"])
def test_a_name_that_is_none_elsewhere_is_refused(tmp_path: Path, name: bytes) -> None:
    put(tmp_path / "Gain.vst3/Contents/x86_64-linux/Gain.so", LIBRARY)
    Path(os.fsdecode(os.fsencode(tmp_path / "Gain.vst3/Contents") + b"/" + name)).write_text("x")
    [found] = collect([tmp_path])
    with pytest.raises(BuildFailed) as refused:
        pack(found, tmp_path / "out.zip")
    assert refused.value.code == "artifact_refused"
    refused.value.sentence.encode()


def whole(log: Log) -> bytes:
    log.close()
    return log.take(1 << 30)


def test_whatever_is_printed_becomes_text_and_the_first_real_error_is_found() -> None:
    log = Log()
    log.write(b"x" * 3_000_000)
    log.write(b"\xff\xfe\0 \xe2\x82")
    log.write(b"\xac\rnew\n\x1b[31msrc/a.cpp:3:7: \x1b[0merror: first\n")
    log.write(b"make: *** [all] Error 2\nsrc/b.cpp:1:1: error: second\n[ 45%] Building\n")
    text = whole(log).decode()
    assert text.startswith("x" * 3_000_000 + "\ufffd\ufffd \u20ac\rnew\n")
    assert log.first_error == "src/a.cpp:3:7: error: first"
    assert log.progress == 45


def test_a_compilers_word_counts_for_more_than_that_of_make() -> None:
    log = Log()
    log.write(b"make: *** [all] Error 2\nsrc/b.cpp:1:1: error: second\n")
    whole(log)
    assert log.first_error == "src/b.cpp:1:1: error: second"


def test_secrets_get_through_in_no_pieces() -> None:
    log = Log(masked=["top-secret"])
    for byte in b"it is top-secret, top-sec and top-secret":
        log.write(bytes([byte]))
    assert whole(log) == b"it is ***, top-sec and ***"


def test_head_and_tail_are_kept() -> None:
    log = Log(head=10, tail=10)
    for number in range(100):
        log.write(b"%03d" % number)
    text = whole(log)
    assert text.startswith(b"0000010020")
    assert text.endswith(b"7098099")
    assert b"280 bytes are left out" in text


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("::1", False),
        ("::ffff:93.184.216.34", False),
        ("64:ff9b::5db8:d822", False),
        ("2002:5db8:d822::", False),
        ("fe80::1%eth0", False),
        ("224.0.0.1", False),
    ],
)
def test_only_addresses_of_the_internet_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_a_runner_gives_up_when_nobody_has_answered_for_as_long_as_its_lease_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters.runner.service.RETRY_SECONDS", ())
    facts = {"job_id": "b-linux", "fence": 1, "heartbeat_seconds": 0.01, "lease_seconds": 0.1}
    held = Assignment(Service("http://127.0.0.1:1"), facts, Log(), threading.Event())
    beating = threading.Thread(target=held.beat, daemon=True)
    beating.start()
    beating.join(30)
    assert (held.lost, held.stop()) == (True, True)


def test_a_service_that_starts_anew_is_not_told_of_and_one_that_stays_away_is_told_once_and_when_it_is_back() -> None:
    told: list[str] = []
    at = iter([0.0, 2.0, 58.0, 100.0, 102.0, 160.0, 162.0, 500.0, 600.0, 659.0])
    silence = agent.Silence(told.append, lambda: next(at))
    refused = ConnectionRefusedError("nobody is there")
    for _ in range(3):
        silence.goes_on(refused)
    silence.ends()
    assert told == []

    for _ in range(5):
        silence.goes_on(refused)
    silence.ends()
    for _ in range(2):
        silence.goes_on(refused)
    silence.ends()
    assert told == [
        "the service has not answered for 60 s, and is asked again: nobody is there",
        "the service answers again",
    ]


def test_a_runner_says_nothing_while_the_service_starts_and_takes_the_job_that_is_there_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(agent, "IDLE_SECONDS", 0.0)
    stopping = threading.Event()
    answers: list[Exception | None] = [Away("refused")] * 3 + [None]

    def ask(*_: object, **__: object) -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        stopping.set()

    agent.work(cast("Service", SimpleNamespace(ask=ask)), cast("Workshop", None), stopping)
    assert answers == []
    assert capsys.readouterr().err == ""


def test_a_runner_without_any_isolation_starts_only_when_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("adapters.runner.agent.probe", lambda *_: Sandbox(linux=False))
    monkeypatch.setattr("adapters.runner.agent.signal.signal", lambda *_: None)
    monkeypatch.setattr("adapters.runner.agent._serve", lambda *_: None)
    monkeypatch.setattr("adapters.runner.agent._take", lambda _: True)
    command = ["--url", "http://127.0.0.1:1", "--work-dir", str(tmp_path / "room")]
    assert agent.run(command) == 2
    assert "--allow-unisolated" in capsys.readouterr().err
    assert agent.run([*command, "--allow-unisolated"]) == 0


def test_the_recipes_of_the_documentation_can_be_followed_and_name_every_key_there_is(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "builds.md").read_text()
    named: set[str] = set()
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        (tmp_path / RECIPE).write_text(block)
        recipe = read_recipe(tmp_path)
        assert recipe is not None
        named |= {each.name for each in fields(Recipe) if getattr(recipe, each.name) != getattr(Recipe(), each.name)}
    assert named == {each.name for each in fields(Recipe)}
    for framework in ("DPF", "JUCE", "LV2", "CLAP"):
        assert re.search(rf"```toml\n# [^\n]*{framework}", text), framework


def test_what_nobody_has_thought_of_fails_one_build_and_is_told() -> None:
    told: list[tuple[str, dict[str, object]]] = []

    def ask(_: str, path: str, body: dict[str, object]) -> dict[str, object]:
        told.append((path, body))
        return {"cancel": False}

    def surprised(*_: object) -> None:
        raise LookupError

    facts = {"job_id": "b-linux", "fence": 1, "heartbeat_seconds": 60, "log_offset": 0, "log_bytes_max": 0}
    service, shop = (cast("Any", SimpleNamespace(**each)) for each in ({"ask": ask}, {"build": surprised}))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("adapters.runner.agent.job_of", lambda _: None)
        agent.build(Assignment(service, facts, Log(), threading.Event()), shop)
    [(path, body)] = told
    assert (path, body["status"], body["error_code"]) == ("/jobs/b-linux/finish", "failed", "runner_failed")
