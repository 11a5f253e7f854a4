"""What has not changed is not sent again, and HEAD is the twin of GET: everywhere, by the contract itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Account, Neighbour, eventually

SAME = {"content-type", "content-length", "etag", "cache-control", "link", "location"}


@pytest.fixture(scope="module")
def contract(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def me(client: httpx.Client) -> Visitor:
    return sign_in(client)


@pytest.fixture(scope="module")
def things(client: httpx.Client, me: Visitor, audio: Neighbour, receiver: Neighbour) -> dict[str, str]:
    """One of each thing of a workspace, by the name that it has in paths."""
    endpoint = me.post(
        "/v1/webhook-endpoints", {"url": receiver.at("kept"), "event_types": ["analysis.failed", "analysis.completed"]}
    ).json()["id"]
    job = me.post("/v1/analyses", {"source_url": audio.answer("gone.wav", 404)}).json()["id"]
    (delivery,) = eventually(lambda: me.get("/v1/webhook-deliveries").json())
    eventually(lambda: me.get("/v1/webhook-deliveries").json()[0]["status"] == "delivered")
    return {"job_id": job, "endpoint_id": endpoint, "delivery_id": delivery["id"]}


def readable(contract: dict[str, Any], things: dict[str, str]) -> dict[str, bool]:
    """Every path that can be read here, and whether its answer is tagged by the contract."""
    found = {}
    for template, item in contract["paths"].items():
        if "get" in item and not template.startswith("/objects"):
            path = template
            for name, value in things.items():
                path = path.replace(f"{{{name}}}", value)
            if "{" not in path:
                found[path] = "304" in item["get"]["responses"]
    return found


#: What may be another answer a second later: how things are at the moment, and a link that ends some time from now.
OF_THE_MOMENT = {"/ready", "/functions/v1/sdk/download"}


def test_whoever_has_a_document_or_a_page_is_not_sent_it_again(
    contract: dict[str, Any], me: Visitor, things: dict[str, str]
) -> None:
    tagged = [path for path, is_tagged in readable(contract, things).items() if is_tagged]
    read = []
    for path in tagged:
        first = me.get(path)
        if first.status_code != 200:
            continue
        read.append(path)
        tag = first.headers["etag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            again = me.get(path, headers={"If-None-Match": known})
            if path not in OF_THE_MOMENT:
                assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), (path, known)
                assert "content-length" not in again.headers
        assert me.get(path, headers={"If-None-Match": '"other"'}).status_code == 200, path

    assert {path.replace(things["job_id"], "JOB").replace(things["endpoint_id"], "ENDPOINT") for path in read} >= {
        "/v1/analyses", "/v1/analyses/JOB", "/v1/analyses/JOB/events", "/v1/analysis/JOB", "/v1/account/analyses/JOB",
        "/v1/webhook-endpoints", "/v1/webhook-endpoints/ENDPOINT", "/v1/webhook-deliveries", "/v1/audit-events",
        "/v1/events", "/v1/api-keys", "/v1/usage", "/v1/account/team", "/v1/account/profile", "/v1/billing/status",
    }  # fmt: skip


def test_a_document_that_has_changed_is_sent(me: Visitor, things: dict[str, str], receiver: Neighbour) -> None:
    path = f"/v1/webhook-endpoints/{things['endpoint_id']}"
    before = me.get(path)
    assert me.patch(path, {"description": "changed"}).status_code == 200
    after = me.get(path, headers={"If-None-Match": before.headers["etag"]})

    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]


#: For each contract: what is read, and what changes it.
CHANGED = {
    "/v1/account/profile": ("PATCH", "/v1/account/profile", {"workspace_name": "Another"}),
    "/v1/usage": ("POST", "/v1/analyze/url", {"url": "https://example.com/a.mp3"}),
    "/functions/v1/projects": ("POST", "/functions/v1/projects", {"name": "Kept"}),
    "/api/beats": ("POST", "/api/generate/beat", {"categoryName": "LoFi - Melodic/Calm", "mode": "metadata_only"}),
    "/api/v1/tracks": ("POST", "/api/v1/tracks", {"isrc": "QZKPT2500001", "title": "Kept", "artist": "Ada"}),
}


@pytest.mark.parametrize("path", CHANGED)
def test_a_tag_is_that_of_one_workspace_as_it_is_now(client: httpx.Client, path: str) -> None:
    mine, theirs = sign_in(client), sign_in(client)
    method, where, body = CHANGED[path]
    empty = mine.get(path).headers["etag"]
    assert mine.get(path, headers={"If-None-Match": empty}).status_code == 304
    assert mine.request(method, where, json=body).status_code < 300
    now = mine.get(path, headers={"If-None-Match": empty})
    assert now.status_code == 200, "what has changed is sent"
    assert (now.headers["etag"] != empty, now.content) == (True, mine.get(path).content)
    asked = theirs.get(path, headers={"If-None-Match": now.headers["etag"]})
    assert (asked.status_code, asked.content) == (200, theirs.get(path).content), "others are told what is theirs"
    assert asked.headers["etag"] != now.headers["etag"]


def test_documents_may_be_kept_by_their_client_and_secrets_by_nobody(me: Visitor, things: dict[str, str]) -> None:
    for path in ("/v1/analyses", f"/v1/analyses/{things['job_id']}", "/v1/webhook-deliveries?limit=1"):
        assert me.get(path).headers.get_list("cache-control") == ["private, no-cache"], path
    for path in ("/v1/webhook-secret", "/v1/auth/session", "/v1/account/profile", "/v1/analyses/nothing"):
        assert me.get(path).headers.get_list("cache-control") == ["no-store"], path


def test_head_is_get_without_a_body_wherever_there_is_get(
    contract: dict[str, Any], me: Visitor, things: dict[str, str]
) -> None:
    for path in [*readable(contract, things), "/v1/analyses/nothing", "/", "/docs", "/openapi.json"]:
        got, asked = me.get(path), me.request("HEAD", path)

        assert (asked.status_code, asked.content) == (got.status_code, b""), path
        if path != "/ready" and said(got) != said(asked):
            # A link in it is another one in the next second.
            eventually(lambda path=path: said(me.get(path)) == said(me.request("HEAD", path)))  # type: ignore[misc]


def said(answer: httpx.Response) -> dict[str, str | None]:
    return {name: answer.headers.get(name) for name in SAME}


def test_head_where_there_is_no_get_is_refused_and_names_what_there_is(client: httpx.Client) -> None:
    for path in ("/v1/auth/logout", "/v1/analyze/url"):
        answer = client.head(path)

        assert (answer.status_code, answer.content) == (405, b""), path
        assert answer.headers["allow"]


def test_a_page_with_a_next_one_keeps_its_link_when_it_is_known(
    account: Callable[[], Account], audio: Neighbour
) -> None:
    owner = account()
    for _ in range(2):
        assert owner.post("/v1/analyses", json={"source_url": audio.answer("gone.wav", 404)}).status_code == 202
    eventually(lambda: {each["status"] for each in owner.get("/v1/analyses").json()} == {"failed"})
    page = owner.get("/v1/analyses", params={"limit": 1})
    again = owner.get("/v1/analyses", params={"limit": 1}, headers={"If-None-Match": page.headers["etag"]})

    assert again.status_code == 304
    assert again.headers["link"] == page.headers["link"]
