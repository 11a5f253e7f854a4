"""Readiness tells of every part, and is lost only with what every request needs."""

from __future__ import annotations

from time import monotonic
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from adapters import readiness
from adapters.readiness import Readiness
from api.app import create_app
from infra.container import container
from tests.core.test_condition import WELL
from tests.journeys.kit import Stack


async def ready(stack: Stack, **settings: object) -> httpx.Response:
    async with container(stack.settings.changed(**settings)) as here:
        # The two libraries describe the same protocol in types that do not fit each other.
        app: Any = await create_app(here.get)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ready", timeout=30) as http:
            return await http.get("/ready")


async def test_the_object_store_is_told_of_and_does_not_decide(stack: Stack) -> None:
    there = await ready(stack)
    assert (there.status_code, there.json()["objects"]) == (200, "ok")
    away = await ready(stack, s3_url="http://127.0.0.1:9")
    assert (away.status_code, away.json()["status"], away.json()["objects"]) == (200, "ready", "away")
    assert away.elapsed.total_seconds() < 3


async def test_how_far_read_models_are_and_what_is_parked_is_told_and_does_not_decide(stack: Stack) -> None:
    body = (await ready(stack)).json()
    assert (body["status"], body["read_models"], body["nats"]) == ("ready", "ok", "ok")
    assert body["behind_events"] >= 0
    assert body["behind_seconds"] < 5
    assert (body["parked_jobs"], body["parked_events"]) == (0, 0)


async def test_without_a_database_it_is_not_ready_and_says_so_in_time(stack: Stack) -> None:
    async with container(stack.settings.changed(postgres_url="postgresql://nobody@127.0.0.1:9/none")) as here:
        began = monotonic()
        parts = await (await here.get(Readiness)).parts()
    assert (parts.postgres, parts.is_ready, parts.parked_jobs) == ("away", False, UNSET)
    assert monotonic() - began < 5


async def test_events_that_do_not_get_into_nats_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    bus: Any = SimpleNamespace(is_connected=True)
    nothing: Any = None
    readiness_ = Readiness(nothing, bus, nothing, nothing)
    now = 100.0
    monkeypatch.setattr(readiness, "monotonic", lambda: now)

    def said(head: int, arrived: int) -> str:
        return readiness_._nats(replace(WELL, head=head), arrived)

    assert said(5, 5) == "ok"
    now += 3
    assert said(9, 5) == "ok"
    now += 3
    assert said(12, 5) == "ok"
    now += 4
    assert said(12, 5) == "behind"
    now += 1
    assert said(12, 9) == "ok"
    now += 60
    assert said(12, 12) == "ok"
    bus.is_connected = False
    assert said(99, 12) == "away"
