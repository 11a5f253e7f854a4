"""A service that sends real mail and tells nobody what is private; and forgets for good whom it is asked to forget."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import uuid4

import httpx
import psycopg
import pytest

from infra.embedded.blobs import EmbeddedBlobs
from tests.conftest import Databases
from tests.identity.crowd import Visitor, new_email
from tests.identity.postbox import Postbox, postbox
from tests.journeys.kit import Stack, eventually, running_stack

TEAM = "/v1/account/team"


@pytest.fixture(scope="module")
def letters() -> Iterator[Postbox]:
    """A mail server."""
    with postbox() as box:
        yield box


@pytest.fixture(scope="module")
def place(letters: Postbox, databases: Databases, blobs: EmbeddedBlobs) -> Iterator[Stack]:
    """A stack as in production: codes go by mail only. Its log tells everything it would ever tell."""
    with running_stack(
        databases.create(),
        blobs.url,
        blobs.access_key,
        blobs.secret_key,
        f"private-{uuid4().hex}",
        env="production",
        smtp_url=letters.url,
        mail_from="Ledgerline <house@example.org>",
        log_level="debug",
        email_verification_required=True,
    ) as stack:
        yield stack


@pytest.fixture(scope="module")
def http(place: Stack) -> Iterator[httpx.Client]:
    """HTTP to it."""
    with httpx.Client(base_url=place.url, timeout=30) as client:
        yield client


def sign_in(http: httpx.Client, letters: Postbox, email: str | None = None) -> Visitor:
    email = email or new_email()
    started = http.post("/v1/auth/email/start", json={"email": email}).json()
    assert started["dev_code"] is None
    code = letters.code(started["challenge_id"])
    answer = http.post("/v1/auth/email/verify", json={"challenge_id": started["challenge_id"], "code": code})
    http.cookies.clear()
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return Visitor(http, email, body["user_id"], body["workspace_id"], body["session_token"])


def token_in(letter: str) -> str:
    found = re.search(r"\bbzi_[\w-]+", letter)
    assert found is not None
    return found[0]


# --- mail -------------------------------------------------------------------------------------------------------------


def test_the_code_comes_by_mail_and_only_by_mail(http: httpx.Client, letters: Postbox) -> None:
    email = new_email()
    me = sign_in(http, letters, email)
    (letter,) = letters.to(email)
    assert letter["From"] == "Ledgerline <house@example.org>"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert "your Ledgerline code" in letter["Subject"]
    assert me.get("/v1/auth/session").json()["email"] == email


def test_known_and_unknown_addresses_get_the_same_letter(http: httpx.Client, letters: Postbox) -> None:
    known, unknown = sign_in(http, letters).email, new_email()
    started = [http.post("/v1/auth/email/start", json={"email": email}).json() for email in (known, unknown)]
    texts = [re.sub(r"\d", "0", letters.about(each["challenge_id"]).get_content()) for each in started]
    assert texts[0] == texts[1]


def test_a_key_waits_for_the_address_to_be_proved(http: httpx.Client, letters: Postbox) -> None:
    email = new_email()
    registered = http.post("/v1/auth/register", json={"email": email}).json()
    key = {"X-API-Key": registered["api_key"]}
    assert registered["dev_code"] is None
    assert http.get("/v1/usage", headers=key).status_code == 403
    proof = {"challenge_id": registered["challenge_id"], "code": letters.code(registered["challenge_id"])}
    assert http.post("/v1/auth/verify-email", json=proof).json() == {"verified": True}
    eventually(lambda: http.get("/v1/usage", headers=key).status_code == 200, timeout=2)


def test_an_invitation_by_mail_is_accepted_with_its_token_by_whoever_holds_it(
    http: httpx.Client, letters: Postbox
) -> None:
    owner, guest, invited = sign_in(http, letters), sign_in(http, letters), new_email()
    made = owner.post(f"{TEAM}/invitations", {"email": invited, "role": "viewer"}).json()
    text = letters.about(made["id"]).get_content()
    path = f"{TEAM}/invitations/{made['id']}"
    assert f"{path}/accept" in text
    token = token_in(text)

    other = owner.post(f"{TEAM}/invitations", {"email": new_email()}).json()
    assert guest.post(f"{TEAM}/invitations/{other['id']}/accept", {"token": token}).status_code == 404
    accepted = guest.post(f"{path}/accept", {"token": token})
    assert accepted.status_code == 200
    assert accepted.json() == {
        "accepted": True,
        "role": "viewer",
        "workspace_id": owner.workspace_id,
        "workspace_name": owner.get("/v1/account/profile").json()["workspace_name"],
    }
    assert guest.post(f"{path}/accept", {"token": token}).status_code == 200
    late = sign_in(http, letters)
    assert late.post(f"{path}/accept", {"token": token}).status_code == 409
    assert guest.inside(owner.workspace_id).get("/v1/auth/session").json()["workspace_role"] == "viewer"


def test_an_invitation_is_declined_with_its_token_and_without_an_account(http: httpx.Client, letters: Postbox) -> None:
    owner, invited = sign_in(http, letters), new_email()
    made = owner.post(f"{TEAM}/invitations", {"email": invited}).json()
    path, token = f"{TEAM}/invitations/{made['id']}", token_in(letters.about(made["id"]).get_content())
    for _ in range(2):
        assert http.post(f"{path}/decline", json={"token": token}).json() == {"declined": True}
    assert owner.get(TEAM).json()["invitations"][0]["status"] == "revoked"
    assert owner.post(f"{path}/accept", {"token": token}).status_code == 409
    assert owner.delete(path).status_code == 409


def test_without_a_mail_server_nobody_is_told_that_a_code_is_on_its_way_and_wrong_keys_have_an_end(
    http: httpx.Client, letters: Postbox, place: Stack
) -> None:
    me = sign_in(http, letters)
    with place.door(smtp_url="", refused_limit_per_minute=3) as url:
        answer = httpx.post(f"{url}/v1/auth/email/start", json={"email": new_email()}, timeout=30)
        tried = [httpx.get(f"{url}/v1/usage", headers={"X-API-Key": f"bz_{number}"}) for number in range(5)]
        assert {each.status_code for each in tried} <= {401, 429}
        assert tried[-1].status_code == 429
        # Whoever has something that opens is not counted with them.
        assert httpx.get(f"{url}/v1/usage", headers=me.headers).status_code == 200
    assert answer.status_code == 503
    assert "LEDGERLINE_SMTP_URL" in answer.json()["detail"]


# --- what is said to nobody -------------------------------------------------------------------------------------------


def rows(place: Stack) -> dict[str, list[bytes]]:
    """Every byte that is stored, by where it is stored."""
    with psycopg.connect(place.settings.postgres_url) as database:
        tables = [
            row[0]
            for row in database.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            ).fetchall()
        ]
        kept: dict[str, list[bytes]] = {}
        for table in tables:
            cursor = database.execute(f'SELECT t.* FROM "{table}" t'.encode())
            for row in cursor.fetchall():
                cells = [bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode() for cell in row]
                where = f"documents/{row[0]}" if table == "documents" else table
                kept.setdefault(where, []).append(b"\n".join(cells))
    return kept


def where_is(place: Stack, *secrets: str) -> set[str]:
    """The places whose stored bytes hold one of these texts."""
    return {
        where
        for where, cells in rows(place).items()
        for cell in cells
        for secret in secrets
        if secret.encode() in cell or secret.casefold().encode() in cell
    }


def test_addresses_and_secrets_are_in_no_log_line_event_or_read_model_that_does_not_need_them(
    http: httpx.Client, letters: Postbox, place: Stack
) -> None:
    me = sign_in(http, letters)
    invited = new_email()
    key = me.key("usage:read", "analyses:create")["plaintext_key"]
    session = me.inside(me.workspace_id)
    made = me.post(f"{TEAM}/invitations", {"email": invited}).json()
    invitation = token_in(letters.about(made["id"]).get_content())
    code = letters.code(http.post("/v1/auth/email/start", json={"email": me.email}).json()["challenge_id"])
    secrets = [me.token, session.token, key, invitation]

    # Everything is used, misused and asked for once more before we look.
    for secret in secrets:
        for headers in ({"X-API-Key": secret}, {"Authorization": f"Bearer {secret}"}):
            http.get("/v1/usage", headers=headers)
            http.get(f"/v1/nothing/{secret}", headers=headers)
    errors = [
        http.post("/v1/auth/email/start", json={"email": f"{me.email} "}).text,
        http.post("/v1/auth/email/verify", json={"challenge_id": me.email, "code": code}).text,
        http.post("/v1/auth/email/verify", json={"challenge_id": str(uuid4()), "code": "000000"}).text,
        http.post("/v1/auth/register", json={"email": me.email}).text,
        me.post(f"{TEAM}/invitations", {"email": invited}).text,
        me.post(f"{TEAM}/invitations/{uuid4()}/accept", {"token": invitation}).text,
        http.get("/v1/usage", headers={"X-API-Key": f"{key}x"}).text,
    ]
    audit = eventually(lambda: me.get("/v1/audit-events").text)
    session.post("/v1/auth/logout")
    http.post("/v1/auth/register", content=f'{{"email": "{me.email}"'.encode())

    assert where_is(place, *secrets) == set()
    assert where_is(place, me.email) == {"documents/people"}
    assert where_is(place, invited) == {"documents/workspaces"}
    assert not [error for error in errors[1:] for text in (*secrets, me.email, invited) if text in error]
    assert not [text for text in (*secrets, me.email, invited) if text in audit]
    told = place.log
    assert len(told) > 1000
    assert not [text for text in (*secrets, me.email, invited) if text in told]
    assert not re.search(rf"\b{code}\b", told)


# --- forgetting -------------------------------------------------------------------------------------------------------


def forgotten(place: Stack, *secrets: str) -> bool:
    return not where_is(place, *secrets)


def test_a_forgotten_person_is_nowhere_and_their_address_is_free(
    http: httpx.Client, letters: Postbox, place: Stack
) -> None:
    owner, me = sign_in(http, letters), sign_in(http, letters)
    owner.post(f"{TEAM}/invitations", {"email": me.email, "role": "admin"})
    me = sign_in(http, letters, me.email)
    # This one waits until the next sign-in, which never comes.
    other = sign_in(http, letters)
    other.post(f"{TEAM}/invitations", {"email": me.email})
    key = me.key("usage:read")["plaintext_key"]
    name = f"{me.email.split('@')[0]}'s workspace"
    sessions = [me, me.inside(owner.workspace_id)]
    assert where_is(place, me.email) == {"documents/people", "documents/workspaces"}

    answer = me.delete("/v1/account/profile")
    assert (answer.status_code, answer.json()) == (200, {"deleted": True})
    assert [each.get("/v1/auth/session").status_code for each in sessions] == [401, 401]
    assert http.get("/v1/usage", headers={"X-API-Key": key}).status_code == 401
    eventually(lambda: forgotten(place, me.email, name))
    assert me.user_id not in {each["user_id"] for each in owner.get(TEAM).json()["members"]}
    assert [each["email"] for each in other.get(TEAM).json()["invitations"]] == ["[erased]"]

    # The audit of what they did in the other workspace stays, without them in it.
    eventually(lambda: "member.removed" in {each["action"] for each in owner.get("/v1/audit-events").json()})
    assert f"person:{me.user_id}" in owner.get("/v1/audit-events").text

    # The address may come back, as somebody else.
    again = sign_in(http, letters, me.email)
    assert again.user_id != me.user_id
    assert len(again.get("/v1/account/workspaces").json()["workspaces"]) == 1
    assert [each["user_id"] == again.user_id for each in again.get(TEAM).json()["members"]] == [True]


def test_sealed_fields_of_the_forgotten_stay_sealed_for_replays(
    http: httpx.Client, letters: Postbox, place: Stack
) -> None:
    me = sign_in(http, letters)
    with psycopg.connect(place.settings.postgres_url, autocommit=True) as database:

        def subject(of: str) -> tuple[object, ...] | None:
            return database.execute(
                "SELECT wrapped IS NULL, destroyed_at IS NOT NULL FROM data_keys WHERE subject = %s", (of,)
            ).fetchone()

        digest = database.execute(
            "SELECT convert_from(state, 'UTF8')::json->>'email_digest' FROM ledger_events "
            "WHERE topic = 'identity.EmailClaimed' AND convert_from(state, 'UTF8')::json->>'person_id' = %s",
            (me.user_id,),
        ).fetchone()
        assert digest is not None
        subjects = (me.user_id, me.workspace_id, f"{digest[0]}.0")
        assert [subject(each) for each in subjects] == [(False, False)] * 3
        me.delete("/v1/account/profile")
        eventually(lambda: [subject(each) for each in subjects] == [(True, True)] * 3)
        # What a replay folds from now on cannot hold what nobody can read.
        states = database.execute(
            "SELECT state FROM ledger_events WHERE originator_id IN (%s, %s)",
            (f"person-{me.user_id}", f"workspace-{me.workspace_id}"),
        ).fetchall()
        assert states
        assert not [row for row in states if me.email.split("@")[0].encode() in bytes(row[0])]


def test_a_forgotten_workspace_opens_to_nobody_and_its_keys_to_nothing(
    http: httpx.Client, letters: Postbox, place: Stack
) -> None:
    owner = sign_in(http, letters)
    email = new_email()
    owner.post(f"{TEAM}/invitations", {"email": email})
    member = sign_in(http, letters, email).inside(owner.workspace_id)
    secret_name, key_name = f"Secret label {uuid4().hex}", f"Laptop of {uuid4().hex}"
    owner.patch("/v1/account/profile", {"workspace_name": secret_name})
    key = owner.post("/v1/api-keys", {"name": key_name, "scopes": ["usage:read"]}).json()["plaintext_key"]
    assert owner.post("/v1/webhook-endpoints", {"url": "http://127.0.0.1:9/hook"}).status_code == 201
    home = owner.inside(owner.post("/v1/account/workspaces", {"workspace_name": "Home"}).json()["workspace_id"])
    eventually(lambda: where_is(place, key_name) == {"documents/api_keys"})

    path = f"/v1/account/workspaces/{owner.workspace_id}"
    assert member.delete(path).status_code == 403
    assert sign_in(http, letters).delete(path).status_code == 404
    answer = home.delete(path)
    assert (answer.status_code, answer.json()) == (200, {"deleted": True})
    assert [each.get("/v1/auth/session").status_code for each in (owner, member, home)] == [401, 401, 200]
    assert http.get("/v1/usage", headers={"X-API-Key": key}).status_code == 401
    assert home.delete(path).status_code == 404
    eventually(lambda: forgotten(place, secret_name, key_name))

    def events() -> list[str]:
        with psycopg.connect(place.settings.postgres_url) as database:
            return [
                row[0]
                for row in database.execute(
                    "SELECT topic FROM ledger_events WHERE workspace_id = %s ORDER BY notification_id",
                    (owner.workspace_id,),
                ).fetchall()
            ]

    eventually(lambda: {"identity.ApiKeyRevoked", "webhooks.EndpointRemoved"} <= set(events()))
    assert "identity.WorkspaceForgotten" in events()
    # The people are still people: the member has a home of their own.
    assert sign_in(http, letters, email).workspace_id != owner.workspace_id


def test_nobody_is_forgotten_out_of_a_workspace_that_others_need(http: httpx.Client, letters: Postbox) -> None:
    owner, email = sign_in(http, letters), new_email()
    owner.post(f"{TEAM}/invitations", {"email": email})
    member = sign_in(http, letters, email)
    assert owner.delete("/v1/account/profile").status_code == 409
    assert owner.get("/v1/auth/session").status_code == 200
    owner.post(f"{TEAM}/members/{member.user_id}/transfer-ownership")
    assert owner.delete("/v1/account/profile").status_code == 200
    assert member.inside(owner.workspace_id).get("/v1/auth/session").json()["workspace_role"] == "owner"
