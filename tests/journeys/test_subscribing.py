"""Whoever subscribes from another machine: printed, handed on, posted, remembered; and the documentation's examples."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from commands.settings import Service
from infra import subscribing
from infra.cli import main
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import ROOT, Neighbour, Process, Stack, eventually

Json = dict[str, Any]
TYPES = "webhooks.EndpointRegistered"


@pytest.fixture(scope="module")
def door(stack: Stack) -> Iterator[Process]:
    """A process whose streams last."""
    with stack.doorway(stream_seconds_max=600, stream_heartbeat_seconds=0.3) as process:
        yield process


class Subscriber:
    """A workspace, and what it takes to follow it."""

    def __init__(self, client: httpx.Client, url: str) -> None:
        self.who: Visitor = sign_in(client)
        self.url = url
        self.key = str(self.who.key("events:read")["plaintext_key"])
        self.environment = {"LEDGERLINE_URL": url, "LEDGERLINE_API_KEY": self.key}

    def happens(self) -> str:
        """Something happens: the id of an endpoint that is registered."""
        wish = {"url": f"https://example.com/{uuid4().hex}", "enabled": False}
        answer = self.who.post("/v1/webhook-endpoints", wish)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def run(self, *arguments: str) -> int:
        """`ledgerline subscribe` for what is there, in this process."""
        options = ["--url", self.url, "--key", self.key, "--type", TYPES, "--no-follow"]
        return main(["subscribe", *options, *arguments])


@pytest.fixture
def subscriber(client: httpx.Client, door: Process, monkeypatch: pytest.MonkeyPatch) -> Subscriber:
    monkeypatch.setattr(subscribing, "RETRY_SECONDS", 0.05)
    return Subscriber(client, f"http://127.0.0.1:{door.settings[Service].port}")


def lines(text: str) -> list[str]:
    """The endpoints of printed events."""
    return [json.loads(line)["data"]["endpoint_id"] for line in text.splitlines()]


def test_every_event_is_a_line_and_a_checkpoint_goes_on_after_the_last(
    subscriber: Subscriber, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    made = [subscriber.happens() for _ in range(3)]
    kept = tmp_path / "checkpoint"
    assert subscriber.run("--checkpoint", str(kept)) == 0
    printed = capfdbinary.readouterr().out.decode()
    assert lines(printed) == made
    last = json.loads(printed.splitlines()[-1])
    assert int(kept.read_text()) >= int(last["sequence"])
    more = subscriber.happens()
    # What is remembered counts more than where one said to begin.
    assert subscriber.run("--checkpoint", str(kept), "--from", "0") == 0
    assert lines(capfdbinary.readouterr().out.decode()) == [more]
    assert subscriber.run("--from", last["sequence"]) == 0
    assert lines(capfdbinary.readouterr().out.decode()) == [more]
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint"]


def test_a_command_is_given_each_event_until_it_succeeds_and_only_then_is_it_done_with(
    subscriber: Subscriber, tmp_path: Path
) -> None:
    made = [subscriber.happens() for _ in range(2)]
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, pathlib\n"
        f"seen = pathlib.Path({str(tmp_path / 'seen')!r})\n"
        f"kept = pathlib.Path({str(tmp_path / 'checkpoint')!r})\n"
        "before = seen.read_text() if seen.exists() else ''\n"
        "event = sys.stdin.read()\n"
        "seen.write_text(before + event)\n"
        "(seen.parent / 'kept').open('a').write((kept.read_text() if kept.exists() else '0') + '\\n')\n"
        "sys.exit(0 if event in before else 7)\n"
    )
    checkpoint = tmp_path / "checkpoint"
    assert subscriber.run("--exec", f"{sys.executable} {program}", "--checkpoint", str(checkpoint)) == 0
    assert lines((tmp_path / "seen").read_text()) == [made[0], made[0], made[1], made[1]]
    remembered = [int(each) for each in (tmp_path / "kept").read_text().split()]
    first = int(json.loads((tmp_path / "seen").read_text().splitlines()[0])["sequence"])
    # While the second is worked on, the first is remembered, and not before it is done with.
    assert remembered[0] == remembered[1] < first <= remembered[2] == remembered[3]


def test_events_are_posted_until_they_are_taken(subscriber: Subscriber, receiver: Neighbour) -> None:
    made = [subscriber.happens() for _ in range(2)]
    place = uuid4().hex
    receiver.answer(place, 503, 200, 429, 200)
    assert subscriber.run("--post", receiver.at(place)) == 0
    posts = receiver.received(place)
    assert [each.json["data"]["endpoint_id"] for each in posts] == [made[0], made[0], made[1], made[1]]
    assert {each.headers["content-type"] for each in posts} == {"application/cloudevents+json"}
    assert posts[0].body == posts[1].body


@contextmanager
def running(words: list[str], environment: dict[str, str], path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program of its own, whose output is in files."""
    with (path / "out").open("wb") as out, (path / "err").open("wb") as err:
        process = subprocess.Popen(
            words, cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=err,
            # Whoever runs the tests in the background ignores Ctrl-C, and so would this.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one system call
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def test_it_goes_on_over_a_restart_of_the_service_without_a_gap_or_a_double_and_ends_at_ctrl_c(
    subscriber: Subscriber, door: Process, tmp_path: Path
) -> None:
    made = [subscriber.happens()]
    words = [sys.executable, "-m", "infra.cli", "subscribe", "--type", TYPES, "--checkpoint", str(tmp_path / "kept")]
    with running(words, subscriber.environment, tmp_path) as process:
        out, err = tmp_path / "out", tmp_path / "err"
        eventually(lambda: lines(out.read_text()) == made)
        made.append(subscriber.happens())
        eventually(lambda: lines(out.read_text()) == made)
        assert door.stop() == 0
        made.append(subscriber.happens())
        door.start()
        eventually(lambda: lines(out.read_text()) == made, timeout=60)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert "Traceback" not in err.read_text()
        last = json.loads(out.read_text().splitlines()[-1])
        assert int((tmp_path / "kept").read_text()) >= int(last["sequence"])
        assert subscriber.key not in err.read_text()


def _follows(path: Path, made: str) -> None:
    eventually(lambda: made in (path / "out").read_text())
    last = (path / "out").read_text().splitlines()[-1].split()[0]
    eventually(lambda: (path / "checkpoint").read_text() == last)


@pytest.mark.parametrize("name", ["follow.py", "follow.mjs"])
def test_an_example_of_the_documentation_follows_and_remembers(
    subscriber: Subscriber, tmp_path: Path, name: str
) -> None:
    program = sys.executable if name.endswith(".py") else shutil.which("node")
    if program is None:
        pytest.skip("there is no node here")
    code = [line for line in (ROOT / "docs" / "examples" / name).read_text().splitlines() if line.strip()]
    assert len(code) <= 32
    first = subscriber.happens()
    words = [program, f"docs/examples/{name}", str(tmp_path / "checkpoint")]
    for made in (first, ""):
        with running(words, subscriber.environment, tmp_path):
            _follows(tmp_path, made or subscriber.happens())
    assert first not in (tmp_path / "out").read_text(), "it went on after what it had done"


#: How a receiver begins its answer to each post, and how it goes on for ever.
ENDLESS = {
    "says nothing more": [(b"HTTP/1.1 200 OK\r\n\r\nThank you, and ", b"")],
    "thanks letter by letter": [(b"HTTP/1.1 200 OK\r\n\r\n", b"T")],
    "says the rest of its head letter by letter": [(b"HTTP/1.1 200 OK\r\nX: ", b"Y")],
    "answers letter by letter, and then at once": [(b"HTTP/1.", b"1"), (b"HTTP/1.1 200 OK\r\n\r\n", b"")],
}


@pytest.mark.parametrize("how", ENDLESS)
def test_no_receiver_keeps_an_event_for_ever(
    subscriber: Subscriber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(subscribing, "ANSWER_SECONDS_MAX", 0.5)
    monkeypatch.setattr(subscribing, "WORDS_SECONDS_MAX", 0.5)
    made, checkpoint = subscriber.happens(), tmp_path / "kept"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)

        def take(first: bytes, letter: bytes) -> None:
            line, _ = listening.accept()
            received = b""
            with line, suppress(ConnectionError):
                while made.encode() not in received:
                    received += line.recv(65536)
                line.sendall(first)
                # Until they have gone.
                while not select.select([line], [], [], 0.05)[0]:
                    line.sendall(letter)

        def take_at_last() -> None:
            for first, letter in ENDLESS[how]:
                take(first, letter)

        with ThreadPoolExecutor() as receivers:
            taken = receivers.submit(take_at_last)
            at = f"http://127.0.0.1:{listening.getsockname()[1]}/in"
            assert subscriber.run("--post", at, "--checkpoint", str(checkpoint)) == 0
            taken.result()
    assert int(checkpoint.read_text()) > 0


def test_what_has_ended_a_command_is_said(
    subscriber: Subscriber, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "dies-once"
    program.write_text('#!/bin/sh\n[ -e "$0.over" ] && exit 0\n: > "$0.over"\nkill -KILL $$\n')
    program.chmod(0o700)
    subscriber.happens()
    assert subscriber.run("--exec", str(program)) == 0
    assert "dies-once was ended by signal 9; again" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--key", "wrong"], "401"),
        (["--key", "wro\nng"], "line breaks"),
        (["--type", "builds.Nothing"], "422"),
        (["--type", "a b"], "422"),
        (["--url", "nats://127.0.0.1:1"], "http://"),
        (["--url", "http://127.0.0.1:port"], "http://"),
        (["--url", "nothing"], "http://"),
        (["--from", "-1"], "range"),
        (["--from", "9" * 30], "range"),
        (["--from", str(2**60)], "422"),
        (["--from", str(2**50)], "409"),
        (["--exec", "true", "--post", "http://127.0.0.1:1"], "Either"),
        (["--post", "ftp://127.0.0.1"], "http://"),
        (["--post", "http://"], "names a host"),
        (["--post", "http:///in"], "names a host"),
        (["--post", "http://somebody:secret@127.0.0.1:1/in"], "no user"),
        (["--post", "http://127.0.0.1:1/a b"], "no spaces"),
        (["--post", "http://127.0.0.1:1/bücher?ö=1"], "no spaces"),
        (["--exec", "/nowhere/to/be/found"], "cannot be run"),
        (["--exec", ""], "--exec"),
        (["--exec", "'"], "--exec"),
        (["--checkpoint", "pyproject.toml"], "holds no position"),
    ],
)
def test_what_cannot_be_followed_is_said_in_a_sentence(
    subscriber: Subscriber, arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    subscriber.happens()
    assert subscriber.run(*arguments) == 2
    said = capfd.readouterr()
    assert words in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""
