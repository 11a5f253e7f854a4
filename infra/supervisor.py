"""Everything at once on one machine: servers of our own, then every role as a process, watched until Ctrl-C.

Data first: the data directory is locked, servers start, the database is migrated, roles start. Then the reverse: roles
drain, servers close their files. Whatever dies in between is started again, first at once and then with longer waits.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import psycopg
import structlog

from adapters.log.settings import Sealing
from adapters.operators.credentials import OPERATOR_TOKEN, begin, new_token
from adapters.pausing import pause
from adapters.postgres.settings import Postgres
from adapters.storage.settings import S3
from adapters.stream.settings import Nats
from adapters.web.settings import OutboundRequests
from commands.kernel import REACTIONS, queues
from commands.settings import Service
from domain.discovery import modules
from domain.kernel import Value
from domain.repositories.settings import Repositories
from domain.sections import PREFIX, Secret, variable
from infra import telemetry
from infra.embedded.blobs import EmbeddedBlobs
from infra.embedded.directories import DirectoryLock, EmbeddedServerError, make_directory, write_private
from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.processes import LOOPBACK, free_ports, spawn
from infra.embedded.server import EmbeddedServer
from infra.embedded.stack import stop_together
from infra.health import answers
from infra.runner_of_up import of_up
from infra.settings import Operation, Settings, SettingsError, public, read_settings, require_all, unknown_variables

log = structlog.get_logger()

WATCH_SECONDS = 0.1
BACKOFF_SECONDS = 0.2
BACKOFF_SECONDS_MAX = 10.0
#: A process that has lived this long has nothing to do with why its predecessor died.
STEADY_SECONDS = 30.0
#: After so long somebody who has pressed Ctrl-C is told what is waited for.
UNEXPLAINED_SECONDS_MAX = 1.0
NOT_READY_YET_SECONDS = 30.0
#: A role that has just been started may be silent for longer: it still reads its code, perhaps from a slow disk.
STARTING_SECONDS_MAX = 120.0
#: So often that time is doubled, where it was not enough: 16 minutes at most.
STARTS_DOUBLED_MAX = 3


#: What a process is started with: its arguments and its environment.
Start = tuple[tuple[str, ...], dict[str, str]]


class Part(Value, frozen=True):
    """One process of `up`: a role with its arguments, under the name it has in the log."""

    name: str
    arguments: tuple[str, ...] = ()
    #: What is no role is not told our settings and says nothing of how it is: this says what it is started with, given
    #: the URL at which we are.
    beside: Callable[[Settings, str], Start] | None = None


def all_parts() -> tuple[Part, ...]:
    """Every role; work whose queue says so is done in a process of its own."""
    modules("commands", saying="reacts_to")
    apart = [queue.name for queue in queues() if queue.apart]
    return (
        *(Part(name=name, arguments=(name,)) for name in ("serve", "relay", "project")),
        Part(name="react", arguments=("react", *(word for name in apart for word in ("--without", name)))),
        *(Part(name=name, arguments=("react", "--only", name)) for name in apart),
        Part(name="tick", arguments=("tick",)),
    )


def ledgerline(arguments: Sequence[str]) -> list[str]:
    """The command that runs one role, with this same Python and never with an `infra` of the current directory."""
    return [sys.executable, "-P", "-m", "infra.cli", *arguments]


def up(host: str | None, port: str | None, data_dir: Path | None, *, without_runner: bool = False) -> int:
    """Run everything until a signal; the exit status is 0 after a clean stop."""
    settings = read_settings(host=host, port=port, data_dir=data_dir)
    if settings[Service].is_loopback and not any(PREFIX + name in os.environ for name in ("ENV", "ENV_FILE")):
        settings = read_settings(host=host, port=port, data_dir=data_dir, env="development")
    if settings[Service].env == "development" and not settings[Repositories].build_local_roots:
        settings = settings.changed(build_local_roots=(str(Path.home()), tempfile.gettempdir()))
    telemetry.configure("up", settings[Operation].log_level, settings[Operation].log_format)
    for sentence in unknown_variables():
        log.warning("settings.unknown", message=sentence)
    parts = all_parts()
    if not without_runner:
        parts = (*parts, Part(name="runner", beside=of_up))
    return asyncio.run(Supervisor(settings, parts).run())


class _Child:
    """A process that is kept alive."""

    def __init__(self, part: Part, health_port: int) -> None:
        self.part = part
        self.health_port = health_port
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.patience = Patience()
        #: Whether it was told to stop: it answers nobody then, and may still have work in progress.
        self.is_stopping = False
        self.backoff = _Backoff()

    def tell_to_stop(self) -> None:
        """Ask it to end its work, after which it is started again."""
        if self.process is not None:
            self.is_stopping = True
            self.process.terminate()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Patience:
    """How long a role may answer nobody: longer while it starts, and twice as long after each start in vain.

    Where the processor is short a start may take minutes, and whoever begins it again makes the processor shorter.
    """

    def __init__(self) -> None:
        self._is_heard = False
        self._starts_in_vain = 0

    def started(self) -> None:
        """It begins, and has answered nothing yet."""
        self._is_heard = False

    def heard(self) -> None:
        """It has answered."""
        self._is_heard = True
        self._starts_in_vain = 0

    def ended(self) -> None:
        """It was silent for too long, and is killed."""
        self._starts_in_vain += not self._is_heard

    def lasts(self, seconds: float) -> float:
        """How long it may be silent now, where one that has answered may be for `seconds`."""
        if self._is_heard:
            return seconds
        return max(seconds, STARTING_SECONDS_MAX) * 2.0 ** min(self._starts_in_vain, STARTS_DOUBLED_MAX)


class _Backoff:
    """Waits that double with each failure in a row."""

    def __init__(self) -> None:
        self.failures = 0
        self.next_try = 0.0

    def failed(self, lived_seconds: float) -> float:
        """Note a death and return the wait before the next try."""
        self.failures = 1 if lived_seconds >= STEADY_SECONDS else self.failures + 1
        wait = 0.0 if self.failures == 1 else min(BACKOFF_SECONDS * 2.0**self.failures, BACKOFF_SECONDS_MAX)
        self.next_try = time.monotonic() + wait
        return wait


class Supervisor:
    """The tree of processes below `ledgerline up`."""

    def __init__(
        self,
        settings: Settings,
        parts: Sequence[Part] | None = None,
        command: Callable[[Sequence[str]], list[str]] = ledgerline,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """`parts` and `command` say what to run; `say` receives what is meant for the person at the keyboard."""
        self.settings = settings.changed(data_dir=settings[Operation].data_dir.expanduser().absolute())
        self.parts = all_parts() if parts is None else parts
        self.servers: list[EmbeddedServer] = []
        self.children: list[_Child] = []
        self.stop = asyncio.Event()
        self._command = command
        self._say = say or telemetry.Writer(sys.stdout).put
        self._lock = DirectoryLock(self.settings[Operation].data_dir, "Ledgerline")
        self._lock_fd = -1
        self._server_backoff: dict[str, _Backoff] = {}
        self._hurried = False
        #: What was killed because it had nothing more to say.
        self._ended_by_us: set[str] = set()

    async def run(self) -> int:
        """Start, watch, stop."""
        self._stop_on_signals()
        make_directory(self.settings[Operation].data_dir)
        self.settings = _with_free_port(self.settings)
        self._lock_fd = await asyncio.to_thread(self._lock.take)
        try:
            _refuse_two_of_a_kind(self.settings)
            self.settings = _with_secret_key(self.settings)
            await self._start_servers_and_migrate()
            if self.stop.is_set():
                return 0
            _empty_directory(self._temporary)
            self._say(f"Starting {len(self.parts)} roles ...")
            self._start_children()
            works: list[Callable[[], Awaitable[None]]] = [self._announce]
            works += [partial(self._listen_to, child) for child in self.children if child.part.beside is None]
            works += [partial(self._listen_to_server, server) for server in self.servers]
            beside = [asyncio.create_task(_to_the_end(work)) for work in works]
            try:
                await self._watch()
            finally:
                for task in beside:
                    task.cancel()
            return 0
        finally:
            await self._stop_everything()

    # -- starting

    def _stop_on_signals(self) -> None:
        def asked() -> None:
            self._hurried = self.stop.is_set()
            self.stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, asked)

    async def _start_servers_and_migrate(self) -> None:
        """Start what no URL replaces; the database is migrated while the others still start."""
        directory = self.settings[Operation].data_dir
        postgres = None if self.settings[Postgres].postgres_url else EmbeddedPostgres(directory / "postgres")
        nats = None if self.settings[Nats].nats_url else EmbeddedNats(directory / "nats")
        bucket = self.settings[S3].s3_bucket
        blobs = None if self.settings[S3].s3_url else EmbeddedBlobs(directory / "blobs", bucket=bucket)
        self.servers = [server for server in (postgres, nats, blobs) if server is not None]
        started = time.monotonic()
        for server in self.servers:
            first = (
                "" if (server.directory / "server.json").exists() else " for the first time, which may take a minute"
            )
            self._say(f"{server.title} is starting{first} ...")
        results = await asyncio.gather(
            *(asyncio.to_thread(server.start) for server in self.servers), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        self._learn_urls()
        log.info("servers.started", seconds=round(time.monotonic() - started, 2))
        require_all(self.settings)
        self._say("Preparing the database ...")
        await self._migrate()
        await asyncio.to_thread(_make_operator, self.settings)

    def _learn_urls(self) -> bool:
        """Take over the addresses of our own servers, and say whether they changed."""
        before = self.settings
        for server in self.servers:
            self.settings = self.settings.changed(**server.settings)
        return self.settings != before

    def _environment(self, health_port: int) -> Mapping[str, str]:
        """What a role is told: our settings in full, and nothing of theirs that ours were made from."""
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
        never = (*self.settings[OutboundRequests].outbound_never, *(f"{LOOPBACK}:{port}" for port in self._our_ports()))
        ours = self.settings.changed(health_host=LOOPBACK, health_port=health_port, outbound_never=never)
        return inherited | ours.environment()

    def _local_address(self) -> tuple[str, int]:
        """Where this machine reaches what we serve, whatever address it is served on."""
        service = self.settings[Service]
        return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(service.host, service.host), service.port  # noqa: S104

    def _our_ports(self) -> list[int]:
        """Every port that we have opened, for clients and for ourselves."""
        ports = [port for server in self.servers for port in server.ports]
        return [*ports, self.settings[Service].port, *(child.health_port for child in self.children)]

    async def _migrate(self) -> None:
        process = spawn(
            self._command(["migrate"]), env=self._environment(0), keep=(self._lock_fd,), last_signal=signal.SIGTERM
        )
        status = await asyncio.to_thread(process.wait)
        if status != 0:
            raise SettingsError("The database could not be migrated; the lines above say why.")

    def _start_children(self) -> None:
        ports = free_ports(len(self.parts))
        self.children = [_Child(part, port) for part, port in zip(self.parts, ports, strict=True)]
        for child in self.children:
            self._start(child)

    def _start(self, child: _Child) -> None:
        # What its predecessor was killed over, whole recordings among it, must not stay.
        own = _empty_directory(self._temporary / child.part.name)
        child.started = time.monotonic()
        child.is_stopping = False
        child.patience.started()
        arguments, environment = child.part.arguments, self._environment(child.health_port)
        if child.part.beside is not None:
            host, port = self._local_address()
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            arguments, environment = child.part.beside(self.settings, url)
        child.process = spawn(
            self._command(arguments),
            env={**environment, "TMPDIR": str(own)},
            keep=(self._lock_fd,),
            last_signal=signal.SIGTERM,
        )

    @property
    def _temporary(self) -> Path:
        """Where roles keep what they need for a moment."""
        return self.settings[Operation].data_dir / "tmp"

    # -- watching

    async def _watch(self) -> None:
        while not self.stop.is_set():
            for server in self.servers:
                if not server.is_running():
                    await self._revive(server)
            for child in self.children:
                self._keep_alive(child)
            await pause(self.stop, WATCH_SECONDS)

    def _keep_alive(self, child: _Child) -> None:
        if child.process is not None:
            status = child.process.poll()
            if status is None:
                return
            wait = child.backoff.failed(time.monotonic() - child.started)
            self._say_died("role.died", child.part.name, part=child.part.name, status=status, again_in_seconds=wait)
            child.process = None
        if time.monotonic() >= child.backoff.next_try:
            self._start(child)

    def _say_died(self, event: str, name: str, **fields: object) -> None:
        """Tell of an end: as an error, unless it is our own doing and so has been told of as one already."""
        tell = log.info if name in self._ended_by_us else log.error
        self._ended_by_us.discard(name)
        tell(event, **fields)

    async def _listen_to(self, child: _Child) -> None:
        """Kill a role that lives but answers nobody any more, so that it is started again."""
        backoff = self.settings[Operation].role_silence_seconds_max
        process, silent_since = child.process, 0.0
        while True:
            await asyncio.sleep(backoff / 6)
            if child.process is not process:
                process, silent_since = child.process, 0.0
            # What counts is how long we have asked in vain, and not when we asked last: we may have been asleep too.
            asked = time.monotonic()
            if process is None or await self._answers("/health", child, min(backoff / 2, 2.0)):
                silent_since = 0.0
                continue
            silent_since = silent_since or asked
            silence = time.monotonic() - silent_since
            allowed = child.patience.lasts(backoff)
            if child.is_stopping:
                allowed += self.settings[Operation].drain_seconds_max
            if silence > allowed and child.process is process:
                log.error("role.silent", part=child.part.name, seconds=round(silence, 1))
                self._ended_by_us.add(child.part.name)
                child.patience.ended()
                process.kill()

    async def _listen_to_server(self, server: EmbeddedServer) -> None:
        """Kill a server that lives but says nothing any more, so that it is started again; and keep its log small."""
        allowed = self.settings[Operation].role_silence_seconds_max
        process, silent_since = server.process, 0.0
        while True:
            await asyncio.sleep(allowed / 6)
            await asyncio.to_thread(server.keep_log_small)
            if server.process is not process:
                process, silent_since = server.process, 0.0
            asked = time.monotonic()
            if process is None or await asyncio.to_thread(server.is_alive):
                silent_since = 0.0
                continue
            silent_since = silent_since or asked
            if time.monotonic() - silent_since > allowed and server.process is process:
                log.error("server.silent", server=server.name, seconds=round(time.monotonic() - silent_since, 1))
                self._ended_by_us.add(server.name)
                server.kill()

    async def _answers(self, path: str, child: _Child, seconds_max: float = 2.0) -> bool:
        """Whether a role says yes at a path."""
        host, port = self._local_address() if child.part.name == "serve" else (LOOPBACK, child.health_port)
        process = child.process
        said = await answers(path, host, port, seconds_max)
        if said and child.process is process:
            child.patience.heard()
        return said

    async def _revive(self, server: EmbeddedServer) -> None:
        backoff = self._server_backoff.setdefault(server.name, _Backoff())
        if time.monotonic() < backoff.next_try:
            return
        self._say_died("server.died", server.name, server=server.name)
        try:
            server.stop()  # gives back the lock that it held
            await asyncio.to_thread(server.start)
        except EmbeddedServerError as error:
            log.error("server.not_revived", server=server.name, message=str(error), again_in_seconds=backoff.failed(0))  # noqa: TRY400
            return
        backoff.failed(0)
        log.info("server.revived", server=server.name)
        if self._learn_urls():
            log.warning("server.moved", server=server.name)
            for child in self.children:  # they know only the old address; they come back with the new one
                child.tell_to_stop()

    async def _announce(self) -> None:
        """Tell the person where everything is, once all of it works."""
        asked = time.monotonic()
        while True:
            waiting = [
                child.part.name
                for child in self.children
                if child.part.beside is None and (not child.is_running or not await self._answers("/ready", child))
            ]
            if not waiting:
                break
            if time.monotonic() - asked > NOT_READY_YET_SECONDS:
                log.warning("up.waiting", roles=waiting)
                asked = time.monotonic()
            await asyncio.sleep(0.05)
        self._say(welcome(self.settings, {server.name for server in self.servers}))

    # -- stopping

    async def _stop_everything(self) -> None:
        await self._drain_children()
        await asyncio.to_thread(stop_together, self.servers)
        self._lock.release()

    async def _drain_children(self) -> None:
        running = [child.process for child in self.children if child.process is not None and child.is_running]
        for process in running:
            process.terminate()
        asked = time.monotonic()
        deadline = asked + self.settings[Operation].drain_seconds_max + 5
        has_said = False
        while any(process.poll() is None for process in running):
            if not has_said and time.monotonic() - asked > UNEXPLAINED_SECONDS_MAX:
                has_said = True
                names = [child.part.name for child in self.children if child.is_running]
                self._say(waiting_for(names, await asyncio.to_thread(self._jobs_running)))
            if self._hurried or time.monotonic() > deadline:
                for process in running:
                    process.kill()
            await asyncio.sleep(0.02)

    def _jobs_running(self) -> dict[str, int]:
        """How many jobs are being done now, by their queues; none where Postgres does not say."""
        found: Counter[str] = Counter()
        with (
            suppress(psycopg.Error),
            psycopg.connect(self.settings[Postgres].postgres_url, connect_timeout=2) as connection,
        ):
            for reaction, number in connection.execute(
                "SELECT reaction, count(*) FROM jobs WHERE state = 'running' AND lease_until > now() GROUP BY reaction"
            ):
                # A name that is not known here is of an extension that is gone.
                found[REACTIONS[reaction].queue.name if reaction in REACTIONS else reaction] += number
        return found


#: Settings that replace a server of our own, by the server's name, and what people call it.
EXTERNAL = {"postgres": ("postgres_url", "PostgreSQL"), "nats": ("nats_url", "NATS"), "blobs": ("s3_url", "S3")}


def welcome(settings: Settings, ours: Collection[str]) -> str:
    """What a person reads when everything works; `ours` are the names of the servers in the data directory."""
    url = settings[Service].url
    elsewhere = "".join(
        f"\n  {title:<15} {public(settings.value(setting))}, not in that directory"
        for name, (setting, title) in EXTERNAL.items()
        if name not in ours
    )
    return f"""
