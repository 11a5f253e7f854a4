"""`up` brings everything to life, keeps it alive whatever is killed, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from domain.sections import Url
from infra.embedded.processes import free_ports
from infra.settings import Settings
from infra.supervisor import STARTING_SECONDS_MAX, Patience, all_parts, ledgerline, waiting_for, welcome

ROOT = Path(__file__).parents[2]

UP = """
import asyncio, os, sys
from pathlib import Path
from infra import supervisor, telemetry
from infra.supervisor import Supervisor

def small(arguments):
    return [sys.executable, "-m", "tests.infra.small_roles", *arguments]

original = Supervisor.__init__
Supervisor.__init__ = lambda self, settings, parts: original(self, settings, parts, command=small)
asked, answers = set(), supervisor.answers

async def stumbling(path, host, port, seconds_max=2.0):
    if (path, port) not in asked:
        asked.add((path, port))
        raise RuntimeError("the first time is hard")
    return await answers(path, host, port, seconds_max)

if "STUMBLING" in os.environ:
    supervisor.answers = stumbling
try:
    sys.exit(supervisor.up(host=None, port=int(sys.argv[2]), data_dir=Path(sys.argv[1]), without_runner=True))
except (supervisor.SettingsError, supervisor.EmbeddedServerError) as error:
    sys.exit(f"ledgerline: {error}")
"""


class Up:
    """A running `up` with small roles, and what it says."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.lines: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self.said: list[str] = []
        self._threads = [
            threading.Thread(target=self._read_log, daemon=True),
            threading.Thread(target=self._read_words, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.errors.append(line)

    def _read_words(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(self.process.stdout)

    def finish(self) -> int:
        """Wait for the end and everything that was said."""
        status = self.process.wait(60)
        for thread in self._threads:
            thread.join(10)
        return status

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Until it is so, or it ended, or a minute has passed."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, (self.lines, self.errors)
            assert self.process.poll() is None or condition(), (self.lines, self.errors)
            time.sleep(0.02)

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: any(f"is ready at http://127.0.0.1:{self.port}" in line for line in self.said))

    def is_ready(self) -> bool:
        """Whether it can serve now."""
        with suppress(OSError):
            return bool(urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=5).status == 200)
        return False

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of this event so far."""
        return [line for line in self.lines if line["event"] == name]

    def family(self) -> dict[str, psutil.Process]:
        """The children by what they are."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                command = child.cmdline()
            except psutil.Error:
                continue
            if "tests.infra.small_roles" in command:
                found[" ".join(command[command.index("tests.infra.small_roles") + 1 :])] = child
            elif command:
                found[Path(command[0]).name] = child
        return found


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ll-") as directory:
        yield Path(directory)


@contextmanager
def up(place: Path, port: int | None = None, **environment: str) -> Iterator[Up]:
    port = free_ports(1)[0] if port is None else port
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("LEDGERLINE_")}
    process = subprocess.Popen(
        [sys.executable, "-c", UP, str(place), str(port)],
        env=inherited | environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        running = Up(process, port)
        try:
            yield running
        finally:
            children = psutil.Process(process.pid).children() if process.poll() is None else []
            process.kill()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.resume()  # what a test has suspended must hear that it is over


#: Queues whose work is done in processes of their own.
APART = ("analyses", "generations", "imports")
REACT = ("react", *(word for name in APART for word in ("--without", name)))
ALL = {"serve", "relay", "project", " ".join(REACT), *(f"react --only {name}" for name in APART), "tick"}
SERVERS = {"postgres", "nats-server", "weed"}


def test_everything_starts_survives_every_kill_stops_in_order_and_starts_again(place: Path) -> None:
    with up(place) as first:
        first.wait_until_ready()
        assert set(first.family()) == ALL | SERVERS
        assert first.is_ready()
        said = "".join(first.said)
        for word in ("/docs", "/openapi.json", "curl -X POST", "/v1/auth/register", str(place), "Ctrl-C"):
            assert word in said

        before = {name: process.pid for name, process in first.family().items()}
        for process in first.family().values():
            process.kill()
        first.wait_for(
            lambda: (
                set(family := first.family()) == ALL | SERVERS
                and not {process.pid for process in family.values()} & set(before.values())
            )
        )
        # A process is there before it is said that it works again.
        first.wait_for(
            lambda: {line["server"] for line in first.events("server.revived")} == {"postgres", "nats", "blobs"}
        )
        assert {line["part"] for line in first.events("role.died")} >= {"serve", "relay", "project", "tick"}

        first.wait_for(lambda: len(first.events("role.started")) == 2 * len(ALL))
        first.process.send_signal(signal.SIGINT)
        assert first.finish() == 0
        assert first.errors == []
    assert len((place / "notes").read_text().splitlines()) == len(ALL)

    with up(place) as second:
        second.wait_until_ready()
        note = json.loads((place / "postgres" / "server.json").read_text())
        url = f"postgresql://ledgerline:{note['password']}@127.0.0.1:{note['ports'][0]}/ledgerline"
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) > 0 FROM migrations").fetchone() == (True,)

        with up(place) as rival:
            assert rival.finish() == 1
            assert f"(Ledgerline) is in use by process {second.process.pid}." in "".join(rival.errors)
        with up(place.with_name(place.name + "-other"), port=second.port) as rival:
            assert rival.finish() == 1
            assert f"Port {second.port} on 127.0.0.1 cannot be used: address already in use" in "".join(rival.errors)
            assert "--port" in "".join(rival.errors)

        family = second.family()
        second.process.kill()
        psutil.wait_procs(list(family.values()), timeout=30)
    assert [name for name, process in family.items() if _lives(process)] == []


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_role_that_keeps_dying_is_tried_with_growing_waits(place: Path) -> None:
    with up(place, SMALL_ROLES="tick=fails") as running:
        running.wait_for(lambda: len(running.events("role.died")) >= 4)
        waits = [line["again_in_seconds"] for line in running.events("role.died")]
        assert waits[0] == 0
        assert waits[1:4] == sorted(set(waits[1:4]))
        assert not any("is ready at" in line for line in running.said), "it must not claim to be ready"
        running.process.terminate()
        assert running.finish() == 0


