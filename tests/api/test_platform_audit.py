"""The audit as the platform's document shows it: who did what to what, and when, and nothing about anybody's person."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.identity.crowd import Visitor, join, sign_in
from tests.journeys.kit import Neighbour, Stack, eventually

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
FIELDS = {
    "action",
    "actor",
    "created_at",
    "id",
    "ip",
    "metadata",
    "target_id",
    "target_type",
    "user_agent",
}


@pytest.fixture(scope="module")
def me(client: httpx.Client) -> Visitor:
    """The owner of a workspace."""
    return sign_in(client)


def audit(who: Visitor, **query: Any) -> list[dict[str, Any]]:
    """The audit of a workspace."""
    answer = who.get("/v1/audit-events", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def pointed_at(answer: httpx.Response) -> list[Any]:
    """Where the one mistake of a 422 is."""
    assert answer.status_code == 422, answer.text
    [mistake] = answer.json()["detail"]
    where: list[Any] = mistake["loc"]
    return where


def endpoint(who: Visitor) -> str:
    """The id of a new webhook endpoint."""
    answer = who.post(
        "/v1/webhook-endpoints",
        {"url": "https://example.com/hook?token=s3cret", "description": "for Ada Lovelace"},
        headers={"User-Agent": "auditor/1"},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_what_is_done_is_in_the_audit_at_once_with_who_what_when_and_from_where(me: Visitor) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    made = endpoint(me)
    event = audit(me, limit=1)[0]

    assert set(event) == FIELDS
    assert (event["action"], event["actor"]) == ("endpoint.registered", f"person:{me.user_id}")
    assert (event["target_type"], event["target_id"]) == ("webhook_endpoint", made)
    assert str(UUID(event["id"])) == event["id"]
    assert MOMENT.fullmatch(event["created_at"])
    assert before <= datetime.fromisoformat(event["created_at"]) <= datetime.now(UTC)
    assert event["ip"] == "127.0.0.1"
    assert event["user_agent"] == "auditor/1"
    assert event["metadata"]["url"] == "https://example.com/hook"


def test_two_requests_under_one_id_of_their_clients_are_not_mixed_up(client: httpx.Client) -> None:
    me = sign_in(client)
    colleague = join(me, "admin")
    name = str(uuid4())
    for who, agent in ((me, "mine/1"), (colleague, "theirs/1")):
        wish = {"url": "https://example.com/hook"}
        made = who.post("/v1/webhook-endpoints", wish, headers={"User-Agent": agent, "X-Request-ID": name})
        assert made.status_code == 201

    theirs, mine = audit(me, action="endpoint.registered")
    assert (mine["actor"], mine["user_agent"]) == (f"person:{me.user_id}", "mine/1")
    assert (theirs["actor"], theirs["user_agent"]) == (f"person:{colleague.user_id}", "theirs/1")
    assert mine["metadata"]["correlation_id"] != theirs["metadata"]["correlation_id"]
    assert mine["metadata"]["request_id"] == theirs["metadata"]["request_id"] == name
    me.post("/v1/webhook-endpoints", {"url": "https://example.com/a"}, headers={"X-Request-ID": "x" * 5000})
    assert audit(me, limit=1)[0]["metadata"]["request_id"] == "x" * 128
    me.post("/v1/webhook-endpoints", {"url": "https://example.com/a"})
    assert "request_id" not in audit(me, limit=1)[0]["metadata"]


def test_every_change_of_a_workspace_is_there_and_in_order(client: httpx.Client, audio: Neighbour, clip: bytes) -> None:
    me = sign_in(client)
    made = endpoint(me)
    me.patch(f"/v1/webhook-endpoints/{made}", {"event_types": ["analysis.failed"], "enabled": False})
    me.post(f"/v1/webhook-endpoints/{made}/rotate")
    me.delete(f"/v1/webhook-endpoints/{made}")
    key = me.key("analyses:create", "analyses:read")
    me.delete(f"/v1/api-keys/{key['id']}")
    job = me.post("/v1/analyses", {"source_url": audio.put("audit.wav", clip)}).json()["id"]
    eventually(lambda: me.get(f"/v1/analyses/{job}").json()["status"] == "succeeded")

    events = audit(me, limit=200)[::-1]
    actions = [event["action"] for event in events]
    expected = [
        "endpoint.registered",
        "endpoint.subscribed",
        "endpoint.disabled",
        "endpoint_secret.rotated",
        "endpoint.removed",
        "api_key.issued",
        "api_key.revoked",
        "analysis.requested",
        "analysis.started",
        "analysis.completed",
    ]
    assert [action for action in actions if action in expected] == expected
    places = [event["metadata"]["position"] for event in events]
    assert places == sorted(places)
    [started] = [event for event in events if event["action"] == "analysis.started"]
    assert (started["ip"], started["user_agent"]) == (None, None)
    assert "causation_id" in started["metadata"]


def test_nobodys_address_name_or_secret_is_in_the_audit(client: httpx.Client) -> None:
    me = sign_in(client)
    made = endpoint(me)
    rotated = me.post(f"/v1/webhook-endpoints/{made}/rotate").json()["signing_secret"]
    me.post("/v1/account/team/invitations", {"email": "invited-ada@example.com", "role": "viewer"})
    key = me.key("usage:read")["plaintext_key"]
    text = me.get("/v1/audit-events", params={"limit": 200}).text

    assert "invitation.sent" in text
    for secret in (me.email, "invited-ada", "Lovelace", "s3cret", rotated, key, me.token):
        assert secret not in text


def test_the_audit_is_the_workspaces_own(client: httpx.Client, me: Visitor) -> None:
    made = endpoint(me)
    stranger = sign_in(client)
    assert made not in stranger.get("/v1/audit-events", params={"limit": 200}).text
    mine = audit(me, limit=1)[0]
    assert pointed_at(stranger.get("/v1/audit-events", params={"before": mine["id"]})) == ["query", "before"]
    assert audit(stranger, target_id=made) == []


def test_the_audit_goes_on_where_it_stopped(client: httpx.Client) -> None:
    me = sign_in(client)
    for _ in range(7):
        endpoint(me)
    whole = [event["id"] for event in audit(me, limit=200)]
    page = me.get("/v1/audit-events", params={"limit": 3})
    seen = [event["id"] for event in page.json()]
    assert len(seen) == 3
    while "link" in page.headers:
        page = me.get(page.links["next"]["url"])
        seen += [event["id"] for event in page.json()]
    assert seen == whole
    assert [event["id"] for event in audit(me, before=whole[4])] == whole[5:]


def test_the_audit_is_filtered_by_action_actor_target_and_time(client: httpx.Client) -> None:
    me = sign_in(client)
    first, second = endpoint(me), endpoint(me)
    me.delete(f"/v1/webhook-endpoints/{first}")

    assert [event["target_id"] for event in audit(me, action="endpoint.registered")] == [second, first]
    assert [event["action"] for event in audit(me, target_id=first)] == ["endpoint.removed", "endpoint.registered"]
    assert audit(me, target_id=first[:8]) == []
    assert {event["actor"] for event in audit(me, actor=f"person:{me.user_id}")} == {f"person:{me.user_id}"}
    assert audit(me, actor="person:nobody") == []
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert audit(me, since=soon) == []
    assert len(audit(me, until=soon)) == len(audit(me))


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"before": "x"}, "before"),
        ({"before": "\0"}, "before"),
        ({"actor": "\0"}, "actor"),
        ({"target_id": "a\0b"}, "target_id"),
        ({"before": str(uuid4())}, "before"),
        ({"action": "nothing.done"}, "action"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
    ],
)
def test_a_question_that_makes_no_sense_is_pointed_at(me: Visitor, query: dict[str, Any], where: str) -> None:
    assert pointed_at(me.get("/v1/audit-events", params=query)) == ["query", where]


def test_a_hundred_are_shown_unless_asked_otherwise(client: httpx.Client) -> None:
    me = sign_in(client)
    made = endpoint(me)
    for number in range(60):
        me.patch(
            f"/v1/webhook-endpoints/{made}",
            {"description": f"{number}", "event_types": [["analysis.failed"], []][number % 2]},
        )
    assert len(audit(me)) == 100
    assert len(audit(me, limit=200)) > 100


@pytest.mark.parametrize("path", ["/v1/audit-events", "/v1/events"])
def test_only_an_admin_or_a_key_made_for_it_reads_what_happened(client: httpx.Client, me: Visitor, path: str) -> None:
    assert client.get(path).status_code == 401
    for scope, status in (("usage:read", 403), ("events:read", 200)):
        key = me.key(scope)["plaintext_key"]
        assert client.get(path, headers={"X-API-Key": key}).status_code == status
    assert join(me, "member").get(path).status_code == 403
    assert join(me, "admin").get(path).status_code == 200


# --- the feed -------------------------------------------------------------------------------------------------------


def feed(who: Visitor, **query: Any) -> dict[str, Any]:
    """What a system that follows the workspace gets."""
    answer = who.get("/v1/events", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_whoever_follows_gets_every_event_once_in_order_and_at_once(client: httpx.Client) -> None:
    me = sign_in(client)
    followed, after = [], 0
    for _ in range(3):
        made = endpoint(me)
        page = feed(me, after=after, limit=1000)
        assert page["events"][-1]["target_id"] == made
        followed += page["events"]
        after = page["next"]
    assert feed(me, after=after) == {"events": [], "next": feed(me, after=after)["next"]}
    assert [event["id"] for event in followed] == [event["id"] for event in audit(me, limit=200)][::-1]
    event = followed[-1]
    assert set(event) == {
        "id",
        "position",
        "type",
        "name",
        "created_at",
        "actor",
        "correlation_id",
        "causation_id",
        "target_type",
        "target_id",
        "data",
    }
    assert (event["type"], event["name"]) == ("endpoint.registered", "webhooks.EndpointRegistered")
    assert "Lovelace" not in str(followed)
    assert me.email not in str(followed)


def test_a_small_page_goes_on_where_it_stopped(client: httpx.Client) -> None:
    me = sign_in(client)
    for _ in range(4):
        endpoint(me)
    whole = feed(me, limit=1000)["events"]
    seen: list[Any] = []
    page = feed(me, limit=2)
    while page["events"]:
        seen += page["events"]
        page = feed(me, limit=2, after=page["next"])
    assert seen == whole


def test_whoever_follows_while_many_write_misses_nothing(client: httpx.Client, stack: Stack) -> None:
    me = sign_in(client)

    def write(number: int) -> None:
        with httpx.Client(base_url=stack.url, timeout=30, headers=me.headers) as http:
            for each in range(5):
                http.post("/v1/webhook-endpoints", json={"url": f"https://example.com/{number}/{each}"})

    followed: list[str] = []
    after = 0
    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write, number) for number in range(8)]
        while not all(writer.done() for writer in writers):
            page = feed(me, after=after, limit=3)
            followed += [event["id"] for event in page["events"]]
            after = page["next"]
    while page["events"] or after < feed(me, after=after)["next"]:
        page = feed(me, after=after, limit=3)
        followed += [event["id"] for event in page["events"]]
        after = page["next"]
        if not page["events"]:
            break
    assert followed == [event["id"] for event in audit(me, limit=200)][::-1]
    assert len(followed) >= 40


def test_a_follower_that_waits_is_answered_when_something_happens(client: httpx.Client, stack: Stack) -> None:
    me = sign_in(client)
    after = feed(me, limit=1000)["next"]

    def wait() -> dict[str, Any]:
        with httpx.Client(base_url=stack.url, timeout=30) as http:
            found: dict[str, Any] = http.get(
                "/v1/events", params={"after": after, "wait": 15}, headers=me.headers
            ).json()
            return found

    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        endpoint(sign_in(client))
        assert not waiting.done()
        made = endpoint(me)
        page = waiting.result(20)
    assert [event["target_id"] for event in page["events"]] == [made]
    assert time.monotonic() - began < 10


def test_a_workspace_takes_only_its_share_of_the_places_to_wait_in(client: httpx.Client, stack: Stack) -> None:
    me, other = sign_in(client), sign_in(client)
    with stack.door(followers_at_once_max=16) as url, ThreadPoolExecutor(4) as pool:

        def wait(who: Visitor, seconds: int) -> httpx.Response:
            return httpx.get(
                f"{url}/v1/events",
                params={"after": newest[who.email], "wait": seconds},
                headers=who.headers,
                timeout=30,
            )

        newest = {who.email: feed(who, limit=1000)["next"] for who in (me, other)}

        def hold() -> httpx.Response:
            while (answer := wait(me, 15)).status_code == 429:
                time.sleep(0.05)  # the question below has taken the place
            return answer

        held = [pool.submit(hold) for _ in range(2)]
        refused = eventually(lambda: answer if (answer := wait(me, 1)).status_code == 429 else None)
        assert refused is not None
        assert refused.headers["retry-after"] == "1"
        assert "wait for events already" in refused.json()["detail"]
        assert wait(me, 0).status_code == 200
        assert wait(other, 1).status_code == 200
        endpoint(me)
        assert [each.result(20).status_code for each in held] == [200, 200]


def test_the_feed_is_the_workspaces_own(client: httpx.Client, me: Visitor) -> None:
    made = endpoint(me)
    assert made not in str(feed(sign_in(client), limit=1000))


@pytest.mark.parametrize(
    ("query", "where"), [({"after": -1}, "after"), ({"limit": 1001}, "limit"), ({"wait": 16}, "wait")]
)
def test_a_feed_that_makes_no_sense_is_pointed_at(me: Visitor, query: dict[str, Any], where: str) -> None:
    assert pointed_at(me.get("/v1/events", params=query)) == ["query", where]
