"""Published events as Server-Sent Events, read as clients read them: none is missed, none comes twice."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from threading import Thread
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import httpx
import jsonschema_rs
import nats
import psycopg
import pytest

from adapters.postgres.settings import Postgres
from commands.settings import Service
from domain.published import published_events, schemas
from tests.identity.crowd import Visitor, join, sign_in
from tests.journeys.kit import Process, Stack, eventually

STREAM = "/v1/events/stream"
Json = dict[str, Any]


class Source:
    """What an `EventSource` makes of a stream, after the standard of HTML (9.2.6), in a thread of its own."""

    #: Where streams are read that nobody says it of.
    url = ""

    def __init__(self, connection: HTTPConnection, answer: HTTPResponse) -> None:
        self._connection = connection
        self._answer = answer
        self._taken = 0
        self.events: list[Json] = []
        self.last_event_id = ""
        self.retry = 0
        self.comments: list[str] = []
        self.is_over = False
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        data: list[str] = []
        with suppress(OSError, ValueError, HTTPException):
            for line in self._answer:
                name, colon, value = line.decode().removesuffix("\n").partition(":")
                value = value.removeprefix(" ")
                match name:
                    case "" if colon:
                        self.comments.append(value)
                    case "":
                        if data:
                            self.events.append(json.loads("\n".join(data)))
                        data = []
                    case "data":
                        data.append(value)
                    case "id":
                        self.last_event_id = value
                    case "retry":
                        self.retry = int(value)
        self.is_over = True

    def take(self, count: int) -> list[Json]:
        """The next so many events."""
        end = self._taken + count
        eventually(lambda: len(self.events) >= end)
        found, self._taken = self.events[self._taken : end], end
        return found

    def rest(self) -> list[Json]:
        """What came until the stream was ended from the other side."""
        eventually(lambda: self.is_over)
        return self.events[self._taken :]

    def close(self) -> None:
        """Read no more."""
        with suppress(OSError, AttributeError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._connection.close()


@contextmanager
def following(who: Visitor, url: str = "", headers: dict[str, str] | None = None, **query: Any) -> Iterator[Source]:
    """A stream of the workspace of somebody."""
    place = urlsplit(url or Source.url)
    connection = HTTPConnection(place.hostname or "", place.port, timeout=30)

    def answered() -> HTTPResponse | None:
        connection.close()
        connection.request("GET", f"{STREAM}?{urlencode(query)}", headers={**who.headers, **(headers or {})})
        answer = connection.getresponse()
        # Whoever had the place a moment ago may not have left it yet.
        return answer if answer.status != 429 else None

    answer = eventually(answered)
    assert answer is not None
    assert answer.status == 200, answer.read()
    assert str(answer.headers["content-type"]).startswith("text/event-stream")
    source = Source(connection, answer)
    try:
        yield source
    finally:
        source.close()


def endpoint(who: Visitor, **more: Any) -> str:
    """Something happens: an endpoint is registered."""
    answer = who.post("/v1/webhook-endpoints", {"url": f"https://example.com/{uuid4().hex}", "enabled": False, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def change(who: Visitor, endpoint_id: str, count: int) -> None:
    """So many events happen to an endpoint."""
    for number in range(count):
        types = [["analysis.failed"], ["analysis.completed"]][number % 2]
        assert who.patch(f"/v1/webhook-endpoints/{endpoint_id}", {"event_types": types}).status_code == 200


def feed(who: Visitor, **query: Any) -> list[Json]:
    """The same by long poll: everything, published or not."""
    found: list[Json] = who.get("/v1/events", params={"limit": 1000, **query}).json()["events"]
    return found


@pytest.fixture(scope="module")
def door(stack: Stack) -> Iterator[Process]:
    """A process with little patience and few places: two for each workspace."""
    with stack.doorway(
        stream_seconds_max=600, stream_heartbeat_seconds=0.3, send_seconds_max=1, followers_at_once_max=16
    ) as process:
        yield process


@pytest.fixture(autouse=True)
def at_the_door(door: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are read there."""
    monkeypatch.setattr(Source, "url", url_of(door))


def url_of(door: Process) -> str:
    return f"http://127.0.0.1:{door.settings[Service].port}"


@pytest.fixture(scope="module")
def me(client: httpx.Client) -> Visitor:
    return sign_in(client)


