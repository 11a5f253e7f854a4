"""Whoever asks Postgres a question among many waits for so long and no longer, each for themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from adapters.postgres.batch_loader import BatchLoader
from adapters.postgres.prepared import PreparedStatement
from domain.kernel import Unavailable

PATIENCE_SECONDS = 0.2
Loader = BatchLoader[str, str]


class Server:
    """Postgres that answers when it is let."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.asked: list[Sequence[bytes]] = []

    async def run(self, parameters: Sequence[bytes]) -> Any:
        self.asked.append(parameters)
        await self.answers.wait()
        return parameters


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(PreparedStatement, "run", lambda _, parameters: made.run(parameters))
    return made


@pytest.fixture
async def loader(server: Server) -> AsyncIterator[Loader]:
    made: Loader = BatchLoader(
        "postgresql://127.0.0.1:1/none",
        "SELECT",
        [],
        lambda asked: [each.encode() for each in asked],
        lambda result, _: [each.decode().upper() for each in result],  # type: ignore[attr-defined]
        retry_seconds=0,
        refusal=Unavailable,
        connections=1,
        patience_seconds=PATIENCE_SECONDS,
    )
    yield made
    server.answers.set()
    await made.close()


async def test_each_question_is_missed_in_its_own_time(loader: Loader, server: Server) -> None:
    loop = asyncio.get_running_loop()
    waited: dict[str, float] = {}

    async def ask(question: str) -> None:
        began = loop.time()
        with pytest.raises(TimeoutError):
            await loader.ask(question)
        waited[question] = loop.time() - began

    async with asyncio.timeout(20), asyncio.TaskGroup() as asking:
        asking.create_task(ask("first"))
        await asyncio.sleep(PATIENCE_SECONDS / 2)
        asking.create_task(ask("second"))
        asking.create_task(ask("third"))
    assert list(waited) == ["first", "second", "third"]
    assert all(seconds >= PATIENCE_SECONDS - 0.01 for seconds in waited.values()), waited
    server.answers.set()
    assert await loader.ask("later") == "LATER"


async def test_what_is_answered_in_time_is_never_missed_and_what_comes_after_it_may_be(
    loader: Loader, server: Server
) -> None:
    server.answers.set()
    assert await asyncio.gather(*(loader.ask(f"{n}") for n in range(50))) == [f"{n}" for n in range(50)]
    server.answers.clear()
    async with asyncio.timeout(20):
        with pytest.raises(TimeoutError):
            await loader.ask("silence")
        with pytest.raises(TimeoutError):
            await loader.ask("silence again")


async def test_who_stops_waiting_is_nobody_to_be_told(loader: Loader, server: Server) -> None:
    gone = asyncio.create_task(loader.ask("gone"))
    stays = asyncio.create_task(loader.ask("stays"))
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.timeout(20):
        with pytest.raises(TimeoutError):
            await stays
    assert gone.cancelled()
    assert server.asked, "they were asked"
