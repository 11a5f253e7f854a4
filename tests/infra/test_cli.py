"""One command for everything: roles that end in good order, and mistakes that end in one line."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from infra import cli
from infra.embedded.processes import free_ports
from infra.migrate import migrate
from infra.settings import markdown, read_settings

ROOT = Path(__file__).parents[2]

COMPLETE = {
    "LEDGERLINE_POSTGRES_URL": "postgresql://db/ledgerline",
    "LEDGERLINE_NATS_URL": "nats://nats",
    "LEDGERLINE_S3_URL": "http://s3",
    "LEDGERLINE_S3_ACCESS_KEY": "key",
    "LEDGERLINE_S3_SECRET_KEY": "secret",
    "LEDGERLINE_SECRET_KEY": "k" * 40,
}


class Running:
    """A role in a process of its own, and what it logs."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.lines: list[dict[str, Any]] = []

    def until(self, event: str) -> dict[str, Any]:
        """Read the log up to this event."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        raise AssertionError(f"{event} never came; the log was {self.lines}")

    def get(self, path: str) -> int:
        """The status of a health route."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code


@contextmanager
def role(*arguments: str, place: Path, **environment: str) -> Iterator[Running]:
    port = free_ports(1)[0]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.infra.small_roles", *arguments],
        env=clean(COMPLETE | {"LEDGERLINE_DATA_DIR": str(place), "LEDGERLINE_HEALTH_PORT": str(port)} | environment),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Running(process, port)
        finally:
            process.kill()


def clean(extra: Mapping[str, str]) -> dict[str, str]:
    """This environment without settings, plus these."""
    return {name: text for name, text in os.environ.items() if not name.startswith("LEDGERLINE_")} | dict(extra)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_role_drains_on_a_signal_and_ends_with_zero(tmp_path: Path, number: signal.Signals) -> None:
    with role("relay", place=tmp_path) as relay:
        assert relay.until("role.started")["role"] == "relay"
        assert relay.get("/health") == relay.get("/ready") == 200
        relay.process.send_signal(number)
        relay.until("role.stopped")
        assert relay.process.wait(10) == 0
    assert (tmp_path / "notes").read_text().startswith("drained")


def test_a_reaction_of_its_own_carries_its_name(tmp_path: Path) -> None:
    with role("react", "--only", "analyses", place=tmp_path) as react:
        assert react.until("role.started")["role"] == "react.analyses"
        react.process.terminate()
        assert react.process.wait(10) == 0
    assert (tmp_path / "notes").read_text().rstrip().endswith(" analyses")


def test_a_role_that_fails_or_just_ends_is_a_failure_without_secrets(tmp_path: Path) -> None:
    with role("relay", place=tmp_path, SMALL_ROLES="relay=fails") as relay:
        assert "is away" in relay.until("role.failed")["exception"]
        assert relay.process.wait(10) == 1
        assert "hunter2" not in json.dumps(relay.lines)
    with role("relay", place=tmp_path, SMALL_ROLES="relay=ends") as relay:
        relay.until("role.ended")
        assert relay.process.wait(10) == 1


def test_a_role_that_does_not_drain_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with role("relay", place=tmp_path, SMALL_ROLES="relay=lingers", LEDGERLINE_DRAIN_SECONDS_MAX="0.1") as relay:
        relay.until("role.started")
        relay.process.terminate()
        relay.until("role.drained_too_long")
        assert relay.process.wait(10) == 1


def test_a_draining_role_is_not_ready_and_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with role("relay", place=tmp_path, SMALL_ROLES="relay=lingers") as relay:
        relay.until("role.started")
        relay.process.terminate()
        relay.until("role.stopping")
        assert (relay.get("/health"), relay.get("/ready")) == (200, 503)
        relay.process.terminate()
        assert relay.process.wait(10) == 130


