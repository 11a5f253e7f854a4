"""Subscribers who read on whatever dies: over NATS from places kept for them, over HTTP after their last event.

Each keeps what it was told, and how far it was said to be by then; what must be true of that is looked at afterwards.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

import httpx
import nats.errors
from msgspec import json
from nats.aio.client import Client
from nats.errors import TimeoutError as NothingCame
from nats.js.client import JetStreamContext
from nats.js.errors import APIError

from adapters.subscribing.settings import NatsSubscribers
from commands.settings import Service
from domain.published import by_stored_name
from tests.faults.cluster import Cluster
from tests.faults.worlds import Asks
from tests.journeys.kit import eventually
from tests.subscribing.test_nats import CONSUMERS, connected

#: Until somebody comes again who was sent away, and how long one request over NATS waits.
AGAIN_SECONDS, FETCH_SECONDS = 0.2, 1.0
#: How often somebody over NATS dies with events in hand that they have not acknowledged.
DEATHS = 0.03
#: As long as it takes until what a dead reader had in hand is given out again, and more.
CATCH_UP_SECONDS = 120


class Told(NamedTuple):
    """What is the same however often and whichever way an event is told."""

    event_id: str
    type: str
    source: str


class Heard(NamedTuple):
    """An event as it came, and how far its subscriber was before it, which is where nothing comes from again."""

    position: int
    told: Told
    after: int


class Subscriber(Protocol):
    """Somebody who reads for as long as they are let, and goes on where they were when they are let again."""

    event_types: tuple[str, ...]
    begins_after: int
    heard: list[Heard]
    #: How far it was, each time that it was told so.
    places: list[int]
    #: How often it asked, and there was nothing more.
    rests: int
    #: What it was answered that nobody should be.
    refused: set[str]

    async def read(self, http: httpx.AsyncClient) -> None:
        """Read until cancelled."""


async def _not_told(_: Exception) -> None:
    """What ends a connection is what this is about."""


def _heard(body: bytes | str, after: int) -> Heard:
    event = json.decode(body)
    return Heard(int(event["sequence"]), Told(event["id"], event["type"], event["source"]), after)


class OverNats:
    """Reads from a durable pull consumer, with nats-py as it is; now and then it dies with events in hand."""

    def __init__(self, place: dict[str, Any], key: str) -> None:
        self.event_types = tuple(place["event_types"])
        self.begins_after = int(place["after"])
        self.heard: list[Heard] = []
        self.places = [self.begins_after]
        self.rests = 0
        self.refused: set[str] = set()
        self._place, self._key = place, key
        self._chance = random.Random(place["id"])

    async def read(self, http: httpx.AsyncClient) -> None:
        """Connect, read until the connection is lost for good, and connect again."""
        while True:
            with suppress(nats.errors.Error, APIError, OSError, TimeoutError):
                async with connected(self._place, self._key, error_cb=_not_told) as client:
                    await self._read(client, http)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _read(self, client: Client, http: httpx.AsyncClient) -> None:
        context = client.jetstream(domain=self._place["domain"])
        events = await context.pull_subscribe_bind(consumer=self._place["consumer"], stream=self._place["stream"])
        while not client.is_closed:
            await self._look(http)
            try:
                await self._take(events)
            except NothingCame:
                self.rests += client.is_connected
            except (APIError, nats.errors.Error, TimeoutError):
                await asyncio.sleep(AGAIN_SECONDS)
            if self._chance.random() < DEATHS:
                return

    async def _take(self, events: JetStreamContext.PullSubscription) -> None:
        messages = await events.fetch(self._chance.choice([1, 10, 100]), timeout=FETCH_SECONDS)
        self.heard += [_heard(each.data, self.places[-1]) for each in messages]
        if self._chance.random() < DEATHS:
            return
        for message in messages:
            await message.ack_sync(timeout=5)

    async def _look(self, http: httpx.AsyncClient) -> None:
        """See how far it is said to be: what is before that is never told again, not even by a NATS that was wiped."""
        with suppress(httpx.TransportError):
            answer = await http.get(f"{CONSUMERS}/{self._place['id']}")
            if answer.status_code == 200:
                self.places.append(answer.json()["position"])
            elif answer.status_code != 503:
                self.refused.add(answer.text)


class OverHttp:
    """Reads Server-Sent Events, and comes again with the id of the last one whenever the stream ends."""

    def __init__(self) -> None:
        self.event_types: tuple[str, ...] = ()
        self.begins_after = 0
        self.heard: list[Heard] = []
        self.places = [0]
        self.rests = 0
        self.refused: set[str] = set()

    async def read(self, http: httpx.AsyncClient) -> None:
        """Ask for a stream, read it to its end, and ask for another one."""
        while True:
            with suppress(httpx.TransportError):
                headers = {"Last-Event-ID": str(self.places[-1])}
                async with http.stream("GET", "/v1/events/stream", headers=headers) as answer:
                    if answer.status_code == 200:
                        await self._read(answer)
                    elif answer.status_code != 503:
                        self.refused.add((await answer.aread()).decode())
            await asyncio.sleep(AGAIN_SECONDS)

    async def _read(self, answer: httpx.Response) -> None:
        position, data = None, ""
        async for line in answer.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "id":
                position = int(value)
            elif field == "data":
                data = value
            elif not line and position is not None:
                # Only what has come whole counts, as for an `EventSource`.
                if data:
                    self.heard.append(_heard(data, self.places[-1]))
                else:
                    self.rests += 1
                self.places.append(position)
                position, data = None, ""


class Subscribers:
    """Those of one workspace: of all its events over HTTP, and where NATS lets them in, of all and of some over it."""

    def __init__(self, asked: Asks, cluster: Cluster, workspace_id: str) -> None:
        self._cluster = cluster
        self.workspace_id = workspace_id
        made = asked(201, "POST", "/v1/api-keys", json={"name": "Reader", "scopes": ["events:read"]}).json()
        self._key = str(made["plaintext_key"])
        wishes: tuple[dict[str, Any], ...] = (
            {"name": "All"},
            {"name": "Some", "event_types": ["licensing.*"], "after": "newest"},
        )
        if not cluster.settings[NatsSubscribers].is_open:
            wishes = ()
        places = [
            asked(201, "POST", CONSUMERS, json=wish, headers={"Idempotency-Key": uuid4().hex}).json() for wish in wishes
        ]
        self.all: list[Subscriber] = [*(OverNats(place, self._key) for place in places), OverHttp()]

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Have them read while the block runs."""
        stop = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            over = pool.submit(asyncio.run, self._read(stop))
            try:
                yield
            finally:
                stop.set()
            over.result()

    async def _read(self, stop: threading.Event) -> None:
        url, headers = self._cluster.settings[Service].url, {"X-API-Key": self._key}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as http:
            tasks = [asyncio.create_task(each.read(http)) for each in self.all]
            while not stop.is_set() and not any(each.done() for each in tasks):
                await asyncio.wait(tasks, timeout=0.1)
            # Once is not enough: until Python 3.12 `wait_for` loses a cancellation that comes with its answer.
            while sum(each.cancel() for each in tasks):
                await asyncio.wait(tasks, timeout=0.1)
        for each in tasks:
            with suppress(asyncio.CancelledError):
                await each

    def compare(self) -> None:
        """Let them read what is left: each was told of every event of its workspace, and of nothing else."""
        before = [each.rests for each in self.all]

        def nothing_is_left() -> bool:
            due = self.published()
            told = [{heard.position for heard in each.heard} >= set(_wanted(each, due)) for each in self.all]
            return all(told) and all(each.rests > since for each, since in zip(self.all, before, strict=True))

        with self.reading(), suppress(AssertionError):
            # Whoever has not been told by then is named below.
            eventually(nothing_is_left, timeout=CATCH_UP_SECONDS)
        due = self.published()
        for each in self.all:
            check(each, due)

    def published(self) -> dict[int, Told]:
        """What happened in the workspace, as the log has it, of what is published."""
        rows = self._cluster.asked(
            "SELECT notification_id, event_id::text, topic FROM ledger_events "
            f"WHERE workspace_id = '{self.workspace_id}'"
        )
        source = f"urn:ledgerline:workspace:{self.workspace_id}"
        types = {name: each.type for name, each in by_stored_name().items()}
        return {position: Told(event_id, types[name], source) for position, event_id, name in rows if name in types}


