"""Whatever one workspace makes us wait for, others do not: over HTTP, against neighbours that never come to an end."""

from __future__ import annotations

import select
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from msgspec import json

from domain.sections import Url
from tests.answering import Answering
from tests.identity.crowd import new_email, start
from tests.identity.postbox import Postbox, postbox
from tests.journeys.kit import Account, Neighbour, NewStack, Stack, eventually, register, typed

#: Long enough that nobody's patience ends while a test looks.
FOR_EVER = 120.0
UPLOADS = 8


class TarPit:
    """A server that takes every request and does not answer, or lets its answer drip, until it is let go."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.held: Counter[str] = Counter()
        self._lock = threading.Lock()
        pit = self

        class Handler(Answering, BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                with pit.holding("POST"):
                    pit.go_on.wait(FOR_EVER)
                self.answer(200)

            def do_GET(self) -> None:
                if not pit.go_on.is_set():
                    self.send_response(200)
                    self.send_header("Content-Type", "audio/wav")
                    self.send_header("Content-Length", "1000000")
                    self.end_headers()
                    with pit.holding("GET"), suppress(OSError):
                        while not pit.go_on.wait(0.05):
                            self.wfile.write(b"x")
                    self.close_connection = True
                    return
                self.answer(404)

            def answer(self, status: int) -> None:
                with suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def holding(self, method: str) -> ExitStack:
        """Somebody is held for as long as the context lasts."""
        with self._lock:
            self.held[method] += 1
        stack = ExitStack()
        stack.callback(self._let_go, method)
        return stack

    def _let_go(self, method: str) -> None:
        with self._lock:
            self.held[method] -= 1

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def pit() -> Iterator[TarPit]:
    made = TarPit()
    yield made
    made.close()


@pytest.fixture(scope="module")
def letters() -> Iterator[Postbox]:
    with postbox() as box:
        yield box


@pytest.fixture(scope="module")
def service(new_stack: NewStack, letters: Postbox) -> Iterator[Stack]:
    """A stack in which nobody's patience ends by itself, with few places."""
    with new_stack(
        webhook_seconds_max=FOR_EVER,
        fetch_seconds_max=FOR_EVER,
        uploads_at_once_max=UPLOADS,
        drain_seconds_max=1.0,
        smtp_url=Url(letters.url + "?starttls=0"),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def http(service: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client


def fails(who: Account, url: str) -> None:
    """An analysis that comes to nothing at once, of which endpoints are told."""
    answer = who.post("/v1/analyses", json={"source_url": url})
    assert answer.status_code == 202, answer.text
    assert who.finished(answer.json()["id"])["status"] == "failed"


def is_told_at(who: Account, url: str) -> None:
    answer = who.post("/v1/webhook-endpoints", json={"url": url, "event_types": ["analysis.failed"]})
    assert answer.status_code == 201, answer.text


def status(service: Stack) -> dict[str, Any]:
    """What an operator is told who asks how things are."""
    found: dict[str, Any] = json.decode(typed("status", "--json", settings=service.settings).stdout)
    return found


def test_one_who_asks_often_for_what_is_due_has_no_more_senders_than_one_who_asks_once(
    http: httpx.Client, pit: TarPit, receiver: Neighbour
) -> None:
    mallory = register(http)
    for n in range(50):
        is_told_at(mallory, f"{pit.url}/{n}")
    fails(mallory, receiver.answer(f"gone-{uuid4().hex}", 404))
    eventually(lambda: pit.held["POST"] == 32, 60)
    with ThreadPoolExecutor(3) as many:
        asking = [many.submit(mallory.post, "/v1/webhook-deliveries/deliver?force=true", timeout=120) for _ in range(3)]
        eventually(lambda: pit.held["POST"] >= 32 + 8, 60)
        # Whatever else they would begin they had time to, while somebody else comes and is served.
        fails(register(http), receiver.answer(f"gone-{uuid4().hex}", 404))
        assert pit.held["POST"] == 32 + 8
        pit.go_on.set()
        assert sum(each.result().json()["delivered"] for each in asking) >= 8


def test_fifty_endpoints_in_a_tar_pit_delay_nobody_elses_webhook_and_no_letter(
    service: Stack, http: httpx.Client, pit: TarPit, receiver: Neighbour, letters: Postbox
) -> None:
    gone, hook = receiver.answer(f"gone-{uuid4().hex}", 404), f"hook-{uuid4().hex}"
    mallory, ada = register(http), register(http)
    for n in range(50):
        is_told_at(mallory, f"{pit.url}/{n}")
    is_told_at(ada, receiver.at(hook))
    for _ in range(3):
        fails(mallory, gone)
    # Half of the 64 places: one who takes all there are leaves as many.
    eventually(lambda: pit.held["POST"] == 32, 60)
    fails(ada, gone)
    eventually(lambda: receiver.received(hook), 60)
    started = start(http, new_email())
    assert letters.code(started["challenge_id"])
    assert pit.held["POST"] == 32, "nobody was waited for but those who hold no more than their share"

    [late] = [each for each in status(service)["waiting"] if each["reaction"] == "deliver"]
    assert (late["workspace_id"], late["running"]) == (mallory.workspace_id, 32)
    assert late["ready"] >= 150 - 32
    assert late["oldest_seconds"] > 0


def test_sources_that_drip_delay_nobody_elses_analysis(http: httpx.Client, pit: TarPit, clip: bytes) -> None:
    mallory, ada = register(http), register(http)
    for n in range(20):
        assert mallory.post("/v1/analyses", json={"source_url": f"{pit.url}/{n}.wav"}).status_code == 202
    eventually(lambda: pit.held["GET"] == 4, 60)
    job = ada.post("/v1/analyze/upload", files={"file": ("clip.wav", clip)}).json()
    assert ada.finished(job["job_id"])["status"] == "completed"
    assert pit.held["GET"] == 4


class SlowUpload:
    """An upload whose sender has begun and says no more."""

    def __init__(self, who: Account) -> None:
        place = urlsplit(str(who.http.base_url))
        self.connection = socket.create_connection((place.hostname or "", place.port or 80), timeout=20)
        self.connection.sendall(
            f"POST /v1/analyze/upload HTTP/1.1\r\nHost: {place.netloc}\r\nX-API-Key: {who.key}\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 10000000\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        # The service asks for the body as soon as it has a place for it.
        assert b" 100 " in self.connection.recv(1024)
        self.connection.sendall(b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nfLaC')

    @property
    def is_sent_away(self) -> bool:
        return bool(select.select([self.connection], [], [], 0)[0])

    def answer(self) -> str:
        said = b""
        with suppress(TimeoutError):
            while b"seconds." not in said and (piece := self.connection.recv(4096)):
                said += piece
        return said.decode()

    def close(self) -> None:
        self.connection.close()


def test_four_workspaces_with_slow_uploads_keep_nobody_else_out(http: httpx.Client, clip: bytes) -> None:
    four = [register(http) for _ in range(4)]
    slow = [SlowUpload(who) for who in four for _ in range(UPLOADS // 4)]
    try:
        for _ in range(3):
            ada = register(http)
            answer = ada.post("/v1/analyze/upload", files={"file": ("clip.wav", clip)})
            assert answer.status_code == 202, answer.text
        sent_away = [each for each in slow if each.is_sent_away]
        # The first who came was given a place that one of them had to leave, and left it to the next.
        assert len(sent_away) == 1
        said = sent_away[0].answer()
        assert said.startswith("HTTP/1.1 503 ")
        assert "retry-after: 5" in said.lower()
        assert "Too many recordings are being uploaded at once" in said
        # It may come again as soon as others have left.
        again = SlowUpload(four[slow.index(sent_away[0]) // 2])
        slow.append(again)
        assert not again.is_sent_away
    finally:
        for each in slow:
            each.close()