def test_a_role_that_lives_and_answers_nobody_is_killed_and_started_again(place: Path) -> None:
    with up(place, LEDGERLINE_ROLE_SILENCE_SECONDS_MAX="4", STUMBLING="1") as running:
        running.wait_until_ready()
        # Whoever asks goes on asking, whatever went wrong in between.
        running.wait_for(lambda: len(running.events("up.stumbled")) == 2 * len(ALL))
        before = running.family()
        hanging = {name: before[name] for name in ("serve", "relay")}
        for process in hanging.values():
            process.suspend()
        running.wait_for(lambda: {line["part"] for line in running.events("role.silent")} == set(hanging))
        running.wait_for(
            lambda: (
                set(family := running.family()) == ALL | SERVERS
                and all(family[name].pid != process.pid for name, process in hanging.items())
            )
        )
        running.wait_for(lambda: len(running.events("role.started")) == len(ALL) + len(hanging))
        running.wait_for(running.is_ready)
        after = running.family()
        assert {name for name in before if after[name].pid != before[name].pid} == set(hanging), "the others go on"
        assert all(line["seconds"] >= 4 for line in running.events("role.silent"))
        assert {line["level"] for line in running.events("role.died")} == {"info"}, (
            "that they were silent was the error"
        )
        running.process.send_signal(signal.SIGINT)
        assert running.finish() == 0


def test_a_role_whose_start_takes_too_long_has_twice_as_long_the_next_time_until_it_has_answered() -> None:
    patience = Patience()
    allowed = []
    for _ in range(6):
        patience.started()
        allowed.append(patience.lasts(30) / STARTING_SECONDS_MAX)
        patience.ended()
    assert allowed == [1, 2, 4, 8, 8, 8]
    patience.started()
    patience.heard()
    assert patience.lasts(30) == 30
    patience.ended()
    patience.started()
    assert patience.lasts(30) == STARTING_SECONDS_MAX, "one that has answered did not start in vain"
    assert patience.lasts(2 * STARTING_SECONDS_MAX) == 2 * STARTING_SECONDS_MAX


