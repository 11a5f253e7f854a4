"""Who is let in to read from NATS costs no more looks than there is to see, and guesses cost none after a while."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.subscribing.callout import Callout, _Connection
from adapters.subscribing.nkeys import Issuer, claims, new_seed
from adapters.subscribing.settings import NatsSubscribers
from adapters.vault import Vault
from adapters.web.rate_limits import Verdict
from domain.sections import Secret, Url
from domain.subscribing.consumers import consumer_books
from projections.identity.credentials import Access, Credential

VAULT = Vault(b"a secret of a test")
GOOD = "bz_good"
LIMIT = 3


class Keys:
    """A keyring that knows one key, and notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.changed: set[str] = set()
        credential = Credential(
            kind="api_key", subject_id="key-1", workspace_id="w1", person_id="p1", scopes=("events:read",)
        )
        digest = VAULT.key_digest(GOOD)
        self.known: dict[str, Access] = {
            digest: Access(credential=credential, digest=digest, role=None, email="", verified=True)
        }

    async def find(self, digest: str) -> Access | None:
        self.asked.append(digest)
        return self.known.get(digest)

    async def outdated(self, found: Any) -> set[str]:
        return {each.digest for each in found} & self.changed


class Counter:
    """A limiter in memory."""

    def __init__(self) -> None:
        self.taken: dict[str, int] = {}

    async def take(self, key: str, limit: int, window_seconds: int) -> Verdict:
        self.taken[key] = self.taken.get(key, 0) + 1
        return Verdict(self.taken[key] <= limit, limit, 0, window_seconds, window_seconds)


class Anything:
    """A bus, a log, and who notes uses; nothing of it is looked at."""

    stream = "LEDGERLINE"

    def note(self, _: str) -> None:
        """Nobody asks."""

    async def state(self, *_: Any) -> Any:
        return consumer_books.initial


class Question:
    """What NATS asks about somebody who shows a key, and what it is told."""

    def __init__(self, key: str, host: str) -> None:
        nats = {
            "server_id": {"id": "N1"},
            "user_nkey": "U" + "A" * 55,
            "client_info": {"host": host},
            "connect_opts": {"pass": key},
        }
        self.data = Issuer(new_seed()).sign({"nats": nats}, now=0).encode()
        self.is_let_in = False

    async def respond(self, answer: bytes) -> None:
        self.is_let_in = "jwt" in claims(answer)["nats"]


class Door:
    """A callout with its keyring and its limiter."""

    def __init__(self) -> None:
        settings = NatsSubscribers(
            nats_system_url=Url("nats://127.0.0.1:1"),
            nats_issuer_seed=Secret(new_seed()),
            nats_public_url=Url("nats://127.0.0.1:1"),
        )
        self.keys, self.counter = Keys(), Counter()
        anything: Any = Anything()
        keys: Any = self.keys
        counter: Any = self.counter
        self.callout = Callout(
            settings, keys, anything, VAULT, anything, anything, lambda: datetime(2026, 11, 1, tzinfo=UTC), counter,
            refused_limit=LIMIT, verified_only=False,
        )  # fmt: skip
        self.ended: list[int] = []

        async def request(_: str, payload: bytes, **__: Any) -> None:
            self.ended.append(int(payload.split(b":")[1].rstrip(b"}")))

        self.callout._system.client.request = request  # type: ignore[method-assign,assignment]

    async def shown(self, key: str, host: str) -> bool:
        question: Any = Question(key, host)
        await self.callout._asked(question)
        return bool(question.is_let_in)

    async def look(self, *keys: str) -> None:
        """Look while somebody is connected with each of these."""
        connections = [("N1", _Connection(at, VAULT.key_digest(key))) for at, key in enumerate(keys)]

        async def found() -> list[tuple[str, _Connection]]:
            return connections

        self.callout._connections = found  # type: ignore[method-assign]
        await self.callout._look()


@pytest.fixture
async def door() -> Door:
    return Door()


async def test_wrong_keys_count_by_where_they_come_from_and_too_many_are_not_looked_up(door: Door) -> None:
    for number in range(LIMIT + 1):
        assert not await door.shown(f"wrong-{number}", f"2001:db8::{number}")
    assert door.counter.taken == {"refused/2001:db8::/64": LIMIT + 1}
    looked = len(door.keys.asked)
    assert not await door.shown("wrong again", "2001:db8::9")
    assert not await door.shown(GOOD, "2001:db8::9")
    assert len(door.keys.asked) == looked
    assert await door.shown(GOOD, "192.0.2.7")
    assert door.counter.taken == {"refused/2001:db8::/64": LIMIT + 1}


async def test_who_was_connected_comes_in_again_however_many_guess_beside_them(door: Door) -> None:
    await door.look(GOOD)
    for number in range(LIMIT + 1):
        assert not await door.shown(f"wrong-{number}", "192.0.2.1")
    await door.look()
    assert await door.shown(GOOD, "192.0.2.1")


async def test_a_key_that_has_not_changed_is_looked_up_once_however_long_it_is_connected(door: Door) -> None:
    for _ in range(3):
        await door.look(GOOD, GOOD)
    assert door.keys.asked == [VAULT.key_digest(GOOD)]
    door.keys.changed = {VAULT.key_digest(GOOD)}
    await door.look(GOOD, GOOD)
    assert (len(door.keys.asked), door.ended) == (2, [])
    door.keys.known.clear()
    await door.look(GOOD, GOOD)
    assert door.ended == [0, 1]
