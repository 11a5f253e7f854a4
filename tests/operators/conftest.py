"""Commands of operators on the running service."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from adapters.operators.credentials import new_token
from adapters.postgres.settings import Postgres
from infra import cli
from tests.journeys.kit import Stack

Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def on_stack(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The running service, found by commands that are run in this process."""
    for name, text in stack.settings.environment().items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr("infra.telemetry.configure", lambda *_: None)
    return stack


@pytest.fixture
def ask(on_stack: Stack, capsys: pytest.CaptureFixture[str]) -> Ask:
    """What a command prints for machines, when it ends with this status."""

    def asked(*words: str, status: int = 0) -> list[dict[str, Any]]:
        assert (cli.main([*words, "--json"]) or 0) == status, capsys.readouterr().err
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return asked


class Operator:
    """Somebody who looks after the service."""

    def __init__(self, http: httpx.Client, token: str) -> None:
        self.http = http
        self.token = token

    def ask(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        answer = self.http.request(method, path, headers={"Authorization": f"Bearer {self.token}"}, **options)
        assert answer.status_code == status, answer.text
        return answer.json()

    def lines(self, path: str, *, meanwhile: Callable[[], None] = lambda: None, **body: Any) -> list[Any]:
        """What is told line by line; `meanwhile` is done while it is still coming."""
        headers = {"Authorization": f"Bearer {self.token}"}
        with self.http.stream("POST", path, json=body, headers=headers, timeout=120) as answer:
            assert answer.status_code == 200, answer.read()
            assert answer.headers["content-type"] == "application/x-ndjson"
            meanwhile()
            return [json.loads(line) for line in answer.iter_lines() if line.strip()]


@pytest.fixture(scope="module")
def operator(stack: Stack, client: httpx.Client) -> Operator:
    token = new_token()
    with psycopg.connect(stack.settings[Postgres].postgres_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO operator_credentials (digest) VALUES (encode(sha256(%s), 'hex'))", (token.encode(),)
        )
    return Operator(client, token)