def _wanted(subscriber: Subscriber, due: dict[int, Told]) -> dict[int, Told]:
    patterns = subscriber.event_types or ("*",)
    return {
        position: told
        for position, told in due.items()
        if position > subscriber.begins_after and any(fnmatchcase(told.type, each) for each in patterns)
    }


def check(subscriber: Subscriber, due: dict[int, Told]) -> None:
    """It was told each event that it wanted under one id, and nothing else; and its place never went back."""
    who = f"{type(subscriber).__name__} of {subscriber.event_types or 'all'}"
    assert not subscriber.refused, f"{who} was refused: {subscriber.refused}"
    assert subscriber.places == sorted(subscriber.places), f"{who} was put back: {subscriber.places}"
    again = [heard for heard in subscriber.heard if heard.position <= heard.after]
    assert not again, f"{who} was told again what it is known to be done with: {again[:3]}"
    told: dict[int, set[Told]] = {}
    for heard in subscriber.heard:
        told.setdefault(heard.position, set()).add(heard.told)
    wanted = {position: {each} for position, each in _wanted(subscriber, due).items()}
    missed = {position: wanted[position] for position in sorted(wanted.keys() - told.keys())}
    assert not missed, f"{who} was not told of {len(missed)} of {len(wanted)}: {list(missed.items())[:3]}"
    odd = [(position, each) for position, each in told.items() if wanted.get(position) != each]
    assert not odd, f"{who} was told otherwise than it happened, or what is another's: {odd[:3]}"
