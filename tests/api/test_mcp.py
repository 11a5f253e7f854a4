"""`/mcp` as agents use it: with the client of the protocol's own makers, and as whoever means harm would."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx
import httpx2
import jsonschema_rs
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, ImageContent, TextContent

from api.app import routes
from api.tools import TOOLS
from tests.identity.crowd import Visitor, join, sign_in
from tests.journeys.kit import Stack

Mode = Literal["auto", "legacy"]
SONG = {"isrc": "QZMCP2600001", "title": "Night Drive", "artist": "Lumen"}
#: A request of either revision of the protocol, by hand.
LEGACY = {"mcp-protocol-version": "2025-11-25"}


@pytest.fixture(scope="module")
def label(client: httpx.Client) -> Visitor:
    """A workspace with one track and a day of it."""
    who = sign_in(client)
    assert who.post("/api/v1/tracks", SONG).status_code == 201
    plays = "isrc,date,spotify_streams,apple_streams\nQZMCP2600001,2026-03-01,70,5\nQZMCP2600001,2026-03-02,80,\n"
    sent = who.post("/api/v1/analytics/import", content=plays.encode(), headers={"Content-Type": "text/csv"})
    assert sent.status_code == 200, sent.text
    return who


@asynccontextmanager
async def agent(http: httpx.Client | str, token: str, mode: Mode = "auto") -> AsyncIterator[Client]:
    """An agent with a key or a session."""
    url = f"{str(getattr(http, 'base_url', http)).rstrip('/')}/mcp"
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=30) as connection,
        Client(streamable_http_client(url, http_client=connection), mode=mode) as found,
    ):
        yield found


def text(result: CallToolResult) -> str:
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_agent_reads_and_changes_what_its_session_may(label: Visitor, mode: Mode) -> None:
    isrc = {"auto": "QZMCP2600002", "legacy": "QZMCP2600003"}[mode]
    async with agent(label.http, label.token, mode) as client:
        tools = {each.name: each for each in (await client.list_tools()).tools}
        added = await client.call_tool("add_track", {**SONG, "isrc": isrc})
        changed = await client.call_tool("change_track", {"isrc": isrc, "title": "Day Drive"})
        page = await client.call_tool("list_tracks", {"limit": 1, "offset": 0})

    assert set(tools) == set(TOOLS)
    assert tools["get_track"].annotations is not None
    assert tools["get_track"].annotations.read_only_hint is True
    assert added.is_error is False, text(added)
    assert changed.structured_content is not None
    assert changed.structured_content["data"]["title"] == "Day Drive"
    assert changed.structured_content == label.get(f"/api/v1/tracks/{isrc}").json()
    assert json.loads(text(page))["pagination"]["limit"] == 1


async def test_a_chart_is_a_picture(label: Visitor) -> None:
    async with agent(label.http, label.token) as client:
        chart = await client.call_tool("track_streams", {"isrc": SONG["isrc"], "days": 7, "format": "png"})
        rows = await client.call_tool("track_streams", {"isrc": SONG["isrc"], "days": 7})

    assert isinstance(chart.content[0], ImageContent)
    assert chart.content[0].mime_type == "image/png"
    assert rows.structured_content is not None
    assert [each["spotify_streams"] for each in rows.structured_content["data"]["historical_data"]] == [80, 70]


async def test_a_key_sees_and_uses_what_its_scopes_open_and_nothing_else(label: Visitor) -> None:
    async with agent(label.http, label.key("catalogue:read")["plaintext_key"]) as client:
        names = {each.name for each in (await client.list_tools()).tools}
        read = await client.call_tool("get_track", {"isrc": SONG["isrc"]})
        written = await client.call_tool("add_track", {**SONG, "isrc": "QZMCP2600009"})

    assert {"get_track", "list_tracks", "track_streams", "validate_release"} <= names
    assert not names & {"add_track", "generate_beat", "draft_release", "analyze_url", "list_keys"}
    assert read.is_error is False
    assert written.is_error is True
    assert text(written).startswith("403: ")
    assert "catalogue:write" in text(written)
    assert label.get("/api/v1/tracks/QZMCP2600009").status_code == 404


async def test_a_viewer_is_offered_nothing_that_changes_something(label: Visitor) -> None:
    async with agent(label.http, join(label, "viewer").token) as client:
        tools = (await client.list_tools()).tools
        refused = await client.call_tool("change_track", {"isrc": SONG["isrc"], "title": "Mine"})

    keyless = {"activate_key", "validate_key"}  # whoever has a code may use it
    assert all(each.annotations and each.annotations.read_only_hint for each in tools if each.name not in keyless)
    assert text(refused).startswith("403: ")


async def test_another_workspace_s_things_are_not_found(label: Visitor) -> None:
    stranger = sign_in(label.http)
    async with agent(label.http, stranger.token) as client:
        track = await client.call_tool("get_track", {"isrc": SONG["isrc"]})
        listed = await client.call_tool("list_tracks", {})

    assert text(track).startswith("404: ")
    assert listed.structured_content is not None
    assert listed.structured_content["data"] == []


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("get_track", {}, "isrc is needed"),
        ("get_track", {"isrc": "../../../v1/api-keys"}, "without slashes"),
        ("get_track", {"isrc": ".."}, "without slashes"),
        ("get_track", {"isrc": "a\\b"}, "without slashes"),
        ("get_track", {"isrc": "QZMCP2600001?x=1"}, "400: "),
        ("get_track", {"isrc": "QZMCP2600001%2f..%2f.."}, "400: "),
        ("get_track", {"isrc": ["QZMCP2600001"]}, "is a text"),
        ("get_track", {"isrc": None}, "is a text"),
        ("get_track", {"isrc": "a\x00b"}, "without slashes"),
        ("get_track", {"isrc": "x" * 4000}, "400: "),
        ("get_track", {"isrc": "QZMCP2600001", "workspace_id": "other"}, "no argument 'workspace_id'"),
        ("list_tracks", {"limit": 1000}, "400: "),
        ("list_tracks", {"limit": "1&offset=2"}, "400: "),
        ("list_tracks", {"limit": {"a": 1}}, "is a text"),
        ("add_track", {"isrc": "nonsense", "title": "x", "artist": "y"}, "400: "),
        ("add_track", {"isrc": "QZMCP2600008"}, "400: "),
        ("add_track", {"isrc": "QZMCP2600008", "title": "a\x00b", "artist": "y"}, "400: "),
        ("analyze_url", {"url": "http://169.254.169.254/latest"}, "422: "),
        ("get_analysis", {"job_id": "nothing"}, "404: "),
        ("nonsense", {}, "no tool 'nonsense'"),
        ("get_" + "x" * 500, {}, "no tool"),
    ],
)
async def test_what_makes_no_sense_is_refused_in_words_that_an_agent_can_use(
    label: Visitor, tool: str, arguments: dict[str, Any], words: str
) -> None:
    async with agent(label.http, label.token) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error is True
    assert words in text(result), text(result)


def post(who: Visitor, content: bytes, **headers: str) -> httpx.Response:
    given = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    return who.request("POST", "/mcp", content=content, headers=given | headers)


def message(method: bytes, params: bytes = b"{}", number: bytes = b"1") -> bytes:
    return b'{"jsonrpc":"2.0","id":%b,"method":"%b","params":%b}' % (number, method, params)


BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "a batch": b"[" + message(b"tools/list") + b"]",
    "null": b"null",
    "no text": message(b"\xff"),
    "half a character": message(b"\\ud800"),
    "NUL": message(b"a\\u0000b"),
    "no method": b'{"jsonrpc":"2.0","id":1}',
    "an unknown method": message(b"tools/explode"),
    "a stream that never ends": message(b"subscriptions/listen"),
    "another version": message(b"tools/list").replace(b"2.0", b"1.0"),
    "an endless number": message(b"tools/list", number=b"9" * 5000),
    "nested without end": message(b"tools/call", b"[" * 20_000 + b"]" * 20_000),
    "arguments that are no object": message(b"tools/call", b'{"name":"get_track","arguments":[1]}'),
    "a name that is no text": message(b"tools/call", b'{"name":{"a":1},"arguments":{}}'),
    "half a character as an argument": message(
        b"tools/call", b'{"name":"add_track","arguments":{"isrc":"QZMCP2600007","title":"\\ud800","artist":"x"}}'
    ),
    "more than is taken": message(b"x" * 1_100_000),
}


@pytest.mark.parametrize("revision", [LEGACY, {"mcp-protocol-version": "2026-07-28"}, {"mcp-protocol-version": "odd"}])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_no_message_whatever_is_answered_with_a_server_error(
    label: Visitor, body: bytes, revision: dict[str, str]
) -> None:
    answer = post(label, body, **revision)
    assert answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert said["jsonrpc"] == "2.0"
    assert said["error"]["message"] if "error" in said else said["result"]["isError"]
    assert said.get("error", {}).get("code") != -32603, "a mistake of ours"


LISTED = message(b"tools/list")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"host": "evil.example"}, 421),
        ({"accept": "text/html"}, 200),
        ({"content-type": "text/plain"}, 200),
        ({"last-event-id": "7"}, 200),
        ({"mcp-session-id": "somebody-else-s"}, 200),
    ],
)
def test_pages_of_other_sites_are_kept_out_and_odd_headers_change_nothing(
    label: Visitor, headers: dict[str, str], status: int
) -> None:
    answer = post(label, LISTED, **{**LEGACY, **headers})
    assert answer.status_code == status, answer.text
    assert answer.json()["jsonrpc"] == "2.0"
    assert ("result" in answer.json()) == (status == 200)


def test_our_own_pages_may_ask(label: Visitor) -> None:
    assert post(label, LISTED, **LEGACY, origin=str(label.http.base_url).rstrip("/")).status_code == 200


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_there_are_no_streams_and_no_sessions_to_open_or_end(label: Visitor, method: str) -> None:
    answer = label.request(method, "/mcp")
    assert (answer.status_code, answer.json()["jsonrpc"]) == (405, "2.0")
    assert "POST" in answer.headers["allow"]


def test_whoever_shows_no_key_learns_nothing(client: httpx.Client) -> None:
    answer = client.post("/mcp", content=LISTED, headers={"content-type": "application/json"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert set(answer.json()) == {"jsonrpc", "id", "error"}


@pytest.fixture(scope="module")
def narrow(stack: Stack) -> Iterator[str]:
    """A process that takes four messages of agents in a minute, and two reads of the catalogue."""
    with stack.door(mcp_limit_per_minute=4, catalogue_reads_per_minute=2) as url:
        yield url


def test_both_limits_count_that_of_the_door_and_that_of_what_a_tool_asks(label: Visitor, narrow: str) -> None:
    key = label.key("catalogue:read")["plaintext_key"]
    call = message(b"tools/call", b'{"name":"get_track","arguments":{"isrc":"%b"}}' % SONG["isrc"].encode())
    with httpx.Client(base_url=narrow, timeout=30) as http:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json", **LEGACY}
        answers = [http.post("/mcp", content=call, headers=headers) for _ in range(5)]

    assert [each.status_code for each in answers] == [200] * 4 + [429]
    results = [each.json()["result"] for each in answers[:4]]
    assert [each["isError"] for each in results] == [False, False, True, True]
    assert "429" in results[2]["content"][0]["text"]
    assert "Try again in" in results[2]["content"][0]["text"]
    assert int(answers[4].headers["retry-after"]) > 0
    assert answers[4].json()["error"]["data"]["code"] == "rate_limit_exceeded"


def test_every_tool_is_an_operation_that_takes_and_gives_json_with_a_schema_of_its_own(client: httpx.Client) -> None:
    contract = client.get("/openapi.json").json()
    by_id = {each["operationId"]: each for item in contract["paths"].values() for each in item.values()}
    assert len(set(TOOLS.values())) == len(TOOLS)
    for name, operation in TOOLS.items():
        body = by_id[operation].get("requestBody")
        assert body is None or set(body["content"]) == {"application/json"}, name
        assert by_id[operation]["description"], name
    assert {handler.handler_name for handler in routes()} >= set(TOOLS.values())


async def test_the_schema_of_a_tool_takes_what_its_operation_takes(label: Visitor) -> None:
    async with agent(label.http, label.token) as client:
        tools = {each.name: each for each in (await client.list_tools()).tools}
    for each in tools.values():
        jsonschema_rs.validator_for(each.input_schema)
    track = jsonschema_rs.validator_for(tools["add_track"].input_schema)
    assert track.is_valid(SONG)
    assert not track.is_valid({**SONG, "colour": "red"})
    assert not track.is_valid({"isrc": SONG["isrc"]})
    release = jsonschema_rs.validator_for(tools["draft_release"].input_schema)
    assert release.is_valid({"title": "Name", "artist": "Lumen", "tracks": [{"isrc": SONG["isrc"]}]})
    assert not release.is_valid({"title": "Name", "artist": "Lumen", "tracks": [{}]})
