"""Signing in with a mailed code, and out again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from litestar import Request

from adapters.postgres.settings import Postgres
from api.auth import counted_address
from tests.identity.crowd import Visitor, new_email, sign_in, start
from tests.journeys.kit import Account, Neighbour, Stack, eventually

SESSION = "/v1/auth/session"
COOKIE = "ledgerline_session"


def verify(http: httpx.Client, challenge_id: str, code: str, **headers: str) -> httpx.Response:
    answer = http.post("/v1/auth/email/verify", json={"challenge_id": challenge_id, "code": code}, headers=headers)
    http.cookies.clear()
    return answer


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


def refuses(url: str, token: str) -> bool:
    return status(url, token) == 401


def status(url: str, token: str) -> int:
    return httpx.get(url + SESSION, headers={"Authorization": f"Bearer {token}"}).status_code


# --- the way in -------------------------------------------------------------------------------------------------------


def test_somebody_new_signs_in_and_gets_a_workspace_of_their_own(client: httpx.Client) -> None:
    email = new_email()
    started = start(client, email)
    assert set(started) == {"challenge_id", "dev_code", "expires_at"}
    lifetime = datetime.fromisoformat(started["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=9) < lifetime <= timedelta(minutes=10)

    answer = verify(client, started["challenge_id"], started["dev_code"])
    body = answer.json()
    assert (answer.status_code, body["email"]) == (200, email)
    assert set(body) == {"email", "expires_at", "user_id", "workspace_id", "session_token"}

    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}={body['session_token']};")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}

    me = client.get(SESSION, headers={"Authorization": f"Bearer {body['session_token']}"})
    assert me.json() == {
        "email": email,
        "expires_at": body["expires_at"],
        "user_id": body["user_id"],
        "workspace_id": body["workspace_id"],
        "workspace_role": "owner",
    }


def test_whoever_comes_back_is_the_same_person_however_they_write_their_address(client: httpx.Client) -> None:
    first = sign_in(client)
    again = sign_in(client, f"  {first.email.upper()} ".strip())
    assert (again.user_id, again.workspace_id) == (first.user_id, first.workspace_id)
    assert again.token != first.token


def test_whoever_registered_with_a_key_signs_in_to_the_same_workspace(client: httpx.Client, account: type) -> None:
    registered: Account = account()
    visitor = sign_in(client, registered.email)
    assert (visitor.user_id, visitor.workspace_id) == (registered.user_id, registered.workspace_id)


def test_whoever_registered_an_address_they_cannot_read_loses_all_they_set_up_with_it(
    client: httpx.Client, account: type, receiver: Neighbour
) -> None:
    """Anybody may have registered the address. The first to prove it decides whose the account is."""
    intruder: Account = account()
    hook = {"url": receiver.at("intruder")}
    assert intruder.post("/v1/webhook-endpoints", json=hook).status_code == 201
    owner = sign_in(client, intruder.email)
    assert intruder.get("/v1/usage").status_code == 401
    assert owner.get("/v1/webhook-endpoints").json() == []
    (key,) = owner.get("/v1/api-keys").json()
    assert key["revoked_at"] is not None
    mine = owner.key()["plaintext_key"]
    sign_in(client, intruder.email)
    assert client.get("/v1/usage", headers={"X-API-Key": mine}).status_code == 200


def test_whoever_shows_the_first_key_beside_the_code_keeps_it(
    client: httpx.Client, account: type, receiver: Neighbour
) -> None:
    me: Account = account()
    assert me.post("/v1/webhook-endpoints", json={"url": receiver.at("mine")}).status_code == 201
    started = start(client, me.email)
    answer = verify(client, started["challenge_id"], started["dev_code"], **{"X-API-Key": me.key})
    assert answer.status_code == 200
    assert me.get("/v1/usage").status_code == 200
    assert len(me.get("/v1/webhook-endpoints").json()) == 1
    other: Account = account()
    started = start(client, other.email)
    verify(client, started["challenge_id"], started["dev_code"], **{"X-API-Key": me.key})
    assert other.get("/v1/usage").status_code == 401


def test_known_and_unknown_addresses_get_the_same_answer(client: httpx.Client) -> None:
    known = sign_in(client).email
    answers = [client.post("/v1/auth/email/start", json={"email": each}) for each in (known, new_email())]
    shapes = [(each.status_code, sorted(each.json()), sorted(each.headers)) for each in answers]
    assert shapes[0] == shapes[1]


def test_a_code_opens_one_session_though_many_give_it_at_once(client: httpx.Client, stack: Stack) -> None:
    started = start(client, new_email())

    def attempt(_: int) -> int:
        with httpx.Client(base_url=stack.url, timeout=30) as http:
            return verify(http, started["challenge_id"], started["dev_code"]).status_code

    with ThreadPoolExecutor(8) as crowd:
        statuses = list(crowd.map(attempt, range(8)))
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 422, 409}


def test_two_first_sign_ins_at_once_make_one_person(client: httpx.Client, stack: Stack) -> None:
    """A registration and a sign-in claim the same address at the same moment."""
    for _ in range(4):
        email = new_email()
        started = start(client, email)

        def enter(
            how: str, email: str = email, challenge: str = started["challenge_id"], code: str = started["dev_code"]
        ) -> httpx.Response:
            with httpx.Client(base_url=stack.url, timeout=30) as http:
                if how == "register":
                    return http.post("/v1/auth/register", json={"email": email})
                return verify(http, challenge, code)

        with ThreadPoolExecutor(2) as crowd:
            registered, signed_in = crowd.map(enter, ("register", "verify"))
        assert signed_in.status_code == 200, signed_in.text
        assert registered.status_code in (201, 409)
        if registered.status_code == 201:
            assert registered.json()["user_id"] == signed_in.json()["user_id"]


def test_only_the_newest_code_works(client: httpx.Client) -> None:
    email = new_email()
    older, newer = start(client, email), start(client, email)
    assert verify(client, older["challenge_id"], older["dev_code"]).status_code == 422
    assert verify(client, newer["challenge_id"], newer["dev_code"]).status_code == 200


def test_a_wrong_code_an_unknown_challenge_and_a_used_code_look_the_same(client: httpx.Client) -> None:
    used = start(client, new_email())
    verify(client, used["challenge_id"], used["dev_code"])
    wrong = start(client, new_email())
    answers = [
        verify(client, wrong["challenge_id"], other_than(wrong["dev_code"])),
        verify(client, str(uuid4()), "123456"),
        verify(client, used["challenge_id"], used["dev_code"]),
    ]
    assert {(each.status_code, each.text) for each in answers} == {(422, answers[0].text)}


def test_five_wrong_codes_end_a_challenge_also_for_the_right_one(client: httpx.Client) -> None:
    started = start(client, new_email())
    for _ in range(5):
        assert verify(client, started["challenge_id"], other_than(started["dev_code"])).status_code == 422
    assert verify(client, started["challenge_id"], started["dev_code"]).status_code == 429


def test_many_guesses_at_once_are_no_more_than_five(client: httpx.Client, stack: Stack) -> None:
    """Twelve guess at the same time; each wrong one is counted, and then the right one is worth nothing."""
    started = start(client, new_email())

    def guess(_: int) -> int:
        with httpx.Client(base_url=stack.url, timeout=30) as http:
            return verify(http, started["challenge_id"], other_than(started["dev_code"])).status_code

    with ThreadPoolExecutor(12) as crowd:
        statuses = list(crowd.map(guess, range(12)))
    assert statuses.count(422) == 5
    assert verify(client, started["challenge_id"], started["dev_code"]).status_code == 429


def test_a_code_for_registration_does_not_sign_in(strict: httpx.Client) -> None:
    registered = strict.post("/v1/auth/register", json={"email": new_email()}).json()
    assert verify(strict, registered["challenge_id"], registered["dev_code"]).status_code == 422


@pytest.mark.parametrize("body", [{}, {"email": "nobody"}, {"email": ""}, {"email": 7}, {"email": "a@b.c" * 60}])
def test_what_is_no_address_is_refused(client: httpx.Client, body: dict[str, object]) -> None:
    answer = client.post("/v1/auth/email/start", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "email"]


@pytest.fixture(scope="module")
def behind_a_proxy(stack: Stack) -> Iterator[str]:
    """The URL of one more process, which believes who is said to have asked."""
    with stack.door(code_limit_per_hour=3, trusted_proxies="127.0.0.1") as url:
        yield url


@pytest.fixture
def http(behind_a_proxy: str) -> Iterator[httpx.Client]:
    """A browser that is new there."""
    with httpx.Client(base_url=behind_a_proxy, timeout=30) as browser:
        yield browser


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_stranger_who_asks_for_codes_and_guesses_keeps_nobody_out(client: httpx.Client, http: httpx.Client) -> None:
    """Each source has its own codes and answers; all together guess no more often than one of them could."""
    email = new_email()

    def ask(number: int) -> httpx.Response:
        source = {"X-Forwarded-For": f"198.51.100.{number}"}
        return http.post("/v1/auth/email/start", json={"email": email}, headers=source)

    asked = [ask(1) for _ in range(20)]
    assert [each.status_code for each in asked] == [200] * 3 + [429] * 17
    theirs, mine = asked[2].json(), ask(2).json()
    guesses = [
        verify(http, each["challenge_id"], other_than(each["dev_code"]), **{"X-Forwarded-For": "198.51.100.1"})
        for each in (*[mine] * 4, *[theirs] * 4)
    ]
    # Twice as many answers as codes, of the fifteen from everywhere: the stranger's guesses are not all there are.
    assert [each.status_code for each in guesses] == [422] * 6 + [429] * 2
    answer = verify(http, mine["challenge_id"], mine["dev_code"], **{"X-Forwarded-For": "198.51.100.2"})
    assert answer.status_code == 200
    # Twelve letters in all, of which four have been sent.
    sent = [ask(number).status_code for number in range(3, 13)]
    assert sent == [200] * 8 + [429] * 2
    owner = sign_in(client)
    owner.http = http
    assert owner.post("/v1/account/team/invitations", {"email": email}).status_code == 429, "an invitation is one more"


def test_a_stranger_at_the_same_address_keeps_no_known_device_out(stack: Stack) -> None:
    """Behind one address of a network are the owner, and somebody who asks for codes and gives wrong ones all day."""
    with (
        stack.door(code_limit_per_hour=3, sign_in_limit_per_hour=8, trusted_proxies="127.0.0.1") as url,
        httpx.Client(base_url=url, timeout=30, headers={"X-Forwarded-For": "203.0.113.77"}) as http,
    ):
        email = new_email()

        def ask(device: str = "", address: str = email) -> httpx.Response:
            headers = {"Cookie": f"ledgerline_device={device}"} if device else {}
            answer = http.post("/v1/auth/email/start", json={"email": address}, headers=headers)
            http.cookies.clear()
            return answer

        def enter(started: dict[str, str], device: str = "") -> httpx.Response:
            headers = {"Cookie": f"a=b; ledgerline_device={device}"} if device else {}
            return verify(http, started["challenge_id"], started["dev_code"], **headers)

        def device_of(answer: httpx.Response) -> str:
            assert answer.status_code == 200, answer.text
            [left] = [each for each in answer.headers.get_list("set-cookie") if each.startswith("ledgerline_device=")]
            assert {"HttpOnly", "SameSite=lax", "Path=/v1/auth/email"} <= {part.strip() for part in left.split(";")}
            return left.partition("=")[2].partition(";")[0]

        other = device_of(enter(ask(address=new_email()).json()))
        mine = device_of(enter(ask().json()))
        started = ask(mine).json()
        # Neither a code that the stranger asks for, nor wrong answers of theirs, nor those of all the network, count.
        assert [ask().status_code for _ in range(4)] == [200, 200, 429, 429]
        for _ in range(6):
            verify(http, started["challenge_id"], other_than(started["dev_code"])[:6])
            ask(address=new_email())
        # Who has no device of this mailbox is a stranger, whatever they say.
        for forged in (other, "bzd_", mine[:-1], f"{mine}x", "x" * 5000):
            assert ask(forged).status_code == 429, forged
        device = device_of(enter(ask(mine).json(), mine))
        assert [ask(device).status_code for _ in range(3)] == [200, 429, 429], "a device has its own limit"


def test_a_code_that_somebody_else_asks_for_leaves_mine_as_it_is(http: httpx.Client) -> None:
    email = new_email()

    def ask(source: str) -> dict[str, str]:
        headers = {"X-Forwarded-For": source}
        started: dict[str, str] = http.post("/v1/auth/email/start", json={"email": email}, headers=headers).json()
        return started

    older, mine, theirs = ask("203.0.113.1"), ask("203.0.113.1"), ask("203.0.113.2")
    statuses = [verify(http, each["challenge_id"], each["dev_code"]).status_code for each in (older, mine)]
    assert statuses == [422, 200]
    assert theirs["challenge_id"] != mine["challenge_id"]


def test_many_sources_guess_no_more_often_than_one_mailbox_allows(http: httpx.Client) -> None:
    email, statuses = new_email(), []
    for number in range(1, 6):
        source = {"X-Forwarded-For": f"198.51.100.{number}"}
        started = http.post("/v1/auth/email/start", json={"email": email}, headers=source).json()
        wrong = other_than(started["dev_code"])
        statuses += [verify(http, started["challenge_id"], wrong, **source).status_code for _ in range(5)]
    # Three codes of five tries each is what one mailbox allowed before there were sources.
    assert statuses.count(422) == 15


def test_one_mailbox_gets_so_many_codes_an_hour_known_or_not(client: httpx.Client, strict: httpx.Client) -> None:
    registered = client.post("/v1/auth/register", json={"email": new_email()}).json()["email"]
    for email in (registered, new_email()):
        sent = [strict.post("/v1/auth/email/start", json={"email": each}) for each in (email, email.upper()) * 2]
        assert [each.status_code for each in sent] == [200, 200, 200, 429]
        last = sent[-1].headers
        assert last["x-ratelimit-limit"] == "3"
        assert last["x-ratelimit-remaining"] == "0"
        assert 0 < int(last["retry-after"]) <= 3600
        assert last["x-ratelimit-reset"] == last["retry-after"]


def test_no_letter_is_sent_off_for_what_is_refused(client: httpx.Client, strict: httpx.Client, stack: Stack) -> None:
    """Letters follow from what is in the log, so nothing is written there for them."""
    owner, email = sign_in(client), new_email()
    owner.http = strict

    def letters() -> int:
        kinds = ["identity.ChallengeIssued", "identity.InvitationSent"]
        with psycopg.connect(stack.settings[Postgres].postgres_url) as database:
            [[written]] = database.execute("SELECT count(*) FROM ledger_events WHERE topic = ANY(%s)", [kinds])
        return int(written)

    def invite() -> int:
        made = owner.post("/v1/account/team/invitations", {"email": email})
        if made.status_code == 201:
            owner.delete(f"/v1/account/team/invitations/{made.json()['id']}")
        return made.status_code

    def ask(http: httpx.Client, body: dict[str, str]) -> int:
        return http.post("/v1/auth/email/start", json=body).status_code

    before = letters()
    assert [ask(strict, {"email": email}) for _ in range(6)] == [200] * 3 + [429] * 3
    assert letters() == before + 3
    assert [invite() for _ in range(5)] == [201] * 3 + [429] * 2
    assert ask(client, {"email": "nobody"}) == 422
    with stack.door(env="production") as url, httpx.Client(base_url=url, timeout=30) as mute:
        assert ask(mute, {"email": new_email()}) == 503
    assert letters() == before + 6


def test_so_many_accounts_and_workspaces_are_begun_from_one_address_in_an_hour_and_in_a_day(stack: Stack) -> None:
    """Each is a share of its own of everything that workspaces compete for."""
    limits = {"register_limit_per_hour": 2, "register_limit_per_day": 3}
    with stack.door(**limits, trusted_proxies="127.0.0.1") as url, httpx.Client(base_url=url, timeout=30) as http:

        def register(source: str = "192.0.2.213") -> httpx.Response:
            return http.post("/v1/auth/register", json={"email": new_email()}, headers={"X-Forwarded-For": source})

        def begin(person: Visitor, source: str = "192.0.2.213") -> httpx.Response:
            headers = {"Authorization": f"Bearer {person.token}", "X-Forwarded-For": source}
            return http.post("/v1/account/workspaces", json={"workspace_name": "Another"}, headers=headers)

        me = sign_in(http)
        assert [register().status_code, begin(me).status_code] == [201, 201]
        for refused in (register(), begin(me)):
            assert (refused.status_code, refused.headers["x-ratelimit-limit"]) == (429, "2")
        assert [register("192.0.2.214").status_code, begin(me, "192.0.2.215").status_code] == [201, 201]
        with psycopg.connect(stack.settings[Postgres].postgres_url, autocommit=True) as database:
            database.execute("DELETE FROM rate_windows WHERE ends_at < extract(epoch FROM now()) + 7200")
        eventually(lambda: begin(me).status_code == 201)
        refused = register()
        assert (refused.status_code, refused.headers["x-ratelimit-limit"]) == (429, "3")
        assert int(refused.headers["retry-after"]) > 7200


def test_a_person_has_one_limit_in_all_their_sessions_and_each_key_its_own(stack: Stack) -> None:
    """Anybody can have another session as often as they like."""
    with stack.door(rate_limit_per_minute=6) as url, httpx.Client(base_url=url, timeout=30) as http:
        me = sign_in(http)

        def left(token: str) -> int:
            answer = http.get("/v1/auth/session", headers={"Authorization": f"Bearer {token}"})
            return int(answer.headers["x-ratelimit-remaining"])

        first = left(me.token)
        other = me.post(f"/v1/account/workspaces/{me.workspace_id}/session").json()["session_token"]
        key = me.post("/v1/api-keys", {"name": "own", "scopes": ["usage:read"]}).json()["plaintext_key"]
        assert left(other) == first - 3
        usage = http.get("/v1/usage", headers={"X-API-Key": key})
        assert usage.headers["x-ratelimit-remaining"] == "5"


def test_one_place_may_try_so_often_an_hour(stack: Stack) -> None:
    with stack.door(sign_in_limit_per_hour=1) as url, httpx.Client(base_url=url, timeout=30) as http:
        # All tests share an address and its count, so this place has had enough already.
        sent = [http.post("/v1/auth/email/start", json={"email": new_email()}).status_code for _ in range(2)]
        tried = [verify(http, str(uuid4()), "000000").status_code for _ in range(3)]
    assert sent[-1] == 429
    assert tried[-1] == 429


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_whoever_has_a_network_is_counted_as_one(address: str, counted: str) -> None:
    scope: Any = {"type": "http", "client": (address, 1)}
    assert counted_address(Request(scope)) == counted


def test_letters_of_invitation_count_for_a_mailbox_too(client: httpx.Client, strict: httpx.Client) -> None:
    owner, guest = sign_in(client), new_email()
    owner.http = strict
    statuses = []
    for _ in range(4):
        made = owner.post("/v1/account/team/invitations", {"email": guest})
        statuses.append(made.status_code)
        if made.status_code == 201:
            owner.delete(f"/v1/account/team/invitations/{made.json()['id']}")
    assert statuses == [201, 201, 201, 429]


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_a_session_is_accepted_as_bearer_as_key_and_as_cookie(client: httpx.Client) -> None:
    me = sign_in(client)
    for headers in (
        {"Authorization": f"Bearer {me.token}"},
        {"X-API-Key": me.token},
        {"Cookie": f"{COOKIE}={me.token}"},
    ):
        for path in (SESSION, "/v1/usage", "/v1/account/profile"):
            assert client.get(path, headers=headers).status_code == 200, (path, headers)


def test_signing_out_counts_at_once_in_every_process(client: httpx.Client, stack: Stack, elsewhere: str) -> None:
    for _ in range(5):
        me = sign_in(client)
        assert (status(stack.url, me.token), status(elsewhere, me.token)) == (200, 200)
        answer = me.post("/v1/auth/logout")
        assert (answer.status_code, answer.json()) == (200, {"revoked": True})
        assert f"{COOKIE}=" in answer.headers["set-cookie"]
        assert status(stack.url, me.token) == 401
        eventually(partial(refuses, elsewhere, me.token), timeout=1.0)


def test_signing_out_ends_this_session_and_no_other(client: httpx.Client) -> None:
    one, other = (sign_in(client, email) for email in [new_email()] * 2)
    one.post("/v1/auth/logout")
    assert (one.get(SESSION).status_code, other.get(SESSION).status_code) == (401, 200)


def test_a_session_ends_by_itself_and_leaves_the_list(client: httpx.Client, strict: httpx.Client) -> None:
    email = new_email()
    # How long a session lasts is up to the server where the code is given.
    started = start(client, email)
    opened = verify(strict, started["challenge_id"], started["dev_code"]).json()
    brief = Visitor(strict, email, opened["user_id"], opened["workspace_id"], opened["session_token"])
    assert brief.get(SESSION).status_code == 200
    stays = sign_in(client, email)
    eventually(lambda: brief.get(SESSION).status_code == 401, timeout=4.0)
    assert stays.get(SESSION).status_code == 200
    # Its closing is a fact in the audit too, not only a time that has passed.
    assert [each["current"] for each in stays.get("/v1/auth/sessions").json()] == [True]
    eventually(
        lambda: "session.closed" in {each["action"] for each in stays.get("/v1/audit-events").json()}, timeout=20
    )


def test_sessions_are_listed_and_one_can_be_ended_from_another(client: httpx.Client) -> None:
    email = new_email()
    old = sign_in(client, email)
    me = sign_in(client, email)
    listed = me.get("/v1/auth/sessions", headers={"User-Agent": "listing"}).json()
    assert [each["current"] for each in listed] == [True, False]
    assert {each["workspace_id"] for each in listed} == {me.workspace_id}
    assert all(each["user_agent"].startswith("python-httpx") for each in listed)
    assert not {"digest", "token", "session_token"} & set(listed[0])

    gone = me.delete(f"/v1/auth/sessions/{listed[1]['id']}")
    assert (gone.status_code, gone.json()) == (200, {"revoked": True})
    assert (old.get(SESSION).status_code, me.get(SESSION).status_code) == (401, 200)
    assert len(me.get("/v1/auth/sessions").json()) == 1


def test_somebody_elses_session_is_not_found(client: httpx.Client) -> None:
    me, stranger = sign_in(client), sign_in(client)
    theirs = stranger.get("/v1/auth/sessions").json()[0]["id"]
    assert me.delete(f"/v1/auth/sessions/{theirs}").status_code == 404
    assert me.delete(f"/v1/auth/sessions/{uuid4()}").status_code == 404
    assert stranger.get(SESSION).status_code == 200


def test_a_last_use_is_told_to_the_minute(client: httpx.Client) -> None:
    me = sign_in(client)
    me.get(SESSION)

    def told() -> bool:
        return me.get("/v1/auth/sessions").json()[0]["last_used_at"] is not None

    eventually(told)


# --- browsers ---------------------------------------------------------------------------------------------------------


def cookie_of(visitor: Visitor) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={visitor.token}"}


def rename(client: httpx.Client, name: str, headers: dict[str, str]) -> int:
    return client.patch("/v1/account/profile", json={"workspace_name": name}, headers=headers).status_code


def test_a_cookie_changes_nothing_unless_the_browser_says_that_it_was_on_our_page(
    client: httpx.Client, stack: Stack
) -> None:
    me = sign_in(client)
    cookie = cookie_of(me)
    refused: list[dict[str, str]] = [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": stack.url + ".evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ]
    for headers in refused:
        assert rename(client, "Taken over", cookie | headers) == 403, headers
    assert me.get("/v1/account/profile").json()["workspace_name"] != "Taken over"
    for number, headers in enumerate([{"Origin": stack.url}, {"Sec-Fetch-Site": "same-origin"}]):
        assert rename(client, f"Ours {number}", cookie | headers) == 200, headers
    # Reading needs no such word, and a header is never sent by itself.
    assert client.get("/v1/account/profile", headers=cookie).status_code == 200
    assert rename(client, "By header", me.headers | {"Origin": "https://evil.example"}) == 200


def test_another_site_cannot_sign_a_browser_in(client: httpx.Client) -> None:
    started = start(client, new_email())
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = verify(client, started["challenge_id"], started["dev_code"], **headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


def test_a_header_comes_before_a_cookie(client: httpx.Client) -> None:
    me, other = sign_in(client), sign_in(client)
    answer = client.get(SESSION, headers=me.headers | cookie_of(other))
    assert answer.json()["user_id"] == me.user_id
    assert client.get(SESSION, headers={"X-API-Key": "bzs_wrong"} | cookie_of(me)).status_code == 401


@pytest.mark.parametrize("token", ["bzs_", "x" * 300, "a.b.c", "é", "bzs_" + "0" * 49])
def test_what_is_no_token_is_refused(client: httpx.Client, token: str) -> None:
    for headers in ((b"X-API-Key", token.encode()), (b"Authorization", b"Bearer " + token.encode())):
        answer = client.get(SESSION, headers=[headers])
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
