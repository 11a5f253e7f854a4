"""An operator replays a range of the past to an endpoint of a running service, beside what happens there."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from infra.cli import main
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Neighbour, Reply, Stack, eventually

Json = dict[str, Any]
Run = Callable[..., int]
TYPE = "identity.ApiKeyIssued"


@pytest.fixture
def run(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`ledgerline webhooks` beside the service."""
    for name, text in stack.settings.environment().items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("LEDGERLINE_LOG_LEVEL", "warning")
    return lambda *arguments: main(["webhooks", *arguments])


def key(who: Visitor) -> str:
    return str(who.key("usage:read")["id"])


def endpoint(who: Visitor, url: str) -> str:
    answer = who.post("/v1/webhook-endpoints", {"url": url, "event_types": [TYPE]})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def told(receiver: Neighbour, place: str) -> Counter[str]:
    """How often each key was told of."""
    return Counter(each.json["data"]["api_key_id"] for each in receiver.received(place))


def said(capsys: pytest.CaptureFixture[str]) -> Json:
    found: Json = json.loads(capsys.readouterr().out)
    return found


def test_a_replay_beside_what_happens_tells_each_event_once(
    client: httpx.Client, receiver: Neighbour, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    me = sign_in(client)
    past = [key(me) for _ in range(40)]
    place = uuid4().hex
    made = endpoint(me, receiver.at(place))
    assert run("replay", made, "--from", "0", "--dry-run", "--json") == 0
    assert said(capsys)["events"] == 40
    assert not receiver.received(place)
    live: list[str] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            live.append(key(me))

    load = threading.Thread(target=go_on)
    load.start()
    try:
        eventually(lambda: len(live) > 2)
        before = len(live)
        assert run("replay", made, "--from", "0", "--type", TYPE, "--json") == 0
        assert len(live) > before, "it went on beside"
    finally:
        over.set()
        load.join()
    view = said(capsys)
    assert (view["status"], view["failed"]) == ("done", 0)
    assert view["delivered"] + view["skipped"] == view["events"]
    assert view["delivered"] >= 40
    eventually(lambda: set(told(receiver, place)) == {*past, *live})
    assert set(told(receiver, place).values()) == {1}


def test_a_replay_is_cancelled_and_watched_and_what_is_not_there_is_said(
    client: httpx.Client, receiver: Neighbour, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    me = sign_in(client)
    for _ in range(70):
        key(me)
    place = uuid4().hex
    receiver.answer(place, Reply(200, delay=0.1))
    made = endpoint(me, receiver.at(place))
    assert run("replay", made, "--from", "2020-01-01T00:00:00Z", "--no-wait", "--json") == 0
    replay_id = said(capsys)["id"]
    eventually(lambda: receiver.received(place))
    assert run("cancel", replay_id) == 0
    assert run("watch", replay_id) == 1
    assert "cancelled at position" in capsys.readouterr().out
    view = me.get(f"/v1/webhook-replays/{replay_id}").json()
    assert (view["status"], view["delivered"] < 70) == ("cancelled", True)
    [newest, *_] = [each for each in me.get("/v1/audit-events").json() if each["action"].startswith("replay.")]
    assert newest["action"] == "replay.ended"
    for wrong in (
        ["replay", made, "--from", "yesterday"],
        ["replay", "nobody", "--from", "0"],
        ["replay", made, "--from", "1" + "0" * 15],
        ["replay", made, "--from", "0", "--type", "no.Such"],
        ["cancel", "nobody"],
        ["watch", "\udcff"],
    ):
        assert run(*wrong) not in {0, None}, wrong
        assert "Traceback" not in capsys.readouterr().err
