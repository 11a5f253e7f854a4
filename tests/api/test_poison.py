"""Events that nobody can read or show, in every stream of a workspace: no list, audit or feed of it breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest

from adapters.log.recorder import WRITING
from adapters.postgres.settings import Postgres
from tests.identity.crowd import Visitor, join, sign_in
from tests.journeys.kit import Neighbour, NewStack, Stack, eventually

#: A kind of event that no version knows, one whose facts are damaged, and one whose moment falls off the calendar as
#: soon as it is written in UTC: before the log refused such moments, it took them.
POISON = (
    ("identity.Odd", b"{}"),
    ("identity.ApiKeyRevoked", b"\xff\xfe"),
    (
        "identity.ApiKeyRetired",
        (
            b'{"api_key_id":"k","digest":"d","replaced_by":"r","retired_at":"2026-01-01T00:00:00Z",'
            b'"expires_at":"9999-12-31T23:59:59-14:00"}'
        ),
    ),
)
LISTS = (
    "/v1/analyses",
    "/v1/api-keys",
    "/v1/auth/sessions",
    "/v1/webhook-endpoints",
    "/v1/webhook-deliveries",
    "/v1/account/team",
    "/v1/account/workspaces",
    "/v1/usage",
    "/api/beats",
    "/api/beats/pending/list",
    "/api/templates",
    "/api/v1/tracks",
    "/api/v1/imports",
    "/api/v1/unresolved",
    "/api/v1/royalties",
    "/api/v1/catalogue/overview",
    "/functions/v1/builds",
    "/functions/v1/projects",
    "/functions/v1/runners",
    "/functions/v1/plugin-activation/project/{project_id}/keys",
    "/functions/v1/plugin-activation/project/{project_id}/keys/export",
)
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def stack(new_stack: NewStack) -> Iterator[Stack]:
    """A service of its own: what is written here stays in its log for ever, and nobody else shall find it there."""
    with new_stack() as running:
        yield running


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[httpx.Client]:
    """HTTP to it."""
    with httpx.Client(base_url=stack.url, timeout=30) as http:
        yield http


@pytest.fixture
def database(stack: Stack) -> Iterator[psycopg.Connection]:
    """Its database."""
    with psycopg.connect(stack.settings[Postgres].postgres_url, autocommit=True) as connection:
        yield connection


def made(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()


def with_everything(me: Visitor, audio: Neighbour, receiver: Neighbour) -> str:
    """One thing of each list; the id of the project."""
    join(me, "member")
    me.key()
    hook = {"url": receiver.at("poison"), "event_types": ["analysis.failed"]}
    made(me.post("/v1/webhook-endpoints", hook))
    made(me.post("/v1/analyses", {"source_url": audio.answer("gone.wav", 404)}))
    eventually(lambda: [each["status"] for each in made(me.get("/v1/webhook-deliveries"))] == ["delivered"])
    made(me.post("/api/generate/beat", {"categoryName": "LoFi – Melodic/Calm", "mode": "metadata_only"}))
    made(me.post("/api/v1/tracks", {"isrc": "USRC17607839", "title": "Odd", "artist": "Odd"}))
    sheet = {"Content-Type": "text/csv"}
    made(me.post("/api/v1/imports?filename=odd.csv", content=b"a,b\n1,2\n", headers=sheet))
    project_id: str = made(me.post("/functions/v1/projects", {"name": "Odd"}))["id"]
    made(me.post("/functions/v1/plugin-activation/generate", {"project_id": project_id}))
    return project_id


def poison(database: psycopg.Connection, me: Visitor, *, decides: bool) -> dict[str, str]:
    """Add one of these events to each stream of a workspace: to those that decide whether this person may come in,
    or to all the others. What of them cannot be read may have taken their right away."""
    [session_id] = [each["id"] for each in made(me.get("/v1/auth/sessions")) if each["current"]]
    deciding = (f"workspace-{me.workspace_id}", f"person-{me.user_id}", f"session-{session_id}")
    streams = [
        row[0]
        for row in database.execute(
            "SELECT DISTINCT originator_id FROM ledger_events WHERE workspace_id = %s ORDER BY 1", (me.workspace_id,)
        )
        if (row[0] in deciding) is decides
    ]
    added = {stream: POISON[number % len(POISON)] for number, stream in enumerate(streams)}
    with database.transaction():
        database.execute("SELECT pg_advisory_xact_lock_shared(%s)", (WRITING,))
        for stream, (name, facts) in added.items():
            database.execute(
                "INSERT INTO ledger_events (originator_id, originator_version, topic, state, workspace_id, actor) "
                "SELECT %s, max(originator_version) + 1, %s, %s, %s, 'poisoner' FROM ledger_events "
                "WHERE originator_id = %s",
                (stream, name, facts, me.workspace_id, stream),
            )
    return {stream: name for stream, (name, _) in added.items()}


def settle(client: httpx.Client) -> None:
    """Wait until the read models have passed what happened."""
    eventually(lambda: made(client.get("/ready"))["behind_events"] == 0)


def test_whatever_is_poisoned_lists_audit_and_feed_go_on(
    stack: Stack, client: httpx.Client, database: psycopg.Connection, audio: Neighbour, receiver: Neighbour
) -> None:
    me = sign_in(client)
    project_id = with_everything(me, audio, receiver)
    lists = [path.format(project_id=project_id) for path in LISTS]
    before = {path: set(ID.findall(me.get(path).text)) for path in lists}
    assert {path.rpartition("/")[2] for path, ids in before.items() if ids} >= {
        "analyses", "api-keys", "sessions", "webhook-endpoints", "webhook-deliveries", "team", "beats", "imports",
        "projects", "keys",
    }  # fmt: skip
    known = made(me.get("/v1/events?limit=1000"))["next"]

    added = poison(database, me, decides=False)

    assert len(added) > 10
    settle(client)
    after = {path: me.get(path) for path in lists}
    assert {path: each.status_code for path, each in after.items()} == dict.fromkeys(lists, 200)
    assert {path: set(ID.findall(each.text)) for path, each in after.items()} == before

    audit = [each for each in made(me.get("/v1/audit-events?limit=200")) if each["actor"] == "poisoner"]
    feed = [
        each for each in made(me.get(f"/v1/events?after={known}&limit=1000"))["events"] if each["actor"] == "poisoner"
    ]
    assert len(audit) == len(feed) == len(added)
    assert all(each["metadata"]["unreadable"] for each in audit)
    assert all(each["data"] == {"unreadable": True} for each in feed)
    assert {f"{each['target_type']}-{each['target_id']}" for each in audit} == set(added)
    assert "request.broken" not in stack.log


def refused(who: Visitor, path: str) -> httpx.Response | None:
    """The answer, once it is 503."""
    answer = who.get(path)
    return answer if answer.status_code == 503 else None


def test_nobody_is_let_in_by_a_history_that_cannot_be_read_whole(
    stack: Stack, client: httpx.Client, database: psycopg.Connection
) -> None:
    me = sign_in(client)
    assert poison(database, me, decides=True)
    settle(client)
    for path in ("/v1/analyses", "/api/beats", "/api/v1/tracks", "/functions/v1/projects"):
        # Who has been seen a moment ago is remembered for as long as nothing rings.
        answer = eventually(partial(refused, me, path))
        assert answer is not None
        assert answer.headers["retry-after"] == "60"
        assert "cannot be read" in answer.text
    assert "request.unreadable" in stack.log
    assert "request.broken" not in stack.log
