"""What runs beside a role goes on until the role is told to stop."""

from __future__ import annotations

import asyncio

import pytest
from psycopg_pool import AsyncConnectionPool
from structlog.testing import capture_logs

from infra import processes
from infra.processes import over_and_over


async def test_what_ends_with_an_error_of_whatever_kind_is_begun_again_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "TICK_SECONDS", 0.001)
    stop = asyncio.Event()
    begun = 0

    async def seal(stop: asyncio.Event) -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise LookupError("a key that nobody has thought of")
        stop.set()

    with capture_logs() as lines:
        await asyncio.wait_for(over_and_over("sealer", seal, stop), 20)

    assert begun == 3
    assert [(line["event"], line["task"]) for line in lines] == [("task.begun_again", "sealer")] * 2


class AtWork:
    """What says of itself that it can work, as whoever waits for an answer does."""

    is_ready = True


async def test_a_role_is_not_ready_while_postgres_holds_its_connections_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "ANSWER_SECONDS_MAX", 0.05)
    stop, asked = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await stop.wait()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgresql://nobody@127.0.0.1:{port}/nothing?sslmode=disable&connect_timeout=20"
        said: list[bool] = []

        def ready(is_ready: bool) -> None:
            said.append(is_ready)
            if asked.is_set() and len(said) > 1:
                stop.set()

        async with AsyncConnectionPool(url, min_size=0, max_size=1, open=False) as pool:

            async def work() -> None:
                await stop.wait()

            await asyncio.wait_for(processes._work(work(), AtWork(), pool, stop, ready), 20)

    assert set(said) == {False}


async def test_a_sweep_that_fails_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = asyncio.Event()

    async def fails(_: object) -> int:
        raise LookupError("not there")

    async def ends(_: object) -> int:
        stop.set()
        return 1

    with capture_logs() as lines:
        await asyncio.wait_for(processes._sweep({"first": fails, "second": ends}, stop), 20)

    assert [(line["event"], line["sweep"]) for line in lines] == [("sweep.interrupted", "first"), ("swept", "second")]
