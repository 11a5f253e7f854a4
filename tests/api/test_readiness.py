"""Readiness tells of every part, and is lost only with what every request needs."""

from __future__ import annotations

from typing import Any

import httpx

from api.app import create_app
from infra.container import container
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
