"""A disk that is full: what was acknowledged stays, the rest is refused and said once, and room heals it.

Disks of their own are mounted, which takes root: `make faults` runs this, and not the suite.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from structlog.testing import CapturingLogger

from adapters import trouble
from adapters.log.eventlog import LedgerUnavailable
from adapters.postgres.settings import Postgres
from adapters.storage.blobs import Blobs, BlobsUnavailable
from domain.sections import Url
from infra.embedded.blobs import EmbeddedBlobs
from infra.embedded.nats import EmbeddedNats
from infra.embedded.postgres import EmbeddedPostgres
from infra.migrate import migrate
from tests.conftest import Databases
from tests.core.conftest import House, eventually
from tests.core.orchard import PlantTree
from tests.faults.test_faults import last_in
from tests.journeys.kit import eventually as wait_until
from tests.journeys.kit import register, running_stack


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own with so much room; it takes root to make one."""
    directory.mkdir()
    directory.chmod(0o755)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(directory)],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip("only root can make a small disk here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """Take all the room that is left."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(64 * 1024))
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))
    return ballast


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    """What is logged about troubles, which last from the first half second here."""
    log = CapturingLogger()
    monkeypatch.setattr(trouble, "log", log)
    monkeypatch.setattr(trouble, "LASTING_SECONDS", 0.5)
    return log


def lines(said: CapturingLogger) -> list[tuple[str, str, str]]:
    return [(call.method_name, call.args[0], call.kwargs["part"]) for call in said.calls]


async def test_a_full_disk_of_postgres_loses_nothing_is_said_once_and_heals(
    tmp_path_factory: pytest.TempPathFactory, nats_server: EmbeddedNats, said: CapturingLogger
) -> None:
    with (
        small_disk(tmp_path_factory.mktemp("full") / "disk", 250) as disk,
        EmbeddedPostgres(disk / "postgres", settings={"fsync": "off", "max_wal_size": "64MB"}, sync=False) as server,
    ):
        migrate(server.url)
        async with House(server.url, nats_server.url, f"full{uuid4().hex[:8]}") as house:
            log = house.new_ledger(retry_seconds=2.0)
            house.ledger = log
            await house.ask(PlantTree(tree_id="before"))
            ballast = await asyncio.to_thread(fill, disk)
            acknowledged = ["before"]

            async def write_until_refused() -> None:
                for number in range(200_000):
                    name = f"{number}-{'x' * 400}"
                    await house.ask(PlantTree(tree_id=name))
                    acknowledged.append(name)

            with pytest.raises(LedgerUnavailable):
                await asyncio.gather(*(write_until_refused() for _ in range(1)))
            for _ in range(2):
                with pytest.raises(LedgerUnavailable):
                    await house.ask(PlantTree(tree_id=uuid4().hex * 8))
            assert log.trouble.lasts
            assert lines(said) == [("error", "dependency.refuses", "postgres")]

            ballast.unlink()
            if not server.is_running():  # it may have fallen over its own log; `up` starts it again
                server.stop()
                await asyncio.to_thread(server.start)
            await eventually(lambda: _taken(house, acknowledged), within_seconds=60)
            assert not log.trouble.lasts
            assert lines(said)[1:] == [("info", "dependency.recovered", "postgres")]
            found = [each.event.tree_id for each in await house.everything()]
            assert sorted(set(found)) == sorted(found)
            assert set(acknowledged) <= set(found)


async def _taken(house: House, acknowledged: list[str]) -> bool:
    name = uuid4().hex
    try:
        await house.ask(PlantTree(tree_id=name))
    except LedgerUnavailable:
        return False
    acknowledged.append(name)
    return True


async def test_a_full_disk_of_the_object_store_keeps_what_it_has_is_said_once_and_heals(
    tmp_path_factory: pytest.TempPathFactory, said: CapturingLogger
) -> None:
    with (
        small_disk(tmp_path_factory.mktemp("full") / "disk", 120) as disk,
        EmbeddedBlobs(disk / "blobs", bucket="full") as server,
    ):
        blobs = Blobs(server.url, access_key=server.access_key, secret_key=server.secret_key, bucket="full")

        async def put(key: str, size: int = 4 * 1024 * 1024) -> bool:
            async def whole() -> AsyncIterator[bytes]:
                yield os.urandom(size)

            try:
                await blobs.put_stream(key, whole(), content_type="audio/wav", size_max=size)
            except BlobsUnavailable:
                return False
            return True

        assert await put("songs/before")
        ballast = await asyncio.to_thread(fill, disk)
        await eventually(lambda: _refused(put), within_seconds=90)

        async def lasts() -> bool:
            """It is refused again and again: at once where the server has ended, and after a while where it has not."""
            return await _refused(put) and blobs.trouble.lasts

        await eventually(lasts, within_seconds=60)
        assert (await blobs.stat("songs/before")).size == 4 * 1024 * 1024
        assert lines(said) == [("error", "dependency.refuses", "objects")]

        ballast.unlink()
        if not server.is_running():
            server.stop()
            await asyncio.to_thread(server.start)
        await eventually(lambda: put(f"songs/{uuid4().hex}", 1024), within_seconds=90)
        assert lines(said)[1:] == [("info", "dependency.recovered", "objects")]
        await blobs.close()


async def _refused(put: Callable[[str], Any]) -> bool:
    return not await put(f"songs/{uuid4().hex}")


def test_a_full_disk_of_nats_is_told_by_ready_stops_nobody_and_heals(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, blobs: EmbeddedBlobs
) -> None:
    with (
        small_disk(tmp_path_factory.mktemp("full") / "disk", 48) as disk,
        EmbeddedNats(disk / "nats") as server,
        running_stack(
            databases.create(), blobs.url, blobs.access_key, blobs.secret_key, f"full-{uuid4().hex}",
            nats_url=Url(server.url),
        ) as stack,
        httpx.Client(base_url=stack.url, timeout=30) as http,
    ):  # fmt: skip

        def said_by_ready() -> str:
            return str(http.get("/ready").json()["nats"])

        def told(event: str) -> int:
            return stack.log.count(f'"event":"{event}"') + stack.log.count(f'"event": "{event}"')

        accounts = [register(http)]
        assert said_by_ready() == "ok"
        ballast = fill(disk)

        def is_behind() -> bool:
            # Writes and reads go on all the while: what happens is in Postgres, and readers look there themselves.
            accounts.append(register(http))
            assert accounts[-1].get("/v1/usage").status_code == 200
            return said_by_ready() == "behind"

        wait_until(is_behind, timeout=120)
        wait_until(lambda: told("relay.stuck"), timeout=60)

        ballast.unlink()
        wait_until(lambda: said_by_ready() == "ok", timeout=120)
        wait_until(lambda: told("relay.recovered"), timeout=60)
        assert told("relay.stuck") == 1
        assert all(each.get("/v1/usage").status_code == 200 for each in accounts)
        with psycopg.connect(stack.settings[Postgres].postgres_url) as database:
            [newest] = database.execute("SELECT max(notification_id) FROM ledger_events").fetchone() or (0,)
        wait_until(lambda: asyncio.run(last_in(server.url)) >= newest, timeout=60)
