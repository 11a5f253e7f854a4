"""A name server that does not answer holds up the names below its own domain, and nobody else."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.web.http import ForbiddenTarget, Outbound, Unreachable
from adapters.web.lookups import Lookups


class NameServers:
    """Answers of the system's resolver: whatever is below a tar pit waits until it is let go."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.stuck = 0

    def getaddrinfo(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host.endswith(("tarpit.example", "swamp.example")):
            self.stuck += 1
            assert self.go_on.wait(60)
        if host.endswith("nowhere.example"):
            raise socket.gaierror(socket.EAI_NONAME, "no such host")
        place = ("2606:4700::1", port, 0, 0) if host.startswith("six") else ("127.0.0.1", port)
        family = socket.AF_INET6 if host.startswith("six") else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", place)]


@pytest.fixture
async def servers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NameServers]:
    made = NameServers()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.go_on.set()


async def test_names_in_a_tar_pit_hold_up_nobody_else_and_leave_room(servers: NameServers) -> None:
    lookups = Lookups(16)
    async with asyncio.timeout(20):
        stuck = [asyncio.create_task(lookups.resolve(f"{n}.tarpit.example", 80)) for n in range(30)]
        done, waiting = await asyncio.wait(stuck, return_when=asyncio.FIRST_EXCEPTION)
        assert len(waiting) == 8, "as many as are left to others"
        while servers.stuck < 8:  # noqa: ASYNC110 - threads ring no bell
            await asyncio.sleep(0.01)
        for task in done:
            assert isinstance(task.exception(), socket.gaierror)
        [found] = await lookups.resolve("hooks.studio.example", 443)
        assert (found["host"], found["port"], found["hostname"]) == ("127.0.0.1", 443, "hooks.studio.example")
        assert [each["host"] for each in await lookups.resolve("six.example", 80)] == ["2606:4700::1"]
        # Whoever stops waiting gives no thread back: the system goes on asking.
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        with pytest.raises(socket.gaierror):
            await lookups.resolve("again.tarpit.example", 80)
        servers.go_on.set()
        while True:  # as soon as they have their answers there is room again
            try:
                assert await lookups.resolve("again.tarpit.example", 80)
            except socket.gaierror:
                await asyncio.sleep(0.01)
            else:
                break


async def test_a_download_from_a_name_that_is_never_found_ends_in_time_and_the_next_one_goes_on(
    servers: NameServers, tmp_path: Path
) -> None:
    door = Outbound()
    try:
        async with asyncio.timeout(20):
            for url in [f"http://{n}.swamp.example/a.mp3" for n in range(6)]:
                with pytest.raises(Unreachable, match="did not finish"):
                    await door.fetch(url, tmp_path / "a", size_max=1, seconds_max=0.05)
            with pytest.raises(Unreachable, match="There is no such host"):
                await door.fetch("http://nowhere.example/a.mp3", tmp_path / "a", size_max=1, seconds_max=20)
            with pytest.raises(ForbiddenTarget):
                await door.fetch("http://here.example/a.mp3", tmp_path / "a", size_max=1, seconds_max=20)
    finally:
        await door.close()