def test_a_server_that_hangs_is_started_again(place: Path) -> None:
    with up(place, LEDGERLINE_ROLE_SILENCE_SECONDS_MAX="1") as running:
        running.wait_until_ready()
        running.family()["nats-server"].send_signal(signal.SIGSTOP)
        running.wait_for(lambda: running.events("server.silent"))
        running.wait_for(lambda: running.events("server.revived"))
        running.wait_for(running.is_ready)
        # One fault, one error.
        assert {line["level"] for line in running.events("server.silent")} == {"error"}
        assert {line["level"] for line in running.events("server.died")} == {"info"}


def test_what_a_killed_role_left_in_its_temporary_directory_is_swept(place: Path) -> None:
    with up(place) as running:
        running.wait_until_ready()
        recording = place / "tmp" / "analyses" / "song.wav"
        recording.write_bytes(b"RIFF")
        running.family()["react --only analyses"].kill()
        running.wait_for(lambda: running.events("role.died"))
        running.wait_for(lambda: not recording.exists())


def test_a_role_that_was_told_to_stop_may_end_its_work_though_it_answers_nobody(place: Path) -> None:
    with up(
        place,
        SMALL_ROLES="serve=drains",
        DRAINING_SECONDS="4",
        LEDGERLINE_ROLE_SILENCE_SECONDS_MAX="2",
        LEDGERLINE_DRAIN_SECONDS_MAX="8",
    ) as running:
        running.wait_until_ready()
        before = running.family()
        # While its server is down somebody takes the port, so it comes back elsewhere, and every role is told to stop.
        note = json.loads((place / "nats" / "server.json").read_text())
        psutil.Process(running.process.pid).suspend()
        before["nats-server"].kill()
        with _taken(note["ports"][0]):
            psutil.Process(running.process.pid).resume()
            running.wait_for(lambda: running.events("server.moved"))
        running.wait_for(lambda: running.family().get("serve", before["serve"]).pid != before["serve"].pid)
        assert f"drained {before['serve'].pid} serve" in (place / "notes").read_text()
        assert running.events("role.silent") == []
        running.process.send_signal(signal.SIGINT)
        assert running.finish() == 0


def _taken(port: int) -> socket.socket:
    """The port, as soon as its owner has let go of it."""
    deadline = time.monotonic() + 30
    while True:
        with suppress(OSError):
            return socket.create_server(("127.0.0.1", port))
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_role_that_ignores_the_signal_is_killed_and_a_second_ctrl_c_does_not_wait(place: Path) -> None:
    with up(place, SMALL_ROLES="tick=blocks") as running:
        running.wait_until_ready()
        running.process.send_signal(signal.SIGINT)
        running.wait_for(lambda: len(running.events("role.stopped")) == len(ALL) - 1)
        running.wait_for(lambda: any("press Ctrl-C again to stop now" in line for line in running.said))
        running.process.send_signal(signal.SIGINT)
        assert running.finish() == 0


def test_a_failing_migration_stops_the_start_and_the_servers(place: Path) -> None:
    with up(place, LEDGERLINE_POSTGRES_URL="postgresql://me@127.0.0.1:1/x?connect_timeout=1") as running:
        assert running.finish() == 1
    assert "ledgerline: The database could not be migrated" in "".join(running.errors)
    (place / "nats").rename(place / "elsewhere")  # nobody holds it any more


def test_a_missing_secret_key_is_not_replaced_by_a_new_one(place: Path) -> None:
    (place / "postgres").mkdir()
    (place / "postgres" / "initialised").touch()
    with up(place) as running:
        assert running.finish() == 1
    assert f"{place / 'secret_key'} is gone" in "".join(running.errors)
    assert not (place / "secret_key").exists()