def test_a_taken_health_port_is_one_line(tmp_path: Path) -> None:
    with role("relay", place=tmp_path) as first:
        first.until("role.started")
        second = subprocess.run(
            [sys.executable, "-m", "tests.infra.small_roles", "tick"],
            env=clean(COMPLETE | {"LEDGERLINE_HEALTH_PORT": str(first.port)}),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 2
    assert second.stderr.startswith(f"ledgerline: LEDGERLINE_HEALTH_PORT {first.port} on 127.0.0.1: ")
    assert second.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "environment", "line"),
    [
        (["relay"], {}, "LEDGERLINE_SECRET_KEY, LEDGERLINE_POSTGRES_URL, "),
        (["serve", "--port", "70000"], COMPLETE, "--port must be a whole number from 0 to 65535, not '70000'."),
        (["tick"], COMPLETE | {"LEDGERLINE_LOG_LEVEL": "loud"}, "LEDGERLINE_LOG_LEVEL must be debug or info"),
        (["up", "--port", "-1"], {}, "--port must be a whole number"),
        (["migrate"], COMPLETE | {"LEDGERLINE_SECRET_KEY": ""}, "LEDGERLINE_SECRET_KEY is missing."),
    ],
)
def test_a_mistake_ends_in_one_line(
    argv: list[str],
    environment: dict[str, str],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in list(os.environ):
        if name.startswith("LEDGERLINE_"):
            monkeypatch.delenv(name)
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr("infra.telemetry.configure", lambda *_: None)
    assert cli.main(argv, roles={}) == 2
    assert capsys.readouterr().err.startswith(f"ledgerline: {line}")


def test_the_settings_are_shown_without_their_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEDGERLINE_POSTGRES_URL", "postgresql://me:hunter2@db/x")
    monkeypatch.setenv("LEDGERLINE_SECRET_KEY", "hunter2" * 6)
    monkeypatch.setenv("LEDGERLINE_PROT", "1")
    assert cli.main(["settings"]) == 0
    shown = capsys.readouterr()
    assert "LEDGERLINE_POSTGRES_URL='postgresql://me:***@db/x'\n" in shown.out
    assert "hunter2" not in shown.out
    assert "Did you mean LEDGERLINE_PORT?" in shown.err
    assert cli.main(["settings", "--markdown"]) == 0
    assert capsys.readouterr().out == markdown()
    assert cli.main(["settings", "--json"]) == 0
    machine = json.loads(capsys.readouterr().out)
    assert machine["LEDGERLINE_POSTGRES_URL"] == "postgresql://me:***@db/x"
    assert machine["LEDGERLINE_SECRET_KEY"] == "***"


def test_the_settings_as_shown_can_be_written_back_into_an_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in list(os.environ):
        if name.startswith("LEDGERLINE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LEDGERLINE_MAIL_FROM", "A Studio <studio@example.com>")
    monkeypatch.setenv("LEDGERLINE_WEBHOOK_RETRY_SECONDS", "1,2.5")
    monkeypatch.setenv("LEDGERLINE_MONTHLY_ANALYSIS_LIMITS", "free=5,pro=50")
    monkeypatch.setenv("LEDGERLINE_EMAIL_VERIFICATION_REQUIRED", "true")
    monkeypatch.setenv("LEDGERLINE_DATA_DIR", str(tmp_path / "my data"))
    monkeypatch.setenv("LEDGERLINE_OUTBOUND_ALLOW", "10.0.0.1:8080,intranet")
    assert cli.main(["settings"]) == 0
    file = tmp_path / "environment"
    file.write_text(capsys.readouterr().out)

    sourced = subprocess.run(
        ["/bin/sh", "-c", '. "$0"; set', str(file)], env={}, check=True, capture_output=True, text=True
    ).stdout
    again = {
        name: shlex.split(text)[0]
        for name, _, text in (line.partition("=") for line in sourced.splitlines())
        if name.startswith("LEDGERLINE_") and shlex.split(text)
    }
    assert read_settings(again) == read_settings()


def test_an_unknown_command_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dance"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(name in said for name in ("up", "serve", "relay", "project", "react", "tick"))


class Tool:
    """One that is started by `check`, and ends as the test says."""

    #: What was started, and what ended it when not it itself.
    started: ClassVar[list[list[str]]] = []
    environments: ClassVar[list[dict[str, str]]] = []
    signals: ClassVar[list[int]] = []
    failing = "none"

    def __init__(self, command: list[str], *, env: dict[str, str], **_: object) -> None:
        self.started.append(command[2:])
        self.environments.append(env)
        self.returncode = 3 if command[2] == self.failing else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to wait for."""

    def wait(self) -> int:
        return self.returncode

    def send_signal(self, number: int) -> None:
        self.signals.append(number)


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> type[Tool]:
    for kept in (Tool.started, Tool.environments, Tool.signals):
        kept.clear()
    monkeypatch.setattr("subprocess.Popen", Tool)
    return Tool


@pytest.mark.parametrize(
    ("failing", "started", "signals"),
    [
        ("ruff", ["ruff"], []),
        ("mypy", ["ruff", "ruff", "mypy", "pytest"], [signal.SIGINT]),
        ("pytest", ["ruff", "ruff", "mypy", "pytest"], []),
    ],
)
def test_check_stops_at_the_first_failure(
    tool: type[Tool], monkeypatch: pytest.MonkeyPatch, failing: str, started: list[str], signals: list[int]
) -> None:
    monkeypatch.setattr(Tool, "failing", failing)
    assert cli.main(["check"]) == 3
    assert [command[0] for command in tool.started] == started
    assert tool.signals == signals


def test_check_hands_its_arguments_to_pytest(tool: type[Tool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    assert cli.main(["check", "tests/infra", "-k", "name"]) == 0
    assert tool.started[-1] == ["pytest", "tests/infra", "-k", "name"]
    assert cli.main(["check"]) == 0
    assert tool.started[-1][:2] == ["pytest", "-n"]
    # Whoever wants no bytecode beside the sources has it elsewhere, or each process would compile everything anew.
    assert "PYTHONDONTWRITEBYTECODE" not in tool.environments[-1]
    assert tool.environments[-1]["PYTHONPYCACHEPREFIX"].startswith(sys.prefix)


def test_an_unknown_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["migrate", "--fast"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ledgerline: No such option")
    assert "--fast" in said
    assert "`ledgerline migrate --help`" in said


@pytest.mark.parametrize(
    "argv",
    [["log", "search", "--text"], ["log", "tail", "--stream"], ["log", "explain"], ["parked", "list", "--problem"]],
    ids=" ".join,
)
def test_bytes_that_are_no_text_and_a_database_that_is_away_end_in_one_line(
    argv: list[str],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    migrate(database_url)
    for name, text in (COMPLETE | {"LEDGERLINE_POSTGRES_URL": database_url}).items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr("infra.telemetry.configure", lambda *_: None)
    assert cli.main([*argv, "\udcff"]) == 2
    assert capsys.readouterr().err == "ledgerline: An argument, or a file that one names, is no text in UTF-8.\n"
    monkeypatch.setenv("LEDGERLINE_POSTGRES_URL", "postgresql://me:hunter2@127.0.0.1:9/x")
    assert cli.main([*argv, "x"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("ledgerline: The database cannot be asked: ")
    assert said.count("\n") == 1
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("argv", "is_migrated", "sentence"),
    [
        (["status"], False, "The database has not the shape that this version needs. "),
        (["verify", "--only", "stream"], True, "NATS cannot be asked: "),
        (["backup", "DIRECTORY", "--passphrase-file", "FILE"], True, "The object store is away for the moment. "),
    ],
    ids=["no shape", "no NATS", "no object store"],
)
def test_a_server_that_is_away_or_empty_ends_in_one_line(
    argv: list[str],
    is_migrated: bool,
    sentence: str,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if is_migrated:
        migrate(database_url)
    (tmp_path / "passphrase").write_text("correct horse battery staple")
    places = {"DIRECTORY": str(tmp_path / "backup"), "FILE": str(tmp_path / "passphrase")}
    away = {"LEDGERLINE_NATS_URL": "nats://127.0.0.1:9", "LEDGERLINE_S3_URL": "http://127.0.0.1:9"}
    for name, text in (COMPLETE | away | {"LEDGERLINE_POSTGRES_URL": database_url}).items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr("infra.telemetry.configure", lambda *_: None)
    assert cli.main([places.get(word, word) for word in argv]) in (1, 2)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"ledgerline: {sentence}")


def test_help_is_for_reading_and_a_version_for_telling(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert said.index("Run it:") < said.index("  up ") < said.index("Look after it:") < said.index("  replay ")
    assert "\x1b" not in said  # nobody sees colours here
    assert all(each.help for each in cli.commands().values())
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ledgerline 0.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    assert "_LEDGERLINE_COMPLETE" in capsys.readouterr().out
    words = {"bash": "COMP_WORDS", "zsh": "COMP_WORDS", "fish": "COMP_WORDS"}[shell]
    answer = subprocess.run(
        [sys.executable, "-m", "infra.cli"],
        env=clean({"_LEDGERLINE_COMPLETE": f"{shell}_complete", words: "ledgerline re", "COMP_CWORD": "1"}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    if shell != "fish":  # fish is given the word itself
        assert "replay" in answer
        assert "serve" not in answer


def test_an_extension_brings_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    room = tmp_path / "cider_house" / "infra" / "cli"
    room.mkdir(parents=True)
    for folder in (room.parent.parent, room.parent, room):
        (folder / "__init__.py").touch()
    (room / "press.py").write_text(
        "import click\n"
        "from infra.cli import command\n"
        "@command('press', heading='Cider')\n"
        "def press() -> int:\n"
        "    'Press apples.'\n"
        "    click.echo('pressed')\n"
        "    return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LEDGERLINE_EXTENSIONS", "cider_house")

    assert cli.main(["press"]) == 1
    assert capsys.readouterr().out == "pressed\n"
    assert cli.main(["--help"]) == 0
    assert "Cider:" in capsys.readouterr().out


def test_help_asks_for_nothing_heavy() -> None:
    program = (
        "import sys; from infra import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'av', 'aubio', 'matplotlib', 'litestar', 'eventsourcing'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)
