"""What tests from outside are made with: a stack to talk to, neighbours for it to talk to, and patience."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from unittest.mock import patch

import httpx
import nats.errors
import psutil
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from minio import Minio

from adapters.storage.settings import S3
from commands.settings import Service
from domain.discovery import EXTENSIONS
from domain.sections import Secret, Url
from infra.embedded.nats import EmbeddedNats
from infra.embedded.processes import free_ports, port_is_free, spawn
from infra.migrate import migrate
from infra.settings import Settings
from tests.answering import Answering
from tests.ears import sounds
from tests.journeys.forked import Forked

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
#: Between two looks: at first short, for what is done at once, then longer, because looking costs what is waited for.
PAUSE_SECONDS = 0.02
PAUSE_SECONDS_MAX = 0.25


def eventually(look: Callable[[], T], timeout: float = 20.0) -> T:
    """What `look` returns as soon as it is true and raises nothing; its last complaint when it never is."""
    deadline = time.monotonic() + timeout
    pause = PAUSE_SECONDS
    while True:
        problem: Exception | None = None
        try:
            if found := look():
                return found
        except (AssertionError, LookupError, httpx.TransportError, nats.errors.Error) as still:
            problem = still
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come true within {timeout:g} s") from problem
        time.sleep(pause)
        pause = min(pause * 1.3, PAUSE_SECONDS_MAX)


# --- the service ------------------------------------------------------------------------------------------------------

#: Settings of a stack under test: nothing is limited, and nobody has to wait.
PLENTY: dict[str, Any] = {
    "env": "development",
    "log_level": "info",
    "log_format": "json",
    "outbound_allow": ("127.0.0.1",),
    "rate_limit_per_minute": 1_000_000,
    "studio_limit_per_minute": 1_000_000,
    "build_limit_per_minute": 1_000_000,
    "runner_limit_per_hour": 1_000_000,
    "build_local_roots": (tempfile.gettempdir(),),
    "catalogue_reads_per_minute": 1_000_000,
    "catalogue_writes_per_minute": 1_000_000,
    "activation_limit_per_minute": 1_000_000,
    "unknown_code_limit_per_minute": 1_000_000,
    "demo_limit_per_hour": 1_000_000,
    "register_limit_per_hour": 1_000_000,
    "register_limit_per_day": 1_000_000,
    "sign_in_limit_per_hour": 1_000_000,
    "code_limit_per_hour": 1_000_000,
    "refused_limit_per_minute": 1_000_000,
    "monthly_analysis_limits": {"free": 1_000_000},
    "webhook_retry_seconds": (0.2, 0.2, 0.2, 0.2),
    "webhook_seconds_max": 2.0,
    "drain_seconds_max": 5.0,
    # A machine that does ten things at once shows what was written later than in 2 s, and that is no fault.
    "read_wait_seconds_max": 15.0,
    # Tests that call every operation there is wait for the end of each answer.
    "stream_seconds_max": 0.2,
    "analysis_workers": 2,
    "generation_workers": 2,
    "beat_seconds": 12.0,
    "suno_api_key": Secret("sk-little-suno"),
    "suno_poll_seconds": 0.3,
    "github_app_id": "Iv1.app",
    "workflow_poll_seconds": 0.3,
    "postgres_connections_max": 6,
}


#: Ports among which no server looks for a free one, so that they stay free until somebody is put there.
ELSEWHERE = (port for port in random.sample(range(10_000, 20_000), 1_000) if port_is_free(port))


def settings_for(
    postgres_url: str, nats_url: str, blobs_url: str, access_key: str, secret_key: str, bucket: str, /, **changed: Any
) -> Settings:
    """The settings of a stack on these servers, on a free port."""
    given = {
        "port": free_ports(1)[0],
        "postgres_url": Url(postgres_url),
        "nats_url": Url(nats_url),
        "s3_url": Url(blobs_url),
        "s3_access_key": access_key,
        "s3_secret_key": Secret(secret_key),
        "s3_bucket": bucket,
        "secret_key": Secret(secrets.token_urlsafe(48)),
        # Nobody is there unless a test puts somebody there.
        "suno_api_url": Url(f"http://127.0.0.1:{next(ELSEWHERE)}"),
        "github_api_url": Url(f"http://127.0.0.1:{next(ELSEWHERE)}"),
        "github_private_key": Secret(_private_key()),
    }
    return Settings(**(PLENTY | given | changed))


def _private_key() -> str:
    """A new key of an app at GitHub, PEM."""
    form = serialization.PrivateFormat.PKCS8
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


class Process:
    """One process of the service, its log in a file; it dies with the tests."""

    def __init__(
        self,
        name: str,
        arguments: list[str],
        settings: Settings,
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._environment = environment or {}
        self.settings = settings
        self.log_path = directory / f"{name}.log"
        self._command = [sys.executable, "-X", "faulthandler", "-W", "error::RuntimeWarning", "-m", *arguments]
        self.process: subprocess.Popen[bytes] | Forked | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def memory_bytes(self) -> int:
        """What it holds in memory now."""
        return psutil.Process(self.pid).memory_info().rss

    @property
    def log(self) -> str:
        """Everything it has written so far."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def start(self) -> Self:
        """Start it; ask `is_ready` or `eventually` whether it can work."""
        self.process = self._started(_environment(self.settings) | dict(self._environment))
        return self

    def _started(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes] | Forked:
        with self.log_path.open("ab") as log:
            return spawn(self._command, cwd=ROOT, env=environment, output=log)

    @property
    def is_running(self) -> bool:
        """Whether it lives."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it without a word, as the kernel would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> int:
        """Ask it to end, and return how it did."""
        if self.process is None:
            return 0
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end:\n{self.log[-3000:]}") from None


def _environment(settings: Settings) -> dict[str, str]:
    """What a process of the service is started with."""
    ours = {name: text for name, text in os.environ.items() if not name.startswith(("LEDGERLINE_", "PYTEST_"))}
    # Postgres draws the line at its own number of connections, not at ours: one thread for numbers is enough.
    return ours | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"} | settings.environment()


def typed(
    *words: str, settings: Settings | None = None, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """How `ledgerline WORDS` ends and what it says, in a process of its own that reads no module anew."""
    with tempfile.TemporaryDirectory(prefix="ledgerline-typed-") as place:
        said, complained = Path(place) / "out", Path(place) / "err"
        running = Forked(["infra.cli", *words], _environment(settings or Settings()) | environment, said, complained)
        try:
            status = running.wait(timeout)
        finally:
            running.send_signal(signal.SIGKILL)
        return subprocess.CompletedProcess(words, status, said.read_text(), complained.read_text())


class Fork(Process):
    """The same, without reading the same modules again for each of the dozens that a run of the tests starts."""

    def _started(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes] | Forked:
        if environment.get(EXTENSIONS):
            return super()._started(environment)  # what is known of the routes is known without those of an extension
        return Forked(self._command[self._command.index("-m") + 1 :], environment, self.log_path)


@dataclass
class Stack:
    """A whole running service."""

    settings: Settings
    directory: Path
    process: Process
    _doors: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.settings[Service].url

    @property
    def log(self) -> str:
        """Everything it has written, JSON lines; secrets must not be in here."""
        return "".join(path.read_text() for path in sorted(self.directory.glob("*.log")))

    def objects(self, prefix: str = "") -> list[str]:
        """The keys of what lies in its bucket."""
        found = self._store().list_objects(self.settings[S3].s3_bucket, prefix, recursive=True)
        return [str(thing.object_name) for thing in found]

    def read_object(self, key: str) -> bytes:
        """What lies in its bucket under a key."""
        answer = self._store().get_object(self.settings[S3].s3_bucket, key)
        try:
            return bytes(answer.read())
        finally:
            answer.close()

    def delete_object(self, key: str) -> None:
        """Take something out of its bucket."""
        self._store().remove_object(self.settings[S3].s3_bucket, key)

    def _store(self) -> Minio:
        s3 = self.settings[S3]
        return Minio(
            s3.s3_url.removeprefix("http://"),
            s3.s3_access_key,
            s3.s3_secret_key.reveal(),
            secure=False,
            region=s3.s3_region,
        )

    @contextmanager
    def doorway(self, **changed: Any) -> Iterator[Process]:
        """One more API process over the same data, with other settings."""
        settings = self.settings.changed(**({"port": free_ports(1)[0]} | changed))
        process = Fork(f"door-{next(self._doors)}", ["infra.cli", "serve"], settings, self.directory).start()
        try:
            await_ready(process, f"http://127.0.0.1:{settings[Service].port}")
            yield process
        finally:
            process.stop()

    @contextmanager
    def door(self, **changed: Any) -> Iterator[str]:
        """The URL of one more API process over the same data, with other settings."""
        with self.doorway(**changed) as process:
            yield f"http://127.0.0.1:{process.settings[Service].port}"


def await_ready(process: Process, url: str, timeout: float = 60.0) -> None:
    """Wait until `/ready` says so; a process that has ended is told at once with what it wrote."""

    # One client, which trusts nobody: reading whom the world trusts takes longer than the question.
    with httpx.Client(timeout=2, verify=False) as http:

        def ready() -> bool:
            if not process.is_running:
                raise RuntimeError(f"{process.name} ended:\n{process.log[-4000:]}")
            return http.get(f"{url}/ready").status_code == 200

        try:
            eventually(ready, timeout)
        except AssertionError as late:
            raise AssertionError(f"{process.name} is not ready:\n{process.log[-4000:]}") from late


@contextmanager
def running_stack(
    postgres_url: str, blobs_url: str, access_key: str, secret_key: str, bucket: str, /, **changed: Any
) -> Iterator[Stack]:
    """A stack on an empty database and bucket, with a NATS of its own, because streams have fixed names."""
    directory = Path(tempfile.mkdtemp(prefix="ledgerline-stack-"))
    try:
        with EmbeddedNats(directory / "nats") as nats:
            with patch.dict(os.environ, {EXTENSIONS: str(changed.get("extensions", ""))}):
                migrate(postgres_url)
            changed = nats.settings | changed
            settings = settings_for(
                postgres_url, changed.pop("nats_url"), blobs_url, access_key, secret_key, bucket, **changed
            )
            logs = directory / "logs"
            logs.mkdir()
            process = Fork("whole", ["tests.journeys.whole"], settings, logs).start()
            try:
                await_ready(process, settings[Service].url)
                yield Stack(settings, logs, process)
            finally:
                process.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


#: Starts a whole service of one's own, with some settings changed.
NewStack = Callable[..., AbstractContextManager[Stack]]


# --- people -----------------------------------------------------------------------------------------------------------


@dataclass
class Account:
    """A registered person: their key, and requests in their name."""

    http: httpx.Client
    email: str
    user_id: str
    workspace_id: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """What shows who is asking."""
        return {"X-API-Key": self.key}

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request with the key."""
        headers = {**self.headers, **(options.pop("headers", None) or {})}
        return self.http.request(method, path, headers=headers, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET with the key."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """POST with the key."""
        return self.request("POST", path, **options)

    def finished(self, job_id: str, timeout: float = 60.0) -> dict[str, Any]:
        """The analysis once it is over."""

        def over() -> dict[str, Any] | None:
            answer = self.get(f"/v1/analysis/{job_id}")
            assert answer.status_code == 200, answer.text
            job: dict[str, Any] = answer.json()
            return job if job["status"] != "processing" else None

        found = eventually(over, timeout)
        assert found is not None
        return found


def register(http: httpx.Client, email: str | None = None) -> Account:
    """Somebody new."""
    email = email or f"someone-{secrets.token_hex(6)}@example.com"
    answer = http.post("/v1/auth/register", json={"email": email})
    assert answer.status_code == 201, answer.text
    body = answer.json()
    return Account(http, email, body["user_id"], body["workspace_id"], body["api_key"])


# --- neighbours -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        """Its body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What is answered."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    #: How long the answer takes, in seconds.
    delay: float = 0.0


class Neighbour:
    """A real HTTP server on loopback that writes down what it gets and answers as it is told, path by path."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self._replies: dict[str, list[Reply]] = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.neighbour = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def at(self, name: str) -> str:
        """The address of a path."""
        return f"{self.url}/{name}"

    def answer(self, name: str, *replies: Reply | int) -> str:
        """Answer a path with these in turn, the last one for ever; returns its address."""
        with self._lock:
            self._replies[name] = [Reply(each) if isinstance(each, int) else each for each in replies]
        return self.at(name)

    def put(self, name: str, body: bytes, content_type: str = "application/octet-stream") -> str:
        """Serve a file; returns its address."""
        return self.answer(name, Reply(200, body, {"Content-Type": content_type}))

    def received(self, name: str) -> list[Received]:
        """What has come to a path so far."""
        with self._lock:
            return [each for each in self._received if each.path == name]

    def take(self, request: Received) -> Reply:
        """Write a request down and say what to answer."""
        with self._lock:
            self._received.append(request)
            replies = self._replies.get(request.path)
            if not replies:
                return Reply(200)
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingHTTPServer):
    neighbour: Neighbour
    daemon_threads = True
    request_queue_size = 128


class _Handler(Answering, BaseHTTPRequestHandler):
    server: _Server
    timeout = 10

    def _take(self) -> None:
        length = int(self.headers.get("content-length", 0))
        request = Received(
            self.command,
            self.path.lstrip("/").partition("?")[0],
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(length),
            time.time(),
        )
        reply = self.server.neighbour.take(request)
        time.sleep(reply.delay)
        with suppress(OSError):
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

    do_GET = do_POST = _take  # noqa: N815 - the library's names


# --- recordings -------------------------------------------------------------------------------------------------------


def clip_bytes(seconds: float = 2.0, bpm: float = 120.0) -> bytes:
    """A short WAV of thumps over a chord: quick to analyse, and not silent."""
    beat, harmony = sounds.clicks(bpm, seconds, rate=22_050), sounds.chord("Am", seconds, rate=22_050)
    with tempfile.TemporaryDirectory() as directory:
        return sounds.write_wav(Path(directory) / "clip.wav", beat + harmony[: len(beat)], rate=22_050).read_bytes()
