"""Pages of other sites read answers only where an operator has named them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.journeys.kit import Stack

ORIGIN = "https://app.example"


@pytest.fixture(scope="module")
def open_to_one(stack: Stack) -> Iterator[httpx.Client]:
    with stack.door(cors_origins=(ORIGIN,)) as url, httpx.Client(base_url=url, timeout=30) as http:
        yield http


def test_a_named_origin_may_read_answers_and_what_they_say_about_limits(open_to_one: httpx.Client) -> None:
    answer = open_to_one.get("/version", headers={"Origin": ORIGIN})

    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "X-RateLimit-Remaining" in answer.headers["access-control-expose-headers"]


def test_a_named_origin_is_told_beforehand_that_it_may(open_to_one: httpx.Client) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key,content-type"}
    answer = open_to_one.options("/v1/analyze/url", headers={"Origin": ORIGIN, **asked})

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "x-api-key" in answer.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize("origin", ["https://other.example", "https://app.example.evil", "null"])
def test_another_origin_reads_nothing(open_to_one: httpx.Client, client: httpx.Client, origin: str) -> None:
    assert "access-control-allow-origin" not in open_to_one.get("/version", headers={"Origin": origin}).headers
    assert "access-control-allow-origin" not in client.get("/version", headers={"Origin": ORIGIN}).headers
