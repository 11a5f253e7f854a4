"""The published keys of an outside provider: fetched when needed, believed for a while, kept when it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.identity import outside_tokens
from adapters.identity.outside_tokens import OutsideTokens
from tests.identity.provider import AUDIENCE, Provider
from tests.journeys.kit import Neighbour, Reply


@pytest.fixture
def web() -> Iterator[Neighbour]:
    with Neighbour() as neighbour:
        yield neighbour


@pytest.fixture
def provider() -> Provider:
    made = Provider("https://id.example.com/")
    made.add_key("first")
    return made


@pytest.fixture
async def tokens(web: Neighbour) -> AsyncIterator[OutsideTokens]:
    made = OutsideTokens(web.at("keys"), issuer="https://id.example.com/", audience=AUDIENCE)
    yield made
    await made.close()


async def test_keys_are_fetched_once_for_all_who_come_at_once(
    web: Neighbour, provider: Provider, tokens: OutsideTokens
) -> None:
    web.put("keys", provider.published())
    claims = await asyncio.gather(*(tokens.read(provider.token(sub=str(number))) for number in range(20)))
    assert [each.subject for each in claims if each] == [str(number) for number in range(20)]
    assert len(web.received("keys")) == 1


async def test_an_unknown_key_makes_us_look_again_but_not_for_every_token(
    web: Neighbour, provider: Provider, tokens: OutsideTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.put("keys", provider.published())
    assert await tokens.read(provider.token())
    provider.add_key("second", "ES256")
    web.put("keys", provider.published())
    for _ in range(5):
        assert await tokens.read(provider.token("second")) is None
    assert len(web.received("keys")) == 1
    monkeypatch.setattr(outside_tokens, "LOOK_SECONDS", 0.0)
    assert await tokens.read(provider.token("second"))
    assert await tokens.read(provider.token("first"))
    assert len(web.received("keys")) == 2


async def test_a_withdrawn_key_is_not_believed_for_ever(
    web: Neighbour, provider: Provider, tokens: OutsideTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.add_key("second")
    web.put("keys", provider.published())
    old = provider.token("first")
    assert await tokens.read(old)
    del provider.private["first"]
    web.put("keys", provider.published())
    monkeypatch.setattr(outside_tokens, "KEYS_SECONDS", 0.0)
    monkeypatch.setattr(outside_tokens, "LOOK_SECONDS", 0.0)
    assert await tokens.read(old) is None


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "AA"}]}'])
async def test_a_provider_that_talks_nonsense_locks_nobody_out(
    web: Neighbour, provider: Provider, tokens: OutsideTokens, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    web.put("keys", provider.published())
    token = provider.token()
    assert await tokens.read(token)
    monkeypatch.setattr(outside_tokens, "KEYS_SECONDS", 0.0)
    monkeypatch.setattr(outside_tokens, "LOOK_SECONDS", 0.0)
    web.put("keys", body)
    assert await tokens.read(token)
    web.answer("keys", 500)
    assert await tokens.read(token)


async def test_a_redirect_is_not_followed_to_other_keys(web: Neighbour, provider: Provider) -> None:
    web.put("elsewhere", provider.published())
    web.answer("keys", Reply(302, b"", {"Location": web.at("elsewhere")}))
    tokens = OutsideTokens(web.at("keys"), issuer=provider.issuer, audience=AUDIENCE)
    assert await tokens.read(provider.token()) is None
    await tokens.close()


async def test_without_a_key_id_the_only_key_is_meant(
    web: Neighbour, provider: Provider, tokens: OutsideTokens
) -> None:
    web.put("keys", provider.published())
    assert await tokens.read(provider.token(headers={"kid": None}))
