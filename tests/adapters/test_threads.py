"""Blocking work in threads, and what cancelling means for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from adapters.threads import Turns, run_in


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


async def test_a_result_and_an_error_come_back(pool: ThreadPoolExecutor) -> None:
    assert await run_in(pool, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await run_in(pool, divmod, 7, 0)


async def test_a_cancelled_caller_waits_for_what_has_begun_even_if_cancelled_twice(pool: ThreadPoolExecutor) -> None:
    began, let_go, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        let_go.wait(10)
        ended.set()
        raise RuntimeError("nobody listens any more, and nobody needs to be told")

    caller = asyncio.create_task(run_in(pool, work))
    assert await asyncio.to_thread(began.wait, 10)
    for _ in range(2):
        caller.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not caller.done()
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended.is_set()


async def test_a_cancelled_caller_drops_what_has_not_begun(pool: ThreadPoolExecutor) -> None:
    let_go = threading.Event()
    done: list[str] = []
    first = asyncio.create_task(run_in(pool, let_go.wait, 10))
    queued = asyncio.create_task(run_in(pool, done.append, "queued"))
    for _ in range(10):
        await asyncio.sleep(0)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    assert not first.done()
    let_go.set()
    assert await first
    assert done == []


async def test_whoever_brings_much_work_waits_for_themselves_and_nobody_else_does() -> None:
    turns, let_go = Turns(2, "turns"), threading.Event()
    begun = []

    def work(holder: str) -> str:
        begun.append(holder)
        assert let_go.wait(30)
        return holder

    async with asyncio.timeout(30):
        greedy = [asyncio.create_task(turns.run("ada", work, "ada")) for _ in range(5)]
        while not begun:  # noqa: ASYNC110 - threads ring no bell
            await asyncio.sleep(0.005)
        assert await turns.run("bob", str.upper, "bob") == "BOB"
        assert begun == ["ada"]
        greedy[1].cancel()
        let_go.set()
        done = await asyncio.gather(*greedy, return_exceptions=True)
    assert [each for each in done if each == "ada"] == ["ada"] * 4
