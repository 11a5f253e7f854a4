"""Webhook endpoints and deliveries as the platform's document shows them, and what it leaves to us."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from adapters.postgres.settings import Postgres
from tests.journeys.kit import Account, Neighbour, Received, Reply, Stack, eventually

Register = Callable[[], Account]

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

ENDPOINT = {
    "created_at",
    "id",
    "url",
    "description",
    "event_types",
    "enabled",
    "status",
    "failing_since",
    "disabled_because",
    "secret_rotated_at",
    "updated_at",
}
DELIVERY = {
    "attempt_count",
    "created_at",
    "event_type",
    "id",
    "job_id",
    "signature",
    "status",
    "url",
    "endpoint_id",
    "next_attempt_at",
    "reason",
    "attempts",
}


@pytest.fixture
def me(account: Register) -> Account:
    """Somebody whose workspace has no endpoints yet."""
    return account()


@pytest.fixture
def place() -> str:
    """A path at the receiver that nobody else uses."""
    return f"hook-{uuid4().hex}"


def told(answer: httpx.Response, status: int) -> str:
    """The sentence of a refusal with this status."""
    assert answer.status_code == status, answer.text
    detail = answer.json()["detail"]
    assert isinstance(detail, str), detail
    return detail


def pointed_at(answer: httpx.Response) -> list[Any]:
    """Where the one mistake of a 422 is."""
    assert answer.status_code == 422, answer.text
    [mistake] = answer.json()["detail"]
    where: list[Any] = mistake["loc"]
    return where


def made(who: Account, url: str, **more: Any) -> dict[str, Any]:
    """A new endpoint."""
    answer = who.post("/v1/webhook-endpoints", json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    endpoint: dict[str, Any] = answer.json()
    return endpoint


def analysed(who: Account, url: str, **more: Any) -> str:
    """A job that is over."""
    job_id: str = who.post("/v1/analyses", json={"source_url": url, **more}).json()["id"]
    who.finished(job_id)
    return job_id


def all_told(stack: Stack) -> None:
    """Wait until whoever is to hear of the jobs that are over has a message on the way."""
    behind = (
        "SELECT (SELECT coalesce(max(notification_id), 0) FROM ledger_events WHERE topic LIKE 'analyses.%') > "
        "(SELECT position FROM checkpoints WHERE name = 'jobs' AND live) "
        "OR EXISTS (SELECT FROM jobs WHERE reaction = 'queue-delivery')"
    )
    with psycopg.connect(stack.settings[Postgres].postgres_url, autocommit=True) as database:
        eventually(lambda: database.execute(behind.encode()).fetchone() == (False,))


def deliveries(who: Account, **query: Any) -> list[dict[str, Any]]:
    """The delivery log."""
    answer = who.get("/v1/webhook-deliveries", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def settled(who: Account, count: int = 1) -> list[dict[str, Any]]:
    """The delivery log once nothing in it is on its way, and so many are there."""

    def look() -> list[dict[str, Any]] | None:
        found = deliveries(who)
        waiting = [each for each in found if each["status"] in ("pending", "delivering")]
        return found if len(found) >= count and not waiting else None

    found = eventually(look)
    assert found is not None
    return found


def verified(message: Received, secret: str) -> Any:
    """The body of a message whose signature is right, as the standard's own library checks it."""
    return Webhook(secret).verify(message.body, message.headers)


# --- endpoints --------------------------------------------------------------------------------------------------------


