"""The document of what is published says what is really sent, and the page shows all of it."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape, unescape
from typing import Any

import httpx
import jsonschema_rs
import psycopg
import pytest
from msgspec import json

from adapters.postgres.settings import Postgres
from api.asyncapi import document as without_nats
from domain.published import published_events
from domain.webhooks.endpoints import events_for_endpoints
from domain.webhooks.messages import messages
from domain.webhooks.signing import Outgoing, standard_webhooks
from tests.identity.crowd import Visitor, join, sign_in
from tests.journeys.kit import Stack, eventually

Json = dict[str, Any]


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> Json:
    answer = client.get("/asyncapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert client.get("/asyncapi.json", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    found: Json = answer.json()
    return found


@pytest.fixture(scope="module")
def told(client: httpx.Client, stack: Stack) -> list[Json]:
    """What a stream tells of somebody who does a bit of everything."""
    me = sign_in(client)
    join(me, "member")
    me.post("/v1/api-keys", {"name": "A key", "scopes": ["events:read"]})
    made = me.post("/v1/webhook-endpoints", {"url": "https://example.com/a?key=secret", "enabled": False}).json()["id"]
    me.patch(f"/v1/webhook-endpoints/{made}", {"description": "Ours", "event_types": ["analysis.failed"]})
    project = me.post("/functions/v1/projects", {"name": "Reverb", "formats": ["vst3"]}).json()["id"]
    me.patch(f"/functions/v1/projects/{project}", {"webhook": {"url": "https://example.com/b"}})
    me.post("/functions/v1/builds", {"project_id": project})
    me.post("/api/generate/beat", {"categoryName": "LoFi – Melodic/Calm", "mode": "metadata_only"})
    me.post("/api/v1/tracks", {"isrc": "USRC17607839", "title": "Night Drive", "artist": "They"})
    me.post("/api/v1/releases", {"title": "Late", "artist": "They"})
    me.post("/v1/analyze/url", {"url": "https://example.com/song.wav"})
    with psycopg.connect(stack.settings[Postgres].postgres_url) as connection:
        connection.execute(
            "INSERT INTO ledger_events (originator_id, originator_version, topic, state, workspace_id) "
            "VALUES (%s, 1, 'builds.BuildQueued', '{}', %s)",
            (f"odd-{me.workspace_id}", me.workspace_id),
        )
    last = me.post("/v1/webhook-endpoints", {"url": "https://example.com/last", "enabled": False}).json()["id"]
    found: list[Json] = []

    def is_whole() -> bool:
        found[:] = _stream(me)
        return last in str(found)

    eventually(is_whole)
    return found


def _stream(who: Visitor) -> Iterator[Json]:
    for line in who.get("/v1/events/stream").text.splitlines():
        if line.startswith("data: "):
            yield json.decode(line.removeprefix("data: "))


def test_every_event_that_is_sent_is_one_that_the_document_describes(document: Json, told: list[Json]) -> None:
    kinds = {each["type"] for each in told}
    assert {each.partition(".")[0] for each in kinds} >= {"identity", "webhooks", "studio", "beats", "catalogue"}
    assert len(kinds) >= 10, kinds
    stream = set(document["channels"]["stream"]["messages"])
    unreadable = 0
    for event in told:
        is_odd = event["data"] == {"unreadable": True}
        unreadable += is_odd
        name = "Unreadable" if is_odd else event["type"]
        assert name in stream
        _checks(document, document["components"]["messages"][name]["payload"]).validate(event)
    assert unreadable == 1
    # And no other: a document that takes anything would say nothing.
    started = document["components"]["messages"]["analyses.AnalysisStarted"]["payload"]
    assert not any(
        _checks(document, started).is_valid(each) for each in told if each["type"] != "analyses.AnalysisStarted"
    )


def test_a_page_of_the_long_poll_is_as_the_document_says(client: httpx.Client, document: Json) -> None:
    page = sign_in(client).get("/v1/events", params={"limit": 1000}).json()
    assert page["events"]
    _checks(document, document["components"]["messages"]["Feed"]["payload"]).validate(page)


def _checks(document: Json, payload: Json) -> Any:
    return jsonschema_rs.validator_for({"components": document["components"], **payload})


def test_whatever_is_pointed_at_is_there_and_whatever_is_declared_is_told(document: Json) -> None:
    for reference in _references(document):
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        assert found
    assert document["asyncapi"] == "3.1.0"
    sent = set(document["components"]["messages"])
    assert sent == {*published_events(), "Unreadable", "Feed", *(f"message.{name}" for name in messages())}
    assert set(document["operations"]) == {f"send_{name}" for name in document["channels"]}
    assert set(document["channels"]) == {"stream", "long_poll", "webhooks", "nats"}
    assert document["channels"]["nats"]["messages"] == document["channels"]["stream"]["messages"]
    # Where nobody is let into NATS, nothing is said of it.
    assert set(without_nats("https://ledger.example")["channels"]) == {"stream", "long_poll", "webhooks"}
    assert set(document["channels"]["webhooks"]["messages"]) == {
        *(f"message.{name}" for name in messages()),
        *events_for_endpoints(),
    }
    assert document["channels"]["stream"]["address"] == "/v1/events/stream"


def _references(part: Any) -> Iterator[str]:
    match part:
        case dict():
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for each in part.values():
                yield from _references(each)
        case list():
            for each in part:
                yield from _references(each)


@pytest.mark.parametrize("name", messages())
def test_an_example_of_every_message_is_as_the_document_says(document: Json, name: str) -> None:
    message = messages()[name]
    payload = document["components"]["messages"][f"message.{name}"]["payload"]
    if message.on is None:
        assert payload["properties"]["type"] == {"const": name}
        return
    _checks(document, payload).validate(json.decode(message.sample()))


def test_the_schema_that_an_event_names_is_served_and_fits(client: httpx.Client, told: list[Json]) -> None:
    for event in {each["type"]: each for each in told if "dataschema" in each}.values():
        answer = client.get(event["dataschema"])
        assert answer.status_code == 200, event["dataschema"]
        assert answer.headers["content-type"] == "application/schema+json"
        assert answer.json()["$id"] == event["dataschema"]
        jsonschema_rs.validator_for(answer.json()).validate(event["data"])


@pytest.mark.parametrize(
    "path",
    ["builds.BuildQueued/2.json", "builds.BuildQueued/1", "builds.Nothing/1.json", "builds.BuildQueued/01.json", "x/y"],
)
def test_a_schema_that_was_never_sent_is_not_found(client: httpx.Client, path: str) -> None:
    answer = client.get(f"/schemas/{path}")
    assert (answer.status_code, set(answer.json())) == (404, {"detail"})


def test_the_page_shows_every_event_and_needs_nothing_from_elsewhere(client: httpx.Client) -> None:
    answer = client.get("/docs/events")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    for name in published_events():
        assert answer.text.count(f'<article id="{name}">') == 1
        assert answer.text.count(f'data-of="{name}"') == 1
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', answer.text)
    assert 'href="/docs/events"' in client.get("/docs").text


def test_the_page_of_webhooks_shows_every_message_and_how_it_is_signed(client: httpx.Client) -> None:
    answer = client.get("/docs/webhooks")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    for name, message in messages().items():
        assert answer.text.count(f'<article id="{name}">') == 1
        assert answer.text.count(f'data-of="{name}"') == 1
        if message.on is None:
            continue  # sent when somebody asks for it
        assert escape(json.format(message.sample().encode(), indent=2).decode(), quote=False) in answer.text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', answer.text)
    for page in ("/docs", "/docs/events"):
        assert 'href="/docs/webhooks"' in client.get(page).text
    # Typed as it is shown, it tells what is ours from what is not.
    [code] = re.findall(r'id="signed".*?<code>(.*?)</code>', answer.text, re.DOTALL)
    secret, body = "whsec_" + base64.b64encode(b"k" * 24).decode(), b"{}"
    headers = standard_webhooks(
        Outgoing(message_id="msg_1", message_type="a.b", sent_at=datetime.now(UTC), body=body, secrets=[secret])
    )
    told = {"headers": headers, "secret": secret, "base64": base64, "hmac": hmac}
    exec(unescape(code), told | {"body": body})
    with pytest.raises(AssertionError):
        exec(unescape(code), told | {"body": b"{ }"})
