"""What every answer has: an id, a line in the log, a twin without a body, and a host that is ours."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest

from commands.settings import Service
from domain.sections import Url
from infra.serving.edge import own_hosts
from tests.identity.crowd import sign_in
from tests.journeys.kit import Stack, eventually

LOCAL = Service(env="development", public_url=Url("https://studio.example:8443"))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LOCALHOST",
        "api.localhost:1",
        "127.0.0.1:8000",
        "127.1.2.3",
        "[::1]:8000",
        "studio.example",
    ],
)
def test_in_development_names_of_this_machine_are_answered_to(host: str) -> None:
    is_own = own_hosts(LOCAL)
    assert is_own is not None
    assert is_own(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[::2]",
        "[",
        "",
        "0.0.0.0",
    ],
)
def test_in_development_no_other_name_is_answered_to(host: str) -> None:
    is_own = own_hosts(LOCAL)
    assert is_own is not None
    assert not is_own(host)


def test_elsewhere_any_name_may_lead_to_the_service() -> None:
    assert own_hosts(Service(env="production")) is None
    assert own_hosts(Service(env="development", host="0.0.0.0")) is None
    assert own_hosts(Service(env="production", host="0.0.0.0"), lets_guests_in=True) is None


def test_where_whoever_reaches_it_is_let_in_only_names_of_this_machine_are_answered_to() -> None:
    is_own = own_hosts(Service(env="production"), lets_guests_in=True)
    assert is_own is not None
    assert is_own("127.0.0.1:8000")
    assert not is_own("rebound.example:8000")


def test_a_page_whose_name_was_bound_to_this_machine_reads_nothing(client: httpx.Client) -> None:
    for path in ("/v1/auth/login", "/docs", "/nowhere"):
        answer = client.post(path, json={"email": "a@example.com"}, headers={"Host": "rebound.example"})

        assert answer.status_code == 421
        assert "localhost" in answer.json()["detail"]
        assert "dev_code" not in answer.text


@pytest.mark.parametrize("path", ["/docs", "/health", "/v1/usage", "/nowhere"])
def test_head_is_get_without_a_body(client: httpx.Client, path: str) -> None:
    got, asked = client.get(path), client.head(path)

    assert (asked.status_code, asked.content) == (got.status_code, b"")
    assert asked.headers["content-length"] == got.headers["content-length"]
    assert asked.headers["content-type"] == got.headers["content-type"]


def test_every_answer_has_the_id_of_its_request(client: httpx.Client) -> None:
    for path in ("/docs", "/nowhere", "/v1/usage"):
        assert client.get(path, headers={"X-Request-ID": "mine-1"}).headers.get_list("x-request-id") == ["mine-1"]

    made = [client.get("/docs", headers=headers).headers["x-request-id"] for headers in ({}, {"X-Request-ID": "a b"})]
    assert len({*made, "a b"}) == 3


def lines(stack: Stack, request_id: str) -> list[dict[str, Any]]:
    return [
        found
        for line in stack.log.splitlines()
        if request_id in line and (found := json.loads(line)).get("event") == "request.answered"
    ]


def test_each_request_is_one_line_in_the_log_without_what_was_asked(stack: Stack, client: httpx.Client) -> None:
    somebody = sign_in(client)
    headers = {"Authorization": f"Bearer {somebody.token}", "X-Request-ID": "line-of-log"}
    answer = client.get("/v1/analyses/no-such-thing?secret=hidden-value", headers=headers)

    (line,) = eventually(lambda: lines(stack, "line-of-log"))
    assert (line["method"], line["path"], line["status"]) == ("GET", "/v1/analyses/{job_id}", answer.status_code)
    assert line["bytes"] == len(answer.content)
    assert line["workspace_id"]
    assert line["milliseconds"] > 0
    assert not {"hidden-value", "no-such-thing", somebody.token} & set(json.dumps(line).replace('"', " ").split())
    assert "hidden-value" not in json.dumps(line)


def test_a_question_for_methods_is_a_line_in_the_log_too(stack: Stack, client: httpx.Client) -> None:
    answer = client.options("/v1/usage", headers={"X-Request-ID": "methods-in-log"})
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (204, {"GET", "OPTIONS"})
    (line,) = eventually(lambda: lines(stack, "methods-in-log"))
    assert (line["method"], line["status"]) == ("OPTIONS", 204)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("FOO /v1/usage HTTP/1.1", 400),
        ("hello", 400),
        ("GET usage HTTP/1.1", 400),
        ("CONNECT example.com:80 HTTP/1.1", 400),
        ("OPTIONS * HTTP/1.1", 404),
    ],
)
def test_what_asks_for_no_path_is_answered(client: httpx.Client, asked: str, status: int) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=30) as connection:
        connection.sendall(f"{asked}\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        told = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), told
    assert json.loads(body)["detail"]


def test_a_probe_is_no_line_in_the_log_while_all_is_well(stack: Stack, client: httpx.Client) -> None:
    assert client.get("/ready", headers={"X-Request-ID": "probe-of-log"}).status_code == 200
    client.get("/version", headers={"X-Request-ID": "after-the-probe"})

    assert eventually(lambda: lines(stack, "after-the-probe"))
    assert not lines(stack, "probe-of-log")


def test_a_key_that_somebody_takes_for_the_id_of_a_request_is_not_in_the_log(
    stack: Stack, client: httpx.Client
) -> None:
    client.get("/version", headers={"X-Request-ID": "careless;token=bz_0123456789abcdef"})

    (line,) = eventually(lambda: lines(stack, "careless"))
    assert line["request_id"].startswith("careless;token=")
    assert "0123456789" not in stack.log