def test_an_endpoint_is_made_with_a_secret_that_is_shown_once(me: Account, receiver: Neighbour, place: str) -> None:
    endpoint = made(me, receiver.at(place), description="The studio", event_types=["analysis.failed"])

    assert {"created_at", "id", "signing_secret", "url"} <= set(endpoint)
    assert str(UUID(endpoint["id"])) == endpoint["id"]
    assert MOMENT.fullmatch(endpoint["created_at"])
    assert endpoint["url"] == receiver.at(place)
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", endpoint["signing_secret"])
    one = me.get(f"/v1/webhook-endpoints/{endpoint['id']}")
    [listed] = me.get("/v1/webhook-endpoints").json()
    assert one.json() == listed
    assert set(listed) == ENDPOINT
    assert listed["description"] == "The studio"
    assert listed["event_types"] == ["analysis.failed"]
    assert (listed["enabled"], listed["status"]) == (True, "healthy")
    assert endpoint["signing_secret"] not in one.text


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, ["body", "url"]),
        ({"url": ""}, ["body", "url"]),
        ({"url": "ftp://example.com"}, ["body", "url"]),
        ({"url": "http://169.254.169.254/latest"}, ["body", "url"]),
        ({"url": "https://example.com", "event_types": ["moon.full"]}, ["body", "event_types"]),
        ({"url": "https://example.com", "event_types": ["webhook.ping"]}, ["body", "event_types"]),
        ({"url": "https://example.com", "event_types": "analysis.failed"}, ["body", "event_types"]),
        ({"url": "https://example.com", "enabled": "yes"}, ["body", "enabled"]),
        ({"url": "https://example.com", "description": "x" * 501}, ["body", "description"]),
    ],
)
def test_what_is_no_endpoint_is_pointed_at(me: Account, body: Any, where: list[str]) -> None:
    assert pointed_at(me.post("/v1/webhook-endpoints", json=body)) == where


def test_an_endpoint_is_changed_where_asked_and_nowhere_else(me: Account, receiver: Neighbour, place: str) -> None:
    endpoint = made(me, receiver.at("elsewhere"), description="old")
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    changed = me.request("PATCH", path, json={"url": receiver.at(place), "event_types": ["analysis.completed"]}).json()

    assert changed["url"] == receiver.at(place)
    assert changed["event_types"] == ["analysis.completed"]
    assert changed["description"] == "old"
    assert me.request("PATCH", path, json={}).json() == changed
    off = me.request("PATCH", path, json={"enabled": False}).json()
    assert (off["enabled"], off["status"], off["disabled_because"]) == (False, "disabled", "asked")
    on = me.request("PATCH", path, json={"enabled": True, "description": ""}).json()
    assert (on["enabled"], on["status"], on["disabled_because"], on["description"]) == (True, "healthy", None, "")
    assert pointed_at(me.request("PATCH", path, json={"url": "http://127.0.0.2/x"})) == ["body", "url"]
    assert pointed_at(me.request("PATCH", path, json={"event_types": ["x"]})) == ["body", "event_types"]


def test_a_deleted_endpoint_is_gone(me: Account, receiver: Neighbour, place: str) -> None:
    endpoint = made(me, receiver.at(place))
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    answer = me.request("DELETE", path)

    assert (answer.status_code, answer.json()) == (200, {"deleted": True})
    told(me.get(path), 404)
    told(me.request("DELETE", path), 404)
    assert me.get("/v1/webhook-endpoints").json() == []


def test_the_fifty_first_endpoint_is_one_too_many_also_when_many_come_at_once(me: Account) -> None:
    def make(number: int) -> int:
        # Whoever comes late again and again is told to try again.
        wish = {"url": f"https://example.com/{number}"}
        while (status := me.post("/v1/webhook-endpoints", json=wish).status_code) == 503:
            pass
        return status

    with ThreadPoolExecutor(6) as pool:
        assert Counter(pool.map(make, range(54))) == {201: 50, 409: 4}
    assert len(me.get("/v1/webhook-endpoints").json()) == 50


OF_AN_ENDPOINT = [
    ("GET", "/v1/webhook-endpoints/{id}"),
    ("PATCH", "/v1/webhook-endpoints/{id}"),
    ("DELETE", "/v1/webhook-endpoints/{id}"),
    ("POST", "/v1/webhook-endpoints/{id}/rotate"),
    ("POST", "/v1/webhook-endpoints/{id}/test"),
]


@pytest.mark.parametrize(("method", "path"), OF_AN_ENDPOINT)
def test_anothers_endpoint_is_as_absent_as_one_that_never_was(
    me: Account, account: Register, receiver: Neighbour, place: str, method: str, path: str
) -> None:
    endpoint, stranger = made(me, receiver.at(place)), account()
    theirs = stranger.request(method, path.format(id=endpoint["id"]), json={})
    never = stranger.request(method, path.format(id=uuid4()), json={})
    assert told(theirs, 404) == told(never, 404)
    assert len(me.get("/v1/webhook-endpoints").json()) == 1
    assert receiver.received(place) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *OF_AN_ENDPOINT,
        ("GET", "/v1/webhook-endpoints"),
        ("POST", "/v1/webhook-endpoints"),
        ("GET", "/v1/webhook-event-types"),
        ("GET", "/v1/webhook-deliveries"),
        ("GET", "/v1/webhook-deliveries/{id}"),
        ("POST", "/v1/webhook-deliveries/deliver"),
        ("POST", "/v1/webhook-deliveries/replay"),
    ],
)
def test_without_a_key_nothing_is_shown_or_done(client: httpx.Client, method: str, path: str) -> None:
    told(client.request(method, path.format(id=uuid4())), 401)


