"""Ten beats of one workspace and one of another, and whoever makes them is killed in the middle: over all of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from adapters.postgres.settings import Postgres
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Process, Stack, eventually

Json = dict[str, Any]
#: One worker in a stack under test makes two beats at a time.
GREEDY_MAX = 2


@dataclass
class Rush:
    """What was to be seen."""

    who: Visitor
    beat_id: str
    #: How many of the ten were there when the first track of the one was.
    greedy: int
    #: Processes that have outlived the worker that had started them.
    orphans: list[psutil.Process]

    def beat(self) -> Json:
        """The one beat as it is now."""
        found: Json = got(self.who.get(f"/api/beats/{self.beat_id}"))
        return found

    def events(self, kind: str) -> list[Json]:
        """What was told of it."""
        found = got(self.who.get("/v1/events", params={"after": 0, "limit": 1000}))["events"]
        return [each["data"] for each in found if kind in json.dumps(each)]


def got(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def rush(client: httpx.Client, stack: Stack, generations: Process) -> Rush:
    """After the second track of the one was begun, the worker is killed, and another one follows it."""
    greedy, modest = sign_in(client), sign_in(client)
    ten = got(greedy.post("/api/generate/beats", {"count": 10, "mode": "full"}))["beats"]
    body = {"categoryName": "Trap - Dark/Aggressive", "duration": 8}
    seen = Rush(modest, got(modest.post("/api/generate/beat", body))["beat"]["id"], 0, [])
    eventually(lambda: seen.beat()["versions"][0]["status"] == "completed", timeout=300)
    assert not seen.events("GenerationCompleted")
    seen.greedy = got(greedy.get("/api/beats", params={"generationStatus": "completed"}))["pagination"]["total"]

    children = psutil.Process(generations.pid).children(recursive=True)
    assert children
    generations.kill()
    seen.orphans = psutil.wait_procs(children, timeout=20)[1]
    for each in ten:
        greedy.post(f"/api/beats/{each['id']}/cancel")
    with psycopg.connect(stack.settings[Postgres].postgres_url, autocommit=True) as connection:
        # As if the lease of the dead had run out, which takes ten seconds.
        connection.execute("UPDATE jobs SET lease_until = now() WHERE reaction = 'make-beat' AND state = 'running'")
    generations.start()
    eventually(lambda: seen.events("GenerationCompleted"), timeout=300)
    return seen


def test_whoever_asks_for_ten_does_not_keep_another_waiting(rush: Rush) -> None:
    assert rush.greedy <= GREEDY_MAX


def test_a_worker_that_is_killed_takes_what_it_has_started_along(rush: Rush) -> None:
    assert rush.orphans == []


def test_another_worker_makes_what_is_missing_and_ends_it_once(rush: Rush, stack: Stack) -> None:
    versions = rush.beat()["versions"]
    assert [(each["versionNumber"], each["track"], each["status"]) for each in versions] == [
        (1, 1, "completed"), (2, 2, "completed"),
    ]  # fmt: skip
    counts = [len(rush.events(kind)) for kind in ("GenerationStarted", "VersionCompleted", "GenerationCompleted")]
    assert counts == [1, 2, 1]
    # What was there is not made again.
    stages = [each["stage"] for each in rush.events("GenerationAdvanced") if each["track"] == 1]
    assert stages == ["composing", "rendering", "mastering", "storing"]
    kept = stack.objects(f"beats/{rush.who.workspace_id}/")
    assert {key.split("/")[3] for key in kept} == {each["id"] for each in versions}
