"""Published events over NATS, read with nats-py as it is: one's own and nobody else's, as long as one's key is good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import httpx
import nats
import pytest
from msgspec import json
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import ServiceUnavailableError

from adapters.stream.settings import Nats
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Stack

Json = dict[str, Any]
CONSUMERS = "/v1/nats-consumers"
TYPES = "webhooks.EndpointRegistered"


def happens(who: Visitor) -> str:
    """Something happens: the id of an endpoint that is registered."""
    answer = who.post("/v1/webhook-endpoints", {"url": f"https://example.com/{uuid4().hex}", "enabled": False})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def consumer(who: Visitor, **wish: Any) -> Json:
    answer = who.post(CONSUMERS, {"name": "A reader", "event_types": [TYPES]} | wish)
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


class Reader(Client):
    """The library as it is, but for the connections of attempts to come again: it drops those that a server has turned
    away without closing them, and tests count what is left open."""

    async def _connect_to_server(self, s: Any) -> None:
        transport: Any = self._transport
        if transport:
            transport.close()
        await super()._connect_to_server(s)


@asynccontextmanager
async def connected(place: Json, key: str, **options: Any) -> AsyncIterator[Client]:
    prefix = place["inbox_prefix"].encode()
    client = Reader()
    try:
        await client.connect(
            place["server"], user="reader", password=key, inbox_prefix=prefix, connect_timeout=10, **options
        )
    except (nats.errors.Error, TimeoutError):
        await hang_up(client)
        raise
    try:
        yield client
    finally:
        await client.close()


async def refused(server: str, key: str) -> None:
    """Nobody is let in with this."""
    client = Client()
    try:
        await client.connect(server, user="reader", password=key, allow_reconnect=False)
    except (nats.errors.Error, TimeoutError):
        pass
    else:
        await client.close()
        pytest.fail("it was let in")
    await hang_up(client)


async def hang_up(client: Client) -> None:
    """The library leaves the connection of whoever was refused open."""
    transport: Any = client._transport
    transport.close()
    with suppress(OSError):
        await transport.wait_closed()


async def count(client: Client, stream: str, subject: str) -> int:
    """How many messages a stream has on a subject."""
    state = (await client.jetstream().stream_info(stream, subjects_filter=subject)).state
    return sum((state.subjects or {}).values())


async def eventually_there(condition: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + 20
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it never came to be"
        await asyncio.sleep(0.02)


async def read(client: Client, place: Json, count: int) -> list[Msg]:
    """So many events, each acknowledged."""
    context = client.jetstream(domain=place["domain"])
    subscription = await context.pull_subscribe_bind(consumer=place["consumer"], stream=place["stream"])
    found: list[Msg] = []
    deadline = asyncio.get_running_loop().time() + 20
    while len(found) < count:
        try:
            found += await subscription.fetch(count - len(found), timeout=20)
        except ServiceUnavailableError:
            # The cluster has lost whoever spoke for the consumer, and chooses another one.
            assert asyncio.get_running_loop().time() < deadline, "nobody speaks for the consumer"
            await asyncio.sleep(0.05)
    for message in found:
        await message.ack_sync(timeout=10)
    return found


async def test_a_reader_is_given_what_happened_and_what_happens(client: httpx.Client) -> None:
    me = sign_in(client)
    made = [happens(me), happens(me)]
    place = consumer(me)
    key = me.key("events:read")["plaintext_key"]
    async with connected(place, key) as reader:
        found = await read(reader, place, 2)
        made.append(happens(me))
        found += await read(reader, place, 1)
    told = [json.decode(each.data) for each in found]
    assert [each["data"]["endpoint_id"] for each in told] == made
    address = me.get("/asyncapi.json").json()["channels"]["nats"]["address"]
    context, event = TYPES.split(".")
    assert {each.subject for each in found} == {
        address.format(workspace_id=me.workspace_id, context=context, event=event)
    }
    assert [(each.headers or {})["Nats-Msg-Id"] for each in found] == [each["id"] for each in told]
    stream = [
        json.decode(line.removeprefix("data: "))
        for line in me.get("/v1/events/stream", params={"type": TYPES}).text.splitlines()
        if line.startswith("data: ")
    ]
    assert told == stream


async def test_nobody_reads_what_is_anothers_and_nobody_publishes(client: httpx.Client, stack: Stack) -> None:
    me, other = sign_in(client), sign_in(client)
    happens(me)
    happens(other)
    mine, theirs = consumer(me), consumer(other)
    refused: list[str] = []

    async def note(problem: Exception) -> None:
        refused.append(str(problem))

    key = me.key("events:read")["plaintext_key"]
    async with connected(mine, key, error_cb=note) as reader:
        ask = f"$JS.{mine['domain']}.API.CONSUMER"
        elsewhere = f"ledgerline-published.{other.workspace_id}.webhooks.Odd"
        for subject in (
            f"{ask}.MSG.NEXT.{mine['stream']}.{theirs['consumer']}",
            f"{ask}.INFO.{mine['stream']}.{theirs['consumer']}",
            f"{ask}.CREATE.{mine['stream']}.mine",
            f"$JS.{mine['domain']}.API.STREAM.INFO.{mine['stream']}",
            f"$JS.API.STREAM.MSG.GET.{mine['stream']}",
            f"$JS.ACK.{mine['stream']}.{theirs['consumer']}.1.1.1.1.0",
            f"ledgerline.{other.workspace_id}.{TYPES}",
            f"ledgerline.{me.workspace_id}.{TYPES}",
            elsewhere,
            "ledgerline.events.core.Odd",
            "ledgerline.bell",
            "$SYS.REQ.SERVER.PING",
        ):
            await reader.publish(subject, b"{}")
        for subject in (">", "ledgerline.>", f"ledgerline.{other.workspace_id}.>", f"{theirs['inbox_prefix']}.>"):
            await reader.subscribe(subject)
        await reader.flush()
        await eventually_there(lambda: len(refused) == 16)
        # Where an answer goes is said by whoever asks: not into a stream of ours, whatever it is.
        for reply in (elsewhere, "ledgerline.events.core.Odd"):
            for verb in ("MSG.NEXT", "INFO"):
                await reader.publish(f"{ask}.{verb}.{mine['stream']}.{mine['consumer']}", b"1", reply=reply)
        await reader.flush()
        assert await reader.request(f"{ask}.INFO.{mine['stream']}.{mine['consumer']}", timeout=20)
    ours = await nats.connect(str(stack.settings[Nats].nats_url))
    forged = [
        await count(ours, "LEDGERLINE", "ledgerline.events.core.Odd"),
        await count(ours, mine["stream"], f"ledgerline.{other.workspace_id}.webhooks.Odd"),
    ]
    await ours.close()
    assert forged == [0, 0]
    async with connected(theirs, other.key("events:read")["plaintext_key"]) as reader:
        [found] = await read(reader, theirs, 1)
    assert json.decode(found.data)["source"].endswith(other.workspace_id)
    assert me.get(f"{CONSUMERS}/{theirs['id']}").status_code == 404
    assert me.delete(f"{CONSUMERS}/{theirs['id']}").status_code == 404


async def test_a_key_that_opens_nothing_is_not_let_in(client: httpx.Client) -> None:
    me = sign_in(client)
    place = consumer(me)
    revoked = me.key("events:read")
    assert me.delete(f"/v1/api-keys/{revoked['id']}").status_code == 200
    for shown in (
        me.key("usage:read")["plaintext_key"],
        revoked["plaintext_key"],
        me.headers["Authorization"].removeprefix("Bearer "),
        "wrong",
        "",
        "\0" * 300,
    ):
        await refused(place["server"], shown)


async def test_a_key_that_is_revoked_or_replaced_ends_the_connection_and_nothing_is_lost(client: httpx.Client) -> None:
    me = sign_in(client)
    made = [happens(me), happens(me)]
    place = consumer(me)
    first, second = me.key("events:read"), me.key("events:read")
    async with (
        connected(place, first["plaintext_key"], allow_reconnect=False) as one,
        connected(place, second["plaintext_key"], allow_reconnect=False) as two,
    ):
        found = await read(one, place, 1)
        replaced = me.post(f"/v1/api-keys/{first['id']}/rotate", {"overlap_seconds": 0}).json()
        await eventually_there(lambda: one.is_closed)
        assert two.is_connected
        assert me.delete(f"/v1/api-keys/{second['id']}").status_code == 200
        await eventually_there(lambda: two.is_closed)
    async with connected(place, replaced["plaintext_key"]) as again:
        found += await read(again, place, 1)
    assert [json.decode(each.data)["data"]["endpoint_id"] for each in found] == made


async def test_a_consumer_is_listed_and_removed(client: httpx.Client) -> None:
    me = sign_in(client)
    happens(me)
    place = consumer(me, after="newest")
    assert place["ready"]
    assert me.get(CONSUMERS).json() == [place]
    assert me.get(f"{CONSUMERS}/{place['id']}").json() == place
    assert me.get("/v1/audit-events", params={"limit": 1}).json()[0]["action"] == "consumer.made"
    assert me.delete(f"{CONSUMERS}/{place['id']}").json() == {"removed": True}
    assert me.get(f"{CONSUMERS}/{place['id']}").status_code == 404
    for wrong in ({"after": 10**15}, {"event_types": ["nothing.Such"]}, {"name": ""}, {"after": "oldest"}):
        assert me.post(CONSUMERS, {"name": "A"} | wrong).status_code in {400, 409, 422}, wrong