# --- messages -------------------------------------------------------------------------------------------------------


def test_every_endpoint_that_wants_to_hears_of_an_analysis_signed_with_its_own_secret(
    me: Account, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    first = made(me, receiver.at(f"{place}-1"))
    second = made(me, receiver.at(f"{place}-2"), event_types=["analysis.completed"])
    made(me, receiver.at(f"{place}-3"), event_types=["analysis.failed"])
    made(me, receiver.at(f"{place}-4"), enabled=False)
    job_id = analysed(me, audio.put(f"{place}.wav", clip), metadata={"song": 7})
    log = settled(me, 2)

    assert {(each["endpoint_id"], each["status"]) for each in log} == {
        (first["id"], "delivered"),
        (second["id"], "delivered"),
    }
    [message] = receiver.received(f"{place}-1")
    body = verified(message, first["signing_secret"])
    assert body["type"] == "analysis.completed"
    assert body["data"]["id"] == body["data"]["job_id"] == job_id
    assert body["data"]["status"] == "succeeded"
    assert body["data"]["metadata"] == {"song": 7}
    assert body["data"]["result"]["duration_seconds"] == pytest.approx(2.0, abs=0.05)
    assert len(message.body) < 20_000
    with pytest.raises(WebhookVerificationError):
        verified(message, second["signing_secret"])
    assert receiver.received(f"{place}-3") == receiver.received(f"{place}-4") == []


def test_an_endpoint_that_chooses_so_is_told_when_the_pictures_are_there(
    me: Account, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    types = me.get("/v1/webhook-event-types").json()
    optional = [each["name"] for each in types if each["optional"] and not each["published"]]
    assert [name for name in optional if not name.startswith("license.")] == ["analysis.artifacts_ready"]
    made(me, receiver.at(place), event_types=["analysis.artifacts_ready"])
    job_id = analysed(me, audio.put(f"{place}.wav", clip))
    [log] = settled(me)
    [message] = receiver.received(place)
    assert log["event_type"] == message.json["type"] == "analysis.artifacts_ready"
    assert message.json["data"]["job_id"] == job_id
    report = me.get(f"/v1/analyses/{job_id}/result").json()["report_artifact"]
    assert message.json["data"]["pictures"] == report["pictures"]
    assert set(report["pictures"].values()) == {"stored"}


def test_the_delivery_log_has_each_message_with_its_attempts(
    me: Account, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    endpoint = made(me, receiver.answer(place, 500, 200))
    job_id = analysed(me, audio.put(f"{place}.wav", clip))
    [log] = settled(me)

    assert set(log) == DELIVERY
    assert log["attempt_count"] == 2
    assert log["event_type"] == "analysis.completed"
    assert str(UUID(log["id"])) == log["id"]
    assert (log["job_id"], log["endpoint_id"], log["status"]) == (job_id, endpoint["id"], "delivered")
    assert MOMENT.fullmatch(log["created_at"])
    assert log["signature"] == receiver.received(place)[-1].headers["webhook-signature"]
    assert [(each["attempt"], each["status_code"], each["success"]) for each in log["attempts"]] == [
        (1, 500, False),
        (2, 200, True),
    ]
    assert {message.headers["webhook-id"] for message in receiver.received(place)} == {f"msg_{log['id']}"}
    assert me.get(f"/v1/webhook-deliveries/{log['id']}").json() == log
    assert deliveries(me, job_id=job_id) == [log]
    assert deliveries(me, job_id=str(uuid4())) == []


def test_a_failed_analysis_is_told_as_failed(me: Account, receiver: Neighbour, audio: Neighbour, place: str) -> None:
    made(me, receiver.at(place), event_types=["analysis.failed"])
    analysed(me, audio.put(f"{place}.wav", b"no music"))
    [log] = settled(me)
    [message] = receiver.received(place)
    assert log["event_type"] == message.json["type"] == "analysis.failed"
    assert message.json["data"]["status"] == "failed"
    assert isinstance(message.json["data"]["error"], str)


def test_the_endpoint_a_job_names_hears_of_it_whatever_it_chose(
    me: Account, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    endpoint = made(me, receiver.at(place), event_types=["analysis.failed"])
    analysed(me, audio.put(f"{place}.wav", clip), webhook_endpoint_id=endpoint["id"])
    [log] = settled(me)
    assert (log["endpoint_id"], log["event_type"], log["status"]) == (
        endpoint["id"],
        "analysis.completed",
        "delivered",
    )


def test_a_job_may_bring_an_address_of_its_own_and_is_told_there_too(
    me: Account, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    made(me, receiver.at(f"{place}-endpoint"))
    analysed(me, audio.put(f"{place}.wav", clip), webhook_url=receiver.at(f"{place}-own"))
    log = settled(me, 2)
    assert {each["url"] for each in log} == {receiver.at(f"{place}-endpoint"), receiver.at(f"{place}-own")}
    secret = me.get("/v1/webhook-secret").json()["secret"]
    [message] = receiver.received(f"{place}-own")
    assert verified(message, secret)["data"]["status"] == "completed"


def test_the_log_is_the_workspaces_own(
    me: Account, account: Register, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    made(me, receiver.at(place))
    analysed(me, audio.put(f"{place}.wav", clip))
    [log] = settled(me)
    stranger = account()
    assert deliveries(stranger) == []
    told(stranger.get(f"/v1/webhook-deliveries/{log['id']}"), 404)
    assert deliveries(stranger, job_id=log["job_id"]) == []


# --- secrets --------------------------------------------------------------------------------------------------------


def test_a_rotated_secret_signs_beside_the_old_one_for_a_day(
    me: Account, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    endpoint = made(me, receiver.at(place))
    answer = me.post(f"/v1/webhook-endpoints/{endpoint['id']}/rotate")
    assert answer.status_code == 200
    rotated = answer.json()
    assert set(rotated) == {"id", "signing_secret", "old_expires_at"}
    assert rotated["signing_secret"] != endpoint["signing_secret"]
    left = datetime.fromisoformat(rotated["old_expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)

    analysed(me, audio.put(f"{place}.wav", clip))
    settled(me)
    [message] = receiver.received(place)
    assert len(message.headers["webhook-signature"].split()) == 2
    assert verified(message, endpoint["signing_secret"]) == verified(message, rotated["signing_secret"])
    assert me.get(f"/v1/webhook-endpoints/{endpoint['id']}").json()["secret_rotated_at"] is not None


def test_no_secret_is_in_the_log_of_the_service(me: Account, receiver: Neighbour, place: str, stack: Stack) -> None:
    endpoint = made(me, receiver.at(place))
    rotated = me.post(f"/v1/webhook-endpoints/{endpoint['id']}/rotate").json()
    for secret in (endpoint["signing_secret"], rotated["signing_secret"]):
        assert secret not in stack.log


# --- trying out -----------------------------------------------------------------------------------------------------


def test_a_ping_is_signed_and_sent_once_even_to_a_disabled_endpoint(
    me: Account, receiver: Neighbour, place: str
) -> None:
    endpoint = made(me, receiver.answer(place, 500), enabled=False)
    answer = me.post(f"/v1/webhook-endpoints/{endpoint['id']}/test")
    assert answer.status_code == 202
    assert set(answer.json()) == DELIVERY
    assert answer.json()["event_type"] == "webhook.ping"

    [log] = settled(me)
    assert (log["status"], log["attempt_count"]) == ("failed", 1)
    [message] = receiver.received(place)
    body = verified(message, endpoint["signing_secret"])
    assert body["type"] == "webhook.ping"
    assert body["data"] == {"endpoint_id": endpoint["id"], "workspace_id": me.workspace_id}


# --- published events -----------------------------------------------------------------------------------------------


def streamed(who: Account) -> dict[str, bytes]:
    """What the stream tells of a workspace, by the ids of the events."""
    lines = [line for line in who.get("/v1/events/stream").content.split(b"\n") if line.startswith(b"data: ")]
    return {json.loads(body)["id"]: body for body in (line.removeprefix(b"data: ") for line in lines)}


def test_published_events_are_posted_to_whoever_has_chosen_them_byte_for_byte_as_the_stream_tells_them(
    account: Register, receiver: Neighbour, place: str
) -> None:
    me, other = account(), account()
    endpoint = made(me, receiver.answer(place, 500, 200), event_types=["webhooks.*"])
    made(other, receiver.at(f"{place}-other"), event_types=["*"])
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    assert me.get(path).json()["event_types"] == ["webhooks.*"]
    assert me.request("PATCH", path, json={"description": "Ours, nobody else's"}).status_code == 200
    told(other.request("PATCH", path, json={"event_types": ["*"]}), 404)

    logs = settled(me, 2)
    assert {each["event_type"] for each in logs} == {"webhooks.EndpointRegistered", "webhooks.EndpointDescribed"}
    assert {each["status"] for each in logs} == {"delivered"}
    assert sum(each["attempt_count"] for each in logs) == 3
    messages = receiver.received(place)
    expected = streamed(me)
    for message in messages:
        event = verified(message, endpoint["signing_secret"])
        assert message.headers["content-type"] == "application/cloudevents+json"
        assert message.body == expected[event["id"]]
        assert [event["id"]] == [each["job_id"] for each in logs if each["event_type"] == event["type"]]
    assert len({message.headers["webhook-id"] for message in messages}) == 2
    eventually(lambda: receiver.received(f"{place}-other"))
    sources = {json.loads(each.body)["source"] for each in receiver.received(f"{place}-other")}
    assert sources == {f"urn:ledgerline:workspace:{other.workspace_id}"}


def test_a_type_that_nobody_publishes_is_refused_with_those_that_there_are(me: Account) -> None:
    answer = me.post("/v1/webhook-endpoints", json={"url": "https://example.com", "event_types": ["builds.Buildd"]})
    assert pointed_at(answer) == ["body", "event_types"]
    assert "builds.BuildSucceeded" in answer.text
    assert "catalogue.*" in answer.text
    listed = {each["name"] for each in me.get("/v1/webhook-event-types").json()}
    assert {"analysis.completed", "builds.BuildSucceeded", "webhooks.EndpointDisabled"} <= listed
    assert not listed & {"webhooks.EndpointFailing", "webhook.ping"}


# --- replays --------------------------------------------------------------------------------------------------------


def replayed(who: Account, path: str, key: str | None = None, **wish: Any) -> dict[str, Any]:
    """A replay that was asked for."""
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = who.post(f"{path}/replay", json={"after": 0, **wish}, headers=headers)
    assert answer.status_code == 202, answer.text
    replay: dict[str, Any] = answer.json()
    return replay


def ended(who: Account, replay: dict[str, Any]) -> dict[str, Any]:
    """A replay once it is over."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = who.get(f"/v1/webhook-replays/{replay['id']}").json()
        return found if found["status"] != "running" else None

    found = eventually(look)
    assert found is not None
    return found


def test_an_endpoint_is_told_a_range_of_the_past_once_whoever_asks_however_often(
    account: Register, receiver: Neighbour, place: str
) -> None:
    me, other = account(), account()
    first = made(me, receiver.at("elsewhere"))
    for number in range(3):
        me.request("PATCH", f"/v1/webhook-endpoints/{first['id']}", json={"description": f"{number}"})
    endpoint = made(me, receiver.at(place), event_types=["webhooks.EndpointDescribed"])
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    counted = me.post(f"{path}/replay?dry_run=true", json={"after": 0})
    assert (counted.status_code, counted.json()["events"]) == (200, 3)
    assert counted.json()["event_types"] == ["webhooks.EndpointDescribed"]
    assert me.get("/v1/webhook-replays").json() == []

    replay = replayed(me, path, "the same")
    assert (replay["endpoint_id"], replay["events"], replay["only"]) == (endpoint["id"], 3, "missed")
    done = ended(me, replay)
    # Of what had just happened when the endpoint was made it may have been told already.
    assert (done["status"], done["delivered"] + done["skipped"], done["failed"]) == ("done", 3, 0)
    assert done["position"] == done["until"]
    assert replayed(me, path, "the same", event_types=["*"]) == done
    again = ended(me, replayed(me, path))
    assert (again["status"], again["delivered"], again["skipped"]) == ("done", 0, 3)
    assert [each["id"] for each in me.get("/v1/webhook-replays").json()] == [again["id"], done["id"]]

    messages = receiver.received(place)
    expected = streamed(me)
    bodies = [verified(each, endpoint["signing_secret"]) for each in messages]
    assert [each.body for each in messages] == [expected[body["id"]] for body in bodies]
    assert sorted(body["data"]["endpoint_id"] for body in bodies) == [first["id"]] * 3
    assert len({body["id"] for body in bodies}) == len({each.headers["webhook-id"] for each in messages}) == 3

    assert me.post(f"/v1/webhook-replays/{done['id']}/cancel").json() == done
    for answer in (
        other.post(f"{path}/replay", json={"after": 0}),
        other.get(f"/v1/webhook-replays/{done['id']}"),
        other.post(f"/v1/webhook-replays/{done['id']}/cancel"),
        me.post("/v1/webhook-replays/nothing/cancel"),
    ):
        told(answer, 404)
    assert other.get("/v1/webhook-replays").json() == []


def test_a_replay_that_cannot_be_is_refused(me: Account, receiver: Neighbour, place: str) -> None:
    chosen = made(me, receiver.at(place), event_types=["webhooks.*"], enabled=False)
    path = f"/v1/webhook-endpoints/{chosen['id']}/replay"
    far = 10**18 - 1
    for body, where in (
        ({}, ["body", "after"]),
        ({"after": -1}, ["body", "after"]),
        ({"after": 10**30}, ["body", "after"]),
        ({"after": True}, ["body", "after"]),
        ({"after": "yesterday"}, ["body", "after"]),
        ({"after": "2026-01-01T00:00:00"}, ["body", "after"]),
        ({"after": 5, "until": 3}, ["body", "until"]),
        ({"after": 0, "event_types": ["moon.*"]}, ["body", "event_types"]),
        ({"after": 0, "event_types": ["analysis.failed"]}, ["body", "event_types"]),
        ({"after": 0, "event_types": []}, ["body", "event_types"]),
        ({"after": 0, "only": "some"}, ["body", "only"]),
        ({"after": 0, "more": 1}, ["body", "more"]),
    ):
        assert pointed_at(me.post(path, json=body)) == where, body
    told(me.post(path, json={"after": far}), 409)
    told(me.post(path, json={"after": 0, "until": far}), 409)
    told(me.post(path, json={"after": 0}), 409)
    dry = me.post(f"{path}?dry_run=true", json={"after": "2020-01-01T00:00:00Z", "until": "2021-01-01T00:00:00Z"})
    assert (dry.json()["events"], dry.json()["after"], dry.json()["until"]) == (0, 0, 0)
    dry = me.post(f"{path}?dry_run=true", json={"after": "2020-01-01T00:00:00Z"})
    assert dry.json()["events"] == 1


# --- failing endpoints ----------------------------------------------------------------------------------------------


def test_an_endpoint_that_is_gone_is_disabled_and_misses_nothing(
    stack: Stack, me: Account, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    endpoint = made(me, receiver.answer(place, 410, 200))
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    analysed(me, audio.put(f"{place}.wav", clip))
    [log] = settled(me)
    assert (log["status"], log["attempt_count"]) == ("disabled", 1)
    off = me.get(path).json()
    assert (off["enabled"], off["status"], off["disabled_because"]) == (False, "disabled", "gone")
    analysed(me, audio.at(f"{place}.wav"))
    all_told(stack)
    assert len(deliveries(me)) == 1

    assert me.request("PATCH", path, json={"enabled": True}).json()["status"] == "healthy"
    replay = me.post("/v1/webhook-deliveries/replay", json={"since": log["created_at"]})
    assert replay.status_code == 202
    assert replay.json() == {"queued": 1, "skipped": 0}
    assert [each["status"] for each in settled(me, 2)] == ["delivered", "disabled"]


def test_an_endpoint_is_failing_until_a_message_arrives(
    me: Account, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    endpoint = made(me, receiver.answer(place, 500, 500, 500, 500, 500, 200))
    path = f"/v1/webhook-endpoints/{endpoint['id']}"
    analysed(me, audio.put(f"{place}.wav", clip))
    [log] = settled(me)
    assert (log["status"], log["attempt_count"], log["reason"]) == ("failed", 5, "no attempt is left")
    failing = me.get(path).json()
    assert (failing["status"], failing["enabled"]) == ("failing", True)
    assert MOMENT.fullmatch(failing["failing_since"])

    analysed(me, audio.at(f"{place}.wav"))
    assert [each["status"] for each in settled(me, 2)] == ["delivered", "failed"]
    assert me.get(path).json()["status"] == "healthy"


def test_an_endpoint_deleted_while_its_messages_are_tried_gets_no_more_of_them(
    me: Account, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    endpoint = made(me, receiver.answer(place, Reply(500, delay=0.3)))
    analysed(me, audio.put(f"{place}.wav", clip))
    eventually(lambda: receiver.received(place))
    assert me.request("DELETE", f"/v1/webhook-endpoints/{endpoint['id']}").status_code == 200
    [log] = settled(me)
    assert log["status"] == "disabled"
    assert "deleted" in log["reason"]
    assert log["attempt_count"] == len(receiver.received(place)) <= 2
    told(me.get(f"/v1/webhook-endpoints/{endpoint['id']}"), 404)


# --- sending again --------------------------------------------------------------------------------------------------


def test_a_job_is_told_once_more_to_its_own_endpoint_or_the_newest_enabled(
    stack: Stack, me: Account, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    url = audio.put(f"{place}.wav", clip)
    job_id = analysed(me, url)
    all_told(stack)
    assert "no webhook endpoint to tell" in told(me.post(f"/v1/analyses/{job_id}/webhook-deliveries"), 404).replace(
        "There is ", ""
    )
    made(me, receiver.at(f"{place}-older"))
    newest = made(me, receiver.at(f"{place}-newest"))
    made(me, receiver.at(f"{place}-off"), enabled=False)
    answer = me.post(f"/v1/analyses/{job_id}/webhook-deliveries")
    assert answer.status_code == 200
    assert set(answer.json()) == DELIVERY
    assert answer.json()["job_id"] == job_id
    settled(me)
    [message] = receiver.received(f"{place}-newest")
    assert verified(message, newest["signing_secret"])["data"]["job_id"] == job_id
    assert receiver.received(f"{place}-older") == receiver.received(f"{place}-off") == []


def test_a_job_is_told_a_hundred_times_and_no_more(
    stack: Stack, me: Account, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    made(me, receiver.at(place))
    since = datetime.now(UTC).isoformat()
    job_id = analysed(me, audio.put(f"{place}.wav", clip))
    all_told(stack)
    path = f"/v1/analyses/{job_id}/webhook-deliveries"
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: me.post(path).status_code, range(93)))
    assert answers == [200] * 93
    time.sleep(1.1)  # a replay names its time in seconds, and is to see only what comes from now on
    lately = datetime.now(UTC).isoformat()
    answers = [me.post(path).status_code for _ in range(8)]
    assert answers == [200] * 6 + [409] * 2
    assert "told 100 times already" in told(me.post(path), 409)
    for moment in (since, lately):
        replay = me.post("/v1/webhook-deliveries/replay", json={"since": moment, "only": "all"})
        assert replay.json() == {"queued": 0, "skipped": 1}, "also when it has been told only a few times since then"


def test_a_job_that_is_not_over_has_nothing_to_tell(me: Account, audio: Neighbour, clip: bytes, place: str) -> None:
    slow = audio.answer(f"{place}.wav", Reply(200, clip, {"Content-Type": "audio/wav"}, delay=1.0))
    job_id = me.post("/v1/analyses", json={"source_url": slow}).json()["id"]
    assert "not over" in told(me.post(f"/v1/analyses/{job_id}/webhook-deliveries"), 409)
    me.finished(job_id)


def test_deliver_sends_now_what_is_due_and_force_sends_everything(
    me: Account, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    endpoint = made(me, receiver.answer(place, 410))
    analysed(me, audio.put(f"{place}.wav", clip))
    settled(me)
    nothing = me.post("/v1/webhook-deliveries/deliver")
    assert (nothing.status_code, nothing.json()) == (
        200,
        {"attempted": 0, "delivered": 0, "failed": 0, "skipped": 1},
    )
    still = me.post("/v1/webhook-deliveries/deliver", params={"force": "true"}).json()
    assert still == {"attempted": 1, "delivered": 0, "failed": 1, "skipped": 0}
    receiver.answer(place, 200)
    arrived = me.post("/v1/webhook-deliveries/deliver", params={"force": "true"}).json()
    assert arrived == {"attempted": 1, "delivered": 1, "failed": 0, "skipped": 0}
    again = me.post("/v1/webhook-deliveries/deliver", params={"force": "true"}).json()
    assert again == {"attempted": 0, "delivered": 0, "failed": 0, "skipped": 0}
    [log] = deliveries(me)
    assert (log["status"], log["attempt_count"]) == ("delivered", 3)
    assert len(receiver.received(place)) == 3
    assert me.get(f"/v1/webhook-endpoints/{endpoint['id']}").json()["enabled"] is False


def test_every_message_sent_is_an_attempt_written_down_also_when_many_force_at_once(
    me: Account, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    made(me, receiver.answer(place, 410))
    analysed(me, audio.put(f"{place}.wav", clip))
    settled(me)
    receiver.answer(place, Reply(503, delay=0.1))
    with ThreadPoolExecutor(6) as pool:
        counts = list(
            pool.map(lambda _: me.post("/v1/webhook-deliveries/deliver", params={"force": "1"}).json(), range(6))
        )
    [log] = settled(me)
    assert log["attempt_count"] == len(log["attempts"]) == len(receiver.received(place))
    assert sum(count["attempted"] for count in counts) >= 1
    assert all(set(count) == {"attempted", "delivered", "failed", "skipped"} for count in counts)


def test_deliver_touches_nobody_elses_messages(
    me: Account, account: Register, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    made(me, receiver.answer(place, 410))
    analysed(me, audio.put(f"{place}.wav", clip))
    settled(me)
    counts = account().post("/v1/webhook-deliveries/deliver", params={"force": "true"}).json()
    assert counts == {"attempted": 0, "delivered": 0, "failed": 0, "skipped": 0}
    assert len(receiver.received(place)) == 1


def test_a_time_is_replayed_once_for_each_key(
    me: Account, receiver: Neighbour, audio: Neighbour, clip: bytes, place: str
) -> None:
    made(me, receiver.at(place))
    url = audio.put(f"{place}.wav", clip)
    jobs = {analysed(me, url) for _ in range(3)}
    since = min(each["created_at"] for each in settled(me, 3))
    body, headers = {"since": since, "only": "all"}, {"Idempotency-Key": str(uuid4())}
    assert me.post("/v1/webhook-deliveries/replay", json={"since": since}).json() == {"queued": 0, "skipped": 3}
    for _ in range(2):
        answer = me.post("/v1/webhook-deliveries/replay", json=body, headers=headers)
        assert (answer.status_code, answer.json()) == (202, {"queued": 3, "skipped": 0})
        assert len(settled(me, 6)) == 6
    assert {message.json["data"]["job_id"] for message in receiver.received(place)} == jobs
    early = {"since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z", "only": "all"}
    assert me.post("/v1/webhook-deliveries/replay", json=early).json() == {"queued": 0, "skipped": 0}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, ["body", "since"]),
        ({"since": "yesterday"}, ["body", "since"]),
        ({"since": "2026-01-01T00:00:00"}, ["body", "since"]),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, ["body", "until"]),
        ({"since": "2026-01-02T00:00:00Z", "only": "some"}, ["body", "only"]),
    ],
)
def test_a_time_that_makes_no_sense_is_pointed_at(me: Account, body: Any, where: list[str]) -> None:
    assert pointed_at(me.post("/v1/webhook-deliveries/replay", json=body)) == where


def test_an_id_that_no_thing_can_have_is_pointed_at(me: Account) -> None:
    assert pointed_at(me.get("/v1/webhook-deliveries", params={"job_id": "\0"})) == ["query", "job_id"]
    nul = {"since": "2026-01-02T00:00:00Z", "endpoint_id": "\0"}
    assert pointed_at(me.post("/v1/webhook-deliveries/replay", json=nul)) == ["body", "endpoint_id"]


def test_the_delivery_log_goes_on_where_it_stopped(me: Account, receiver: Neighbour, place: str) -> None:
    endpoint = made(me, receiver.at(place))
    ids = [me.post(f"/v1/webhook-endpoints/{endpoint['id']}/test").json()["id"] for _ in range(5)]
    settled(me, 5)
    page = me.get("/v1/webhook-deliveries", params={"limit": 2})
    seen = [each["id"] for each in page.json()]
    while "link" in page.headers:
        page = me.get(page.links["next"]["url"])
        seen += [each["id"] for each in page.json()]
    assert seen == ids[::-1]
    assert json.dumps(page.json()).count("webhook.ping") == 1
