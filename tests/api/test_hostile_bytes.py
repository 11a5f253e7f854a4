"""Bytes that are no text, and moments at the ends of the calendar: refused, and nothing of them stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from litestar.handlers import HTTPRouteHandler

from api.app import routes
from tests.identity.crowd import sign_in
from tests.journeys.kit import Account, Stack

NO_TEXT = (
    b"\xff\xfe",
    b'"\xff"',
    b'{"a": "\xc3\x28"}',
    b'{"url": "\xed\xa0\x80"}',
    b'{"\xff": 1}',
    "{}".encode("utf-16"),
)
DEEP = (b"[" * 5_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
ENDS = ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00")


def posted() -> list[str]:
    """The paths of all routes that take JSON."""
    return sorted(
        path
        for handler in routes()
        if isinstance(handler, HTTPRouteHandler) and handler.http_methods & {"POST", "PUT", "PATCH"}
        for path in handler.paths
        if "{" not in path
    )


@pytest.fixture(scope="module")
def bearer(client: httpx.Client) -> dict[str, str]:
    """Somebody who may do everything in a workspace of their own."""
    return {"Authorization": f"Bearer {sign_in(client).token}"}


@pytest.mark.parametrize("body", [*NO_TEXT, *DEEP], ids=range(len(NO_TEXT + DEEP)))
def test_a_body_that_is_no_json_is_refused_by_every_route(
    client: httpx.Client, bearer: dict[str, str], body: bytes
) -> None:
    failed = {}
    for path in posted():
        if path == "/v1/auth/logout":
            continue
        answer = client.post(path, content=body, headers={**bearer, "Content-Type": "application/json"})
        if answer.status_code == 500:  # 503 says that paying is turned off
            failed[path] = answer.status_code

    assert not failed


@pytest.mark.parametrize(
    "path", ["/v1/analyses/{}/events", "/v1/account/analyses/{}/events", "/v1/analysis/{}", "/v1/{}"]
)
@pytest.mark.parametrize("name", ["%00", "a%00b", "%ff", "%ed%a0%80", "%2e%2e%2f%00"])
def test_a_path_that_no_database_can_look_for_is_not_found(
    client: httpx.Client, bearer: dict[str, str], path: str, name: str
) -> None:
    assert client.get(path.format(name), headers=bearer).status_code == 404


@pytest.mark.parametrize("moment", ENDS)
@pytest.mark.parametrize("end", ["since", "until"])
def test_the_audit_is_not_asked_for_the_ends_of_the_calendar(
    client: httpx.Client, bearer: dict[str, str], moment: str, end: str
) -> None:
    answer = client.get("/v1/audit-events", params={end: moment}, headers=bearer)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", end]


@pytest.mark.parametrize("moment", ENDS)
def test_a_key_does_not_expire_at_the_ends_of_the_calendar_and_the_audit_is_read_on(
    client: httpx.Client, bearer: dict[str, str], moment: str
) -> None:
    wish: dict[str, Any] = {"name": "for ever", "scopes": ["usage:read"], "expires_at": moment}
    answer = client.post("/v1/api-keys", json=wish, headers=bearer)

    assert answer.status_code in (409, 422), answer.text
    assert client.get("/v1/audit-events", headers=bearer).status_code == 200
    assert client.get("/v1/events", headers=bearer).status_code == 200


def test_names_with_a_zero_character_are_refused(
    client: httpx.Client, account: Callable[[], Account], bearer: dict[str, str], stack: Stack
) -> None:
    answers = [
        client.post("/v1/auth/register", json={"email": "a\0b@example.com"}),
        client.post("/v1/api-keys", json={"name": "a\0b", "scopes": ["usage:read"]}, headers=bearer),
        account().post("/v1/analyze/url", json={"audio_url": "https://example.com/a\0b.wav"}),
    ]

    assert {answer.status_code for answer in answers} == {422}
    assert "request.broken" not in stack.log
