"""Servers of our own keep what they were given, refuse what would harm it, and leave nothing behind."""

from __future__ import annotations

import atexit
import io
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import nats
import psutil
import psycopg
import pytest
from minio import Minio

from infra.embedded import processes
from infra.embedded.blobs import EmbeddedBlobs
from infra.embedded.directories import DirectoryLock, EmbeddedServerError, make_directory
from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres, postgres_account
from infra.embedded.processes import free_ports, spawn
from infra.embedded.server import EmbeddedServer
from infra.embedded.stack import start_together, stop_together

ROOT = Path(__file__).parents[2]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root meets this")
not_as_root = pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a path as short as servers like them; root's own directories are closed to others."""
    with tempfile.TemporaryDirectory(prefix="ll-") as directory:
        yield Path(directory)


def wait_until(condition: Callable[[], bool], seconds_max: float = 20.0) -> None:
    """Look often until it is so."""
    deadline = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < deadline, "this never came about"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether it has ended, even if nobody has asked yet how."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@cache
def initialised() -> Path:
    """A directory that PostgreSQL has been through its first start in; copying it is quicker than a first start."""
    directory = Path(tempfile.mkdtemp(prefix="ll-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    with EmbeddedPostgres(directory / "postgres", sync=False, settings={"fsync": "off"}):
        pass
    note = directory / "postgres" / "server.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"ports": []}))
    return directory / "postgres"


def quick_postgres(directory: Path, settings: dict[str, str] | None = None) -> EmbeddedPostgres:
    """One that does not wait for the disk, which nothing here depends on."""
    if not (directory / "data").exists():
        shutil.copytree(initialised(), directory, dirs_exist_ok=True)
    return EmbeddedPostgres(directory, sync=False, settings={"fsync": "off"} | (settings or {}))


def make(name: str, directory: Path) -> EmbeddedServer:
    match name:
        case "postgres":
            return quick_postgres(directory / name)
        case "nats":
            return EmbeddedNats(directory / name)
        case _:
            return EmbeddedBlobs(directory / name, bucket="music")


async def test_a_restart_finds_everything(place: Path) -> None:
    postgres, store = quick_postgres(place / "postgres"), EmbeddedBlobs(place / "blobs", bucket="music")
    bus = EmbeddedNats(place / "nats")
    servers: list[EmbeddedServer] = [postgres, bus, store]
    start_together(servers)
    try:
        with psycopg.connect(postgres.url) as connection:
            connection.execute("CREATE TABLE songs AS SELECT 'Nardis' AS title")
        client = await nats.connect(bus.url)
        await client.jetstream().add_stream(name="songs", subjects=["songs.>"])
        await client.jetstream().publish("songs.new", b"Nardis")
        await client.close()
        store.client().put_object("music", "nardis.flac", io.BytesIO(b"sound"), 5)
        first_urls = [server.url for server in servers]

        stop_together(servers)
        assert not any(server.is_ready() for server in servers)
        again: list[EmbeddedServer] = [make(server.name, place) for server in servers]
        servers = again
        start_together(servers)

        assert [server.url for server in servers] == first_urls
        with psycopg.connect(servers[0].url) as connection:
            assert connection.execute("SELECT title FROM songs").fetchone() == ("Nardis",)
        client = await nats.connect(servers[1].url)
        assert (await client.jetstream().get_msg("songs", 1)).data == b"Nardis"
        await client.close()
        assert isinstance(servers[2], EmbeddedBlobs)
        assert servers[2].client().get_object("music", "nardis.flac").data == b"sound"
    finally:
        stop_together(servers)


def test_the_store_keeps_its_objects_when_all_its_ports_move(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedBlobs(place, bucket="music") as store:
        store.client().put_object("music", "nardis.flac", io.BytesIO(b"sound"), 5)
    note = json.loads((place / "server.json").read_text())
    (place / "server.json").write_text(json.dumps(note | {"ports": []}))
    # Of those that are drawn by chance one may be the one before.
    monkeypatch.setattr(processes, "PORTS", [port for port in processes.PORTS if port not in note["ports"]])
    with EmbeddedBlobs(place, bucket="music") as store:
        assert not set(store.ports) & set(note["ports"])
        assert store.client().get_object("music", "nardis.flac").data == b"sound"
        store.client().put_object("music", "solar.flac", io.BytesIO(b"more"), 4)


def test_a_stopped_store_leaves_no_sockets_behind(place: Path) -> None:
    with EmbeddedBlobs(place) as store:
        ports = store.ports
    assert [path for port in ports for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")] == []


@pytest.mark.parametrize("name", ["postgres", "nats", "blobs"])
def test_everything_listens_on_loopback_alone(name: str, place: Path) -> None:
    with make(name, place) as server:
        assert server.process is not None
        listening = [
            connection.laddr
            for connection in psutil.Process(server.process.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert {address.port for address in listening} <= set(server.ports)


def test_nobody_comes_in_without_the_password(place: Path) -> None:
    with quick_postgres(place / "postgres") as postgres, pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres.url.replace(":" + postgres.url.split(":")[2].split("@")[0], ":wrong"))
    with EmbeddedNats(place / "nats") as bus, socket.create_connection(("127.0.0.1", bus.ports[0])) as stranger:
        stranger.sendall(b"CONNECT {}\r\nPING\r\n")
        assert b"Authorization Violation" in b"".join(iter(lambda: stranger.recv(4096), b""))
    with (
        EmbeddedBlobs(place / "blobs", bucket="music") as store,
        pytest.raises(Exception, match=r"AccessDenied|Forbidden"),
    ):
        Minio(store.url.removeprefix("http://"), secure=False).put_object("music", "x", io.BytesIO(b""), 0)


def test_every_port_of_the_store_asks_for_a_credential(place: Path) -> None:
    with EmbeddedBlobs(place, bucket="music") as store:
        store.client().put_object("music", "song.wav", io.BytesIO(b"secret music"), 12)
        for port in store.ports:
            for tls in (False, True):
                for method, path in (
                    ("GET", "/buckets/music/song.wav"),
                    ("GET", "/buckets/music/?limit=10"),
                    ("GET", "/music/song.wav"),
                    ("GET", "/dir/status"),
                    ("DELETE", "/buckets/music/song.wav"),
                    ("POST", "/buckets/music/planted"),
                ):
                    said = said_to_a_stranger(port, method, path, tls=tls)
                    assert b" 200 " not in said, (port, method, path, said)
                    assert b"secret music" not in said
        assert store.client().get_object("music", "song.wav").read() == b"secret music"
        assert [each.object_name for each in store.client().list_objects("music", recursive=True)] == ["song.wav"]


def said_to_a_stranger(port: int, method: str, path: str, *, tls: bool) -> bytes:
    """The answer to somebody without a key or a certificate; nothing where the connection is refused."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain) if tls else plain as connection,
        ):
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65_536), b""))
    except OSError:  # of which a refused handshake is one
        return b""


@pytest.mark.parametrize("name", ["postgres", "nats", "blobs"])
def test_a_directory_in_use_is_refused_by_name_and_two_directories_are_not(name: str, place: Path) -> None:
    with make(name, place / "a") as first:
        with pytest.raises(EmbeddedServerError, match=f"is in use by process {os.getpid()}"):
            make(name, place / "a").start()
        with make(name, place / "b") as second:
            assert first.is_ready()
            assert second.is_ready()
            assert not set(first.ports) & set(second.ports)


HOLDER = """
import sys, time
from pathlib import Path
from infra.embedded.blobs import EmbeddedBlobs
from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.stack import start_together
place = Path(sys.argv[1])
postgres = EmbeddedPostgres(place / "postgres", sync=False, settings={"fsync": "off"})
servers = [postgres, EmbeddedNats(place / "nats"), EmbeddedBlobs(place / "blobs")]
start_together(servers)
print(*[server.process.pid for server in servers], flush=True)
time.sleep(600)
"""


def test_servers_die_with_a_killed_parent_and_the_next_start_is_as_usual(place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(place)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as holder:
        assert holder.stdout is not None
        pids = [int(pid) for pid in holder.stdout.readline().split()]
        assert len(pids) == 3
        with pytest.raises(EmbeddedServerError, match=f"in use by process {holder.pid}"):
            EmbeddedNats(place / "nats").start()
        psutil.Process(pids[2]).suspend()  # the store may hang as it stops: it is not asked
        holder.kill()
    servers = [make(name, place) for name in ("postgres", "nats", "blobs")]
    start_together(servers)
    try:
        wait_until(lambda: all(map(is_gone, pids)))
        assert all(server.is_ready() for server in servers)
    finally:
        stop_together(servers)


def test_a_killed_server_starts_again_on_the_same_port(place: Path) -> None:
    with quick_postgres(place) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE songs AS SELECT 'Nardis' AS title")
        url = server.url
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        assert not server.is_running()
        server.stop()
        server.start()
        assert server.url == url
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT title FROM songs").fetchone() == ("Nardis",)


def test_a_pid_file_left_by_a_power_cut_stops_nothing(place: Path) -> None:
    with quick_postgres(place):
        left_behind = (place / "data" / "postmaster.pid").read_text()
    account = postgres_account() if os.geteuid() == 0 else None
    stranger = spawn(["/bin/sleep", "60"], account=account)  # the number now belongs to somebody else
    try:
        (place / "data" / "postmaster.pid").write_text(
            left_behind.replace(left_behind.splitlines()[0], str(stranger.pid), 1)
        )
        with quick_postgres(place) as server:
            assert server.is_ready()
    finally:
        stranger.kill()
        stranger.wait()


def test_a_taken_port_makes_the_server_move(place: Path) -> None:
    with EmbeddedNats(place) as server:
        port = server.ports[0]
    with socket.create_server(("127.0.0.1", port)), EmbeddedNats(place) as server:
        assert server.ports[0] != port
        assert server.is_ready()


@pytest.mark.parametrize("name", ["postgres", "nats", "blobs"])
def test_somebody_quicker_to_a_port_is_evaded_and_never_mistaken_for_our_own(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quicker: list[socket.socket] = []

    def somebody_is_quicker(count: int) -> list[int]:
        ports = free_ports(count)
        if not quicker:
            quicker.append(socket.create_server(("127.0.0.1", ports[0])))
        return ports

    monkeypatch.setattr("infra.embedded.server.free_ports", somebody_is_quicker)
    with make(name, place) as server:
        assert server.is_ready()
        assert quicker[0].getsockname()[1] not in server.ports
    quicker[0].close()


def test_another_server_on_the_port_is_not_mistaken_for_our_own(place: Path) -> None:
    for name in ("postgres", "nats", "blobs"):
        ours, theirs = make(name, place / "ours"), make(name, place / "theirs")
        if isinstance(theirs, EmbeddedPostgres):  # copies have the same password
            theirs = EmbeddedPostgres(place / "other", sync=False, settings={"fsync": "off"})
        with ours:
            ports = ours.ports
        note = theirs.directory / "server.json"
        with theirs:
            pass
        note.write_text(json.dumps(json.loads(note.read_text()) | {"ports": ports}))
        with theirs:
            assert theirs.ports == ports
            assert theirs.is_ready()
            assert not ours.is_ready()


def test_an_interrupted_first_start_is_done_over(place: Path) -> None:
    with quick_postgres(place):
        pass
    (place / "initialised").unlink()  # as if it had died a moment before the end
    with quick_postgres(place) as server:
        assert server.is_ready()


def test_the_data_of_another_version_is_refused_and_left_alone(place: Path) -> None:
    with quick_postgres(place):
        pass
    (place / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedServerError, match="made by PostgreSQL 16; this is 18"):
        quick_postgres(place).start()
    assert (place / "data" / "base").is_dir()


@pytest.mark.parametrize("name", ["nats", "blobs"])
def test_the_data_of_a_later_version_is_refused(name: str, place: Path) -> None:
    directory = place / name
    directory.mkdir()
    (directory / "server.json").write_text(json.dumps({"version": "99.1"}))
    with pytest.raises(EmbeddedServerError, match=r"last written by .* 99\.1; this is"):
        make(name, place).start()


def test_a_database_that_is_not_ours_is_never_touched(place: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "PG_VERSION").write_text("18\n")
    with pytest.raises(EmbeddedServerError, match="did not make"):
        quick_postgres(place).start()
    assert [path.name for path in (place / "data").iterdir()] == ["PG_VERSION"]


def test_lost_passwords_and_damaged_notes_are_named(place: Path) -> None:
    with quick_postgres(place):
        pass
    (place / "server.json").write_text("{")
    with pytest.raises(EmbeddedServerError, match=r"server\.json is damaged"):
        quick_postgres(place).start()
    (place / "server.json").unlink()
    with pytest.raises(EmbeddedServerError, match="the password with it"):
        quick_postgres(place).start()


def test_a_server_that_cannot_start_says_what_its_log_says(place: Path) -> None:
    server = quick_postgres(place, {"shared_buffers": "lots"})
    with pytest.raises(EmbeddedServerError, match='invalid value for parameter "shared_buffers"'):
        server.start()
    with quick_postgres(place) as server:  # and it has let go of its directory
        assert server.is_ready()


def test_when_one_cannot_start_the_others_are_stopped(place: Path) -> None:
    bus = EmbeddedNats(place / "nats")
    with pytest.raises(EmbeddedServerError):
        start_together([bus, quick_postgres(place / "postgres", {"work_mem": "none"})])
    assert not bus.is_running()


def test_commits_reach_the_disk_unless_a_test_says_otherwise(place: Path) -> None:
    with EmbeddedPostgres(place) as server, psycopg.connect(server.url) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert connection.execute("SELECT current_setting(%s)", [setting]).fetchone() == ("on",)
        assert connection.execute("SHOW server_version_num").fetchone() >= ("180000",)  # type: ignore[operator]  # a row


def test_files_with_passwords_are_private(place: Path) -> None:
    servers = [make(name, place) for name in ("postgres", "nats", "blobs")]
    start_together(servers)
    stop_together(servers)
    for path in (*place.glob("*/server.json"), place / "nats" / "nats.json", place / "blobs" / "s3.json"):
        assert path.stat().st_mode & 0o077 == 0, path


# --- directories ---------------------------------------------------------------------------------------------------


def test_a_file_in_the_way_is_named(place: Path) -> None:
    (place / "file").touch()
    with pytest.raises(EmbeddedServerError, match="is not a directory"):
        make_directory(place / "file")
    with pytest.raises(EmbeddedServerError, match="one of its parents is a file"):
        make_directory(place / "file" / "below")


@not_as_root
def test_a_directory_that_may_not_be_written_is_named(place: Path) -> None:
    place.chmod(0o500)
    with pytest.raises(EmbeddedServerError, match="is not writable"):
        make_directory(place)


@as_root
def test_root_may_keep_its_data_where_nobody_else_can_look(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    place.chmod(0o700)
    with quick_postgres(closed / "postgres") as server:
        assert server.process is not None
        assert psutil.Process(server.process.pid).uids().effective != 0
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE songs (title text)")


@as_root
def test_root_may_keep_its_programs_where_nobody_else_can_look(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.embedded.postgres._everybody_can_enter", lambda _path: False)
    with quick_postgres(place / "postgres") as server:
        assert server.process is not None
        assert "ledgerline-postgres-" in psutil.Process(server.process.pid).exe()
        assert server.is_ready()


def test_a_lock_waits_for_what_a_dead_owner_left_and_not_for_a_living_one(place: Path) -> None:
    lock = DirectoryLock(place, "It")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.take()])
    lock.release()
    with pytest.raises(EmbeddedServerError, match="left behind"):
        DirectoryLock(place, "It").take(retry_seconds=0.1)
    child.communicate(b"\n")
    second = DirectoryLock(place, "It")
    second.take(retry_seconds=0)
    with pytest.raises(EmbeddedServerError, match=f"in use by process {os.getpid()}"):
        DirectoryLock(place, "It").take()
    second.release()


def test_ports_are_free_and_differ() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_a_child_started_from_a_thread_that_ends_lives_on() -> None:
    import threading

    found: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: found.append(spawn([sys.executable, "-c", "input()"])))
    thread.start()
    thread.join()
    child = found[0]
    try:
        # Its standard input is empty, so it ends by itself; the kernel must not have ended it.
        assert child.wait(10) == 1
    finally:
        child.kill()


PARENT = """
import sys, time
from infra.embedded.processes import spawn
child = '''
import signal, sys, time
def asked(*_):
    open("{note}", "w").close()
    sys.exit()
signal.signal(signal.SIGTERM, asked)
open("{note}.up", "w").close()
time.sleep(600)
'''
print(spawn([sys.executable, "-c", child], last_signal={number}).pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_child_gets_the_signal_it_was_promised_when_its_parent_is_killed(place: Path, number: signal.Signals) -> None:
    program = PARENT.format(note=str(place / "note"), number=int(number))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until((place / "note.up").exists)
        parent.kill()
    wait_until(lambda: is_gone(pid))
    assert (place / "note").exists() == (number == signal.SIGTERM)


def test_the_log_of_postgres_holds_no_values(place: Path) -> None:
    with quick_postgres(place, settings={"log_min_duration_statement": "0"}) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE people (address text PRIMARY KEY)")
            for _ in range(2):
                with suppress(psycopg.errors.UniqueViolation):
                    connection.execute("INSERT INTO people VALUES (%s)", ("secret@example.com",))
        said = server.log_path.read_text()
    assert "INSERT INTO people" in said
    assert "duplicate key" in said
    assert "secret@example.com" not in said
    assert not re.search(r"FATAL|ERROR", said.partition("ready to accept connections")[0])


def test_a_log_that_has_grown_is_moved_aside_while_the_server_writes_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.embedded.server.LOG_BYTES_MAX", 10)
    with quick_postgres(place) as server:
        server.keep_log_small()
        assert "ready to accept connections" in (place / "postgres.log.1").read_text()
        assert server.log_path.stat().st_size == 0
    assert server.log_path.read_text().count("shut") > 0  # from its beginning, with no hole before
    assert "\0" not in server.log_path.read_text()


@pytest.mark.parametrize("name", ["postgres", "nats", "blobs"])
def test_a_server_that_hangs_is_known_from_one_that_lives(name: str, place: Path) -> None:
    with make(name, place) as server:
        assert server.is_alive()
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, server.process.pid, os.WSTOPPED)  # a signal reaches the last thread a little later
        assert not server.is_alive()
        server.process.send_signal(signal.SIGCONT)
        assert server.is_alive()
