"""API keys: made, used, replaced, revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import httpx
import psycopg
import pytest

from adapters.postgres.settings import Postgres
from domain.scopes import scopes
from tests.identity.crowd import join, sign_in
from tests.journeys.kit import Stack, eventually


def used(http: httpx.Client, key: str, path: str = "/v1/usage") -> int:
    return http.get(path, headers={"X-API-Key": key}).status_code


def test_a_key_is_shown_once_and_listed_by_its_beginning(client: httpx.Client) -> None:
    me = sign_in(client)
    made = me.key("usage:read", "analyses:read")
    assert set(made) == {
        "created_at",
        "id",
        "name",
        "plaintext_key",
        "prefix",
        "scopes",
        "expires_at",
        "replaces",
    }
    assert made["plaintext_key"].startswith(made["prefix"])
    assert len(made["prefix"]) == 11
    assert made["scopes"] == ["analyses:read", "usage:read"]

    answer = me.get("/v1/api-keys")
    (listed,) = answer.json()
    assert made["plaintext_key"] not in answer.text
    assert {**listed, "plaintext_key": made["plaintext_key"]} == {
        **made,
        "revoked_at": None,
        "last_used_at": None,
        "replaced_by": None,
    }


def test_keys_come_a_page_at_a_time_newest_first(client: httpx.Client) -> None:
    me = sign_in(client)
    made = [me.key()["id"] for _ in range(3)]
    first = me.get("/v1/api-keys?limit=2")
    assert [each["id"] for each in first.json()] == [made[2], made[1]]
    assert [each["id"] for each in me.get(first.links["next"]["url"]).json()] == [made[0]]
    assert me.get(f"/v1/api-keys?before={uuid4()}").status_code == 422
    stranger = sign_in(client)
    assert stranger.get("/v1/api-keys").json() == []
    assert stranger.get(f"/v1/api-keys?before={made[0]}").status_code == 422


def test_the_last_use_of_a_key_is_noted_once_a_minute_and_not_with_every_request(
    client: httpx.Client, stack: Stack
) -> None:
    me = sign_in(client)
    key = me.key()
    with psycopg.connect(stack.settings[Postgres].postgres_url, autocommit=True) as database:

        def row() -> tuple[object, ...] | None:
            return database.execute(
                "SELECT used_at, xmin::text FROM credential_uses WHERE credential_id = %s", (key["id"],)
            ).fetchone()

        assert row() is None
        assert used(client, key["plaintext_key"]) == 200
        first = eventually(row)
        for _ in range(20):
            assert used(client, key["plaintext_key"]) == 200
        # Somebody else's first use is written in the background too, so once it is there, ours would be.
        other = me.key()
        used(client, other["plaintext_key"])
        eventually(
            lambda: (
                database.execute("SELECT FROM credential_uses WHERE credential_id = %s", (other["id"],)).fetchone()
                is not None
            )
        )
        assert row() == first
    told = {each["id"]: each["last_used_at"] for each in me.get("/v1/api-keys").json()}
    assert abs(datetime.fromisoformat(told[key["id"]]) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("wish", "loc"),
    [
        ({"name": "", "scopes": ["usage:read"]}, "name"),
        ({"name": "x" * 121, "scopes": ["usage:read"]}, "name"),
        ({"name": "A key"}, "scopes"),
        ({"name": "A key", "scopes": []}, "scopes"),
        ({"name": "A key", "scopes": ["everything"]}, "scopes"),
        ({"name": "A key", "scopes": ["usage:read"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "A key", "scopes": ["usage:read"], "expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"name": "A key", "scopes": ["usage:read"], "expires_at": "soon"}, "expires_at"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(client: httpx.Client, wish: dict[str, object], loc: str) -> None:
    answer = sign_in(client).post("/v1/api-keys", wish)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["body", loc]


def test_a_revoked_key_opens_nothing_within_a_second_in_every_process(client: httpx.Client, elsewhere: str) -> None:
    me = sign_in(client)
    with httpx.Client(base_url=elsewhere, timeout=30) as there:

        def refused(plaintext: str) -> bool:
            return used(there, plaintext) == 401

        for _ in range(5):
            key = me.key()
            plaintext = key["plaintext_key"]
            assert (used(client, plaintext), used(there, plaintext)) == (200, 200)
            gone = me.delete(f"/v1/api-keys/{key['id']}")
            assert (gone.status_code, gone.json()) == (200, {"revoked": True})
            assert used(client, plaintext) == 401
            eventually(partial(refused, plaintext), timeout=1.0)
    assert all(each["revoked_at"] for each in me.get("/v1/api-keys").json())
    assert me.delete(f"/v1/api-keys/{key['id']}").json() == {"revoked": True}


def test_a_key_ends_when_it_was_said_to(client: httpx.Client) -> None:
    me = sign_in(client)
    key = me.key(expires_at=(datetime.now(UTC) + timedelta(seconds=1.5)).isoformat())["plaintext_key"]
    assert used(client, key) == 200
    eventually(lambda: used(client, key) == 401, timeout=4.0)


def test_a_replaced_key_goes_on_for_the_overlap_and_no_longer(client: httpx.Client) -> None:
    me = sign_in(client)
    old = me.key("usage:read")
    answer = me.post(f"/v1/api-keys/{old['id']}/rotate", {"overlap_seconds": 2})
    assert answer.status_code == 201
    new = answer.json()
    assert (new["name"], new["scopes"], new["replaces"]) == (old["name"], old["scopes"], old["id"])
    assert (used(client, old["plaintext_key"]), used(client, new["plaintext_key"])) == (200, 200)
    listed = {each["id"]: each for each in me.get("/v1/api-keys").json()}
    assert listed[old["id"]]["replaced_by"] == new["id"]
    eventually(lambda: used(client, old["plaintext_key"]) == 401, timeout=5.0)
    assert used(client, new["plaintext_key"]) == 200


def test_without_a_word_a_replaced_key_has_a_day(client: httpx.Client) -> None:
    me = sign_in(client)
    old = me.key()
    assert me.request("POST", f"/v1/api-keys/{old['id']}/rotate").status_code == 201
    ends = me.get("/v1/api-keys").json()[1]["expires_at"]
    assert abs(datetime.fromisoformat(ends) - datetime.now(UTC) - timedelta(days=1)) < timedelta(minutes=1)


def test_a_key_is_replaced_at_once_and_only_once(client: httpx.Client) -> None:
    me = sign_in(client)
    old = me.key()
    path = f"/v1/api-keys/{old['id']}/rotate"
    assert me.post(path, {"overlap_seconds": 0}).status_code == 201
    assert used(client, old["plaintext_key"]) == 401
    assert me.post(path, {"overlap_seconds": 0}).status_code == 409
    assert me.post(path, {"overlap_seconds": -1}).status_code == 422


def test_another_workspaces_key_is_not_found(client: httpx.Client) -> None:
    mine, stranger = sign_in(client).key(), sign_in(client)
    assert stranger.delete(f"/v1/api-keys/{mine['id']}").status_code == 404
    assert stranger.post(f"/v1/api-keys/{mine['id']}/rotate", {}).status_code == 404
    assert stranger.delete(f"/v1/api-keys/{uuid4()}").status_code == 404
    assert used(client, mine["plaintext_key"]) == 200


def test_a_key_belongs_to_its_workspace_and_outlives_the_membership_of_its_maker(client: httpx.Client) -> None:
    owner = sign_in(client)
    admin = join(owner, "admin")
    key = admin.key()["plaintext_key"]
    assert owner.delete(f"/v1/account/team/members/{admin.user_id}").status_code == 200
    assert admin.get("/v1/auth/session").status_code == 401
    assert used(client, key) == 200


def test_a_key_may_have_every_scope_there_is(client: httpx.Client) -> None:
    assert sign_in(client).key(*reversed(scopes()))["scopes"] == list(scopes())
