"""The made-up context at work, end to end, in a service that knows of it only by `LEDGERLINE_EXTENSIONS`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from adapters.postgres.settings import Postgres
from commands.settings import Service
from domain.discovery import EXTENSIONS
from tests.identity.crowd import Visitor, join, sign_in
from tests.journeys.kit import Neighbour, NewStack, Stack, eventually

ROOT = Path(__file__).parents[2]
TREES = "/orchards/v9/trees"


@pytest.fixture(scope="module")
def stack(new_stack: NewStack) -> Iterator[Stack]:
    """A whole service with the extension."""
    with new_stack(extensions="tests.orchards", rate_limit_per_minute=1000) as running:
        yield running


@pytest.fixture(scope="module")
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def gardener(http: httpx.Client) -> Visitor:
    return sign_in(http)


def planted(who: Visitor, variety: str = "Boskoop") -> dict[str, Any]:
    answer = who.post(TREES, {"variety": variety})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_command_is_decided_and_its_document_read_in_the_words_of_the_surface(gardener: Visitor) -> None:
    tree = planted(gardener)

    assert set(tree) == {
        "treeId", "workspaceId", "variety", "plantedAt", "harvestState", "harvestKilograms", "harvestProblem"
    }  # fmt: skip
    assert abs(tree["plantedAt"] / 1000 - time.time()) < 60
    assert gardener.get(f"{TREES}/{tree['treeId']}").json() == tree


def test_refusals_have_the_surface_s_own_bodies_statuses_and_codes(gardener: Visitor, http: httpx.Client) -> None:
    tree = planted(gardener)
    harvest = f"{TREES}/{tree['treeId']}/harvest"
    assert gardener.post(harvest, {"apples": 5}).status_code == 200

    bare = gardener.post(harvest, {"apples": 6})
    assert (bare.status_code, bare.json()["why"]) == (410, "tree_is_bare")
    absent = gardener.get(f"{TREES}/{uuid4()}")
    assert (absent.status_code, absent.json()) == (404, {"oops": "There is no tree with this id.", "why": "no_tree"})
    malformed = gardener.post(TREES, {"variety": ""})
    assert (malformed.status_code, set(malformed.json())) == (400, {"oops", "why"})
    nobody = http.get(f"{TREES}/{tree['treeId']}")
    assert (nobody.status_code, set(nobody.json())) == (401, {"oops", "why"})
    nowhere = http.get("/orchards/v9/cellars")
    assert (nowhere.status_code, set(nowhere.json())) == (404, {"oops", "why"})


def test_what_the_server_itself_refuses_is_in_the_words_of_the_surface_too(stack: Stack) -> None:
    def said(request: bytes) -> tuple[bytes, dict[str, Any]]:
        with socket.create_connection(("127.0.0.1", stack.settings[Service].port), timeout=10) as connection:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return head, json.loads(body)

    many = b"host: localhost\r\nx-request-id: mine\r\n" + b"a: b\r\n" * 101 + b"\r\n"
    head, body = said(b"GET /orchards/v9/trees HTTP/1.1\r\n" + many)
    assert head.startswith(b"HTTP/1.1 431 ")
    assert b"\r\nx-request-id: mine\r\n" in head
    assert (set(body), body["why"]) == ({"oops", "why"}, "request_header_fields_too_large")
    assert set(said(b"GET /v1/usage HTTP/1.1\r\n" + many)[1]) == {"detail"}
    elsewhere = b"GET /orchards/v9/trees HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n"
    assert said(elsewhere)[1]["why"] == "misdirected_request"


def test_another_workspace_s_tree_is_not_found(gardener: Visitor, http: httpx.Client) -> None:
    tree = planted(gardener)
    stranger = sign_in(http)

    assert stranger.get(f"{TREES}/{tree['treeId']}").status_code == 404
    assert stranger.post(f"{TREES}/{tree['treeId']}/harvest", {"apples": 5}).status_code == 404


def test_rate_headers_say_when_the_window_ends(gardener: Visitor) -> None:
    answer = gardener.get(f"{TREES}/{uuid4()}")

    assert answer.headers["x-ratelimit-limit"] == "1000"
    assert 0 <= int(answer.headers["x-ratelimit-reset"]) - time.time() <= 61


def test_a_scope_of_its_own_opens_its_routes_and_no_other_does(gardener: Visitor) -> None:
    right = gardener.key("orchards:tend")["plaintext_key"]
    wrong = gardener.key("usage:read")["plaintext_key"]

    def plant(key: str) -> httpx.Response:
        return gardener.http.post(TREES, json={"variety": "Cox"}, headers={"X-API-Key": key})

    assert plant(right).status_code == 201
    assert plant(wrong).status_code == 403
    assert join(gardener, "viewer").post(TREES, {"variety": "Cox"}).status_code == 403


def weighed(who: Visitor, tree_id: str) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        tree: dict[str, Any] = who.get(f"{TREES}/{tree_id}").json()
        return tree if tree["harvestState"] in ("weighed", "lost") else None

    found = eventually(over, timeout=30)
    assert found is not None
    return found


def test_what_follows_is_done_on_a_queue_of_its_own_and_told_to_who_wants_to_know(
    gardener: Visitor, receiver: Neighbour
) -> None:
    place = uuid4().hex
    made = gardener.post("/v1/webhook-endpoints", {"url": receiver.at(place), "event_types": ["harvest.weighed"]})
    assert made.status_code == 201, made.text
    tree = planted(gardener, "Elstar")
    gardener.post(f"{TREES}/{tree['treeId']}/harvest", {"apples": 50})

    assert weighed(gardener, tree["treeId"])["harvestKilograms"] == 10.0
    [post] = eventually(lambda: receiver.received(place), timeout=30)
    assert post.json["type"] == "harvest.weighed"
    assert post.json["data"] == {"tree_id": tree["treeId"], "variety": "Elstar", "kilograms": 10.0}


def test_a_handler_that_hangs_ends_at_its_timeout_and_is_given_up_with_a_reason(gardener: Visitor) -> None:
    tree = planted(gardener)
    gardener.post(f"{TREES}/{tree['treeId']}/harvest", {"apples": 501})

    lost = weighed(gardener, tree["treeId"])
    assert lost["harvestState"] == "lost"
    assert lost["harvestProblem"]


def test_what_it_meters_is_counted_by_the_month_and_refused_beyond_the_plan(http: httpx.Client, stack: Stack) -> None:
    somebody = sign_in(http)
    with ThreadPoolExecutor(4) as many:
        answers = list(many.map(lambda _: somebody.post(TREES, {"variety": "Cox"}), range(16)))

    refused = [answer for answer in answers if answer.status_code != 201]
    assert [answer.status_code for answer in refused] == [429] * 4
    assert refused[0].json() == {
        "oops": "Monthly quota exceeded. 12 plantings per month.",
        "why": "monthly_quota_exceeded",
    }
    assert int(refused[0].headers["retry-after"]) > 0
    key = f"{somebody.workspace_id}/{datetime.now(UTC):%Y-%m}/plantings"
    with psycopg.connect(stack.settings[Postgres].postgres_url) as connection:
        assert eventually(
            lambda: connection.execute("SELECT amount FROM tallies WHERE key = %s AND amount = 12", (key,)).fetchall()
        )


def test_it_has_its_place_in_the_contract_and_in_the_audit(gardener: Visitor, http: httpx.Client) -> None:
    assert f"{TREES}/{{tree_id}}" in http.get("/openapi.json").json()["paths"]
    planted(gardener, "Topaz")
    [newest, *_] = gardener.get("/v1/audit-events", params={"limit": 1}).json()
    assert newest["action"] == "tree.planted"


@pytest.mark.parametrize(("arguments", "words"), [(["orchards"], "7 apples"), (["settings"], "ORCHARD_APPLES_MAX")])
def test_it_brings_a_command_and_settings(arguments: list[str], words: str) -> None:
    environment = {**os.environ, EXTENSIONS: "tests.orchards", "LEDGERLINE_ORCHARD_APPLES_MAX": "7"}
    answer = subprocess.run(
        [sys.executable, "-m", "infra.cli", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert words in answer.stdout


def test_it_brings_a_table_of_its_own_and_what_sweeps_it(stack: Stack) -> None:
    with psycopg.connect(stack.settings[Postgres].postgres_url, autocommit=True) as database:
        ran = database.execute("SELECT name FROM migrations WHERE name LIKE 'tests.orchards/%'").fetchall()
        assert ran == [("tests.orchards/0001_baskets.sql",)]
        # The one of long ago is swept, and that of today is not.
        assert eventually(
            lambda: database.execute("SELECT count(*), max(basket_id) FROM orchard_baskets").fetchone() == (1, 2),
            timeout=30,
        )


def test_nothing_outside_its_folders_knows_of_it() -> None:
    for layer in ("domain", "commands", "projections", "adapters", "api", "infra"):
        for path in (ROOT / layer).rglob("*.py"):
            assert "orchards" not in path.read_text().lower(), path
