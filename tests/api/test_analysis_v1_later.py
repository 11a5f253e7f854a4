"""What of the analysis API ends with time: idempotency keys, demos, months; seen from a clock that can be set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx

from api.app import create_app
from commands.kernel import Now
from infra.container import container
from tests.journeys.kit import Account, Stack

Register = Callable[[], Account]

SONG = {"url": "https://example.com/a.mp3"}


@asynccontextmanager
async def at(stack: Stack, moment: datetime, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    """The API over the stack's data, as it is at another time."""
    async with container(stack.settings.changed(**settings), {Now: lambda: moment}) as here:
        # The two libraries describe the same protocol in types that do not fit each other.
        app: Any = await create_app(here.get)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://later", timeout=30) as http:
            yield http


def now() -> datetime:
    return datetime.now(UTC)


async def test_a_key_is_forgotten_after_a_day_and_stands_for_a_new_job_then(stack: Stack, account: Register) -> None:
    mine = account()
    headers = {**mine.headers, "Idempotency-Key": uuid4().hex}
    first = mine.post("/v1/analyze/url", json=SONG, headers=headers).json()["job_id"]

    async with at(stack, now() + timedelta(hours=23, minutes=55)) as later:
        answer = await later.post("/v1/analyze/url", json=SONG, headers=headers)
        assert (answer.json()["job_id"], answer.json()["idempotent_replay"]) == (first, True)
    async with at(stack, now() + timedelta(hours=24, minutes=5)) as later:
        answer = await later.post("/v1/analyze/url", json={"url": "https://example.com/b.mp3"}, headers=headers)
        assert answer.status_code == 202
        second = answer.json()["job_id"]
        assert second != first
        assert "idempotent_replay" not in answer.json()
        again = await later.post("/v1/analyze/url", json={"url": "https://example.com/b.mp3"}, headers=headers)
        assert again.json()["job_id"] == second, "and it is remembered from then on"


async def test_a_demo_is_gone_after_a_day(stack: Stack) -> None:
    async with at(stack, now()) as today:
        demo = (await today.post("/v1/demo/analyze/url", json=SONG)).json()
    left = datetime.fromisoformat(demo["expires_at"]) - now()
    assert 23.9 < left.total_seconds() / 3600 <= 24
    async with at(stack, now() + timedelta(hours=23, minutes=55)) as later:
        assert (await later.get(demo["poll_url"])).status_code == 200
    async with at(stack, now() + timedelta(hours=24, minutes=5)) as later:
        answer = await later.get(demo["poll_url"])
    assert (answer.status_code, answer.json()) == (404, {"detail": "There is no analysis with this id."})


async def test_a_new_month_has_a_quota_of_its_own(stack: Stack, account: Register) -> None:
    mine, quota = account(), {"monthly_analysis_limits": {"free": 1}}
    async with at(stack, datetime(2027, 3, 31, 23, 59, 59, tzinfo=UTC), **quota) as march:
        assert (await march.post("/v1/analyze/url", json=SONG, headers=mine.headers)).status_code == 202
        refused = await march.post("/v1/analyze/url", json=SONG, headers=mine.headers)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1"), "the next month begins in a second"
        assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= set(refused.headers)
        assert (await march.get("/v1/usage", headers=mine.headers)).json()["month"] == "2027-03"
    async with at(stack, datetime(2027, 4, 1, tzinfo=UTC), **quota) as april:
        usage = (await april.get("/v1/usage", headers=mine.headers)).json()
        assert (usage["month"], usage["count"], usage["remaining"]) == ("2027-04", 0, 1)
        assert (await april.post("/v1/analyze/url", json=SONG, headers=mine.headers)).status_code == 202
