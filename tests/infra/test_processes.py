"""What runs beside a role goes on until the role is told to stop."""

from __future__ import annotations

import asyncio

import pytest
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