def test_what_happened_and_what_happens_comes_once_in_order_and_as_promised(client: httpx.Client) -> None:
    me = sign_in(client)
    change(me, endpoint(me), 3)
    with following(me) as source:
        before = source.take(len([each for each in feed(me) if each["name"] in published_events()]))
        made = endpoint(me)
        [event] = source.take(1)
        assert event["data"]["endpoint_id"] == made
        assert int(source.last_event_id) == int(event["sequence"])
        assert 1_000 <= source.retry < 6_000
    told = [*before, event]
    published = [each for each in feed(me) if each["name"] in published_events()]
    assert [each["id"] for each in told] == [each["id"] for each in published]
    assert [each["type"] for each in told] == [each["name"] for each in published]
    assert [int(each["sequence"]) for each in told] == [each["position"] for each in published]
    assert {each["source"] for each in told} == {f"urn:ledgerline:workspace:{me.workspace_id}"}
    assert "identity.WorkspaceOpened" in {each["type"] for each in told}
    assert me.email not in str(told)
    assert me.workspace_id not in str([each["data"] for each in told])
    for each in told:
        version = int(re.fullmatch(r".*/schemas/[\w.]+/(\d+)\.json", each["dataschema"]).group(1))  # type: ignore[union-attr]
        jsonschema_rs.validator_for(schemas()[each["type"]][version]).validate(each["data"])


def test_whoever_comes_again_goes_on_where_they_were(me: Visitor) -> None:
    made = endpoint(me)
    change(me, made, 4)
    with following(me) as source:
        whole = source.take(len([each for each in feed(me) if each["name"] in published_events()]))
    parts: list[Json] = []
    last = ""
    while len(parts) < len(whole):
        with following(me, headers={"Last-Event-ID": last} if last else None) as source:
            parts += source.take(2)
            last = parts[-1]["sequence"].lstrip("0")
    assert parts == whole
    with following(me, after=int(whole[-3]["sequence"])) as source:
        assert source.take(2) == whole[-2:]
    # What a client has seen counts more than what its address said once.
    with following(me, after=0, headers={"Last-Event-ID": whole[-2]["sequence"]}) as source:
        assert source.take(1) == whole[-1:]
    with following(me, after="newest") as source:
        made = endpoint(me)
        assert [each["data"]["endpoint_id"] for each in source.take(1)] == [made]


def test_only_what_is_asked_for_is_told_and_the_client_moves_on(client: httpx.Client, door: Process) -> None:
    me = sign_in(client)
    first, second = endpoint(me), endpoint(me)
    change(me, first, 2)
    with following(me, type="webhooks.EndpointSub*,*.WorkspaceOpened") as source:
        assert [each["type"].partition(".")[2] for each in source.take(3)] == [
            "WorkspaceOpened",
            "EndpointSubscribed",
            "EndpointSubscribed",
        ]
    with following(me, subject=f"endpoints-{me.workspace_id}", type="webhooks.EndpointRegistered") as source:
        assert [each["data"]["endpoint_id"] for each in source.take(2)] == [first, second]
    with following(me, url_of(door), type="analyses.*") as source:
        newest = feed(me)[-1]["position"]
        eventually(lambda: int(source.last_event_id or 0) >= newest)
        change(me, first, 1)
        newest = feed(me, after=newest)[-1]["position"]
        eventually(lambda: int(source.last_event_id or 0) >= newest)
        assert source.comments
        assert not source.events


def test_whoever_follows_while_many_write_misses_nothing_and_is_told_nothing_twice(
    client: httpx.Client, stack: Stack
) -> None:
    me = sign_in(client)
    with following(me, type="webhooks.*") as live, ThreadPoolExecutor(8) as pool:

        def write(number: int) -> None:
            with httpx.Client(base_url=stack.url, timeout=30, headers=me.headers) as http:
                for each in range(6):
                    wish = {"url": f"https://example.com/{number}/{each}", "enabled": False}
                    # Eight who write to one stream may lose their race so often that they are told to try again.
                    while (made := http.post("/v1/webhook-endpoints", json=wish)).status_code == 503:
                        time.sleep(0.05)
                    assert made.status_code == 201, made.text

        for each in [pool.submit(write, number) for number in range(8)]:
            each.result()
        found = live.take(48)
    expected = [each["id"] for each in feed(me) if each["name"] == "webhooks.EndpointRegistered"]
    assert [each["id"] for each in found] == expected
    assert len(expected) == 48


