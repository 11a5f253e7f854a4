"""What every test may ask for: real servers of its own, started on first use, and nothing beyond loopback."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import hypothesis
import nats
import psycopg
import pytest
import structlog
import uvloop
from minio import Minio
from psycopg import sql

from infra.embedded import processes
from infra.embedded.blobs import EmbeddedBlobs
from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres

#: The running service and its neighbours: `stack`, `client`, `account`, `receiver`, `audio`, `clip`.
pytest_plugins = ("tests.journeys.fixtures",)

# Two workers on two busy cores: how long one example takes says nothing about the law.
hypothesis.settings.register_profile("ledgerline", deadline=None)
hypothesis.settings.load_profile("ledgerline")

# A port that is free when one worker looks is not taken by another before the server for it has started.
_WORKER, _WORKERS = (int(os.environ.get(f"PYTEST_XDIST_WORKER{end}", "0").strip("gw")) for end in ("", "_COUNT"))
processes.PORTS = processes.PORTS[_WORKER :: max(1, _WORKERS)]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test runs on the event loop of the service, which differs from asyncio's own where it hurts."""
    return {"uvloop": uvloop.new_event_loop}


#: What takes minutes, the longest first.
_LONGEST = (
    "tests/faults/test_faults.py",
    "tests/infra/test_supervisor.py",
    "tests/api/test_hostile_requests.py",
    "tests/runner/test_building.py",
    "tests/infra/test_embedded.py",
    "tests/beats/test_making.py",
    "tests/test_laws.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order in which files are handed out to the workers.

    What takes minutes is spread among the rest, the longest first: several of them at once wait for the processors,
    and one at the end is waited for by all.
    """
    files = list(dict.fromkeys(map(_file, items)))
    long = [name for name in _LONGEST if name in files]
    spread = [name for name in files if name not in long]
    for nth, name in reversed(list(enumerate(long))):
        spread.insert(len(spread) * nth // (len(long) + 1), name)
    ranks = {name: rank for rank, name in enumerate(spread)}
    items.sort(key=lambda item: ranks[_file(item)])


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


# --- no traffic but to this machine ----------------------------------------------------------------------------------


def _is_here(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.split("%", maxsplit=1)[0])
    except ValueError:
        return host.lower().rstrip(".") in {"", "localhost", socket.gethostname().lower()}
    return address.is_loopback or address.is_unspecified


def _keep_traffic_here(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        connection, address = arguments
        if connection.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(str(address[0])):
            raise ConnectionRefusedError(f"tests talk to loopback only, not to {address[0]}")
    elif event == "socket.getaddrinfo":
        host = arguments[0].decode() if isinstance(arguments[0], bytes) else str(arguments[0] or "")
        try:
            ipaddress.ip_address(host.split("%")[0])  # a written address asks nobody
        except ValueError:
            if not _is_here(host) and any(letter.isalpha() for letter in host.rsplit(".", 1)[-1]):
                raise socket.gaierror(socket.EAI_NONAME, f"tests resolve no names, not even {host}") from None


sys.addaudithook(_keep_traffic_here)


# --- the servers: one set for each test process, because they start in a second and share nothing ---------------------


@pytest.fixture(scope="session")
def servers_dir() -> Iterator[Path]:
    """Where this test process keeps its servers' files."""
    directory = Path(tempfile.mkdtemp(prefix="ledgerline-tests-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(servers_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server of this test process."""
    # A killed process loses nothing without flushes, only a power cut does, and making databases is ten times as fast.
    with EmbeddedPostgres(servers_dir / "postgres", settings={"fsync": "off"}, sync=False) as server:
        yield server


@pytest.fixture(scope="session")
def nats_server(servers_dir: Path) -> Iterator[EmbeddedNats]:
    """A NATS server of this test process."""
    with EmbeddedNats(servers_dir / "nats") as server:
        yield server


@pytest.fixture(scope="session")
def blobs(servers_dir: Path) -> Iterator[EmbeddedBlobs]:
    """An S3 store of this test process."""
    with EmbeddedBlobs(servers_dir / "blobs") as server:
        yield server


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """What a test makes of the log lines ends with it, and so never writes into what the test has closed."""
    yield
    structlog.reset_defaults()


# --- a corner of each server for one test ----------------------------------------------------------------------------


class Databases:
    """Makes databases that nobody else uses: empty ones, or copies of a template filled once."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self._templates: dict[str, str] = {}

    def create(self, template: str = "template0") -> str:
        """The URL of a new database."""
        name = f"t{uuid4().hex}"
        with self._admin() as admin:
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return self.server.url_of(name)

    def copy_of(self, key: str, fill: Callable[[str], None]) -> str:
        """The URL of a copy of the database that `fill(url)` fills the first time `key` is asked for."""
        if key not in self._templates:
            url = self.create()
            fill(url)
            self._templates[key] = _name(url)
        return self.create(self._templates[key])

    def drop(self, url: str) -> None:
        """Remove a database and whoever is still connected to it."""
        with self._admin() as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_name(url))))

    def _admin(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.url_of("postgres"), autocommit=True)


def _name(url: str) -> str:
    return url.rsplit("/", 1)[1]


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres) -> Databases:
    """The maker of databases; prefer `database_url` and `module_database_url`."""
    return Databases(postgres)


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """An empty database for this test."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture(scope="module")
def module_database_url(databases: Databases) -> Iterator[str]:
    """An empty database for this module."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
async def nats_prefix(nats_server: EmbeddedNats) -> AsyncIterator[str]:
    """A beginning for names of streams, subjects and buckets; streams that carry it are deleted after the test."""
    prefix = f"t{uuid4().hex[:12]}"
    yield prefix
    client = await nats.connect(nats_server.url)
    try:
        for stream in await client.jetstream().streams_info():
            name = stream.config.name or ""
            if name.startswith((prefix, f"KV_{prefix}", f"OBJ_{prefix}")):
                await client.jetstream().delete_stream(name)
    finally:
        await client.close()


class Bucket(NamedTuple):
    """One bucket and how to reach it."""

    url: str
    access_key: str
    secret_key: str
    name: str

    @property
    def client(self) -> Minio:
        """A client with the rights to everything in the store."""
        address = self.url.removeprefix("http://")
        return Minio(address, self.access_key, self.secret_key, secure=False, region="us-east-1")


@pytest.fixture
def bucket(blobs: EmbeddedBlobs) -> Iterator[Bucket]:
    """An empty bucket for this test."""
    place = Bucket(blobs.url, blobs.access_key, blobs.secret_key, f"t{uuid4().hex}")
    place.client.make_bucket(place.name)
    yield place
    with suppress(Exception):  # a test may have removed it, or stopped the store
        for thing in place.client.list_objects(place.name, recursive=True):
            place.client.remove_object(place.name, str(thing.object_name))
        place.client.remove_bucket(place.name)
