"""`?as_of=` and `ledgerline as-of`: reads of the API as they were, for whoever may see the audit."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.app import routes
from api.past import LOOKS_BACK
from infra import cli
from tests.identity.crowd import sign_in
from tests.journeys.kit import Account, Stack

ENDPOINTS = "/v1/webhook-endpoints"


def _position(me: Account) -> int:
    return int(me.get("/v1/events?after=0&limit=1000").json()["events"][-1]["position"])


def _of(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def me(account: Callable[[], Account]) -> Account:
    """Somebody who has changed a few things: see `past`."""
    return account()


@pytest.fixture(scope="module")
def past(me: Account) -> dict[int, dict[str, Any]]:
    """What was answered to them after each change, by the position of its event."""
    then: dict[int, dict[str, Any]] = {}
    made = me.post(ENDPOINTS, json={"url": "https://example.com/a"}).json()["id"]
    paths = [
        ENDPOINTS,
        f"{ENDPOINTS}/{made}",
        "/functions/v1/projects",
        "/functions/v1/builds",
        "/api/v1/tracks",
        "/api/v1/releases",
        "/api/v1/imports",
        "/api/v1/import-mappings",
        "/api/beats",
        "/v1/analyses",
        "/v1/audit-events",
    ]

    def note() -> None:
        answers = {path: me.get(path) for path in paths}
        then[_position(me)] = {path: (each.status_code, each.json()) for path, each in answers.items()}

    note()
    me.request("PATCH", f"{ENDPOINTS}/{made}", json={"url": "https://example.com/b"})
    note()
    track = {"isrc": "QZAAA2500001", "title": "One", "artist": "Somebody"}
    assert me.post("/api/v1/tracks", json=track).status_code == 201
    note()
    me.request("DELETE", f"{ENDPOINTS}/{made}")
    note()
    return then


def test_each_read_is_answered_as_it_was(me: Account, past: dict[int, dict[str, Any]]) -> None:
    assert len(past) == 4
    for position, answers in past.items():
        for path, (status, body) in answers.items():
            again = me.get(path, params={"as_of": str(position)})
            assert (again.status_code, again.json()) == (status, body), (path, position)
            assert status != 200 or again.headers["ledgerline-position"] == str(position)
    # The same by the moments at which the events were recorded.
    events = {each["position"]: each["created_at"] for each in _of(me.get("/v1/events?after=0&limit=1000"))["events"]}
    first = min(past)
    moment = datetime.fromisoformat(events[min(events)]) - timedelta(seconds=2)
    assert _of(me.get(ENDPOINTS, params={"as_of": moment.isoformat()})) == []
    now = datetime.now(UTC).isoformat()
    assert _of(me.get(ENDPOINTS, params={"as_of": now})) == past[max(past)][ENDPOINTS][1]
    assert len(past[first][ENDPOINTS][1]) == 1


def test_the_audit_as_it_was_is_read_on_from_what_was_in_it(me: Account, past: dict[int, dict[str, Any]]) -> None:
    newest, oldest = max(past), min(past)
    now, then = past[newest]["/v1/audit-events"][1], past[oldest]["/v1/audit-events"][1]
    later = now[0]["id"]
    assert later not in {each["id"] for each in then}
    made = [each for each in then if each["action"] == "endpoint.registered"]
    asked = [
        ({"before": later}, then),
        ({"before": then[0]["id"]}, then[1:]),
        ({"action": "endpoint.registered"}, made),
    ]
    for more, expected in asked:
        assert _of(me.get("/v1/audit-events", params={"as_of": str(oldest), **more})) == expected


def test_nobody_sees_the_past_of_others_nor_without_the_right_to_see_the_audit(
    me: Account, past: dict[int, dict[str, Any]], account: Callable[[], Account]
) -> None:
    position, other = min(past), account()
    [path] = [each for each in past[position] if each.startswith(f"{ENDPOINTS}/")]
    assert other.get(path, params={"as_of": str(position)}).status_code == 404
    assert _of(other.get(ENDPOINTS, params={"as_of": str(position)})) == []
    assert not [each for each in _of(other.get("/v1/audit-events")) if each["metadata"]["position"] <= position]
    assert _of(other.get("/v1/audit-events", params={"as_of": str(position)})) == []
    owner = sign_in(me.http)
    key = me.http.post("/v1/api-keys", json={"name": "Few", "scopes": ["webhooks:manage"]}, headers=owner.headers)
    lesser = {"X-API-Key": key.json()["plaintext_key"]}
    assert me.http.get(ENDPOINTS, headers=lesser).status_code == 200
    assert me.http.get(ENDPOINTS, headers=lesser, params={"as_of": str(position)}).status_code == 403
    assert me.http.get(ENDPOINTS, params={"as_of": str(position)}).status_code == 401


@pytest.mark.parametrize(
    "said",
    ["", "x", "-1", "1.5", "٣", "\0", "9" * 30, "2026-03-01", "2026-03-01T12:00:00", "0001-01-01T00:00:00Z",
     "9999-12-31T23:59:59Z", "2999-01-01T00:00:00Z"],
)  # fmt: skip
def test_what_is_no_point_in_the_past_is_refused(me: Account, said: str) -> None:
    assert me.get(ENDPOINTS, params={"as_of": said}).status_code == 422


def test_a_position_that_is_not_there_yet_and_two_at_once_are_refused(me: Account) -> None:
    assert me.get(ENDPOINTS, params={"as_of": str(10**14)}).status_code == 409
    assert me.get(ENDPOINTS, params=[("as_of", "1"), ("as_of", "2")]).status_code == 422


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/events", "/functions/v1/builds/usage", "/version"])
def test_what_is_not_made_of_the_log_alone_does_not_look_older_than_it_is(me: Account, path: str) -> None:
    answer = me.get(path, params={"as_of": "1"})
    assert answer.status_code in (400, 422), answer.text
    assert "earlier time" in answer.text
    assert me.post(ENDPOINTS, params={"as_of": "1"}, json={"url": "https://example.com/c"}).status_code == 422


def test_every_route_that_looks_back_is_there_and_reads() -> None:
    known = {each.handler_name: each for each in routes()}
    assert set(known) >= LOOKS_BACK
    assert all(known[name].http_methods <= {"GET", "HEAD"} for name in LOOKS_BACK)


def test_an_operator_sees_the_past_of_any_workspace(
    on_stack: Stack, me: Account, past: dict[int, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    for position, answers in past.items():
        assert not cli.main(["as-of", str(position), ENDPOINTS, "--workspace", me.workspace_id])
        assert json.loads(capsys.readouterr().out) == answers[ENDPOINTS][1]
    assert cli.main(["as-of", str(min(past)), "/v1/usage", "--workspace", me.workspace_id]) == 1
    assert "earlier time" in capsys.readouterr().err
    assert not cli.main(["as-of", str(min(past)), f"{ENDPOINTS}?", "--workspace", "somebody-else"])
    assert json.loads(capsys.readouterr().out) == []