def test_what_cannot_be_read_is_told_in_its_place(client: httpx.Client, stack: Stack) -> None:
    me = sign_in(client)
    made = endpoint(me)
    with psycopg.connect(stack.settings[Postgres].postgres_url) as connection:
        for version, (topic, state) in enumerate(
            [("webhooks.EndpointEnabled", b"{}"), ("webhooks.NotYetKnown", b"{}"), ("webhooks.DeliveryBegun", b"{}")], 1
        ):
            connection.execute(
                "INSERT INTO ledger_events (originator_id, originator_version, topic, state, workspace_id) "
                "VALUES (%s, %s, %s, %s, %s)",
                (f"odd-{me.workspace_id}", version, topic, state, me.workspace_id),
            )
    with following(me, type="webhooks.*") as source:
        first, odd, unknown = source.take(3)
        change(me, made, 1)
        [last] = source.take(1)
    assert first["data"]["endpoint_id"] == made
    assert (odd["type"], odd["data"]) == ("webhooks.EndpointEnabled", {"unreadable": True})
    assert (unknown["type"], unknown["data"]) == ("webhooks.NotYetKnown", {"unreadable": True})
    assert last["type"] == "webhooks.EndpointSubscribed"
    with following(me, type="webhooks.EndpointEnabled") as source:
        assert source.take(1) == [odd]


def test_a_nats_that_is_wiped_shows_nobody_the_past_again(client: httpx.Client, stack: Stack) -> None:
    me = sign_in(client)
    endpoint(me)
    # Not `newest`, which stays below what somebody else is still writing and may show what has just been made.
    with following(me, after=feed(me)[-1]["position"]) as source:
        eventually(lambda: source.last_event_id)
        asyncio.run(_wipe(stack.settings.value("nats_url")))
        made = [endpoint(me) for _ in range(3)]
        assert [each["data"]["endpoint_id"] for each in source.take(3)] == made
        last = source.last_event_id
    with following(me, headers={"Last-Event-ID": last}) as source:
        made = [endpoint(me)]
        assert [each["data"]["endpoint_id"] for each in source.take(1)] == made


async def _wipe(url: str) -> None:
    """Take every stream from NATS, with all that it holds."""
    client = await nats.connect(str(url))
    for each in await client.jetstream().streams_info():
        assert each.config.name is not None
        await client.jetstream().delete_stream(each.config.name)
    await client.close()


# --- who may ---------------------------------------------------------------------------------------------------------


def test_another_workspace_is_told_nothing(client: httpx.Client, me: Visitor) -> None:
    endpoint(me)
    stranger = sign_in(client)
    with following(stranger, subject=f"endpoints-{me.workspace_id}", after=0) as source:
        own = endpoint(stranger)
        eventually(lambda: source.last_event_id)
        assert not source.events
    with following(stranger, type="webhooks.*") as source:
        assert [each["data"]["endpoint_id"] for each in source.take(1)] == [own]


def test_only_an_admin_or_a_key_made_for_it_follows(client: httpx.Client, me: Visitor) -> None:
    assert client.get(STREAM).status_code == 401
    assert client.get(STREAM, headers={"X-API-Key": me.key("usage:read")["plaintext_key"]}).status_code == 403
    assert join(me, "member").get(STREAM).status_code == 403
    key = me.key("events:read")["plaintext_key"]
    with client.stream("GET", STREAM, headers={"X-API-Key": key}) as answer:
        assert answer.status_code == 200


def test_a_stream_ends_when_its_credential_is_revoked(client: httpx.Client, door: Process) -> None:
    me = sign_in(client)
    key = me.key("events:read")
    bearer = Visitor(client, me.email, me.user_id, me.workspace_id, key["plaintext_key"])
    with following(bearer, url_of(door)) as source:
        source.take(1)
        assert me.delete(f"/v1/api-keys/{key['id']}").status_code == 200
        made = endpoint(me)
        assert made not in str(source.rest())
    assert "Missing or invalid API key." in source.comments[-1]


# --- what makes no sense ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"after": "-1"}, "after"),
        ({"after": "x"}, "after"),
        ({"after": "9" * 19}, "after"),
        ({"type": "builds.Nothing"}, None),
        ({"type": "builds.*,"}, "type"),
        ({"type": "a" * 2001}, "type"),
        ({"type": "%_"}, "type"),
        ({"subject": "a\x00b"}, "subject"),
        ({"subject": "x" * 201}, "subject"),
        ({"types": "builds.*"}, "types"),
    ],
)
def test_a_stream_that_makes_no_sense_is_pointed_at(me: Visitor, query: Json, where: str | None) -> None:
    answer = me.get(STREAM, params=query)
    assert answer.status_code == 422, answer.text
    if where is not None:
        assert where in str(answer.json()["detail"])


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 19, "١"])
def test_an_id_that_is_no_position_is_refused(me: Visitor, last: str) -> None:
    assert me.get(STREAM, headers={"Last-Event-ID": last.encode("utf-8")}).status_code == 422


