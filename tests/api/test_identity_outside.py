"""People who come with the token of an outside identity provider."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from domain.sections import Url
from tests.identity.crowd import join, new_email, sign_in
from tests.identity.provider import AUDIENCE, Provider
from tests.journeys.kit import Account, Neighbour, Stack, eventually

SESSION = "/v1/auth/session"


@pytest.fixture(scope="module")
def provider(receiver: Neighbour) -> Provider:
    """It signs with an RSA key and an elliptic curve."""
    made = Provider("https://id.example.com/")
    made.add_key("first")
    made.add_key("curve", "ES256")
    receiver.put("jwks.json", made.published(), "application/json")
    return made


@pytest.fixture(scope="module")
def door(stack: Stack, receiver: Neighbour, provider: Provider) -> Iterator[httpx.Client]:
    """An API process that trusts the provider."""
    with (
        stack.door(
            jwt_jwks_url=Url(receiver.at("jwks.json")), jwt_issuer=provider.issuer, jwt_audience=AUDIENCE
        ) as url,
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        yield http


def ask(door: httpx.Client, token: str, path: str = SESSION, **headers: str) -> httpx.Response:
    return door.get(path, headers={"Authorization": f"Bearer {token}", **headers})


def test_somebody_with_a_token_is_known_from_then_on(door: httpx.Client, provider: Provider) -> None:
    subject, email = str(uuid4()), new_email()
    answers = [
        ask(door, provider.token(key_id, sub=subject, email=email, email_verified=True)).json()
        for key_id in ("first", "curve", "first")
    ]
    assert len({(each["user_id"], each["workspace_id"]) for each in answers}) == 1
    assert answers[0]["email"] == email
    assert answers[0]["workspace_role"] == "owner"
    assert 500 < (datetime.fromisoformat(answers[0]["expires_at"]) - datetime.now(UTC)).total_seconds() <= 600


def test_a_vouched_for_address_leads_to_the_person_who_has_it(
    door: httpx.Client, client: httpx.Client, provider: Provider
) -> None:
    me = sign_in(client)
    token = provider.token(email=me.email.upper(), email_verified=True)
    assert ask(door, token).json()["user_id"] == me.user_id
    assert door.get("/v1/usage", headers={"X-API-Key": token}).status_code == 200


@pytest.mark.parametrize(("place", "letter"), [("s", "ſ"), ("k", "\u212a"), ("ss", "ß"), ("fi", "ﬁ")])
def test_an_address_that_only_looks_like_somebodys_leads_to_nobody(
    door: httpx.Client, client: httpx.Client, provider: Provider, place: str, letter: str
) -> None:
    """Case folding makes one address of two that are different mailboxes to whoever vouches for them."""
    email = f"{place}am-{new_email()}"
    me = sign_in(client, email)
    token = provider.token(email=email.replace(place, letter, 1), email_verified=True)
    answer = ask(door, token).json()
    assert answer["user_id"] != me.user_id
    assert answer["email"] == ""


def test_a_domain_that_only_looks_like_somebodys_leads_to_nobody(
    door: httpx.Client, client: httpx.Client, provider: Provider
) -> None:
    name = new_email().partition("@")[0]
    me = sign_in(client, f"{name}@strasse.example")
    there = ask(door, provider.token(email=f"{name}@straße.example", email_verified=True)).json()
    assert there["user_id"] != me.user_id
    assert there["email"] == f"{name}@xn--strae-oqa.example"
    again = ask(door, provider.token(email=f"{name}@STRA\u1e9eE.example".lower(), email_verified=True)).json()
    assert again["user_id"] == there["user_id"]


def test_a_vouched_for_address_takes_the_account_from_whoever_only_registered_it(
    door: httpx.Client, account: Callable[[], Account], provider: Provider
) -> None:
    intruder = account()
    answer = ask(door, provider.token(email=intruder.email, email_verified=True))
    assert answer.json()["user_id"] == intruder.user_id
    assert intruder.get("/v1/usage").status_code == 401


@pytest.mark.parametrize("claims", [{"email_verified": False}, {"email_verified": None}, {"email_verified": "true"}])
def test_an_address_nobody_vouches_for_leads_to_nobody(
    door: httpx.Client, client: httpx.Client, provider: Provider, claims: dict[str, Any]
) -> None:
    me = sign_in(client)
    answer = ask(door, provider.token(email=me.email, **claims)).json()
    assert answer["user_id"] != me.user_id
    assert answer["email"] == ""


def test_the_first_requests_of_somebody_new_make_one_person(door: httpx.Client, provider: Provider) -> None:
    email, subject = new_email(), str(uuid4())
    tokens = [provider.token(sub=subject, email=email, email_verified=True, jti=str(n)) for n in range(6)]
    with ThreadPoolExecutor(6) as crowd:
        answers = list(
            crowd.map(
                lambda token: httpx.get(
                    f"{door.base_url}{SESSION}", headers={"Authorization": f"Bearer {token}"}, timeout=30
                ),
                tokens,
            )
        )
    assert {each.status_code for each in answers} == {200}, [each.text for each in answers]
    assert len({each.json()["user_id"] for each in answers}) == 1


def test_a_token_that_is_not_what_it_should_be_opens_nothing(door: httpx.Client, provider: Provider) -> None:
    email = new_email()
    said: dict[str, Any] = {"email": email, "email_verified": True}
    good = provider.token(**said)
    header, payload, signature = good.split(".")
    public = provider.published()
    stranger = Provider(provider.issuer)
    stranger.add_key("first")
    claims = {"iss": provider.issuer, "aud": AUDIENCE, "sub": "x", "exp": 4_000_000_000, **said}
    refused = {
        "another issuer": provider.token(iss="https://evil.example/", **said),
        "no issuer": provider.token(iss=None, **said),
        "another audience": provider.token(aud="somebody-else", **said),
        "no audience": provider.token(aud=None, **said),
        "no subject": provider.token(sub=None, **said),
        "over": provider.token(lifetime_seconds=-60, **said),
        "no end": provider.token(exp=None, **said),
        "not yet": provider.token(nbf=4_000_000_000, **said),
        "another key": stranger.token(**said),
        "an unknown key": provider.token(headers={"kid": "unknown"}, **said),
        "no key named, though there are two": provider.token(headers={"kid": None}, **said),
        "the other key's name": provider.token("first", headers={"kid": "curve"}, **said),
        "a changed signature": f"{header}.{payload}.{signature[:-4]}AAAA",
        "another payload": f"{header}.{payload[:-2]}AA.{signature}",
        "no signature": jwt.encode(claims, "", algorithm="none", headers={"kid": "first"}),
        "the public key as a shared secret": _signed_with(public, claims),
        "nothing": "a.b.c",
        "too much": good + "A" * 20_000,
    }
    for what, token in refused.items():
        assert ask(door, token).status_code == 401, what
    assert ask(door, good).status_code == 200


def _signed_with(secret: bytes, claims: dict[str, Any]) -> str:
    """By hand, because no decent library signs with a public key."""
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": "first"})
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"first","typ":"JWT"}').rstrip(b"=")
    text = header + b"." + unsigned.split(".")[1].encode()
    return (text + b"." + base64.urlsafe_b64encode(hmac.digest(secret, text, "sha256")).rstrip(b"=")).decode()


def test_where_no_provider_is_trusted_no_token_of_one_is(client: httpx.Client, provider: Provider) -> None:
    assert ask(client, provider.token(email=new_email(), email_verified=True)).status_code == 401


def test_signing_out_refuses_that_token_for_good(door: httpx.Client, stack: Stack, provider: Provider) -> None:
    subject = str(uuid4())
    one, other = (provider.token(sub=subject, jti=number) for number in ("1", "2"))
    assert (ask(door, one).status_code, ask(door, other).status_code) == (200, 200)
    answer = door.post("/v1/auth/logout", headers={"Authorization": f"Bearer {one}"})
    assert answer.json() == {"revoked": True}
    assert (ask(door, one).status_code, ask(door, other).status_code) == (401, 200)


def test_a_token_acts_in_the_workspace_it_is_told_to(
    door: httpx.Client, client: httpx.Client, provider: Provider
) -> None:
    owner, guest = sign_in(client), sign_in(client)
    join(owner, "viewer", guest.email)
    token = provider.token(email=guest.email, email_verified=True)
    assert ask(door, token).json()["workspace_id"] == guest.workspace_id
    there = ask(door, token, **{"X-Workspace-ID": owner.workspace_id}).json()
    assert (there["workspace_id"], there["workspace_role"]) == (owner.workspace_id, "viewer")
    stranger = sign_in(client)
    assert ask(door, token, **{"X-Workspace-ID": stranger.workspace_id}).status_code == 401
    owner.delete(f"/v1/account/team/members/{guest.user_id}")
    eventually(lambda: ask(door, token, **{"X-Workspace-ID": owner.workspace_id}).status_code == 401, timeout=1.0)


def test_whoever_was_forgotten_comes_back_as_somebody_else(door: httpx.Client, provider: Provider) -> None:
    token = provider.token(email=new_email(), email_verified=True)
    before = ask(door, token).json()
    assert door.delete("/v1/account/profile", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    after = ask(door, token).json()
    assert after["user_id"] != before["user_id"]
