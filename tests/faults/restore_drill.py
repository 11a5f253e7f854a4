"""A restore drill, longer than a test should be: back up under load, bring it into an empty data directory, compare.

`make drill` runs it. A service works for people the whole time; two backups are made meanwhile. Then its data directory
is as good as lost: the backup goes into an empty one, a service starts there, folds its read models, and must give the
same answers to everybody who was there when the backup was made, with the same keys; `verify` finds nothing, and
nobody is told anything twice.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx
import psycopg
import pytest

from adapters.operators.verifying import verify
from adapters.postgres.settings import Postgres
from domain.sections import Secret
from infra import cli
from infra.container import container
from infra.embedded.blobs import EmbeddedBlobs
from infra.embedded.postgres import EmbeddedPostgres
from infra.settings import Settings
from tests.journeys.kit import Account, Neighbour, Stack, eventually, register, running_stack

#: What a person asks to see what is theirs.
SHOWN = (
    "/v1/usage",
    "/v1/webhook-endpoints",
    "/v1/events?after=0&limit=200",
    "/v1/audit-events",
)


class Load:
    """People who come and have recordings analysed, until they are stopped."""

    def __init__(self, http: httpx.Client, audio: Neighbour, hook: str, clip: bytes) -> None:
        self.http = http
        self.people: list[tuple[Account, str]] = []
        self._url, self._hook = audio.put("drill.wav", clip), hook
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(3)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while not self._stopped.is_set():
            came = self.http.post("/v1/auth/register", json={"email": f"someone-{uuid4()}@example.com"})
            if came.status_code != 201:
                continue  # too much at once for the machine; whoever is refused was not there
            who = came.json()
            person = Account(self.http, "", who["user_id"], who["workspace_id"], who["api_key"])
            answer = person.post("/v1/analyze/url", json={"url": self._url, "webhook_url": self._hook})
            if answer.is_success:
                self.people.append((person, answer.json()["job_id"]))
            self._stopped.wait(0.2)


def _settings_of(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in stack.settings.environment().items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr("infra.telemetry.configure", lambda *_: None)


def _answers(http: httpx.Client, person: Account, job_id: str) -> dict[str, Any]:
    paths = (*SHOWN, f"/v1/analysis/{job_id}", f"/v1/analysis/{job_id}/webhooks")
    found = {}
    for path in paths:
        answer = http.get(path, headers=person.headers)
        assert answer.status_code == 200, (path, answer.text)
        found[path] = answer.json()
        if path.startswith("/v1/events"):
            del found[path]["next"]  # the end of the whole log, which goes on for everybody
    return found


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text("correct horse battery staple\n")
    return path


def test_what_was_backed_up_under_load_gives_the_same_answers_elsewhere(
    stack: Stack,
    client: httpx.Client,
    audio: Neighbour,
    receiver: Neighbour,
    clip: bytes,
    tmp_path: Path,
    passphrase: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _settings_of(stack, monkeypatch)
    directory, words = tmp_path / "backup", ["--passphrase-file", str(passphrase), "--json"]
    with Load(client, audio, receiver.url + "/drill", clip) as load:
        eventually(lambda: len(load.people) > 5, 60)
        assert not cli.main(["backup", str(directory), *words])
        eventually(lambda: len(load.people) > 15, 60)
        early = load.people[:12]
        for person, job_id in early:
            assert person.finished(job_id)["status"] == "completed"
        _rested(stack, [person.workspace_id for person, _ in early])
        assert not cli.main(["backup", str(directory), *words])
    before = [_answers(client, person, job_id) for person, job_id in early]
    told = len(receiver.received("/drill"))
    capsys.readouterr()

    for name in stack.settings.environment():
        monkeypatch.delenv(name)
    place = tmp_path / "new"
    assert not cli.main(["restore", str(directory), "--into", str(place), *words])
    with EmbeddedPostgres(place / "postgres") as postgres, EmbeddedBlobs(place / "blobs") as blobs:
        secret = Secret((place / "secret_key").read_text().strip())
        url, bucket = postgres.settings["postgres_url"], "ledgerline"
        with (
            running_stack(url, blobs.url, blobs.access_key, blobs.secret_key, bucket, secret_key=secret) as other,
            httpx.Client(base_url=other.url, timeout=30) as http,
        ):
            _caught_up(other)
            for (person, job_id), shown in zip(early, before, strict=True):
                assert _answers(http, person, job_id) == shown
            assert asyncio.run(_found(other.settings)) == []
            # Whoever was told is not told again by the place that was restored.
            ids = [each.headers["webhook-id"] for each in receiver.received("/drill")[told:]]
            done = {each["webhook-id"] for each in (one.headers for one in receiver.received("/drill")[:told])}
            assert not [each for each in ids if each in done]
            newcomer = register(http)
            assert http.get("/v1/usage", headers=newcomer.headers).status_code == 200


async def _found(settings: Settings) -> list[Any]:
    async with container(settings) as here:
        return [finding async for each in verify(here) for finding in each.findings]


def _rested(stack: Stack, workspaces: list[str]) -> None:
    """Wait until nothing of these people is left to do."""
    query = "SELECT count(*) FROM jobs WHERE workspace_id = ANY(%s) AND due_at < now() + interval '1 minute'"

    def rested() -> bool:
        with psycopg.connect(stack.settings[Postgres].postgres_url) as connection:
            return connection.execute(query, (workspaces,)).fetchall() == [(0,)]

    eventually(rested, 120)


def _caught_up(stack: Stack) -> None:
    query = (
        "SELECT count(*) FILTER (WHERE NOT live), min(position) >= (SELECT max(notification_id) FROM ledger_events), "
        "count(*) > 10 FROM checkpoints"
    )

    def is_there() -> bool:
        with psycopg.connect(stack.settings[Postgres].postgres_url) as connection:
            [(building, has_all, are_all)] = connection.execute(query).fetchall()
        return building == 0 and bool(has_all) and bool(are_all)

    eventually(is_there, 120)
