"""A service that sends real mail and tells nobody what is private; and forgets for good whom it is asked to forget."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import randrange
from uuid import uuid4

import httpx
import psycopg
import pytest

from adapters import secrets
from adapters.log.recorder import WRITING
from adapters.postgres.settings import Postgres
from tests.identity.crowd import Visitor, new_email
from tests.identity.postbox import Postbox, postbox
from tests.journeys.kit import NewStack, Stack, eventually

TEAM = "/v1/account/team"


@pytest.fixture(scope="module")
def letters() -> Iterator[Postbox]:
    """A mail server."""
    with postbox() as box:
        yield box


@pytest.fixture(scope="module")
def place(letters: Postbox, new_stack: NewStack) -> Iterator[Stack]:
    """A stack as in production: codes go by mail only. Its log tells everything it would ever tell."""
    with new_stack(
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
    with psycopg.connect(place.settings[Postgres].postgres_url) as database:
        tables = [
            row[0]
            for row in database.execute(
                "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE c.relkind IN ('r', 'p', 'm') "
                "AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')"
            ).fetchall()
        ]
        assert {"ledger_events", "documents", "jobs", "request_origins", "rate_windows"} <= set(tables)
        kept: dict[str, list[bytes]] = {}
        for table in tables:
            cursor = database.execute(f"SELECT t.* FROM {table} t".encode())
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


class Traces:
    """Somebody who leaves something of themselves wherever one can."""

    def __init__(self, place: Stack, letters: Postbox, clip: bytes) -> None:
        mark = uuid4().hex
        self.ip = f"127.{randrange(1, 250)}.{randrange(1, 250)}.{randrange(2, 250)}"
        self.agent, self.request_id = f"Browser-{mark}", f"request-{mark}"
        self.email = f"ada.{mark}@example.com"
        #: What only their own workspace holds.
        self.label = f"label-{mark}"
        # From an address of their own, which on loopback takes no more than to say so.
        self.http = httpx.Client(
            base_url=place.url,
            timeout=30,
            transport=httpx.HTTPTransport(local_address=self.ip),
            headers={"User-Agent": self.agent, "X-Request-ID": self.request_id},
        )
        self.place, self.letters, self.clip = place, letters, clip

    def everywhere(self, shared: Visitor, pending: Visitor) -> Visitor:
        """Signed in, with things of every kind in a workspace of their own and in one of others; who they are."""
        http, letters, email, label = self.http, self.letters, self.email, self.label
        invited = shared.post(f"{TEAM}/invitations", {"email": email, "role": "admin"}).json()
        declined = pending.post(f"{TEAM}/invitations", {"email": email}).json()
        token = token_in(letters.about(declined["id"]).get_content())
        assert http.post(f"{TEAM}/invitations/{declined['id']}/decline", json={"token": token}).status_code == 200
        # A registration that is never proved with its own code, guesses at it, and at codes to sign in with.
        registered = http.post("/v1/auth/register", json={"email": email}).json()
        http.post("/v1/auth/verify-email", json={"challenge_id": registered["challenge_id"], "code": "000000"})
        started = http.post("/v1/auth/email/start", json={"email": email}).json()
        http.post("/v1/auth/email/verify", json={"challenge_id": started["challenge_id"], "code": "000000"})
        me = sign_in(http, letters, email)
        assert me.user_id == registered["user_id"]
        pending.post(f"{TEAM}/invitations", {"email": email})
        away = me.inside(shared.workspace_id)
        assert invited["id"]
        assert away.patch("/v1/account/profile", {"notification_preferences": {"product_updates": False}}).is_success
        away.key("analyses:create")
        key = away.key("analyses:create", "usage:read", "storage:write", "webhooks:manage")["plaintext_key"]
        for each in ({"X-API-Key": key}, away.headers):
            job = {"url": "http://127.0.0.1:9/song.mp3"}
            assert http.post("/v1/analyze/url", json=job, headers=each).status_code == 202
            assert http.post(
                "/v1/storage-objects", json={"purpose": "upload", "content_type": "audio/wav"}, headers=each
            ).is_success
        own = me.key("analyses:create", "catalogue:write")
        assert me.patch("/v1/account/profile", {"workspace_name": label}).is_success
        assert me.post("/v1/api-keys", {"name": label, "scopes": ["usage:read"]}).is_success
        hook = {"url": f"http://127.0.0.1:9/{label}?token={label}", "description": label}
        endpoint = me.post("/v1/webhook-endpoints", hook).json()
        assert me.post(f"/v1/webhook-endpoints/{endpoint['id']}/test").is_success
        source = f"http://127.0.0.1:9/{label}.mp3"
        asked = {"source_url": source, "metadata": {"note": label}, "webhook_url": hook["url"]}
        assert me.post("/v1/analyses", asked).is_success
        with_key = {"X-API-Key": own["plaintext_key"]}
        file = {"file": ("clip.wav", self.clip)}
        done = http.post("/v1/analyze/upload", files=file, headers=with_key).json()["job_id"]
        room = me.post("/v1/storage-objects", {"purpose": "upload", "content_type": "audio/wav"}).json()
        wav = {"Content-Type": "audio/wav"}
        assert http.put(room["signed_url"], content=self.clip, headers=wav).is_success
        eventually(lambda: len(self.place.objects(f"analyses/{done}/")) > 1, timeout=60)
        self.objects = (f"analyses/{done}/", f"storage/{me.workspace_id}/", f"uploads/{me.workspace_id}/")
        # And a code that nobody has given by the time they are forgotten.
        http.post("/v1/auth/email/start", json={"email": email})
        return me


def test_of_whoever_left_traces_everywhere_nothing_is_left(
    http: httpx.Client, letters: Postbox, place: Stack, clip: bytes
) -> None:
    traces = Traces(place, letters, clip)
    shared, pending = sign_in(http, letters), sign_in(http, letters)
    with traces.http:
        me = traces.everywhere(shared, pending)
        nothing_is_left(traces, me, shared, place)


def nothing_is_left(traces: Traces, me: Visitor, shared: Visitor, place: Stack) -> None:
    said = (traces.email, traces.ip, traces.agent, traces.request_id, traces.label)
    # Somewhere there is something of each, or else the test would look for nothing.
    eventually(lambda: all(where_is(place, each) for each in said))
    assert "request_origins" in where_is(place, traces.ip) & where_is(place, traces.agent)
    assert any(place.objects(each) for each in traces.objects)

    assert me.delete("/v1/account/profile").status_code == 200

    def left() -> bool:
        assert {each: found for each in said if (found := where_is(place, each))} == {}
        assert [key for each in traces.objects for key in place.objects(each)] == []
        return True

    eventually(left)
    # What they did in the workspace of others stays, without them in it.
    audit = eventually(lambda: shared.get("/v1/audit-events?limit=100").json())
    assert {"analysis.requested", "api_key.issued"} <= {
        each["action"] for each in audit if each["actor"] == f"person:{me.user_id}"
    }


def poison(place: Stack, stream: str) -> None:
    """An event that no version knows, after all others of a stream: its read models are parked."""
    with psycopg.connect(place.settings[Postgres].postgres_url) as database:
        database.execute("SELECT pg_advisory_xact_lock_shared(%s)", (WRITING,))
        database.execute(
            "INSERT INTO ledger_events (originator_id, originator_version, topic, state, workspace_id) "
            "SELECT originator_id, max(originator_version) + 1, 'identity.Odd', '{}', min(workspace_id) "
            "FROM ledger_events WHERE originator_id = %s GROUP BY originator_id",
            (stream,),
        )
        database.commit()

        def parked() -> bool:
            found = database.execute("SELECT count(*) FROM parked WHERE stream = %s", (stream,)).fetchone()
            database.commit()
            return found is not None and found[0] > 1

        eventually(parked)


def test_what_was_parked_does_not_outlive_whom_it_is_about(http: httpx.Client, letters: Postbox, place: Stack) -> None:
    me, shared = sign_in(http, letters), sign_in(http, letters)
    shared.post(f"{TEAM}/invitations", {"email": me.email})
    agent, label = f"Browser-{uuid4().hex}", f"label-{uuid4().hex}"
    me = sign_in(http, letters, me.email)
    away = me.post(f"/v1/account/workspaces/{shared.workspace_id}/session", headers={"User-Agent": agent}).json()
    key = me.post("/v1/api-keys", {"name": label, "scopes": ["usage:read"]}).json()
    listed = {"Authorization": f"Bearer {away['session_token']}"}
    [session_id] = [
        each["id"] for each in http.get("/v1/auth/sessions", headers=listed).json() if each["user_agent"] == agent
    ]
    digests = [secrets.digest(each) for each in (key["plaintext_key"], away["session_token"])]

    def opens() -> list[str]:
        with psycopg.connect(place.settings[Postgres].postgres_url) as database:
            found = database.execute("SELECT id FROM documents WHERE id = ANY(%s)", ([*digests, key["id"]],)).fetchall()
            return [row[0] for row in found]

    eventually(lambda: len(opens()) == 3)
    eventually(lambda: where_is(place, agent) == {"documents/sessions", "request_origins"})
    poison(place, f"apikey-{key['id']}")
    poison(place, f"session-{session_id}")
    assert me.delete("/v1/account/profile").status_code == 200

    def left() -> bool:
        assert where_is(place, agent, label, me.email) == set()
        assert opens() == []
        return True

    eventually(left)


def test_sealed_fields_of_the_forgotten_stay_sealed_for_replays(
    http: httpx.Client, letters: Postbox, place: Stack
) -> None:
    me = sign_in(http, letters)
    with psycopg.connect(place.settings[Postgres].postgres_url, autocommit=True) as database:

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
        with psycopg.connect(place.settings[Postgres].postgres_url) as database:
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