def test_a_position_that_the_log_has_not_reached_is_refused(me: Visitor) -> None:
    assert me.get(STREAM, params={"after": 2**50}).status_code == 409


def test_whoever_asks_for_the_head_is_not_kept(me: Visitor) -> None:
    answer = me.request("HEAD", STREAM)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


# --- fair shares and ends --------------------------------------------------------------------------------------------


def status(who: Visitor, url: str) -> int:
    """How one more stream of somebody would be answered."""
    with httpx.stream("GET", f"{url}{STREAM}", headers=who.headers, timeout=20) as answer:
        return answer.status_code


def test_a_workspace_has_its_share_of_streams_and_who_goes_makes_room(client: httpx.Client, door: Process) -> None:
    me, other = sign_in(client), sign_in(client)
    url = url_of(door)
    with following(me, url) as first, following(me, url) as second:
        first.take(1)
        second.take(1)
        refused = httpx.get(f"{url}{STREAM}", headers=me.headers, timeout=20)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert status(other, url) == 200
    eventually(lambda: status(me, url) == 200)


def test_whoever_does_not_read_is_cut_and_harms_nobody(client: httpx.Client, stack: Stack, door: Process) -> None:
    me = sign_in(client)
    with psycopg.connect(stack.settings[Postgres].postgres_url) as connection:
        connection.execute(
            "INSERT INTO ledger_events (originator_id, originator_version, topic, state, workspace_id) "
            "SELECT 'much-' || %s, n, 'catalogue.ImportRefused', "
            "convert_to(json_build_object('import_id', 'none', 'reason', 'broken', 'detail', repeat('x', 100000), "
            "'refused_at', '2026-11-22T12:00:00Z')::text, 'UTF8'), %s FROM generate_series(1, 200) n",
            (me.workspace_id, me.workspace_id),
        )
    url = url_of(door)
    place = urlsplit(url)
    lines = [f"GET {STREAM} HTTP/1.1", f"Host: {place.netloc}", *(f"{k}: {v}" for k, v in me.headers.items())]
    with ExitStack() as deaf:
        for _ in range(2):
            one = deaf.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(20)
            one.connect((place.hostname or "", place.port or 0))
            one.sendall("\r\n".join([*lines, "", ""]).encode())
        eventually(lambda: status(me, url) == 429)
        memory = door.memory_bytes
        # Both places of this workspace are taken until the deaf ones are cut.
        eventually(lambda: status(me, url) == 200)
        eventually(lambda: "unread_answer" in door.log)
        with following(me, url, type="catalogue.*") as source:
            # A hundred pages, each of which is read while the one before it is on its way.
            assert [each["subject"] for each in source.take(200)] == [f"much-{me.workspace_id}"] * 200
            assert len({each["sequence"] for each in source.events}) == len(source.events) == 200
            assert source.events == sorted(source.events, key=lambda each: str(each["sequence"]))
        assert door.memory_bytes - memory < 50 * 1024 * 1024


def test_a_stream_has_an_end_after_which_its_reader_comes_again(stack: Stack, me: Visitor) -> None:
    with following(me, stack.url) as source:
        told = source.rest()
        assert "come again" in source.comments[-1]
    assert int(source.last_event_id) >= int(told[-1]["sequence"])


def test_a_process_that_stops_ends_its_streams_and_says_when_to_come_again(client: httpx.Client, door: Process) -> None:
    me = sign_in(client)
    url = url_of(door)
    with following(me, url) as source, ThreadPoolExecutor(1) as pool:
        wish = {"after": feed(me)[-1]["position"], "wait": 15}

        def wait() -> httpx.Response:
            while (answer := httpx.get(f"{url}/v1/events", params=wish, headers=me.headers, timeout=20)).is_error:
                time.sleep(0.05)  # the question below has taken the place
            return answer

        waiting = pool.submit(wait)
        eventually(lambda: status(me, url) == 429)
        assert door.stop() == 0
        assert source.rest()
        assert waiting.result(20).status_code == 200
    assert "come again" in source.comments[-1]
    assert 1_000 <= source.retry < 6_000