Ledgerline is ready at {url}

  Documentation   {url}/docs
  OpenAPI         {url}/openapi.json
  Get a key       curl -X POST {url}/v1/auth/register \\
                    -H 'Content-Type: application/json' --data '{{"email":"you@example.com"}}'
  Your data       {settings[Operation].data_dir}{elsewhere}
  Stop            Ctrl-C
"""


async def _to_the_end(work: Callable[[], Awaitable[None]]) -> None:
    """Do it until it is done. Nobody waits for what is done beside, so nobody else would notice that it fell over."""
    while True:
        try:
            return await work()
        except Exception:
            log.exception("up.stumbled")
            await asyncio.sleep(BACKOFF_SECONDS)


def waiting_for(names: Sequence[str], jobs: Mapping[str, int]) -> str:
    """What somebody reads who has asked for the end and does not get it at once.

    `names` are the processes that have not ended, `jobs` how many are being done by their queues. Who does none closes
    connections and may take a moment longer for it.
    """
    if not jobs:
        return f"Waiting for {', '.join(names)} to end; press Ctrl-C again to stop now."
    number = sum(jobs.values())
    if list(jobs) == ["analyses"]:
        what = "1 analysis" if number == 1 else f"{number} analyses"
    else:
        parts = ", ".join(f"{count} of {name}" for name, count in sorted(jobs.items()))
        what = f"{number} {'job' if number == 1 else 'jobs'} ({parts})"
    return (
        f"Waiting for {what} to end; press Ctrl-C again to stop now.\n"
        "What is stopped is done again after the next start."
    )


def _refuse_two_of_a_kind(settings: Settings) -> None:
    """A server elsewhere, while the directory holds the data of one of its own, leaves that data aside in silence."""
    directory = settings[Operation].data_dir
    for name, (setting, title) in EXTERNAL.items():
        if settings.value(setting) and (directory / name / "server.json").exists():
            raise SettingsError(
                f"{directory} holds data of a {title} of its own, and {variable(setting)} names another one. Unset "
                f"{variable(setting)}, choose another --data-dir, or move {directory / name} away."
            )


def _with_free_port(settings: Settings) -> Settings:
    """Refuse an address we could not serve on, before anything is started; port 0 takes a free one."""
    host, port = settings[Service].host, settings[Service].port
    if port == 0:
        return settings.changed(port=free_ports(1)[0])
    if (problem := _why_not(host, port)) is not None:
        raise SettingsError(f"Port {port} on {host} cannot be used: {problem}. Choose another with --port.")
    return settings


def _why_not(host: str, port: int) -> str | None:
    """What the system says against a server that wants to listen there, or nothing."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return None
    except OSError as error:
        return (error.strerror or str(error)).lower()


def _empty_directory(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _with_secret_key(settings: Settings) -> Settings:
    """The key in the data directory, made on the first start; one from the environment comes before it."""
    if settings[Sealing].secret_key:
        return settings
    directory = settings[Operation].data_dir
    path = directory / "secret_key"
    if not path.exists():
        if (directory / "postgres" / "initialised").exists():
            raise SettingsError(
                f"{path} is gone, and without it the keys and sealed fields in this data directory cannot be read. "
                "Put it back, or give it as LEDGERLINE_SECRET_KEY."
            )
        write_private(path, secrets.token_urlsafe(48) + "\n")
    return settings.changed(secret_key=Secret(path.read_text().strip()))


def _make_operator(settings: Settings) -> None:
    """The operator's credential in the data directory, made on the first start; it is kept there and nowhere else."""
    path = settings[Operation].data_dir / OPERATOR_TOKEN
    token = path.read_text().strip() if path.exists() else new_token()
    with suppress(psycopg.Error), psycopg.connect(settings[Postgres].postgres_url, connect_timeout=5) as connection:
        if begin(connection, token):
            write_private(path, token + "\n")