def test_an_address_of_another_machine_is_refused_before_anything_starts(place: Path) -> None:
    with up(place, LEDGERLINE_HOST="203.0.113.1") as running:
        assert running.finish() == 1
    assert "on 203.0.113.1 cannot be used: cannot assign requested address" in "".join(running.errors)
    assert not (place / "postgres").exists()


def test_a_file_for_a_directory_is_refused_in_one_line(place: Path) -> None:
    (place / "file").touch()
    with up(place / "file") as running:
        assert running.finish() == 1
    (line,) = running.errors
    assert line == f"ledgerline: {place / 'file'} is not a directory. Move that file away or choose another place.\n"


def test_roles_run_from_this_installation_and_not_from_the_current_directory(tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    shown = subprocess.run(
        ledgerline(["settings", "--markdown"]), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "| Variable |" in shown.stdout


def test_all_reactions_run_somewhere_and_none_twice() -> None:
    assert [part.arguments for part in all_parts() if part.arguments[0] == "react"] == [
        REACT,
        *(("react", "--only", name) for name in APART),
    ]


def test_up_knows_every_queue_also_before_anything_else_is_loaded() -> None:
    """What another test has imported would hide a queue that nobody has looked for."""
    asked = (
        "from infra.supervisor import all_parts; from commands.kernel import REACTIONS; all_parts(); "
        "known = set(REACTIONS); from infra.container import load_everything; load_everything(); "
        "print(sorted(set(REACTIONS) - known))"
    )
    told = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_whoever_waits_for_the_end_is_told_what_for() -> None:
    """Roles that are merely slow to end are no jobs."""
    assert waiting_for(["serve", "tick"], {}) == "Waiting for serve, tick to end; press Ctrl-C again to stop now."
    again = "\nWhat is stopped is done again after the next start."
    for jobs, said in (
        ({"analyses": 1}, "1 analysis"),
        ({"analyses": 3}, "3 analyses"),
        ({"mail": 1}, "1 job (1 of mail)"),
        ({"mail": 1, "analyses": 2}, "3 jobs (2 of analyses, 1 of mail)"),
    ):
        assert waiting_for(["serve", "analyses"], jobs) == (
            f"Waiting for {said} to end; press Ctrl-C again to stop now.{again}"
        )


def test_the_welcome_names_the_public_address() -> None:
    said = welcome(
        Settings(public_url=Url("https://beats.example/"), data_dir=Path("/srv/beats")), {"postgres", "nats", "blobs"}
    )
    assert "https://beats.example/docs" in said
    assert "127.0.0.1" not in said
    assert "not in that directory" not in said


def test_the_welcome_says_which_server_is_elsewhere() -> None:
    settings = Settings(postgres_url=Url("postgresql://me:hunter2@db/x"), data_dir=Path("/srv/beats"))
    said = welcome(settings, {"nats", "blobs"})
    assert re.search(r"PostgreSQL +postgresql://me:\*\*\*@db/x, not in that directory", said)
    assert "hunter2" not in said


def test_data_in_the_directory_and_a_server_elsewhere_contradict_each_other(place: Path) -> None:
    (place / "postgres").mkdir()
    (place / "postgres" / "server.json").write_text("{}")
    with up(place, LEDGERLINE_POSTGRES_URL="postgresql://me@127.0.0.1:1/x") as running:
        assert running.finish() == 1
    (line,) = running.errors
    assert f"{place} holds data of a PostgreSQL of its own, and LEDGERLINE_POSTGRES_URL names another one" in line


def test_port_zero_takes_a_free_one(place: Path) -> None:
    with up(place, port=0, LEDGERLINE_POSTGRES_URL="postgresql://me@127.0.0.1:1/x?connect_timeout=1") as running:
        assert running.finish() == 1
    assert "could not be migrated" in "".join(running.errors)
    with socket.create_server(("127.0.0.1", 0)):
        pass
