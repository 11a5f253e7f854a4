"""Every command with arguments that nobody means, one at a time: a sentence and an exit status, never a traceback.

The commands and what each takes are asked of click, so that one that comes is walked like those that are there.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from adapters.band.compose import UnplayableBrief
from adapters.ears.listening import Ears
from adapters.runner import agent
from domain.analyses.findings import Unreadable
from domain.sections import CannotStart
from infra import cli, supervisor
from infra.migrate import migrate
from tests.conftest import Databases
from tests.infra.test_cli import COMPLETE

#: `\udcff` is how Python shows a byte that is no text; nothing that is typed can hold a NUL.
TEXTS = (
    "",
    "-",
    "\udcff",
    "\x1b[31m\x07\r",
    "[/red][bold",
    "%s{}'; DROP TABLE jobs; --",
    "00000000-0000-4000-8000-000000000000",
    "9999-12-31T23:59:59-14:00",
    "a" * 70_000,
)
NUMBERS = ("", "x", "-1", "0", "1.5", "9" * 400, "9" * 70_000, "nan", "inf", "1e999")
#: What each command needs besides, to be looked at at all.
NEEDED = {
    "analyze": ["{file}"],
    "completion": ["bash"],
    "evaluate": ["{manifest}"],
    "generate": ["LoFi - Melodic/Calm", "--out", "{here}/beat.wav"],
    "import": ["{file}", "--key", "bz_wrong", "--url", "http://127.0.0.1:9"],
    "replay": ["tracks"],
    "subscribe": ["--key", "bz_wrong", "--url", "http://127.0.0.1:9"],
    "log show": ["1"],
    "log explain": ["1"],
    "parked show": ["1"],
    "parked skip": ["--yes", "--position", "1"],
    "backup": ["{here}/backup", "--passphrase-file", "{passphrase}"],
    "restore": ["{empty}", "--passphrase-file", "{passphrase}"],
}
#: What needs no more than the database, and is done; of all others it is looked at up to where their servers begin.
ASKS_THE_DATABASE = ("log ", "parked", "retry", "operator", "keys")
ROLES = ("serve", "relay", "project", "react", "tick")


class WouldStart(CannotStart):
    """It would have started."""


def _would_start(*_: Any, **__: Any) -> None:
    raise WouldStart("It would have started.")


async def _a_role(*_: Any, **__: Any) -> None:
    _would_start()


async def _nothing_heard(*_: Any, **__: Any) -> None:
    raise Unreadable("Nobody listens.")


def _nothing_played(*_: Any, **__: Any) -> None:
    raise UnplayableBrief("Nobody plays.")


def _once() -> Iterator[float]:
    _would_start()
    yield 0.0


def _migrated(url: str) -> None:
    migrate(url)


def every_command(among: dict[str, Any], before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Each command by the words that call it; a group that does something by itself is one too."""
    for name, found in sorted(among.items()):
        if not isinstance(found, click.Group) or found.invoke_without_command:
            yield before + name, found
        if isinstance(found, click.Group):
            yield from every_command(dict(found.commands), f"{before}{name} ")


COMMANDS = [*every_command(dict(cli.commands()))]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files and folders, hardly any of which is what it should be."""
    here = tmp_path_factory.mktemp("places")
    (here / "file").write_bytes(b"\xff\xfe\0\x1b[31m")
    (here / "passphrase").write_text("correct horse battery staple\n")
    (here / "manifest.csv").write_text("path,bpm\nsong.wav,fast\n")
    (here / "empty").mkdir()
    (here / "loop").symlink_to(here / "loop")
    found = {name: str(here / name) for name in ("file", "passphrase", "empty", "loop")}
    return found | {"here": str(here), "manifest": str(here / "manifest.csv")}


def paths(places: dict[str, str], ending: str = "") -> tuple[str, ...]:
    """What is no file, or not the one that is wanted; `ending` is what names of those end in."""
    here = places["here"]
    return (
        *(places["file"], places["empty"], places["loop"], f"{places['file']}/below", f"{here}/not/there{ending}"),
        *(f"{here}/{'a' * 300}{ending}", f"{here}/\udcff[/red]{ending}", "/dev/null", "/dev/full", "/dev/zero"),
    )


def values(parameter: click.Parameter, places: dict[str, str]) -> tuple[str, ...]:
    """What is given for a parameter, by what it is said to be."""
    if isinstance(parameter.type, click.Path):
        return (*TEXTS, *paths(places, Path(str(parameter.metavar)).suffix))
    if isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType):
        return NUMBERS
    return (*TEXTS, "9" * 5_000) if isinstance(parameter.type, click.types.StringParamType) else TEXTS[:4]


def of_a_runner(places: dict[str, str]) -> Iterator[list[str]]:
    """A runner reads its arguments by itself, since it runs without the rest."""
    parser = argparse.ArgumentParser()
    agent.arguments(parser)
    needed = ["runner", "--url", "http://127.0.0.1:9", "--work-dir", f"{places['here']}/rooms"]
    yield needed
    for option in re.findall(r"^  (--[a-z-]+) [A-Z]", parser.format_help(), re.MULTILINE):
        for value in (*TEXTS, *NUMBERS, *paths(places)):
            yield [*needed, f"{option}={value}"]


def attacks(name: str, command: click.Command, places: dict[str, str]) -> Iterator[list[str]]:
    """The command with one argument wrong, another each time; with too few, too many and unknown ones."""
    words, needed = name.split(), [each.format(**places) for each in NEEDED.get(name, [])]
    yield [*words, *needed]
    yield [*words, *needed, "--no-such-option"]
    yield [*words, *needed, "one", "more", "\udcff"]
    if needed:
        yield words
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            yield from ([*words, *needed[1:], "--", value] for value in values(parameter, places))
        elif isinstance(parameter, click.Option) and not parameter.is_flag:
            yield from ([*words, *needed, parameter.opts[-1], value] for value in values(parameter, places))
    if name == "runner":
        yield from of_a_runner(places)


def _a_tool_that_fails(*_: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/false"])


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_whatever_is_typed_is_answered_in_a_sentence(
    name: str,
    command: click.Command,
    places: dict[str, str],
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    for variable in [each for each in os.environ if each.startswith("LEDGERLINE_")]:
        monkeypatch.delenv(variable)
    complete = COMPLETE | {"LEDGERLINE_DATA_DIR": f"{places['here']}/data"}
    if name.startswith(ASKS_THE_DATABASE):
        complete |= {"LEDGERLINE_POSTGRES_URL": databases.copy_of("migrated", _migrated)}
    else:
        monkeypatch.setattr("infra.running.require_all", _would_start)
    for variable, text in complete.items():
        monkeypatch.setenv(variable, text)
    monkeypatch.setattr("infra.telemetry.configure", lambda *_: None)
    monkeypatch.setattr("infra.cli.backup._into_a_directory", _would_start)
    monkeypatch.setattr(supervisor.Supervisor, "_start_servers_and_migrate", _a_role)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, b"5.2"))
    # `check` would begin all tests once more, and they this one.
    monkeypatch.setattr("infra.cli.check._started", _a_tool_that_fails)
    monkeypatch.setattr(Ears, "listen", _nothing_heard)
    monkeypatch.setattr(agent, "probe", _would_start)
    monkeypatch.setattr("adapters.runner.agent._take", lambda _: True)
    monkeypatch.setattr("adapters.runner.agent.signal.signal", lambda *_: None)
    monkeypatch.setattr("adapters.band.engine.make", _nothing_played)
    monkeypatch.setattr("infra.subscribing.retries", _once)
    monkeypatch.chdir(places["empty"])
    # What `-` reads: nobody is at the keyboard.
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff" * 2_000 + b"\n")))
    wrong = []
    for argv in attacks(name, command, places):
        try:
            status = cli.main(argv, roles=dict.fromkeys(ROLES, _a_role))
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except BaseException as problem:  # noqa: BLE001 - what would be a traceback is what is looked for
            wrong.append((argv, repr(problem)))
            continue
        told = capfdbinary.readouterr()
        if status not in (0, 1, 2) or b"Traceback" in told.err + told.out or (status == 2 and not told.err.strip()):
            wrong.append((argv, f"{status} {told.err[-200:]!r}"))
    assert not wrong, "\n".join(f"{' '.join(argv)[:200]!a}: {said[:300]}" for argv, said in wrong)
